"""Finds an agent that runs in circles, step by step.

Pure: no clock and no I/O; a run's memory is bounded and survives a resume. The rules, strongest
evidence first, each with what it protects from:
1. The same call with the same outcome, three times in a row (or five times in sixteen steps with
   nothing new in between).
2. A call that fails again although nothing has changed since its last failure.
3. A cycle of two to eight calls, three laps with the same outcomes.
4. One action failing in the same way whatever it is given: guessing.
5. Failures in a row, whatever the action: flailing.
6. Steps that bring nothing new: re-reading what is known.
7. Many of forty steps failed or repeated what was known: a long way nowhere, with a little news
   now and then.
8. A budget that is used up.
Before a call: a write that has succeeded with the same arguments never runs again, and what a
finding has stopped stays stopped until a person answers.

No circles: answers that change (polling, paging), other arguments each time (enumeration), a call
again after something changed (re-reading after a write, fix and retest), the same call several
times side by side. What a gate refuses, and a person's yes, are no progress.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Self

from gates.core.errors import InvalidInput
from gates.core.loops import memory as kept_in
from gates.core.loops.circles import Circle, Kind, Side, told, what_differs
from gates.core.loops.memory import Memory, Seen, Stop, remember
from gates.core.loops.numbers import mix, number_of
from gates.core.loops.rules import VETOED, Hit, judged
from gates.core.loops.spending import spend
from gates.core.loops.steps import End, Step, short
from gates.core.loops.thresholds import LONGEST_PERIOD, WASTE_WINDOW, Limits, Thresholds
from gates.core.loops.volatile import LONGEST_KEPT, Labels, failure_signature, steady, without

VERSION = 4
PUSHED = 3  # refusals of one circle after which it goes to the next level
# What stops the run, not one call.
EVERYTHING = (Kind.ERRORS, Kind.NOTHING_NEW, Kind.WASTED, Kind.BUDGET)
# What one call does by itself, over and over.
ROUND = (Kind.SAME_OUTCOME, Kind.FAILING_RETRY, Kind.CYCLE, Kind.SAME_WRITE)
ALL_WASTED = (1 << WASTE_WINDOW) - 1
ERRORS_KEPT = 2_000  # characters of an error that are compared: head and tail


class Detector:
    """One run's detector. `before` a call and `after` it; both answer a finding, or None."""

    def __init__(self, thresholds: Thresholds | None = None) -> None:
        self.thresholds = thresholds or Thresholds()
        self._memory = Memory()
        self._labels = Labels()
        self._last: tuple[str, str, int] = ("", "", 0)

    # -- what an agent does -----------------------------------------------------------------

    def before(self, step: Step) -> Circle | None:
        """Why this call must not run, if so. Being asked twice counts as being pushed twice,
        but for the same `attempt_id`.
        """
        again = self.repeats_write(step)
        if again is not None:
            return again
        memory = self._memory
        if not memory.open:
            return None
        key = memory.stopped.get(self._call(step)) or next(
            (key for key, stop in memory.open.items() if _covers(stop, step)), ""
        )
        return self._refusal(key, step) if key else None

    def repeats_write(self, step: Step) -> Circle | None:
        """The part of `before` that no setting and no answer to another circle lifts."""
        if not step.writes:
            return None
        memory, call = self._memory, self._call(step)
        if call not in memory.writes:
            return None
        key = f"{Kind.SAME_WRITE}:{_name([call])}"
        if memory.leave.get(key, 0):
            memory.leave[key] -= 1
            return None
        if key not in memory.open:
            words = told(Kind.SAME_WRITE, step.action, 2, 1, "")
            self._stop(key, Stop(Kind.SAME_WRITE, short(step.action), short(words), 2, 0), [])
        return self._refusal(key, step)

    def after(self, step: Step, end: End) -> Circle | None:
        """Whether this step closes a circle."""
        memory, call = self._memory, self._call(step)
        if step.attempt_id:
            told_as = number_of(step.attempt_id)
            if told_as in memory.ids:
                return None
            remember(memory.ids, told_as, 1, kept_in.MOST_IDS)
        spend(memory, step, end)
        if step.round and self._beside(step.round, call):
            return None
        thresholds = self.thresholds
        limits = thresholds.of_action(step.action) if thresholds.actions else thresholds.limits
        seen = self._note(step, end, call, limits)
        hit = judged(memory, thresholds, limits, step, end, seen)
        return self._found(hit) if hit else None

    # -- what a person answers --------------------------------------------------------------

    def allow(self, key: str, more: int) -> None:
        """A person lets it go on: `more` findings of this circle pass, the last of them asks."""
        self._release(key)
        remember(self._memory.leave, key, max(1, more), kept_in.MOST_LEVELS)

    def steer(self, key: str) -> None:
        """A person gave guidance: it counts anew, and asks on the next level if it comes back."""
        memory = self._memory
        for call in self._release(key):
            memory.failing.pop(call, None)
        remember(memory.levels, key, memory.levels.get(key, 1) + 1, kept_in.MOST_LEVELS)
        memory.leave.pop(key, None)
        memory.since = memory.number
        memory.laps, memory.keys = [0] * (LONGEST_PERIOD + 1), []
        memory.stale = memory.errors = memory.barren = memory.repeated = 0
        memory.alike = ("", 0, 0)

    def circle_of(self, step: Step) -> str:
        """The key of the circle that this call makes by itself, found or not."""
        return _name([self._call(step)])

    @property
    def stopped(self) -> tuple[str, ...]:
        """The keys of the circles that wait for an answer."""
        return tuple(self._memory.open)

    # -- resumes ----------------------------------------------------------------------------

    def dump(self) -> bytes:
        """Its memory as JSON."""
        values = self._memory.dump() | {"labels": list(self._labels.seen.items())}
        return json.dumps([VERSION, values], separators=(",", ":"), default=_iso).encode()

    @classmethod
    def load(cls, state: bytes, thresholds: Thresholds | None = None) -> Self:
        """Raises InvalidInput for a state that this version did not write."""
        made = cls(thresholds)
        try:
            version, values = json.loads(state)
            made._memory = Memory.load({VERSION: values}[version])
            made._labels = Labels(dict(values["labels"]))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise InvalidInput(
                f"state: not written by version {VERSION} of the loop detector "
                f"({error!r:.80}): begin a new one."
            ) from error
        return made

    # -- noting -----------------------------------------------------------------------------

    def _call(self, step: Step) -> int:
        """A number for action and arguments; `before` and `after` share it."""
        action, arguments, call = self._last
        if action != step.action or arguments != step.arguments or not call:
            call = mix(_action(step.action), number_of(step.arguments))
            self._last = (step.action, step.arguments, call)
        return call

    def _beside(self, name: str, call: int) -> bool:
        """Whether the same call was already counted in this round."""
        memory, side = self._memory, number_of(name)
        if side != memory.round:
            memory.round, memory.beside = side, {}
        if call in memory.beside:
            return True
        remember(memory.beside, call, 1, kept_in.MOST_STOPPED)
        return False

    def _note(self, step: Step, end: End, call: int, limits: Limits) -> Seen:
        memory = self._memory
        memory.number += 1
        key = mix(call, self._outcome(step, end, call, limits))
        again = key in memory.known
        if again:
            memory.stale += 1
            laps = memory.laps
            for period, before in enumerate(memory.keys, start=1):
                laps[period] = laps[period] + 1 if before == key else 0
        elif memory.stale:
            memory.stale, memory.laps = 0, [0] * (LONGEST_PERIOD + 1)
        memory.keys.insert(0, key)
        del memory.keys[LONGEST_PERIOD:]
        remember(memory.known, key, 1, kept_in.MOST_KNOWN)
        barren = again or end.failed or end.vetoed
        memory.barren = (memory.barren << 1 | barren) & ALL_WASTED
        memory.repeated = (memory.repeated << 1 | again) & ALL_WASTED
        seen = Seen(
            memory.number,
            call,
            key,
            short(step.action),
            short(step.shown),
            short(end.text),
            end.failed or end.vetoed,
            step.at,
            end.cost,
            end.tokens,
        )
        memory.recent.append(seen)
        self._note_success(step, end, call, again=again)
        return seen

    def _note_success(self, step: Step, end: End, call: int, *, again: bool) -> None:
        memory = self._memory
        if end.failed or end.vetoed:
            memory.errors += 1
            return
        memory.errors = 0
        memory.failing.pop(call, None)
        if memory.alike[0] and memory.alike[0] == short(step.action):
            memory.alike = ("", 0, 0)
        changed = step.writes if end.changed is None else end.changed
        if changed and not again:
            memory.changes += 1
            memory.changed_at = memory.number
        if step.writes:
            memory.wrote(call)

    def _outcome(self, step: Step, end: End, call: int, limits: Limits) -> int:
        """A number that two outcomes share if they say the same."""
        if end.vetoed:
            return VETOED
        if end.failed:
            return number_of(failure_signature(end.error_class, _head_and_tail(end)))
        memory, exact = self._memory, number_of(end.outcome)
        if limits.exact:
            return exact
        room = LONGEST_KEPT if end.text.isascii() else LONGEST_KEPT // 4
        told = end.text if end.whole else ""
        text = without(told, limits.volatile) if len(told) <= room else ""
        if call not in memory.texts:
            outcome = exact
        else:
            before, old = memory.texts[call]
            if before == exact or (text and self._labels.alike(step.action, old, text)):
                outcome = before
            else:  # too long to be kept and compared: without times and ids from its second on
                outcome = exact if text or not told else number_of(steady(told))
        remember(memory.texts, call, (outcome, text), kept_in.MOST_TEXTS)
        return outcome

    # -- findings ---------------------------------------------------------------------------

    def _found(self, hit: Hit) -> Circle | None:
        memory, kind, lap = self._memory, hit.kind, hit.lap
        key = f"{kind}:{hit.scope}" if hit.scope else _name([one.call for one in lap])
        if self._pardoned(key):
            return None
        last, count = lap[-1], hit.times
        attempts = self._attempts(kind, count, lap)
        goes_round = kind in ROUND or len(lap) > 1
        words = hit.words or told(kind, last.action, count, len(lap), last.answer)
        refused = memory.open[key].refused if key in memory.open else 0
        self._stop(
            key, Stop(kind, last.action, short(words), count, refused), [one.call for one in lap]
        )
        return Circle(
            kind=kind,
            key=key,
            action=last.action,
            count=count,
            number=last.number,
            words=words,
            level=memory.levels.get(key, 1),
            refused=refused,
            cycle=tuple(f"{one.action} {one.shown}".strip() for one in lap) if goes_round else (),
            attempts=attempts,
            differences=()
            if kind in EVERYTHING and not goes_round
            else what_differs(attempts, len(lap)),
        )

    def _attempts(self, kind: Kind, count: int, lap: Sequence[Seen]) -> tuple[Side, ...]:
        recent = list(self._memory.recent)
        if kind in (Kind.SAME_OUTCOME, Kind.FAILING_RETRY):
            shown = [one for one in recent if one.call == lap[-1].call]
        elif kind is Kind.SAME_FAILURE:
            shown = [one for one in recent if one.action == lap[-1].action and one.failed]
        else:
            shown = recent
        most = count * len(lap)
        if kind in EVERYTHING:  # steps, or what a budget counts; of a cycle its first lap, too
            most = len(recent) if kind in (Kind.BUDGET, Kind.WASTED) else count + len(lap) - 1
        return tuple(_side(one) for one in shown[-most:])

    def _stop(self, key: str, stop: Stop, calls: Sequence[int]) -> None:
        memory = self._memory
        remember(memory.open, key, stop, kept_in.MOST_OPEN)
        if stop.kind not in EVERYTHING:
            for call in calls:
                remember(memory.stopped, call, key, kept_in.MOST_STOPPED)

    def _refusal(self, key: str, step: Step) -> Circle:
        memory = self._memory
        stop = memory.open.get(key) or Stop(Kind.SAME_OUTCOME, "", "This call was stopped", 0, 0)
        if self._is_push(step):
            stop = stop._replace(refused=stop.refused + 1)
            if stop.refused % PUSHED == 0:
                remember(memory.levels, key, memory.levels.get(key, 1) + 1, kept_in.MOST_LEVELS)
        memory.open[key] = stop
        return Circle(
            kind=Kind(stop.kind),
            key=key,
            action=step.action,
            count=stop.times,
            number=memory.number,
            words=stop.words,
            level=memory.levels.get(key, 1),
            refused=stop.refused,
            cycle=(f"{step.action} {short(step.shown)}".strip(),) if stop.kind in ROUND else (),
        )

    def _is_push(self, step: Step) -> bool:
        """Not the same one, told once more: a command that lost a race, or is said again."""
        if not step.attempt_id:
            return True
        told_as, pushes = number_of(step.attempt_id), self._memory.pushes
        new = told_as not in pushes
        remember(pushes, told_as, 1, kept_in.MOST_IDS)
        return new

    def _pardoned(self, key: str) -> bool:
        """Uses up one of the findings that a person lets pass."""
        left = self._memory.leave.get(key, 0)
        if left:
            self._memory.leave[key] = left - 1
        return left > 1

    def _release(self, key: str) -> list[int]:
        memory = self._memory
        memory.open.pop(key, None)
        calls = [call for call, name in memory.stopped.items() if name == key]
        for call in calls:
            del memory.stopped[call]
        return calls


def _covers(stop: Stop, step: Step) -> bool:
    """Whether a finding stops calls that it has not seen: all of the run, or of one action, which
    fails whatever it is given.
    """
    guessing = stop.kind == Kind.SAME_FAILURE and stop.action == short(step.action)
    return guessing or stop.kind in EVERYTHING


def _side(one: Seen) -> Side:
    return Side(
        number=one.number,
        action=one.action,
        arguments=one.shown,
        answer=one.answer,
        failed=one.failed,
        at=one.at,
        cost=one.cost,
        tokens=one.tokens,
    )


def _iso(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(value)


def _head_and_tail(end: End) -> str:
    text = end.text or end.outcome
    half = ERRORS_KEPT // 2
    return text if len(text) <= ERRORS_KEPT else f"{text[:half]} {text[-half:]}"


@lru_cache(maxsize=256)
def _action(name: str) -> int:
    return number_of(f"action {name}")


def _name(calls: Sequence[int]) -> str:
    """The same whatever call of the cycle it is found at."""
    return number_of(" ".join(str(one) for one in sorted(set(calls)))).to_bytes(8, "big").hex()
