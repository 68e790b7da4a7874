"""Who decides for whom, and when: read, refused with its place, and told for a moment."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gates.core.errors import InvalidPolicy
from gates.core.people import OnCall, load_people

HEAD = (
    "version: 1\nzone: Europe/Berlin\n"
    "groups: {controllers: Money, finance: On call, till: {slack_group: S012AB}}\n"
    "roles: {controller: Signs}\npeople:\n"
    "  - {id: dana, name: Dana, groups: [controllers], roles: [controller]}\n"
    "  - {id: mika, name: Mika, groups: [controllers]}\n"
    "  - {id: sam, name: Sam}\n"
)
GIVEN = "delegations:\n  - {from: dana, to: mika}\n"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "action", "givers"),
    [
        ("2026-11-30T22:59", "erp.payment.submit", set()),
        ("2026-11-30T23:00", "erp.payment.submit", {"dana"}),
        ("2026-11-30T23:00", "erp.bill.post", set()),
        ("2026-12-24T22:59", "erp.payment.submit", {"dana"}),
        ("2026-12-24T23:00", "erp.payment.submit", set()),
    ],
)
def test_a_delegation_holds_in_its_time_and_scope(moment, action, givers):
    """Midnight is Berlin's; a date alone as the end is the whole day."""
    text = (
        "delegations:\n  - {from: dana, to: mika, scope: ['erp.payment.*'], starts: 2026-12-01,"
        " until: 2026-12-24, because: leave}\n"
    )
    cover = load_people(HEAD + text, "people.yaml").cover
    assert cover.givers("mika", action, at(moment)) == givers
    assert cover.givers("dana", action, at(moment)) == set()
    assert [one.taker for one in cover.deputies("dana", action, at(moment))] == (
        ["mika"] if givers else []
    )


def test_what_was_handed_to_somebody_is_not_handed_on():
    """Dana to Mika, Mika to Sam: Sam decides for Mika alone."""
    cover = load_people(HEAD + GIVEN + "  - {from: mika, to: sam}\n", "people.yaml").cover
    assert cover.givers("sam", "x", at("2026-12-01T00:00")) == {"mika"}


def test_somebody_is_away_from_the_first_moment_to_the_last():
    """Of two absences the one that ends last is told."""
    text = (
        "out_of_office:\n  - {person: dana, from: 2026-12-01T09:00, until: 2026-12-03T12:00+00:00}"
        "\n  - {person: dana, from: 2026-12-02, until: 2026-12-02}\n"
    )
    cover = load_people(HEAD + text, "people.yaml").cover
    away = cover.away("dana", at("2026-12-02T12:00"))
    assert away is not None
    assert away.until == at("2026-12-03T12:00")
    assert cover.away("dana", at("2026-12-01T07:59")) is None
    assert cover.away("dana", at("2026-12-01T08:00")) is not None
    assert cover.away("dana", at("2026-12-03T12:00")) is None
    assert cover.away("mika", at("2026-12-02T12:00")) is None


@pytest.mark.parametrize(
    ("moment", "turn"),
    [
        ("2026-10-18T08:59", "dana"),  # Berlin is two hours ahead of UTC in summer, one in winter
        ("2026-10-19T06:59", "dana"),
        ("2026-10-19T07:00", "mika"),
        ("2026-10-26T07:59", "mika"),
        ("2026-10-26T08:00", "dana"),
        ("2026-11-02T08:00", "mika"),
        ("2026-10-05T07:00", "mika"),  # counted backwards
    ],
)
def test_turns_change_at_the_same_time_of_day_whatever_the_clocks_do(moment, turn):
    """Mondays at nine in Berlin, before and after the clocks are set back on 25 October."""
    text = (
        "on_call:\n  finance: {rota: [dana, mika], starts: 2026-10-12T09:00, every: 1w,"
        " zone: Europe/Berlin}\n"
    )
    people = load_people(HEAD + text, "people.yaml")
    assert [one.id for one in people.members(["finance"], at(moment))] == [turn]
    assert [one.id for one in people.members(["finance"])] == ["dana", "mika"]


def test_an_hour_shown_twice_or_never_changes_a_turn_once():
    """The change at half past two falls into the hour that Berlin repeats, and skips in March."""
    for day, first in (("2026-10-24", "2026-10-24T23:00"), ("2026-03-28", "2026-03-28T23:00")):
        turns = OnCall(
            rota=("a", "b"),
            starts=datetime.fromisoformat(f"{day}T02:30"),
            every=1,
            zone="Europe/Berlin",
        )
        seen = [turns.turn(at(first) + timedelta(minutes=15 * step)) for step in range(16)]
        assert sum(one != two for one, two in pairwise(seen)) == 1, (day, seen)


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)),  # noqa: DTZ001 - made aware below
    st.integers(1, 20),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]),
)
def test_exactly_one_is_on_call_and_turns_follow_each_other(moment, every, zone):
    """Whatever the moment: so many days later, or an hour or two off, it is the next one's."""
    turns = OnCall(
        rota=("a", "b", "c"),
        starts=datetime.fromisoformat("2026-03-29T09:00"),
        every=every,
        zone=zone,
    )
    now = moment.replace(tzinfo=UTC)
    one = turns.turn(now)
    order = "abc"
    near = {turns.turn(now + timedelta(days=every, hours=hours)) for hours in (-2, 0, 2)}
    assert order[(order.index(one) + 1) % len(order)] in near, (one, near)


def test_the_members_of_a_group_take_turns_in_their_order():
    """`group` instead of `rota`: whoever is in it."""
    text = "on_call:\n  finance: {group: controllers, starts: 2026-11-30T09:00, every: 7d}\n"
    people = load_people(HEAD + text, "people.yaml")
    assert people.cover.on_call["finance"].rota == ("dana", "mika")
    assert people.most(["finance"]) == 1
    assert people.most(["finance", "controllers"]) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GIVEN + "  - «{from: mika, to: dana}\n", "this closes a circle (mika to dana, dana to m"),
        (
            GIVEN + "  - {from: mika, to: sam}\n  - «{from: sam, to: dana, starts: 2026-12-01}\n",
            "this closes a circle (sam to dana, dana to mika, mika to sam)",
        ),
        ("delegations:\n  - {from: dana, to: «dana}\n", "'dana' delegates to nobody else"),
        ("delegations:\n  - {from: dana, to: «mkia}\n", "to 'mkia' is nobody here: did you mean"),
        ("delegations:\n  - {from: «eve, to: dana}\n", "from 'eve' is nobody here: write one of"),
        ("delegations:\n  - «{from: dana}\n", "a delegation has no 'to'"),
        (
            "delegations:\n  - {from: dana, to: mika, scope: [«'erp pay']}\n",
            "scope 'erp pay' names",
        ),
        (
            "delegations:\n  - {from: dana, to: mika, starts: 2026-12-02, until: «2026-12-01}\n",
            "until '2026-12-01' is not after starts '2026-12-02': exchange them",
        ),
        (
            "delegations:\n  - {from: dana, to: mika, until: «tomorrow}\n",
            "until 'tomorrow' is not a",
        ),
        (
            "delegations:\n  - {from: dana, to: mika, until: «2026-13-01}\n",
            "until '2026-13-01' is n",
        ),
        ("out_of_office:\n  - «{person: dana, until: 2026-12-01}\n", "an absence has no 'from'"),
        (
            "out_of_office:\n  - {person: dana, from: 2026-12-02, until: «2026-12-01}\n",
            "until '2026-12-01' is not after from",
        ),
        ("on_call: {«nobody: {rota: [dana]}}\n", "unknown key 'nobody' in on_call"),
        ("on_call: {finance: «{starts: 2026-12-01T09:00, every: 7d}}\n", "wants `rota` or `group`"),
        (
            "on_call: {finance: {rota: [dana, «dana], starts: 2026-12-01, every: 7d}}\n",
            "'dana' stands twice on this rota",
        ),
        (
            "on_call: {finance: {rota: [«eve], starts: 2026-12-01, every: 7d}}\n",
            "unknown person 'eve'",
        ),
        (
            "on_call: {finance: {rota: [dana], starts: 2026-12-01, every: «0d}}\n",
            "every '0d' is not a number of days",
        ),
        (
            "on_call: {finance: {rota: [dana], starts: «2026-12-01T09:00+01:00, every: 1d}}\n",
            "starts goes by the rota's own clock: leave '+01:00' out",
        ),
        (
            "on_call: {finance: {rota: [dana], starts: 2026-12-01, every: 1d, zone: «Berlin}}\n",
            "unknown zone 'Berlin': write one like Europe/Berlin",
        ),
        (
            "on_call: {till: «{rota: [dana], starts: 2026-12-01, every: 1d}}\n",
            "group 'till' has its members from Slack",
        ),
        (
            "on_call: {finance: {group: «finance, starts: 2026-12-01, every: 1d}}\n",
            "group 'finance' is no other group",
        ),
    ],
)
def test_a_fault_is_shown_at_its_place(text, words):
    """`«` stands where the problem is to be shown."""
    before, _, after = (HEAD + text).partition("«")
    where = f"people.yaml:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}: "
    with pytest.raises(InvalidPolicy) as caught:
        load_people(before + after, "people.yaml")
    found = caught.value.details["problems"]
    assert any(one.startswith(where) and words in one for one in found), (where, found)


@pytest.mark.parametrize(
    "back",
    [
        "{from: mika, to: dana, starts: 2026-12-25}",
        "{from: mika, to: dana, scope: ['erp.bill.*']}",
    ],
)
def test_no_circle_where_times_or_scopes_never_meet(back):
    """First one for the other, then the other way round; or for other actions."""
    text = (
        "delegations:\n  - {from: dana, to: mika, until: 2026-12-24, scope: ['erp.payment.*']}\n"
        f"  - {back}\n"
    )
    assert len(load_people(HEAD + text, "people.yaml").cover.delegations) == 2
