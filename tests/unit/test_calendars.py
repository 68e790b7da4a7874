"""Working time in Berlin, Sydney and elsewhere, over the nights on which the clocks change."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gates.core.calendars import Calendar, later

OFFICE = ((9 * 60, 12 * 60), (13 * 60, 17 * 60))
HOUR = timedelta(hours=1)


def office(zone: str = "Europe/Berlin", holidays: tuple[date, ...] = ()) -> Calendar:
    return Calendar(name="office", zone=zone, hours=(OFFICE,) * 5 + ((), ()), holidays=holidays)


def daily(start: int, end: int, zone: str = "Europe/Berlin") -> Calendar:
    """The same span, in minutes of the day, on every day of the week."""
    return Calendar(name="daily", zone=zone, hours=(((start, end),),) * 7)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("start", "hours", "end"),
    [
        ("2026-11-23T10:00+01:00", 1, "2026-11-23T11:00+01:00"),
        ("2026-11-23T11:00+01:00", 1, "2026-11-23T12:00+01:00"),  # ends with the span
        ("2026-11-23T11:00+01:00", 2, "2026-11-23T14:00+01:00"),  # over noon
        ("2026-11-23T06:00+01:00", 1, "2026-11-23T10:00+01:00"),  # before it opens
        ("2026-11-23T16:00+01:00", 2, "2026-11-24T10:00+01:00"),  # over a night
        ("2026-11-27T16:00+01:00", 2, "2026-11-30T10:00+01:00"),  # over a weekend
        ("2026-12-24T16:00+01:00", 2, "2026-12-28T10:00+01:00"),  # over Christmas, a Friday
        ("2026-03-27T16:00+01:00", 2, "2026-03-30T10:00+02:00"),  # into summer
        ("2026-10-23T16:00+02:00", 2, "2026-10-26T10:00+01:00"),  # into winter
        ("2026-11-23T03:00+00:00", 7, "2026-11-23T17:00+01:00"),  # a whole day
    ],
)
def test_working_time_is_added_where_the_office_is_open(start, hours, end):
    """Nights, noon, weekends and holidays do not count; what remains is exact."""
    calendar = office(holidays=(date(2026, 12, 25),))
    found = calendar.add(at(start), hours * HOUR)
    assert found == at(end)
    assert calendar.elapsed(at(start), found) == hours * HOUR


@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [
        ("2026-03-29T00:00+01:00", "2026-03-30T00:00+02:00", 23),
        ("2026-10-25T00:00+02:00", "2026-10-26T00:00+01:00", 25),
    ],
)
def test_a_day_is_as_long_as_it_is_when_the_clocks_change(start, end, hours):
    """Open round the clock, a day in spring has 23 hours and one in autumn 25."""
    calendar = daily(0, 24 * 60)
    assert calendar.elapsed(at(start), at(end)) == hours * HOUR
    assert calendar.add(at(start), hours * HOUR) == at(end)


@pytest.mark.parametrize(
    ("span", "day", "opens", "closes"),
    [
        ((150, 300), "2026-03-29", "01:00", "03:00"),  # 02:30 is skipped: opens as they jump
        ((60, 150), "2026-03-29", "00:00", "01:00"),  # and what would end then ends as they jump
        ((130, 170), "2026-03-29", "01:00", "01:00"),  # wholly skipped: not open at all
        ((150, 300), "2026-10-25", "00:30", "04:00"),  # 02:30 comes twice: opens at the first
        ((60, 150), "2026-10-25", "23:00", "00:30"),  # and closes at the first
    ],
)
def test_a_time_that_is_skipped_or_comes_twice(span, day, opens, closes):
    """A span begins and ends at the first instant at which the clock shows its time or a later."""
    calendar = daily(*span)
    end = datetime.fromisoformat(f"{day}T{closes}+00:00")
    start = datetime.fromisoformat(f"{day}T{opens}+00:00")
    start -= timedelta(days=1) if start > end else timedelta()
    tick = timedelta(microseconds=1)
    assert calendar.is_open(start) is (start < end)
    assert not calendar.is_open(start - tick)
    assert not calendar.is_open(end)
    assert calendar.elapsed(start - HOUR, end + HOUR) == end - start


def test_a_day_that_a_zone_skips_has_no_hours():
    """Samoa went from 29 to 31 December 2011 without a 30th."""
    calendar = daily(9 * 60, 17 * 60, "Pacific/Apia")
    start, end = at("2011-12-29T17:00-10:00"), at("2011-12-31T09:00+14:00")
    assert calendar.elapsed(start, end) == timedelta()
    assert calendar.add(start, HOUR) == end + HOUR


def test_nothing_to_add_stays_where_it_is():
    """Not moved to the next opening: nothing has to pass."""
    night = at("2026-11-23T23:00+01:00")
    assert office().add(night, timedelta()) == night


def test_without_a_calendar_time_simply_passes():
    """An ask that names none counts nights and weekends."""
    assert later(at("2026-11-27T16:00+01:00"), 7_200, None) == at("2026-11-27T18:00+01:00")


ZONES = st.sampled_from(
    ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata")
)
WHEN = st.datetimes(datetime(2025, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - Hypothesis adds the zone
WORK = st.timedeltas(timedelta(), timedelta(hours=60))


@st.composite
def calendars(draw: st.DrawFn) -> Calendar:
    week = []
    for _ in range(7):
        edges = sorted(draw(st.sets(st.integers(0, 24 * 60), max_size=4)))
        week.append(tuple(zip(edges[::2], edges[1::2], strict=False)))
    if not any(week):
        week[0] = OFFICE
    # Skipped and empty spans may leave a week with less; what is left must add up to something.
    week[2] = OFFICE
    holidays = draw(st.sets(st.dates(date(2025, 1, 1), date(2027, 12, 31)), max_size=5))
    return Calendar(
        name="any", zone=draw(ZONES), hours=tuple(week), holidays=tuple(sorted(holidays))
    )


@given(calendars(), WHEN, WORK)
def test_what_is_added_has_then_passed(calendar, start, work):
    """`elapsed` is the inverse of `add`, to the microsecond, whatever the zone does."""
    assert calendar.elapsed(start, calendar.add(start, work)) == work


@given(calendars(), WHEN, WHEN)
def test_an_instant_is_never_later_than_the_work_up_to_it(calendar, one, other):
    """Adding what has passed leads to the end of it, or back to the last closing before."""
    start, end = sorted((one, other))
    found = calendar.add(start, calendar.elapsed(start, end))
    assert start <= found <= end
    assert calendar.elapsed(found, end) == timedelta()


@given(calendars(), WHEN, WORK, WORK)
def test_more_work_never_ends_earlier(calendar, start, less, more):
    """Monotone in the work, and two steps come to where one does."""
    low, high = sorted((less, more))
    assert calendar.add(start, low) <= calendar.add(start, high)
    assert calendar.add(calendar.add(start, low), high - low) == calendar.add(start, high)


@given(calendars(), WHEN, WHEN, WORK)
def test_who_starts_later_never_ends_earlier(calendar, one, other, work):
    """Monotone in the start."""
    early, late = sorted((one, other))
    assert calendar.add(early, work) <= calendar.add(late, work)


@given(calendars(), WHEN)
def test_open_is_where_time_passes(calendar, when):
    """`is_open` and `elapsed` tell the same of every instant."""
    tick = timedelta(microseconds=1)
    passes = calendar.elapsed(when, when + tick) == tick
    assert calendar.is_open(when) is passes
