"""`batch`: what the author of a flow writes, and gets for each line."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal

import pytest
from prefect import flow

from gates import ActionFailed, Expired, MisusedGate, Rejected, batch, gated
from gates.actions import Registry
from gates.core.errors import InvalidArguments, InvalidInput
from gates.core.messages import Awaited, Proposal
from gates.core.model import GateReply, RequestView, Standing
from gates.flow.batches import Line
from gates.flow.session import Session, chosen
from gates.testing import Answer, Authority, Kind, gates
from tests.support.world import Payout, Till, pay

PAYOUTS = [Payout(payee=one, amount=Decimal("5.00")) for one in ("acme", "bolt", "carl")]


@flow
def run(payouts: list[Payout]) -> list[Line[dict[str, str]]]:
    return batch(pay, payouts, claims={"from": "the list of June"}, key="june")


@flow
async def arun(payouts: list[Payout]) -> list[Line[dict[str, str]]]:
    return await batch(gated(pay), payouts)  # type: ignore[misc] # awaited in async code


def test_all_lines_run_under_keys_of_their_own():
    """One question, then a gate a line, each with the batch's claims; results in their order."""
    till = Till()
    with gates(resources={Till: lambda: till}) as asked:
        done = run.fn(PAYOUTS)
    assert [(one.number, one.state, one.result()) for one in done] == [
        (number, "done", {"paid": "5.00"}) for number in (1, 2, 3)
    ]
    assert done[1].arguments == PAYOUTS[1]
    assert [(one.name, one.key) for one in asked] == [
        ("till.pay.batch", "june"),
        ("till.pay", "june-line-1"),
        ("till.pay", "june-line-2"),
        ("till.pay", "june-line-3"),
    ]
    assert {str(one.claims) for one in asked} == {"{'from': 'the list of June'}"}
    assert len(till.paid) == 3


def test_a_refused_line_does_not_run_and_says_who_and_why():
    """The others do; whoever wants its result gets Rejected."""
    till = Till()
    answer = Answer("approve", by="Dana", refused={2: "no such order"})
    with gates({"till.pay.batch": answer}, resources={Till: lambda: till}):
        done = run.fn(PAYOUTS)
    assert [one.state for one in done] == ["done", "refused", "done"]
    assert (done[1].by, done[1].reason) == ("Dana", "no such order")
    with pytest.raises(Rejected, match="Line 2 was refused by Dana: no such order"):
        done[1].result()
    assert len(till.paid) == 2


def test_a_line_that_fails_stops_none_of_the_others():
    """It is told as failed, with what the action said."""

    tills = iter([Till(), Till(broken="jammed"), Till()])
    with gates(resources={Till: lambda: next(tills)}):
        done = run.fn(PAYOUTS)
    assert [one.state for one in done] == ["done", "failed", "done"]
    with pytest.raises(ActionFailed, match="jammed"):
        done[1].result()


@pytest.mark.parametrize(
    ("kind", "error"), [("reject", Rejected), ("object", Rejected), ("expire", Expired)]
)
def test_what_ends_the_whole_is_raised(kind: Kind, error: type[Exception]):
    """As with any gate; no line was proposed."""
    with gates(kind, resources={Till: Till}) as asked, pytest.raises(error):
        run.fn(PAYOUTS)
    assert len(asked) == 1


def test_nobody_objected_to_a_batch():
    """Time's consent runs the lines as people's does."""
    with gates("nobody_objects", resources={Till: Till}):
        assert [one.state for one in run.fn(PAYOUTS)] == ["done"] * 3


def test_async_code_awaits_it():
    """Under the key that the action's name and its ordinal make."""
    with gates(resources={Till: Till}) as asked:
        done = asyncio.run(arun.fn(PAYOUTS))
    assert [one.state for one in done] == ["done"] * 3
    assert asked[0].key == "till.pay.batch-1"


def test_a_batch_that_is_none_is_told_at_once():
    """No lines, lines that are no arguments, one twice, too much at once, two under one key."""
    with gates(resources={Till: Till}):
        with pytest.raises(InvalidInput, match="a batch has at least one line"):
            run.fn([])
        with pytest.raises(InvalidInput, match="lines 1 and 2 are the same"):
            batch(pay, [PAYOUTS[0], PAYOUTS[0]], key="twice")
        with pytest.raises(InvalidArguments, match=r"lines\.1\.amount"):
            batch(pay, [PAYOUTS[0], {"payee": "bolt"}], key="odd")
        with pytest.raises(InvalidInput, match="split them into batches"):
            batch(pay, [{"payee": "x" * 1000, "amount": n} for n in range(1000)], key="large")
        batch(pay, PAYOUTS, key="same")
        with pytest.raises(MisusedGate, match="share the gate key 'same'"):
            batch(pay, PAYOUTS[:1], key="same")


def test_what_the_test_decides_may_look_at_the_lines():
    """A function of the proposal sees them all."""

    def decide(proposal: Proposal) -> Answer:
        rows = proposal.arguments["lines"]
        assert isinstance(rows, list)
        return Answer("approve", refused={len(rows): "the last one never"})

    with gates(decide, resources={Till: Till}):
        assert [one.state for one in run.fn(PAYOUTS)] == ["done", "done", "refused"]


class AsksAgain(Authority):
    """Line 2 is asked about alone, and answered once the flow waits for it."""

    held: Proposal | None = None

    def propose(self, proposal: Proposal) -> GateReply:
        if proposal.batch is None or proposal.batch.line != 2 or self.held == proposal:
            return super().propose(proposal)
        gate = self._decided(proposal, self.registry.action(proposal), 1)
        self.waiting = proposal
        view = RequestView(request=gate.request)
        return GateReply(standing=Standing.WAITING, view=view, version=1)

    def news(self, awaited: Sequence[Awaited], seconds: float) -> list[GateReply]:
        del awaited, seconds
        self.held = self.waiting
        return [self.propose(self.waiting)]


def test_a_line_that_is_asked_alone_holds_up_none_of_the_others():
    """It comes last to the till, and stands in its place in the results."""
    till = Till()
    authority = AsksAgain("approve", {Till: lambda: till})
    session = Session(authority, linger=0, lease=60, suspends=False)
    authority.named = session.definitions
    authority.registry = Registry(session.definitions, authority.resources)
    token = chosen.set(session)
    try:
        done = batch(pay, [{"payee": one, "amount": f"{n}.00"} for n, one in enumerate("abc", 1)])
    finally:
        chosen.reset(token)
    assert [(one.number, one.state) for one in done] == [(1, "done"), (2, "done"), (3, "done")]
    assert list(till.paid.values()) == ["1.00", "3.00", "2.00"]
