"""The `ask` of a policy file: whom to ask, how many of them, for how long, where."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, Protocol

import yaml

from gates.core.asked import Ask, Person, RoleAsked
from gates.core.calendars import Calendar
from gates.core.errors import UnknownPerson
from gates.core.policy.assurances import assurance
from gates.core.policy.ladders import are, keeps_open, read_ladder, read_remind
from gates.core.quorum import unmet
from gates.core.yaml_file import Fields, YamlFile, cure

ASK_KEYS = (
    *("who", "quorum", "deadline", "valid", "from_each"),
    *("escalate_to", "reason", "notify", "channel", "roles", "assurance", "calendar", "ladder"),
    *("remind", "at_end"),
)
CHANNEL = re.compile(r"[CG][A-Z0-9]{2,30}")
WAYS: dict[str, Literal["channel", "direct"]] = {"channel": "channel", "direct": "direct"}
LONGEST_DEADLINE = 366 * 86_400
LONGEST_WEEKS = 104  # in which a deadline of working time must come
_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:[0-9]{1,6}[dhms])+")


class Groups(Protocol):
    """What a policy needs of a directory: who could ever be in one of the groups, how many of them
    at one moment, and which roles there are. An unknown group raises UnknownPerson.
    """

    @property
    def roles(self) -> Sequence[str]: ...
    def candidates(self, groups: Sequence[str]) -> Sequence[Person]: ...
    def most(self, groups: Sequence[str]) -> int: ...


class Asks:
    """Reads one `ask` after the other, and notes what can never be met. `sections`: what the policy
    says elsewhere, as far as it has been read.
    """

    def __init__(
        self, file: YamlFile, directory: Groups, sections: Mapping[str, Any] | None = None
    ) -> None:
        self.file = file
        self.directory = directory
        self.sections = {} if sections is None else sections

    def read(self, fields: Fields, default: Ask | None) -> Ask | None:
        """An `ask`; what it leaves out is as in `default`. None where there is none."""
        node = fields.values.get("ask")
        if node is None:
            return None
        ask = Fields(self.file, node, "ask", ASK_KEYS)
        if default is None:
            ask.require("who")
        base = default or Ask(who=())
        who = tuple(group for group, where in ask.texts("who") if self.is_group(group, where))
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
            roles=self._roles(ask, whom, base),
            assurance=assurance(ask) or base.assurance,
            calendar=self._calendar(ask) or base.calendar,
            keep_open=keeps_open(self, ask, base),
        )
        found = found.model_copy(
            update={
                "ladder": read_ladder(self, ask, found, base),
                "remind": read_remind(self, ask, found, base),
            }
        )
        self._prove_time(found, ask.values.get("deadline", ask.values.get("calendar", node)))
        people = self.people(found.who)
        self._prove_roles(found, ask.values.get("roles", node))
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
            group for group, where in ask.texts("escalate_to") if self.is_group(group, where)
        )
        if groups and set(groups) <= set(whom):
            self.file.note(
                ask.values["escalate_to"],
                f"escalate_to {', '.join(groups)} is asked anyway: name another group",
            )
        return groups

    def _calendar(self, ask: Fields) -> Calendar | None:
        name = ask.text("calendar")
        return None if name is None else self.calendar(name, ask.values["calendar"])

    def calendar(self, name: str, node: yaml.Node) -> Calendar | None:
        calendars: Mapping[str, Calendar | None] = self.sections.get("calendars", {})
        if name not in calendars:
            known = cure(name, calendars) if calendars else "there is none"
            words = f"unknown calendar {name!r}: {known}; `calendars` at the top says what it is"
            self.file.note(node, words)
        return calendars.get(name)

    def within(self, fields: Fields, ask: Ask, seconds: int) -> Ask:
        """The same for so long; the ladder ends where the time does, and the question, too."""
        rungs = tuple(one for one in ask.ladder if one.seconds < seconds)
        remind = tuple(one for one in ask.remind if one < seconds)
        time = {"deadline_seconds": seconds, "ladder": rungs, "remind": remind, "keep_open": False}
        found = ask.model_copy(update=time)
        self._prove_time(found, fields.node)
        return found

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

    def _roles(self, ask: Fields, whom: tuple[str, ...], base: Ask) -> tuple[RoleAsked, ...]:
        if "roles" not in ask:  # as the defaults have it, out of the groups named here
            return tuple(RoleAsked(role=one.role, among=whom) for one in base.roles)
        known, found = self.directory.roles, list[str]()
        for role, node in ask.texts("roles"):
            if role not in known:
                self.file.note(node, f"unknown role {role!r}: {cure(role, known)}")
            elif role in found:
                self.file.note(node, f"role {role!r} stands twice: nobody is in it for two")
            else:
                found.append(role)
        return tuple(RoleAsked(role=role, among=whom) for role in found)

    def _prove_roles(self, ask: Ask, node: yaml.Node) -> None:
        """Somebody in each role, nobody in two of them."""
        people = self.directory.candidates(ask.who) if ask.who else ()
        held = {
            one.role: [person.id for person in people if one.role in person.roles]
            for one in ask.roles
        }
        where = ", ".join(ask.who)
        for role, ids in held.items():
            if people and not ids:
                self.file.note(
                    node, f"role {role!r} is held by nobody in {where}: give it to somebody there"
                )
        lonely = unmet(held, sorted({one for ids in held.values() for one in ids}))
        if lonely and all(held.values()):
            self.file.note(
                node,
                f"roles {', '.join(held)}: {', '.join(lonely)} has nobody in {where} who is not "
                "wanted for another of these roles: give it to more people",
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
        for group, one in [] if lonely else self._turns(members):
            alone = members | {group: {one}}
            lonely = unmet(alone, sorted(set().union(*alone.values())))
            if lonely:
                self.file.note(
                    node,
                    f"from_each of {', '.join(ask.from_each)}: while {one!r} is on call for "
                    f"{group!r} nobody stands for {', '.join(lonely)}: put more people into it",
                )

    def _turns(self, members: Mapping[str, set[str]]) -> list[tuple[str, str]]:
        """Each whose turn it could be, where a group has one of several at a time."""
        return [
            (group, one)
            for group, ids in members.items()
            if len(ids) > self.directory.most([group])
            for one in sorted(ids)
        ]

    def is_group(self, group: str, node: yaml.Node) -> bool:
        try:
            self.directory.candidates([group])
        except UnknownPerson as error:
            self.file.note(node, error.message.rstrip("."))
            return False
        return True

    def people(self, groups: Sequence[str]) -> int:
        """How many there can be at once: of a group on call it is one."""
        return self.directory.most(groups) if groups else 0

    def _ids(self, groups: Sequence[str]) -> set[str]:
        return {person.id for person in self.directory.candidates(groups)} if groups else set()

    def duration(self, fields: Fields, key: str) -> int | None:
        text = fields.text(key)
        return None if text is None else self.seconds(key, text, fields.values[key])

    def seconds(self, key: str, text: str, node: yaml.Node) -> int | None:
        if not _DURATION.fullmatch(text):
            self.file.note(node, f"{key} {text!r} is not a duration: write 30m, 24h or 2d12h")
            return None
        parts = re.findall(r"([0-9]+)([dhms])", text)
        seconds = sum(int(number) * _SECONDS[unit] for number, unit in parts)
        if not 0 < seconds <= LONGEST_DEADLINE:
            self.file.note(node, f"{key} {text!r} is not between 1s and 366d: choose another")
            return None
        return seconds
