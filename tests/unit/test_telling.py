"""What a run shows of its gate in Prefect: pure text and events."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from gates.core.model import DecisionKind
from integrations.prefect_runs.telling import artifact_key, events, headline, markdown, standing
from tests.support.rounds import OPENED as NOW
from tests.support.rounds import decision, request, view

LATER = datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_a_waiting_request_says_who_until_when_and_where() -> None:
    """The artifact answers what an admin asks first."""
    shown = view(request(quorum=2))
    text = markdown(shown)
    assert standing(shown) in text
    assert "Waits for 2 of" in text
    assert shown.url in text


def test_an_outcome_is_told_with_person_and_reason() -> None:
    """Decided: no more invitation to decide, but who and why."""
    rejected = view(request(quorum=1), decision("dana", DecisionKind.REJECT, reason="not ours"))
    assert standing(rejected).startswith("Rejected by")
    assert "not ours" in markdown(rejected)
    assert "Decide here" not in markdown(rejected)


def test_events_tell_each_step_once() -> None:
    """The same view gives the same ids, so that Prefect stores each step once; a later view
    only adds."""
    before = view(request(quorum=2), decision("dana"))
    after = view(request(quorum=2), decision("dana"), decision("mika"))
    first, second = events(before, NOW), events(before, LATER)
    assert [one["id"] for one in first] == [one["id"] for one in second]
    more = events(after, LATER)
    assert {one["id"] for one in first} < {one["id"] for one in more}
    assert more[-1]["event"] == "prefect-gates.request.settled.approved"


def test_a_resume_without_decision_is_told_each_time() -> None:
    """Twice resumed: two events, and a warning in the artifact."""
    shown = view(request(quorum=1)).model_copy(update={"woken": 2})
    names = [one["event"] for one in events(shown, NOW)]
    assert names.count("prefect-gates.request.resumed-without-decision") == 2
    assert "Resumed 2 time(s)" in markdown(shown)


def test_one_of_each_group_is_told_by_group() -> None:
    """Who could stand for which; then the group that is left."""
    asked = request(quorum=2)
    assert asked.requirement is not None
    groups = {"controllers": ("dana", "mika"), "treasury": ("sam",)}
    needed = asked.requirement.model_copy(update={"groups": groups})
    asked = asked.model_copy(update={"requirement": needed})
    each = "Waits for one of each: controllers (Dana, Mika), treasury (Sam) until"
    assert standing(view(asked)).startswith(each)
    assert standing(view(asked, decision("mika"))).startswith("Waits for 1 of treasury (Sam)")


def test_what_came_before_and_what_was_changed_is_told() -> None:
    """A later round says how the last one ended; a change, old and new value."""
    asked = request(arguments={"amount": "9.00"})
    changes = {"amount": "5.00"}
    done = view(asked, decision("dana", DecisionKind.APPROVE_WITH_CHANGES, changes=changes))
    text = markdown(done)
    assert standing(done) == "Changed by Dana."
    assert "approved with changes" in text
    assert "| changed | `amount: 9.00 → 5.00` |" in text
    before = ("Round 1: sent back by Dana: half\nof it", "amount: 9.00 -> 5.00")
    again = view(asked.model_copy(update={"round": 2, "before": before}))
    assert "| Since round 1 | `Round 1: sent back by Dana: half of it` |" in markdown(again)


@given(st.text(max_size=2_000))
def test_agents_cannot_format_the_artifact(text: str) -> None:
    """Whatever an agent writes stays in its cell: no new lines, links, tags or columns."""
    plain = view(request(quorum=1, arguments={"note": "x"}))
    hostile = view(request(quorum=1, arguments={"note": text}))
    lines, expected = markdown(hostile).split("\n"), markdown(plain).split("\n")
    assert len(lines) == len(expected)
    row = next(line for line in lines if line.startswith("| note |"))
    assert row.count("|") == 3
    assert not set("<>[]") & set(row)
    assert artifact_key(hostile).replace("-", "").isalnum()
    assert "\n" not in headline(hostile)
