"""Requests and decisions for tests of one round."""

from datetime import UTC, datetime, timedelta
from typing import Any

from gates.core.asked import Requirement
from gates.core.events import Decided
from gates.core.lifecycle import outcome
from gates.core.model import (
    Action,
    ApprovalRequest,
    Decision,
    DecisionKind,
    Judgement,
    Reason,
    Requester,
    RequestView,
    RunRef,
    Tier,
    Verdict,
)

OPENED = datetime(2026, 3, 1, 9, tzinfo=UTC)
DEADLINE = OPENED + timedelta(hours=24)
APPROVE, REJECT = DecisionKind.APPROVE, DecisionKind.REJECT
PEOPLE = {"dana": "Dana", "mika": "Mika", "sam": "Sam"}


def request(
    quorum: int = 1,
    *,
    verdict: Verdict = Verdict.REQUIRE_APPROVAL,
    on_behalf_of: str | None = None,
    people: dict[str, str] | None = None,
    arguments: dict[str, Any] | None = None,
) -> ApprovalRequest:
    requirement = Requirement(people=people or PEOPLE, quorum=quorum, deadline_at=DEADLINE)
    return ApprovalRequest(
        id="r",
        gate_key="k",
        round=1,
        run=RunRef(run_id="run", root_run_id="run"),
        requester=Requester(agent="invoice-agent", on_behalf_of=on_behalf_of),
        action=Action(name="erp.bill.post", arguments=arguments or {}),
        in_process=False,
        judgement=Judgement(
            verdict=verdict,
            tier=Tier.HIGH,
            reasons=(Reason(rule="large", text="much money"), Reason(rule="new", text="is new")),
            policy_digest="d",
        ),
        requirement=requirement if verdict.asks else None,
        opened_at=OPENED,
    )


def decision(person: str, kind: DecisionKind = APPROVE, hour: float = 1, **more: Any) -> Decision:
    return Decision(
        person=person,
        name=PEOPLE.get(person, person),
        kind=kind,
        at=OPENED + timedelta(hours=hour),
        channel="inbox",
        assurance="session",
        **more,
    )


def view(asked: ApprovalRequest, *decisions: Decision) -> RequestView:
    """The request as people see it after these decisions."""
    return RequestView(
        request=asked,
        decisions=decisions,
        outcome=outcome(asked, [Decided(decision=one) for one in decisions]),
        url=f"http://127.0.0.1/requests/{asked.id}",
    )
