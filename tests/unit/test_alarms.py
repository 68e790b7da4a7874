"""What people's labels say about a detector's thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from gates.alarms import Alarms, label_of, report
from gates.core.asked import Ask
from gates.core.loops import Limits, Thresholds
from gates.core.model import (
    Decision,
    DecisionKind,
    LoopAnswer,
    LoopLabel,
    Outcome,
    OutcomeKind,
    Purpose,
    RequestView,
)
from gates.core.policy import LoopPolicy
from integrations.slack.samples import loop
from tests.support.policies import ROOT

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
USUAL = LoopPolicy(ask=Ask(who=("ap",)))
RIGHT, WRONG = DecisionKind.REJECT, DecisionKind.APPROVE
ENDS = {RIGHT: OutcomeKind.REJECTED, WRONG: OutcomeKind.APPROVED}


def answer(kind: DecisionKind, loop: LoopAnswer | None = None) -> Decision:
    return Decision(
        person="dana",
        name="Dana",
        kind=kind,
        at=AT,
        channel="test",
        assurance="session",
        loop=loop,
    )


def alarm(
    kind: DecisionKind | None, label: LoopLabel | None = None, **evidence: Any
) -> RequestView:
    view = loop()
    request = view.request.model_copy(update={"purpose": Purpose.LOOP, "evidence": evidence})
    if kind is None:
        return view.model_copy(update={"request": request})
    decision = answer(kind, LoopAnswer(label=label) if label else None)
    outcome = Outcome(kind=ENDS[kind], by=("Dana",), reason="", at=AT)
    changes = {"request": request, "decisions": (decision,), "outcome": outcome}
    return view.model_copy(update=changes)


def row(kinds: Sequence[DecisionKind], loops: LoopPolicy = USUAL, **evidence: Any) -> Alarms:
    (found,) = report([alarm(kind, **evidence) for kind in kinds], loops)
    return found


@pytest.mark.parametrize(
    ("detector", "right", "wrong"),
    [
        ("same_outcome", "actions: {erp.payment.submit: {same_outcome: 2}}", "same_outcome: 4"),
        ("failing_retry", "same_failing_call: 2", "same_failing_call: 4"),
        ("cycle", "laps: 2", "laps: 4"),
        ("same_failure", "same_failure: 14", "same_failure: 16"),
        ("errors", "loops.thresholds: {errors: 15}", "loops.thresholds: {errors: 17}"),
        ("nothing_new", "nothing_new: 5", "nothing_new: 7"),
    ],
)
def test_a_threshold_is_proposed_as_the_policy_spells_it(detector: str, right: str, wrong: str):
    """One less where all alarms were right, one more where most were none."""
    assert right in row([RIGHT] * 5, detector=detector).proposal
    assert wrong in row([WRONG] * 5, detector=detector).proposal


def test_failures_over_runs_have_their_own_setting():
    """It is not one of the detector's, and never below two or above twenty."""
    assert row([WRONG] * 5).proposal == "loops.same_failure: 4 (most of its alarms were none)"
    assert row([RIGHT] * 5).proposal == "loops.same_failure: 2 (all of its alarms were right)"
    least = USUAL.model_copy(update={"same_failure": 2})
    assert row([RIGHT] * 5, least).proposal == ""
    most = USUAL.model_copy(update={"same_failure": 20})
    assert row([WRONG] * 5, most).proposal == ""


@pytest.mark.parametrize("detector", ["same_write", "refused_again", "budget", "of tomorrow"])
def test_what_has_no_threshold_gets_no_proposal(detector: str):
    """A second write is always asked about."""
    assert row([WRONG] * 9, detector=detector).proposal == ""


def test_nothing_is_proposed_beyond_what_the_policy_may_say():
    """Nor from less than five labels, nor where it is mostly right."""
    floor = USUAL.model_copy(update={"thresholds": Thresholds(limits=Limits(same_outcome=6))})
    assert row([WRONG] * 5, floor, detector="same_outcome").proposal == ""
    assert row([WRONG] * 4, detector="same_outcome").proposal == ""
    assert row([RIGHT] * 4 + [WRONG], detector="same_outcome").proposal == ""


def test_a_proposal_starts_from_what_holds_for_the_action():
    """The first pattern that fits."""
    mine = Thresholds(actions={"erp.*": Limits(laps=5)})
    found = row([WRONG] * 5, USUAL.model_copy(update={"thresholds": mine}), detector="cycle")
    assert "actions: {erp.payment.submit: {laps: 6}}" in found.proposal


def test_what_went_on_has_saved_nothing():
    """Even where people called it a loop; and what nobody has answered is open."""
    spent = {"cost_minor": 30, "tokens": 900}
    views = [
        alarm(RIGHT, total=3, spent=spent),
        alarm(WRONG, LoopLabel.LOOP, total=3, spent=spent),
        alarm(None, total=3, spent=spent),
    ]
    (found,) = report(views, USUAL)
    assert (found.loops, found.open, found.tokens) == (2, 1, 2_700)
    assert (found.saved_tokens, found.saved_cost_minor) == (300, 10)


HARM, FREEZE = LoopAnswer(label=LoopLabel.HARMFUL), LoopAnswer(freeze=True)
AS_A_LOOP, MORE = LoopAnswer(label=LoopLabel.LOOP), LoopAnswer(more=2)


@pytest.mark.parametrize(
    ("answers", "label"),
    [
        ([(WRONG, HARM), (WRONG, None)], LoopLabel.HARMFUL),
        ([(WRONG, FREEZE), (WRONG, MORE)], LoopLabel.HARMFUL),
        ([(WRONG, HARM), (WRONG, AS_A_LOOP)], LoopLabel.LOOP),
        ([(WRONG, AS_A_LOOP), (RIGHT, FREEZE)], LoopLabel.HARMFUL),
        ([(WRONG, None), (WRONG, MORE)], LoopLabel.NOT_A_LOOP),
        ([(WRONG, None), (RIGHT, None)], LoopLabel.LOOP),
        ([(WRONG, HARM), (DecisionKind.ESCALATE, None)], LoopLabel.HARMFUL),
        ([(DecisionKind.ESCALATE, None)], None),
        ([], None),
    ],
)
def test_what_somebody_says_outright_outweighs_what_others_leave_unsaid(
    answers: list[tuple[DecisionKind, LoopAnswer | None]], label: LoopLabel | None
):
    """A label, or a freeze, of one approver stays when the next says nothing of it."""
    assert label_of([answer(*one) for one in answers]) is label


@pytest.mark.parametrize("evidence", [{"total": True}, {"total": "3", "spent": [1]}, {"spent": {}}])
def test_evidence_of_another_form_counts_for_nothing(evidence: dict[str, Any]):
    """Written by an earlier version, perhaps."""
    found = row([RIGHT], **evidence)
    assert (found.tried, found.saved_tokens) == (0, 0)


def test_the_page_says_how_it_is_reckoned():
    """Whoever reads a figure finds what it counts."""
    page = (ROOT / "docs" / "loops.md").read_text()
    for word in ("Saved at\nleast", "same_failure_over_runs", "proposal"):
        assert word in page
