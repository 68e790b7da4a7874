"""Reads who decides for whom and when, out of a people file.

zone: Europe/Berlin                   # of times without one; UTC where it is left out
delegations:
  - from: dana
    to: mika
    scope: ["erp.payment.*"]          # actions; all where it is left out
    starts: 2026-12-01T09:00          # at once where it is left out
    until: 2026-12-24                 # for good where it is left out; a date is the whole day
    because: Dana is on parental leave
out_of_office:
  - {person: dana, from: 2026-12-01, until: 2026-12-24}
on_call:
  finance: {rota: [dana, mika], starts: 2026-11-30T09:00, every: 7d, zone: Europe/Berlin}
  night: {group: controllers, starts: 2026-11-30T18:00, every: 1d}   # its members, in their order
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import yaml

from gates.core.asked import Person
from gates.core.people.cover import EVERYTHING, Absence, Cover, Delegation, OnCall
from gates.core.policy.patterns import PATTERN, may_meet
from gates.core.yaml_file import Fields, YamlFile, cure

COVER_KEYS = ("zone", "delegations", "out_of_office", "on_call")
DELEGATION_KEYS = ("from", "to", "scope", "starts", "until", "because")
ABSENCE_KEYS = ("person", "from", "until")
ON_CALL_KEYS = ("group", "rota", "starts", "every", "zone")
EVERY = re.compile(r"([0-9]{1,3})([dw])")
DAYS = {"d": 1, "w": 7}
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
TIME = re.compile(DATE.pattern + r"[T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})?")


def read_cover(
    file: YamlFile, top: Fields, people: Sequence[Person], groups: Mapping[str, str]
) -> Cover:
    """Notes what is wrong with it: unknown people, reversed times, circles."""
    reader = _Reader(file, people, groups, zone_of(file, top) or UTC)
    return Cover(
        delegations=tuple(reader.delegations(top)),
        absences=tuple(reader.absences(top)),
        on_call=reader.on_call(top),
    )


class _Reader:
    def __init__(
        self, file: YamlFile, people: Sequence[Person], groups: Mapping[str, str], zone: tzinfo
    ) -> None:
        self.file = file
        self.people = {one.id: one for one in people}
        self.groups = groups
        self.zone = zone

    def delegations(self, top: Fields) -> Iterator[Delegation]:
        read: list[Delegation] = []
        for node in top.items("delegations"):
            fields = Fields(self.file, node, "a delegation", DELEGATION_KEYS)
            fields.require("from", "to")
            giver, taker = self._person(fields, "from"), self._person(fields, "to")
            scope = self._scope(fields)
            starts, until = self._span(fields, "starts")
            if giver is None or taker is None:
                continue
            if giver == taker:
                self.file.note(fields.values["to"], f"{giver!r} delegates to nobody else: {_OTHER}")
                continue
            one = Delegation(
                giver=giver,
                taker=taker,
                scope=scope,
                starts=starts,
                until=until,
                because=fields.text("because") or "",
            )
            circle = _circle(one, read)
            if circle:
                steps = ", ".join(f"{step.giver} to {step.taker}" for step in circle)
                self.file.note(
                    node,
                    f"this closes a circle ({steps}), at the same time and for the same actions: "
                    "end one of them earlier, narrow its scope, or name somebody else",
                )
            read.append(one)
            yield one

    def absences(self, top: Fields) -> Iterator[Absence]:
        for node in top.items("out_of_office"):
            fields = Fields(self.file, node, "an absence", ABSENCE_KEYS)
            fields.require("person", "from", "until")
            person = self._person(fields, "person")
            starts, until = self._span(fields, "from")
            if person is not None:
                yield Absence(person=person, starts=starts, until=until)

    def on_call(self, top: Fields) -> dict[str, OnCall]:
        node = top.values.get("on_call")
        if node is None:
            return {}
        fields = Fields(self.file, node, "on_call", list(self.groups))
        found = {group: self._turns(group, one) for group, one in fields.values.items()}
        return {group: one for group, one in found.items() if one is not None}

    def _turns(self, group: str, node: yaml.Node) -> OnCall | None:
        fields = Fields(self.file, node, f"on_call of {group!r}", ON_CALL_KEYS)
        fields.require("starts", "every")
        if self.groups[group]:
            self.file.note(node, f"group {group!r} has its members from Slack: remove one of them")
        rota = self._rota(fields, group)
        every = self._every(fields)
        zone = zone_of(self.file, fields) or self.zone
        starts = self._time(fields, "starts", UTC)
        if (
            starts is not None
            and (found := TIME.fullmatch(fields.text("starts") or ""))
            and found[2]
        ):
            self.file.note(
                fields.values["starts"],
                f"starts goes by the rota's own clock: leave {found[2]!r} out and say `zone`",
            )
        if not rota or every is None or starts is None:
            return None
        wall = starts.replace(tzinfo=None)
        return OnCall(rota=rota, starts=wall, every=every, zone=str(zone))

    def _rota(self, fields: Fields, group: str) -> tuple[str, ...]:
        if ("rota" in fields) == ("group" in fields):
            self.file.note(fields.node, f"on_call of {group!r} wants `rota` or `group`: write one")
            return ()
        if "group" in fields:
            return self._group_rota(fields, group)
        found: list[str] = []
        for text, node in fields.texts("rota"):
            if text not in self.people:
                self.file.note(node, f"unknown person {text!r}: {cure(text, self.people)}")
            elif text in found:
                self.file.note(node, f"{text!r} stands twice on this rota: remove one")
            found.append(text)
        return tuple(found)

    def _group_rota(self, fields: Fields, group: str) -> tuple[str, ...]:
        name, node = fields.text("group"), fields.values["group"]
        if name is None:
            return ()
        if name not in self.groups or name == group:
            others = [one for one in self.groups if one != group]
            self.file.note(node, f"group {name!r} is no other group: {cure(name, others)}")
            return ()
        found = tuple(one.id for one in self.people.values() if name in one.groups)
        if not found:
            self.file.note(node, f"group {name!r} has no members in this file: write a `rota`")
        return found

    def _every(self, fields: Fields) -> int | None:
        text = fields.text("every")
        if text is None:
            return None
        found = EVERY.fullmatch(text)
        if not found or not int(found[1]):
            self.file.note(
                fields.values["every"], f"every {text!r} is not a number of days: write 1d or 7d"
            )
            return None
        return int(found[1]) * DAYS[found[2]]

    def _person(self, fields: Fields, key: str) -> str | None:
        text = fields.text(key)
        if text is not None and text not in self.people:
            self.file.note(
                fields.values[key], f"{key} {text!r} is nobody here: {cure(text, self.people)}"
            )
            return None
        return text

    def _scope(self, fields: Fields) -> tuple[str, ...]:
        found = fields.texts("scope")
        for text, node in found:
            if not PATTERN.fullmatch(text):
                self.file.note(
                    node, f"scope {text!r} names no action: write letters, digits, . _ - and *"
                )
        return tuple(text for text, _ in found) or EVERYTHING

    def _span(self, fields: Fields, first: str) -> tuple[datetime | None, datetime | None]:
        starts = self._time(fields, first, self.zone)
        until = self._time(fields, "until", self.zone, last=True)
        if starts is not None and until is not None and until <= starts:
            self.file.note(
                fields.values["until"],
                f"until {fields.text('until')!r} is not after {first} {fields.text(first)!r}: "
                "exchange them",
            )
        return starts, until

    def _time(
        self, fields: Fields, key: str, zone: tzinfo, *, last: bool = False
    ) -> datetime | None:
        text = fields.text(key)
        if text is None:
            return None
        try:
            if not DATE.fullmatch(text) and not TIME.fullmatch(text):
                raise ValueError  # noqa: TRY301 - other forms of ISO 8601 mislead who reads them
            found = datetime.fromisoformat(text)
            if DATE.fullmatch(text) and last:
                found += timedelta(days=1)  # the whole day
            aware = found if found.tzinfo else found.replace(tzinfo=zone)
            return aware.astimezone(UTC)
        except (ValueError, OverflowError):
            self.file.note(
                fields.values[key],
                f"{key} {text!r} is not a time: write 2026-12-24 or 2026-12-24T09:00",
            )
            return None


def zone_of(file: YamlFile, fields: Fields) -> ZoneInfo | None:
    """The time zone that stands there, if one does."""
    text = fields.text("zone")
    if text is None:
        return None
    try:
        return ZoneInfo(text)
    except (KeyError, OSError, ValueError):  # not found, a folder of zones, or a path
        file.note(fields.values["zone"], f"unknown zone {text!r}: write one like Europe/Berlin")
        return None


def _circle(new: Delegation, before: Iterable[Delegation]) -> list[Delegation]:
    """The delegations that lead from who takes `new` back to who gives it, at one instant of it."""
    near = [one for one in before if may_meet(one.scope, new.scope)]
    instants = {new.starts, *(one.starts for one in near)}
    for instant in sorted(instants, key=_begin):
        now = [one for one in near if _holds(one, instant)]
        path = _path(new.taker, new.giver, now) if _holds(new, instant) else []
        if path:
            return [new, *path]
    return []


def _path(giver: str, target: str, delegations: Sequence[Delegation]) -> list[Delegation]:
    came: dict[str, list[Delegation]] = {giver: []}
    reached = [giver]
    for person in reached:
        for one in delegations:
            if one.giver == person and one.taker not in came:
                came[one.taker] = [*came[person], one]
                reached.append(one.taker)
    return came.get(target, [])


def _holds(one: Delegation, instant: datetime | None) -> bool:
    """`instant` None: before all times."""
    return one.starts is None if instant is None else one.holds(instant)


def _begin(instant: datetime | None) -> float:
    return instant.timestamp() if instant else float("-inf")


_OTHER = "name another person"
