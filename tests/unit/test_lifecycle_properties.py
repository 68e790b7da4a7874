"""Whatever is done to a request, in whatever order, at whatever time."""

import contextlib
from datetime import timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gates.core.errors import GatesError, NotEntitled
from gates.core.events import Decided, Drifted, Event
from gates.core.lifecycle import decide, drift, expire, outcome, withdraw
from gates.core.model import ApprovalRequest, DecisionKind, Outcome, OutcomeKind, Verdict
from tests.support.rounds import DEADLINE, OPENED, PEOPLE, decision, request

EVERYBODY = [*PEOPLE, "eve", "boss"]
HOURS = st.integers(0, 30)
COMMANDS = st.lists(
    st.tuples(st.just("decide"), st.sampled_from(EVERYBODY), st.sampled_from(DecisionKind), HOURS)
    | st.tuples(st.just("decide"), st.sampled_from(EVERYBODY), st.just(DecisionKind.APPROVE), HOURS)
    | st.tuples(st.sampled_from(["expire", "withdraw", "drift"]), st.none(), st.none(), HOURS),
    max_size=12,
)
REQUESTS = st.builds(
    request,
    st.integers(1, 3),
    on_behalf_of=st.sampled_from([None, "dana", "boss"]),
)


WINDOWS = st.builds(
    request,
    st.integers(1, 3),
    verdict=st.just(Verdict.VETO_WINDOW),
    on_behalf_of=st.sampled_from([None, "dana", "boss"]),
)


def run(asked: ApprovalRequest, events: list[Event], command) -> list[Event]:
    name, person, kind, hour = command
    now = OPENED + timedelta(hours=hour)
    if name == "decide":
        return decide(asked, events, decision(person, kind, hour))
    if name == "expire":
        return expire(asked, events, now)
    if name == "withdraw":
        return withdraw(asked, events, "invoice-agent", "changed its mind", now)
    return drift(asked, events, ["total"], now)


def played(asked: ApprovalRequest, commands) -> tuple[list[Event], list[Outcome | None]]:
    """The events, and the outcome after each command; refused commands leave no trace."""
    events: list[Event] = []
    seen: list[Outcome | None] = [outcome(asked, events)]
    for command in commands:
        with contextlib.suppress(GatesError):
            events += run(asked, events, command)
        seen.append(outcome(asked, events))
    return events, seen


@given(REQUESTS, COMMANDS)
def test_an_outcome_never_changes_but_by_a_drift(asked, commands):
    """Once settled it stays; an approval alone can be taken back, by a drift, to voided."""
    _, seen = played(asked, commands)
    for before, after in pairwise(seen):
        if before is None or before == after:
            continue
        assert before.kind is OutcomeKind.APPROVED
        assert after is not None
        assert after.kind is OutcomeKind.VOIDED


@given(REQUESTS, COMMANDS)
def test_an_approval_has_its_quorum(asked, commands):
    """Distinct entitled people, none of whom the agent acts for, all before the deadline,
    and nobody who rejected.
    """
    events, seen = played(asked, commands)
    if not any(one is not None and one.kind is OutcomeKind.APPROVED for one in seen):
        return
    decisions = [event.decision for event in events if isinstance(event, Decided)]
    people = [one.person for one in decisions]
    assert asked.requirement is not None
    assert len(set(people)) == len(people) == asked.requirement.quorum
    assert set(people) <= set(asked.requirement.people) - {asked.requester.on_behalf_of}
    assert all(one.kind is DecisionKind.APPROVE and one.at < DEADLINE for one in decisions)


@given(REQUESTS, COMMANDS)
def test_the_first_word_that_settles_wins(asked, commands):
    """After an outcome no event is added, save one drift after an approval."""
    events, _ = played(asked, commands)
    for length in range(len(events) + 1):
        found = outcome(asked, events[:length])
        if found is not None:
            rest = events[length:]
            assert len(rest) <= 1
            assert all(isinstance(event, Drifted) for event in rest)
            assert not rest or found.kind is OutcomeKind.APPROVED
            return


@given(REQUESTS, COMMANDS, st.sampled_from(DecisionKind), HOURS)
def test_nobody_decides_for_their_own_agent(asked, commands, kind, hour):
    """However the round stands, the person whom the agent acts for is refused."""
    own = asked.requester.on_behalf_of
    if own is None:
        return
    events, _ = played(asked, commands)
    try:
        added = decide(asked, events, decision(own, kind, hour))
    except GatesError:
        added = []
    assert added == []


@given(REQUESTS, COMMANDS)
def test_time_alone_never_approves(asked, commands):
    """Silence, withdrawals and drifts end a round in many ways, none of which is approval."""
    silent = [command for command in commands if command[0] != "decide"]
    _, seen = played(asked, silent)
    assert all(one is None or one.kind is not OutcomeKind.APPROVED for one in seen)


@given(REQUESTS, COMMANDS, HOURS)
def test_a_stranger_leaves_no_trace(asked, commands, hour):
    """Somebody who is not asked is refused, and nothing changes by it."""
    events, seen = played(asked, commands)
    if seen[-1] is None and asked.requester.on_behalf_of != "eve":
        with contextlib.suppress(NotEntitled):
            events += decide(asked, events, decision("eve", hour=hour))
            raise AssertionError("a stranger decided")
    assert outcome(asked, events) == seen[-1]


@given(REQUESTS, COMMANDS)
def test_after_the_deadline_every_round_has_an_outcome(asked, commands):
    """No request waits for ever."""
    events, _ = played(asked, commands)
    events += expire(asked, events, DEADLINE)
    assert outcome(asked, events) is not None


@given(WINDOWS, COMMANDS)
def test_a_veto_beats_time_and_time_beats_what_comes_after_it(asked, commands):
    """What time consented to, nobody had objected to before; what somebody objected to, time never
    consents to.
    """
    events, seen = played(asked, commands)
    ends = [one for one in seen if one is not None]
    said = [event.decision.kind for event in events if isinstance(event, Decided)]
    if any(one.by == ("time",) for one in ends):
        assert set(said) <= {DecisionKind.APPROVE}
        assert ends[0].at == DEADLINE
    if DecisionKind.REJECT in said:
        assert [one.kind for one in ends] == [OutcomeKind.REJECTED] * len(ends)


@given(WINDOWS, COMMANDS)
def test_a_veto_window_always_ends(asked, commands):
    """At its end at the latest; and by silence only if nobody spoke against it."""
    events, seen = played(asked, commands)
    silent = expire(asked, events, DEADLINE)
    found = outcome(asked, [*events, *silent])
    assert found is not None
    assert not silent or (found.kind, found.by) == (OutcomeKind.APPROVED, ("time",))
    assert silent or found == seen[-1]
