"""The `ask` of a policy file: whom to ask, how many of them, for how long, where."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Literal, Protocol

import yaml

from gates.core.calendars import Calendar
from gates.core.errors import UnknownPerson
from gates.core.model import Ask, Person, Rung
from gates.core.quorum import unmet
from gates.core.yaml_file import Fields, YamlFile, cure

ASK_KEYS = (
    *("who", "quorum", "deadline", "valid", "from_each"),
    *("escalate_to", "reason", "notify", "channel", "calendar", "ladder"),
)
CHANNEL = re.compile(r"[CG][A-Z0-9]{2,30}")
STEPS: dict[str, Literal["widen", "replace"]] = {"widen": "widen", "replace": "replace"}
WAYS: dict[str, Literal["channel", "direct"]] = {"channel": "channel", "direct": "direct"}
LONGEST_DEADLINE = 366 * 86_400
LONGEST_WEEKS = 104  # in which a deadline of working time must come
_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:[0-9]{1,6}[dhms])+")


class Groups(Protocol):
    """What a policy needs of a directory: who could ever be in one of the groups. An unknown
    group raises UnknownPerson.
    """

    def candidates(self, groups: Sequence[str]) -> Sequence[Person]: ...


class Asks:
    """Reads one `ask` after the other, and notes what can never be met."""

    def __init__(self, file: YamlFile, directory: Groups) -> None:
        self.file = file
        self.directory = directory
        self.calendars: Mapping[str, Calendar] = {}
        self.known_calendars: Sequence[str] = ()  # those with a mistake, too

    def read(self, fields: Fields, default: Ask | None) -> Ask | None:
        """An `ask`; what it leaves out is as in `default`. None where there is none."""
        node = fields.values.get("ask")
        if node is None:
            return None
        ask = Fields(self.file, node, "ask", ASK_KEYS)
        if default is None:
            ask.require("who")
        base = default or Ask(who=())
        who = tuple(group for group, where in ask.texts("who") if self._is_group(group, where))
        whom = who if "who" in ask else base.who
        found = Ask(
            who=whom,
            quorum=ask.integer("quorum", least=1) or base.quorum,
            deadline_seconds=self.duration(ask, "deadline") or base.deadline_seconds,
            valid_seconds=self.duration(ask, "valid") or base.valid_seconds,
            from_each=self._from_each(ask, whom, base),
            notify=self._notify(ask) or base.notify,
            channel=self._channel(ask) or base.channel,
            escalate_to=self._escalate_to(ask, whom, base),
            reason=bool(base.reason if (said := ask.truth("reason")) is None else said),
            calendar=self.calendar(ask) or base.calendar,
        )
        found = found.model_copy(update={"ladder": self._ladder(ask, found, base)})
        self._prove_time(found, ask.values.get("deadline", ask.values.get("calendar", node)))
        people = self.people(found.who)
        self._prove_each(found, ask.values.get("from_each", node))
        if found.who and found.quorum > people:
            self.file.note(
                ask.values.get("quorum", node),
                f"quorum {found.quorum} of {', '.join(found.who)} can never be reached, "
                f"{are(people)} there: lower it or name more groups",
            )
        return found

    @staticmethod
    def _from_each(ask: Fields, whom: tuple[str, ...], base: Ask) -> tuple[str, ...]:
        said = ask.truth("from_each")
        if said is None:  # as the defaults have it, for the groups named here
            said = bool(base.from_each)
        return whom if said else ()

    def _notify(self, ask: Fields) -> tuple[Literal["channel", "direct"], ...]:
        found = ask.texts("notify") if "notify" in ask else []
        for text, node in found:
            if text not in WAYS:
                self.file.note(node, f"unknown notify {text!r}: {cure(text, WAYS)}")
        return tuple(dict.fromkeys(WAYS[text] for text, _ in found if text in WAYS))

    def _channel(self, ask: Fields) -> str:
        text = ask.text("channel") or ""
        if text and not CHANNEL.fullmatch(text):
            self.file.note(
                ask.values["channel"],
                f"channel {text!r} is no channel's id: write it as Slack shows it at the end of "
                "the channel's details, such as C0123ABCD",
            )
            return ""
        return text

    def _escalate_to(self, ask: Fields, whom: tuple[str, ...], base: Ask) -> tuple[str, ...]:
        if "escalate_to" not in ask:
            return base.escalate_to
        groups = tuple(
            group for group, where in ask.texts("escalate_to") if self._is_group(group, where)
        )
        if groups and set(groups) <= set(whom):
            self.file.note(
                ask.values["escalate_to"],
                f"escalate_to {', '.join(groups)} is asked anyway: name another group",
            )
        return groups

    def calendar(self, fields: Fields) -> Calendar | None:
        name = fields.text("calendar")
        if name is not None and name not in self.known_calendars:
            known = cure(name, self.known_calendars) if self.known_calendars else "there is none"
            self.file.note(
                fields.values["calendar"],
                f"unknown calendar {name!r}: {known}; `calendars` at the top says what it is",
            )
        return self.calendars.get(name or "")

    def _ladder(self, ask: Fields, found: Ask, base: Ask) -> tuple[Rung, ...]:
        """What is taken from the defaults ends where this deadline is shorter."""
        if "ladder" not in ask:
            inherited = tuple(one for one in base.ladder if one.seconds < found.deadline_seconds)
            for rung in inherited:
                self._prove_rung(rung, found, ask.node)
            return inherited
        written = ask.values["ladder"]
        if isinstance(written, yaml.SequenceNode) and not written.value:
            return ()  # none, whatever the defaults have
        rungs: list[Rung] = []
        for node in ask.items("ladder"):
            one = self._rung(node)
            if one is None:
                continue
            if rungs and one.seconds <= rungs[-1].seconds:
                self.file.note(node, "this rung is not after the one before it: order them by time")
            if one.seconds >= found.deadline_seconds:
                self.file.note(
                    node, "this rung comes when the deadline has passed: put it before the deadline"
                )
            self._prove_rung(one, found, node)
            rungs.append(one)
        return tuple(rungs)

    def _rung(self, node: yaml.Node) -> Rung | None:
        fields = Fields(self.file, node, "a rung", ("after", *STEPS))
        fields.require("after")
        seconds = self.duration(fields, "after")
        steps = [step for step in STEPS if step in fields]
        if len(steps) != 1:
            self.file.note(node, "a rung has one of widen and replace: write one")
            return None
        groups = [group for group, where in fields.texts(steps[0]) if self._is_group(group, where)]
        if seconds is None or not groups:
            return None
        return Rung(seconds=seconds, step=STEPS[steps[0]], who=tuple(groups))

    def _prove_rung(self, rung: Rung, ask: Ask, node: yaml.Node) -> None:
        people, least = self.people(rung.who), 1 if rung.step == "widen" else ask.quorum
        if people < least:
            self.file.note(
                node,
                f"{rung.step} {', '.join(rung.who)}: {least} are needed, {are(people)} there: "
                "name more groups, or write `ladder: []`",
            )
        if rung.step == "replace" and ask.from_each:
            self.file.note(node, "replace contradicts from_each, whose groups it takes away: widen")

    def _prove_time(self, ask: Ask, node: yaml.Node) -> None:
        if ask.calendar is None:
            return
        deadline = timedelta(seconds=ask.deadline_seconds)
        if deadline > ask.calendar.weekly * LONGEST_WEEKS:
            self.file.note(
                node,
                f"a deadline of {deadline} working time is more than {LONGEST_WEEKS} weeks of "
                f"{ask.calendar.name!r}: shorten it (8h is a day of eight hours, 1d is 24 hours)",
            )

    def _prove_each(self, ask: Ask, node: yaml.Node) -> None:
        members = {group: self._ids([group]) for group in ask.from_each}
        lonely = unmet(members, sorted(set().union(*members.values())))
        if lonely:
            self.file.note(
                node,
                f"from_each of {', '.join(ask.from_each)}: {', '.join(lonely)} has nobody who does "
                "not stand for another of these groups: put more people into it",
            )

    def _is_group(self, group: str, node: yaml.Node) -> bool:
        try:
            self.directory.candidates([group])
        except UnknownPerson as error:
            self.file.note(node, error.message.rstrip("."))
            return False
        return True

    def people(self, groups: Sequence[str]) -> int:
        return len(self._ids(groups))

    def _ids(self, groups: Sequence[str]) -> set[str]:
        return {person.id for person in self.directory.candidates(groups)} if groups else set()

    def duration(self, fields: Fields, key: str) -> int | None:
        text = fields.text(key)
        if text is None:
            return None
        node = fields.values[key]
        if not _DURATION.fullmatch(text):
            self.file.note(node, f"{key} {text!r} is not a duration: write 30m, 24h or 2d12h")
            return None
        parts = re.findall(r"([0-9]+)([dhms])", text)
        seconds = sum(int(number) * _SECONDS[unit] for number, unit in parts)
        if not 0 < seconds <= LONGEST_DEADLINE:
            self.file.note(node, f"{key} {text!r} is not between 1s and 366d: choose another")
            return None
        return seconds


def are(people: int) -> str:
    return f"and {people} {'person is' if people == 1 else 'people are'}"
