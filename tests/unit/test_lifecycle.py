from datetime import timedelta

import pytest

from gates.core.asked import Ask
from gates.core.errors import (
    AlreadyDecided,
    InvalidInput,
    NotEntitled,
    ReasonNeeded,
    RequestClosed,
    SelfApproval,
)
from gates.core.events import DeadlinePassed, Decided, Drifted, Withdrawn
from gates.core.lifecycle import (
    decide,
    disentitled,
    drift,
    expire,
    outcome,
    too_early,
    widened,
    withdraw,
)
from gates.core.model import ApprovalRequest, DecisionKind, OutcomeKind, Tier, Verdict
from tests.support.rounds import DEADLINE, OPENED, REJECT, decision, request


def test_one_approval_suffices_for_a_quorum_of_one():
    """The outcome names who it was, why, and when."""
    asked = request()
    events = decide(asked, [], decision("dana", reason="checked the order"))
    found = outcome(asked, events)
    assert found is not None
    assert (found.kind, found.by, found.reason) == (
        OutcomeKind.APPROVED,
        ("Dana",),
        "checked the order",
    )
    assert found.at == OPENED + timedelta(hours=1)
    assert str(found) == "approved by Dana: checked the order"


def test_a_quorum_of_two_waits_for_the_second_person():
    """One of two leaves the question open; the second closes it, and both are named."""
    asked = request(2)
    events = decide(asked, [], decision("dana"))
    assert outcome(asked, events) is None
    events += decide(asked, events, decision("mika", hour=2))
    found = outcome(asked, events)
    assert found is not None
    assert (found.kind, found.by) == (OutcomeKind.APPROVED, ("Dana", "Mika"))


def test_one_person_counts_once():
    """Nobody makes a quorum of two alone, nor takes back what was said."""
    asked = request(2)
    events = decide(asked, [], decision("dana"))
    for kind in set(DecisionKind) - {DecisionKind.ESCALATE}:
        with pytest.raises(AlreadyDecided, match="Dana has decided this already: approve"):
            decide(asked, events, decision("dana", kind, hour=2))


def escalating(**more: object) -> ApprovalRequest:
    asked = request(2, people={"dana": "Dana", "mika": "Mika"})
    assert asked.requirement is not None
    wider = asked.requirement.model_copy(update={"escalation": {"sam": "Sam"}} | more)
    return asked.model_copy(update={"requirement": wider})


def test_an_escalation_adds_people_and_settles_nothing():
    """Those whom the policy names may decide beside the others; who escalated still may."""
    asked = escalating()
    with pytest.raises(NotEntitled):
        decide(asked, [], decision("sam"))
    events = decide(asked, [], decision("dana", DecisionKind.ESCALATE, reason="too new to me"))
    assert outcome(asked, events) is None
    assert list(widened(asked, events).requirement.people) == ["dana", "mika", "sam"]
    events += decide(asked, events, decision("sam", hour=2))
    events += decide(asked, events, decision("dana", hour=3))
    found = outcome(asked, events)
    assert found is not None
    assert (found.kind, found.by) == (OutcomeKind.APPROVED, ("Sam", "Dana"))
    assert disentitled(asked, events, {"sam": {"sam": "Sam"}, "dana": {"dana": "Dana"}}) == []


def test_nobody_escalates_twice_or_to_nobody():
    """The second hears who did; where the policy names nobody it is said so."""
    asked = escalating()
    events = decide(asked, [], decision("dana", DecisionKind.ESCALATE, reason="x"))
    with pytest.raises(InvalidInput, match="Dana has escalated this already"):
        decide(asked, events, decision("mika", DecisionKind.ESCALATE, reason="y", hour=2))
    with pytest.raises(InvalidInput, match="names nobody to escalate this to"):
        decide(request(), [], decision("dana", DecisionKind.ESCALATE, reason="x"))
    with pytest.raises(NotEntitled):
        decide(asked, [], decision("eve", DecisionKind.ESCALATE, reason="x"))


def test_whom_it_is_escalated_to_stands_for_one_group_alone():
    """Of each group somebody: a person who was added takes one place, never two."""
    asked = escalating(groups={"a": ("dana",), "b": ("mika",)})
    events = decide(asked, [], decision("dana", DecisionKind.ESCALATE, reason="x"))
    events += decide(asked, events, decision("sam", hour=2))
    assert outcome(asked, events) is None
    events += decide(asked, events, decision("dana", hour=3))
    assert outcome(asked, events) is not None


@pytest.mark.parametrize("way", ["tier", "policy"])
def test_some_approvals_count_only_with_a_reason(way: str):
    """The expert tier, or an `ask` that says so; a rejection is not held up by it."""
    asked = request()
    told = asked.judgement.model_copy(
        update={"tier": Tier.EXPERT}
        if way == "tier"
        else {"ask": Ask(who=("controllers",), reason=True)}
    )
    asked = asked.model_copy(update={"judgement": told})
    with pytest.raises(ReasonNeeded, match="counts only with one"):
        decide(asked, [], decision("dana"))
    assert decide(asked, [], decision("dana", reason="saw the letter"))
    assert decide(asked, [], decision("dana", REJECT))
    assert decide(request(), [], decision("dana"))


def test_one_rejection_ends_the_round():
    """It outweighs an approval that came before it, and its reason is kept."""
    asked = request(2)
    events = decide(asked, [], decision("dana"))
    events += decide(asked, events, decision("mika", REJECT, reason="wrong supplier"))
    found = outcome(asked, events)
    assert found is not None
    assert str(found) == "rejected by Mika: wrong supplier"


@pytest.mark.parametrize(
    ("asked", "person", "error", "words"),
    [
        (request(), "eve", NotEntitled, "eve is not among those asked here .Dana, Mika, Sam"),
        (request(on_behalf_of="dana"), "dana", SelfApproval, "the agent acts for you"),
        (
            request(on_behalf_of="dana", people={"mika": "Mika"}),
            "dana",
            SelfApproval,
            "somebody else has to decide",
        ),
    ],
)
def test_who_may_not_decide_is_refused(asked, person, error, words):
    """Strangers, and the person that the agent acts for; for approving and rejecting alike."""
    for kind in DecisionKind:
        with pytest.raises(error, match=words):
            decide(asked, [], decision(person, kind))


@pytest.mark.parametrize("late", [0, 1])
def test_at_the_deadline_it_is_too_late(late):
    """A decision in the very moment of the deadline expires the request and is not counted."""
    asked = request()
    events = decide(asked, [], decision("dana", hour=24 + late))
    assert events == [DeadlinePassed(at=DEADLINE)]
    found = outcome(asked, events)
    assert found is not None
    assert (found.kind, found.reason) == (OutcomeKind.EXPIRED, "nobody decided in time")


def test_just_before_the_deadline_is_in_time():
    """One microsecond is enough."""
    asked = request()
    last = (timedelta(hours=24) - timedelta(microseconds=1)).total_seconds() / 3600
    found = outcome(asked, decide(asked, [], decision("dana", hour=last)))
    assert found is not None
    assert found.kind is OutcomeKind.APPROVED


def test_the_deadline_comes_by_itself():
    """Not before its time, once, and not after an outcome."""
    asked = request(2)
    first = decide(asked, [], decision("dana"))
    assert expire(asked, first, DEADLINE - timedelta(seconds=1)) == []
    events = first + expire(asked, first, DEADLINE + timedelta(hours=3))
    assert events[-1] == DeadlinePassed(at=DEADLINE)
    assert expire(asked, events, DEADLINE + timedelta(days=9)) == []
    found = outcome(asked, events)
    assert found is not None
    assert str(found) == "expired by deadline: too few decided in time"


def test_a_question_can_be_withdrawn():
    """While it is open, and not once it is answered."""
    asked = request()
    events = withdraw(asked, [], "invoice-agent", "another proposal", OPENED)
    found = outcome(asked, events)
    assert found is not None
    assert str(found) == "cancelled by invoice-agent: another proposal"
    with pytest.raises(RequestClosed):
        withdraw(asked, events, "invoice-agent", "again", OPENED)
    with pytest.raises(RequestClosed, match="approved by Dana"):
        withdraw(asked, decide(asked, [], decision("dana")), "a", "late", OPENED)


def test_a_drift_voids_what_was_approved():
    """An approval holds for the world that was shown, and for no other."""
    asked = request()
    approved = decide(asked, [], decision("dana"))
    events = approved + drift(asked, approved, ["payee: a -> b"], DEADLINE)
    found = outcome(asked, events)
    assert found is not None
    assert found.kind is OutcomeKind.VOIDED
    assert found.reason == "changed since people were asked: payee: a -> b"
    with pytest.raises(RequestClosed):
        decide(asked, events, decision("mika"))


@pytest.mark.parametrize(
    "closing",
    [
        Decided(decision=decision("dana", REJECT)),
        DeadlinePassed(at=DEADLINE),
        Withdrawn(by="a", reason="b", at=OPENED),
        Drifted(differences=("x",), at=OPENED),
    ],
)
def test_nothing_follows_an_outcome(closing):
    """Whatever closed it, no decision, deadline, withdrawal or drift changes it any more."""
    asked = request()
    found = outcome(asked, [closing])
    assert found is not None
    for command in (
        lambda: decide(asked, [closing], decision("mika", hour=2)),
        lambda: withdraw(asked, [closing], "a", "b", OPENED),
    ):
        with pytest.raises(RequestClosed, match="has its answer already"):
            command()
    assert expire(asked, [closing], DEADLINE) == []
    assert drift(asked, [closing], ["y"], DEADLINE) == []
    later = [Decided(decision=decision("mika")), DeadlinePassed(at=DEADLINE)]
    later.append(Drifted(differences=("z",), at=DEADLINE))
    assert outcome(asked, [closing, *later]) == found


@pytest.mark.parametrize(
    ("verdict", "kind"),
    [
        (Verdict.ALLOW, OutcomeKind.APPROVED),
        (Verdict.REVIEW_LATER, OutcomeKind.APPROVED),
        (Verdict.FORBID, OutcomeKind.REJECTED),
        (Verdict.VETO_WINDOW, None),
        (Verdict.REQUIRE_APPROVAL, None),
    ],
)
def test_a_policy_answers_for_itself(verdict, kind):
    """What is allowed or forbidden needs nobody; everything else is open until people speak."""
    found = outcome(request(verdict=verdict), [])
    if kind is None:
        assert found is None
        return
    assert found is not None
    assert (found.kind, found.by, found.reason) == (kind, ("policy",), "much money; is new")


def test_nobody_decides_what_the_policy_has_answered():
    """Neither to stop what is allowed nor to wave through what is forbidden."""
    for verdict in (Verdict.ALLOW, Verdict.FORBID):
        with pytest.raises(RequestClosed):
            decide(request(verdict=verdict), [], decision("dana"))


def test_what_was_allowed_is_voided_by_a_drift():
    """A policy's word holds for its facts as a person's does."""
    asked = request(verdict=Verdict.ALLOW)
    found = outcome(asked, drift(asked, [], ["total: 1 -> 2"], OPENED))
    assert found is not None
    assert found.kind is OutcomeKind.VOIDED


def windowed(quorum: int = 1, **more: object) -> ApprovalRequest:
    asked = request(quorum, verdict=Verdict.VETO_WINDOW, people={"dana": "Dana", "mika": "Mika"})
    assert asked.requirement is not None
    return asked.model_copy(update={"requirement": asked.requirement.model_copy(update=more)})


def test_silence_consents_in_a_veto_window_alone():
    """Nobody said a word: what wants an approval expires, what runs unless vetoed may run."""
    for verdict, kind, by, words in (
        (Verdict.VETO_WINDOW, OutcomeKind.APPROVED, ("time",), "nobody objected within 1d"),
        (Verdict.REQUIRE_APPROVAL, OutcomeKind.EXPIRED, ("deadline",), "nobody decided in time"),
    ):
        asked = request(verdict=verdict)
        assert expire(asked, [], DEADLINE - timedelta(seconds=1)) == []
        found = outcome(asked, expire(asked, [], DEADLINE))
        assert found is not None
        assert (found.kind, found.by, found.reason, found.at) == (kind, by, words, DEADLINE)


@pytest.mark.parametrize(
    ("kind", "ends"),
    [(REJECT, OutcomeKind.REJECTED), (DecisionKind.SEND_BACK, OutcomeKind.SENT_BACK)],
)
def test_an_objection_ends_a_veto_window(kind, ends):
    """One word is enough, and time has no say after it; nor has a word once the time is over."""
    asked = windowed(2)
    events = decide(asked, [], decision("dana", kind, reason="not this one"))
    assert expire(asked, events, DEADLINE) == []
    found = outcome(asked, events)
    assert found is not None
    assert (found.kind, found.by) == (ends, ("Dana",))
    late = decide(asked, [], decision("dana", kind, 24, reason="too late"))
    assert late == [DeadlinePassed(at=DEADLINE)]


def test_a_quorum_ends_a_veto_window_early_and_less_than_that_waits():
    """Who agrees early only shortens the wait; the consent of time needs nobody to stand for it."""
    asked = windowed(2)
    events = decide(asked, [], decision("dana"))
    assert outcome(asked, events) is None
    both = events + decide(asked, events, decision("mika", hour=2))
    found = outcome(asked, both)
    assert found is not None
    assert (found.by, found.at) == (("Dana", "Mika"), OPENED + timedelta(hours=2))
    assert disentitled(asked, both, {"dana": {"dana": "Dana"}}) == [
        "Mika may no longer approve this"
    ]
    waited = events + expire(asked, events, DEADLINE)
    assert outcome(asked, waited).by == ("time",)
    assert disentitled(asked, waited, {}) == []
    assert too_early(outcome(asked, waited), DEADLINE - timedelta(seconds=2))
    assert not too_early(found, OPENED)


def test_what_is_escalated_does_not_pass_by_silence():
    """It wants an approval from then on, has as long again as the window was, and may expire."""
    asked = windowed(escalation={"sam": "Sam"})
    events = decide(asked, [], decision("dana", DecisionKind.ESCALATE, 20, reason="new to me"))
    assert widened(asked, events).judgement.verdict is Verdict.REQUIRE_APPROVAL
    until = OPENED + timedelta(hours=44)
    assert widened(asked, events).requirement.deadline_at == until
    assert expire(asked, events, DEADLINE) == []
    assert outcome(asked, events + expire(asked, events, until)).kind is OutcomeKind.EXPIRED
    events += decide(asked, events, decision("sam", hour=30))
    assert outcome(asked, events).by == ("Sam",)
