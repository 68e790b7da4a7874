"""Working time: when an office is open, and how long until so much of it has gone by. Pure.

Rules, each with what it protects from:
1. Hours are what the clock on the wall shows; what passes is counted as it passes (on the night the
   clocks change, a span over it is an hour shorter or longer).
2. A span begins and ends at the first instant at which that clock shows its time or a later one
   (a time that is skipped still opens the office; a time that comes twice opens it once).
3. A holiday is a date there, whole: nothing of that date is open.
4. `add` gives the first instant at which the time has gone by (so the last minute of a day ends
   that day, and not at the next opening).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

from gates.core.value import Value

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MINUTES = 24 * 60  # of a day
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)

Span = tuple[int, int]  # minutes of the day: from, and until (not included)


class Calendar(Value):
    """`hours`: the spans of each weekday from Monday on, in order, none over another; at least one
    in the week.
    """

    name: str
    zone: str
    hours: tuple[tuple[Span, ...], ...]
    holidays: tuple[date, ...] = ()

    @cached_property
    def place(self) -> ZoneInfo:
        return ZoneInfo(self.zone)

    @property
    def weekly(self) -> timedelta:
        """How long it is open in a week without holidays."""
        return timedelta(minutes=sum(end - start for day in self.hours for start, end in day))

    def is_open(self, at: datetime) -> bool:
        for start, end in self._spans(at):
            if end > at:
                return start <= at
        return False

    def add(self, start: datetime, worked: timedelta) -> datetime:
        """The first instant by which so much working time has passed since `start`."""
        left = worked
        if left <= timedelta():
            return start
        for opens, closes in self._spans(start):
            begins = max(opens, start)
            if begins + left <= closes:
                return begins + left
            left -= max(closes - begins, timedelta())
        raise OverflowError(f"{self.name} has no {worked} left")

    def elapsed(self, start: datetime, end: datetime) -> timedelta:
        """The working time between the two; nothing where `end` is not after `start`."""
        total = timedelta()
        for opens, closes in self._spans(start):
            if opens >= end:
                break
            total += max(min(closes, end) - max(opens, start), timedelta())
        return total

    def _spans(self, since: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Every span that ends after `since`, in order, in UTC."""
        holidays = frozenset(self.holidays)
        day = since.astimezone(self.place).date() - _DAY  # a night's clock change may reach back
        while day < date.max - _DAY:
            if day not in holidays:
                for start, end in self.hours[day.weekday()]:
                    opens, closes = self._instant(day, start), self._instant(day, end)
                    if closes > since:
                        yield opens, closes
            day += _DAY

    def _instant(self, day: date, minutes: int) -> datetime:
        """The first instant at which the clock there shows this time or a later one."""
        shown = datetime.combine(day, time()) + timedelta(minutes=minutes)
        local = shown.replace(tzinfo=self.place)
        first, second = local.astimezone(UTC), local.replace(fold=1).astimezone(UTC)
        if second >= first:
            return first
        while first - second > _SECOND:  # skipped: the clocks jump somewhere between the two
            middle = second + (first - second) // 2
            if middle.astimezone(self.place).replace(tzinfo=None) >= shown:
                first = middle
            else:
                second = middle
        return first.replace(microsecond=0)


def between(start: datetime, end: datetime, calendar: Calendar | None) -> timedelta:
    """What passes between the two, counted in the calendar where there is one; nothing where `end`
    is not after `start`.
    """
    return calendar.elapsed(start, end) if calendar else max(end - start, timedelta())


def moved(
    moment: datetime, since: datetime, until: datetime, calendar: Calendar | None
) -> datetime:
    """What was left at `since` until `moment` counts from `until` on; what is past stays."""
    if moment <= since:
        return moment
    left = between(since, moment, calendar)
    return calendar.add(until, left) if calendar else until + left


def later(start: datetime, seconds: int, calendar: Calendar | None) -> datetime:
    """`start` and so many seconds, counted in the calendar where there is one."""
    span = timedelta(seconds=seconds)
    return calendar.add(start, span) if calendar else start + span
