"""The `calendars` of a policy file: when an office is open, by weekday, without its holidays."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import yaml

from gates.core.calendars import MINUTES, WEEKDAYS, Calendar, Span
from gates.core.model import Json
from gates.core.policy.places import Place
from gates.core.yaml_file import Fields, YamlFile, cure, shown, text_of

NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_SPAN = re.compile(r"([0-2][0-9]):([0-5][0-9])-([0-2][0-9]):([0-5][0-9])")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_Placed = tuple[Span, yaml.Node]


SCHEMA: Json = {
    "type": "object",
    "propertyNames": {"pattern": f"^{NAME.pattern}$"},
    "additionalProperties": {
        "type": "object",
        "additionalProperties": False,
        "required": ["zone", "hours"],
        "properties": {
            "zone": {"type": "string"},
            "hours": {"type": "object"},
            "holidays": {"anyOf": [{"type": "string"}, {"type": "array", "minItems": 1}]},
        },
    },
}
DEFAULT_SCHEMA: Json = {"type": "string", "pattern": f"^{NAME.pattern}$"}


def read_calendars(place: Place) -> Mapping[str, Calendar | None]:
    """By name; None for one with a mistake, which has been noted."""
    if not isinstance(place.node, yaml.MappingNode):
        words = f"calendars {shown(place.node)} is not a mapping: write each as `name: …`"
        place.note(place.node, words)
        return {}
    return {name: _calendar(place.file, name, node) for name, node in place.each()}


def read_default(place: Place) -> Calendar | None:
    """The one in which rules are told the time."""
    name = text_of(place.file, place.node, place.key)
    return None if name is None else place.asks.calendar(name, place.node)


def _calendar(file: YamlFile, name: str, node: yaml.Node) -> Calendar | None:
    if not NAME.fullmatch(name):
        file.note(node, f"a calendar cannot be named {name!r}: write lower-case letters, 0-9 _ -")
    fields = Fields(file, node, f"calendar {name!r}", ("zone", "hours", "holidays"))
    fields.require("zone", "hours")
    zone, hours = _zone(fields), _hours(file, fields, name)
    holidays = _holidays(file, fields)
    if zone is None or hours is None:
        return None
    return Calendar(name=name, zone=zone, hours=hours, holidays=holidays)


def _zone(fields: Fields) -> str | None:
    text = fields.text("zone")
    if text is None:
        return None
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        near = cure(text, available_timezones())
        words = near if near.startswith("did") else "write one such as Europe/Berlin"
        fields.file.note(fields.values["zone"], f"unknown zone {text!r}: {words}")
        return None
    return text


def _hours(file: YamlFile, fields: Fields, name: str) -> tuple[tuple[Span, ...], ...] | None:
    node = fields.values.get("hours")
    if node is None:
        return None
    if not isinstance(node, yaml.MappingNode):
        file.note(node, f'hours {shown(node)} is not a mapping: write `mon-fri: ["09:00-17:00"]`')
        return None
    week: list[list[_Placed]] = [[] for _ in WEEKDAYS]
    keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
    days = Fields(file, node, "hours", keys)
    for key in days.values:
        where = next(one for one, _ in node.value if one.value == key)
        spans = [(span, at) for text, at in days.texts(key) if (span := _span(file, text, at))]
        for weekday in _weekdays(file, key, where):
            week[weekday].extend(spans)
    _refuse_overlaps(file, week)
    if not any(week):
        file.note(node, f"calendar {name!r} is never open: give at least one day hours")
        return None
    return tuple(tuple(sorted(span for span, _ in day)) for day in week)


def _weekdays(file: YamlFile, key: str, node: yaml.Node) -> range:
    first, _, last = key.partition("-")
    last = last or first
    for word in (first, last):
        if word not in WEEKDAYS:
            file.note(node, f"unknown day {word!r} in {key!r}: {cure(word, WEEKDAYS)}")
            return range(0)
    start, end = WEEKDAYS.index(first), WEEKDAYS.index(last)
    if end < start:
        file.note(node, f"{key!r} runs backwards: a week begins with mon; write two entries")
    return range(start, end + 1)


def _span(file: YamlFile, text: str, node: yaml.Node) -> Span | None:
    found = _SPAN.fullmatch(text)
    if found is None:
        file.note(node, f'hours {text!r} is not a span: write "09:00-17:00"')
        return None
    start = int(found[1]) * 60 + int(found[2])
    end = int(found[3]) * 60 + int(found[4])
    if start >= end or end > MINUTES:
        file.note(
            node,
            f"hours {text!r} does not end after it begins, on the same day: write 24:00 for "
            "midnight, and what follows it under the next day",
        )
        return None
    return start, end


def _refuse_overlaps(file: YamlFile, week: list[list[_Placed]]) -> None:
    for weekday, placed in zip(WEEKDAYS, week, strict=True):
        for (before, _), (after, node) in pairwise(sorted(placed, key=lambda one: one[0])):
            if after[0] < before[1]:
                file.note(
                    node,
                    f"hours {_told(after)} overlap {_told(before)} on {weekday}: join them or "
                    "remove one",
                )


def _told(span: Span) -> str:
    (start, end) = span
    return f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"


def _holidays(file: YamlFile, fields: Fields) -> tuple[date, ...]:
    found: set[date] = set()
    for text, node in fields.texts("holidays"):
        try:
            day = date.fromisoformat(text) if _DATE.fullmatch(text) else None
        except ValueError:
            day = None
        if day is None:
            file.note(node, f"holiday {text!r} is no date: write 2026-12-25")
        elif day in found:
            file.note(node, f"holiday {text!r} stands twice: keep one of them")
        else:
            found.add(day)
    return tuple(sorted(found))
