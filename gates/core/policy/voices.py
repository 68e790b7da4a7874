"""Many voices to one question -> one judgement. Rules 4 and 5 of `judging`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from gates.core.asked import Ask, Beside, Limit, Rung
from gates.core.model import Judgement, Reason, Tier, Verdict

DEFAULT_RULE = "default"  # the name of the defaults' voice, which no rule can have


class Rests(IntEnum):
    """What a voice rests on, the surest first. `ERROR`: on facts, and could not be evaluated."""

    FACTS = 0
    ERROR = 1
    CLAIMS = 2


@dataclass(frozen=True)
class Voice:
    """One voice in the judgement."""

    reason: Reason
    verdict: Verdict
    tier: Tier
    ask: Ask | None
    rests: Rests = Rests.FACTS
    sample_permille: int = 0

    @property
    def displaces(self) -> bool:
        """The defaults need not speak beside it."""
        return self.rests is Rests.FACTS


def strictest(voices: Sequence[Voice], digest: str, lifted: Iterable[str] = ()) -> Judgement:
    """`lifted`: the rules that would have spoken, too."""
    verdict = max((voice.verdict for voice in voices), key=lambda one: one.strictness)
    equal = sorted((one for one in voices if one.verdict is verdict), key=_demand)
    asking = sorted((one for one in equal if one.ask is not None), key=lambda one: one.rests)
    surest = asking[0].rests if asking else Rests.FACTS
    asks = [one.ask for one in asking if one.ask and one.rests is surest]
    more = [one.ask for one in asking if one.ask and one.rests is not surest]
    return Judgement(
        verdict=verdict,
        tier=max((one.tier for one in equal), key=lambda tier: tier.height),
        reasons=tuple(one.reason for one in equal),
        policy_digest=digest,
        ask=added(verdict, merged(verdict, asks), more) if asks else None,
        sample_permille=max(one.sample_permille for one in equal),
        lifted=tuple(sorted(lifted)),
    )


def added(verdict: Verdict, ask: Ask, more: Sequence[Ask]) -> Ask:
    """As demanding as all of them, with the people of the first: those of the others come beside
    them, and take nobody's place.
    """
    if not more:
        return ask
    mine = (set(ask.who), ask.from_each, ask.roles)
    # The same people once more are so many of them, which each of these rules has proven.
    same = [one for one in more if (set(one.who), one.from_each, one.roles) == mine]
    others = [
        Beside(who=one.who, quorum=one.quorum, from_each=one.from_each, roles=one.roles)
        for one in more
        if one not in same
    ]
    whole = merged(verdict, (ask, *more))
    return whole.model_copy(
        update={
            "quorum": max(one.quorum for one in (ask, *same)),
            "from_each": ask.from_each,
            "roles": ask.roles,
            "beside": tuple(dict.fromkeys((*ask.beside, *others))),
            # whoever comes instead of all that were asked would take the others' place, too
            "ladder": tuple(one for one in whole.ladder if one.step != "replace"),
        }
    )


def merged(verdict: Verdict, asks: Sequence[Ask]) -> Ask:
    """The most demanding of all, which begin with the one that wins. A window is the longest: time
    must not consent sooner because one more rule is worried.
    """
    first, *others = _limits(asks, longest=verdict is Verdict.VETO_WINDOW)
    return Ask(
        who=asks[0].who,
        quorum=max(one.quorum for one in asks),
        deadline_seconds=first.seconds,
        calendar=first.calendar,
        limits=tuple(others),
        ladder=_same_ladder(asks, first),
        remind=_reminders(asks, first),
        keep_open=all(one.keep_open for one in asks),
        valid_seconds=min(one.valid_seconds for one in asks),
        from_each=tuple(dict.fromkeys(group for one in asks for group in one.from_each)),
        notify=tuple(dict.fromkeys(way for one in asks for way in one.notify)),
        channel=next((one.channel for one in asks if one.channel), ""),
        escalate_to=tuple(
            group for group in asks[0].escalate_to if all(group in one.escalate_to for one in asks)
        ),
        reason=any(one.reason for one in asks),
        roles=tuple(dict.fromkeys(role for one in asks for role in one.roles)),
        assurance=max((one.assurance for one in asks), key=lambda one: one.strength),
        beside=tuple(dict.fromkeys(others for one in asks for others in one.beside)),
    )


def _limits(asks: Sequence[Ask], *, longest: bool) -> list[Limit]:
    """The one deadline of each calendar, beginning with that of the first ask. Which of two is
    shorter cannot be said where they count different times: both hold.
    """
    found: dict[str, Limit] = {}
    for limit in (limit for one in asks for limit in (one.limit, *one.limits)):
        key, time = limit.calendar.name if limit.calendar else "", max if longest else min
        found[key] = time(found.get(key, limit), limit, key=lambda one: one.seconds)
    return list(found.values())


def _same_ladder(asks: Sequence[Ask], limit: Limit) -> tuple[Rung, ...]:
    """Climbed only where all have it: more people to choose from would make it easier. It ends
    where the deadline does.
    """
    first = asks[0]
    same = all((one.ladder, one.calendar) == (first.ladder, first.calendar) for one in asks)
    return tuple(one for one in first.ladder if one.seconds < limit.seconds) if same else ()


def _reminders(asks: Sequence[Ask], limit: Limit) -> tuple[int, ...]:
    """Of all that count the same time."""
    same = (one for one in asks if one.calendar == limit.calendar)
    return tuple(sorted({at for one in same for at in one.remind if at < limit.seconds}))


def _demand(voice: Voice) -> tuple[int, int, int, bool, str]:
    """The most demanding first; at a tie the defaults last, and the name decides, not where a rule
    stands.
    """
    name = (voice.reason.rule == DEFAULT_RULE, voice.reason.rule)
    if voice.ask is None:
        return -voice.tier.height, 0, 0, *name
    window = voice.verdict is Verdict.VETO_WINDOW
    time = -voice.ask.deadline_seconds if window else voice.ask.deadline_seconds
    return -voice.tier.height, -voice.ask.quorum, time, *name
