"""What the rounds of one gate have in common, and what each says of the one before."""

from __future__ import annotations

from dataclasses import dataclass

from gates.core.drift import differences, walk
from gates.core.messages import Proposal
from gates.core.model import ApprovalRequest, Json, Money, Requester, RunRef


@dataclass(frozen=True)
class Origin:
    """Where a question comes from: what every round of one gate has in common."""

    run: RunRef
    key: str
    in_process: bool
    claims: Json
    requester: Requester
    proposed: str = ""
    batch_count: int = 1  # of the batch of which this is a line
    batch_total: Money | None = None
    changes_nothing: bool = False

    @classmethod
    def of(cls, request: ApprovalRequest) -> Origin:
        return cls(
            run=request.run,
            key=request.gate_key,
            in_process=request.in_process,
            claims=request.claims,
            requester=request.requester,
            proposed=request.proposed,
            changes_nothing=request.changes_nothing,
            batch_count=request.covered.count if request.covered else 1,
            batch_total=request.covered.total if request.covered else None,
        )

    @classmethod
    def proposing(
        cls, proposal: Proposal, requester: Requester, *, changes_nothing: bool
    ) -> Origin:
        return cls(
            run=proposal.run,
            key=proposal.key,
            in_process=proposal.in_process,
            claims=proposal.claims,
            requester=requester,
            changes_nothing=changes_nothing,
        )


@dataclass(frozen=True)
class Before:
    """The round before, and in words how it ended."""

    request: ApprovalRequest
    ended: str


def since(before: Before, request: ApprovalRequest) -> tuple[str, ...]:
    """How the round before ended, and what is different in this one."""
    old = before.request
    return (
        f"Round {old.round}: {before.ended}",
        *walk("", old.action.arguments, request.action.arguments),
        *walk("claims", old.claims, request.claims),
        *(differences(old.precondition, request.precondition)),
    )
