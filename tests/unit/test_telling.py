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
