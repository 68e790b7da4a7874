"""gates.testing: flows are tested without a server and unpatched."""

from decimal import Decimal

import pytest
from prefect import flow

from gates import (
    ActionFailed,
    Cancelled,
    Expired,
    Forbidden,
    MisusedGate,
    Rejected,
    SentBack,
    Undo,
    action,
    gated,
    require_approval,
    undo,
)
from gates.core.errors import GatesError, InvalidArguments, InvalidInput, NotCanonical
from gates.core.messages import Proposal
from gates.testing import Answer, gates
from tests.support.world import Payout, Till, pay

PAYOUT = {"payee": "acme", "amount": "500.00"}
SENT: list[str] = []


@gated("notes.send", subject=lambda to, text: [f"person:{to}", text])
def send(to: str, text: str = "hello") -> str:
    """Sends a note."""
    SENT.append(f"{to}: {text}")
    return f"sent to {to}"


@flow
def pay_all(amount: str) -> dict[str, str]:
    return gated(pay)(Payout(payee="acme", amount=Decimal(amount)), claims={"confidence": "0.9"})


@pytest.fixture(autouse=True)
def empty():
    SENT.clear()


def test_an_approved_action_of_the_registry_runs_against_the_resource_of_the_test():
    """What was approved runs on the test's till, under an idempotency key."""
    till = Till()
    with gates(resources={Till: lambda: till}) as asked:
        assert pay_all.fn("505.75") == {"paid": "505.75"}
    assert list(till.paid.values()) == ["505.75"]
    assert [(one.name, one.key, one.claims) for one in asked] == [
        ("till.pay", "till.pay-1", {"confidence": "0.9"})
    ]


@pytest.mark.parametrize(
    ("kind", "error"),
    [("reject", Rejected), ("expire", Expired), ("withdraw", Cancelled), ("forbid", Forbidden)],
)
def test_every_other_answer_raises_and_runs_nothing(kind, error):
    """A flow that is refused gets the error that names the person and the reason."""
    till = Till()
    with (
        gates(
            {"till.pay": Answer(kind, "not ours", "Dana Okafor")}, resources={Till: lambda: till}
        ),
        pytest.raises(error, match="not ours") as stopped,
    ):
        pay_all.fn("505.75")
    assert not till.paid
    assert stopped.value.details["action"] == "till.pay"


def test_a_rejection_reads_as_a_sentence():
    """The error's text is what a reader needs to know."""
    with (
        gates(lambda _: Answer("reject", "not ours", "Dana Okafor")),
        pytest.raises(Rejected) as no,
    ):
        send("ops")
    assert str(no.value) == "Rejected by Dana Okafor: not ours"


def test_a_function_of_the_flow_runs_with_the_approved_arguments():
    """Positional, keyword and default arguments all reach the gate by name."""
    with gates() as asked:
        assert send("ops") == "sent to ops"
        assert send(text="bye", to="dana") == "sent to dana"
    assert [one.arguments for one in asked] == [
        {"to": "ops", "text": "hello"},
        {"to": "dana", "text": "bye"},
    ]
    assert asked[0].subject == ("person:ops", "hello")
    assert SENT == ["ops: hello", "dana: bye"]


def test_decide_may_look_at_the_proposal():
    """A function decides each proposal by what it says."""

    def small(proposal: Proposal) -> Answer:
        return Answer("approve" if proposal.arguments["to"] == "ops" else "reject", "too far")

    with gates(small):
        send("ops")
        with pytest.raises(Rejected, match="too far"):
            send("everybody")
    assert SENT == ["ops: hello"]


def test_an_action_that_the_test_forgot_is_an_error_in_the_test():
    """No answer is made up."""
    with gates({"other": "approve"}), pytest.raises(InvalidInput, match="add it to `decide`"):
        send("ops")


def test_an_unknown_answer_is_named():
    """A typing error in a test does not pass for a decision."""
    with gates({"notes.send": "aprove"}), pytest.raises(InvalidInput, match="aprove"):
        send("ops")


def test_an_approved_action_without_its_resource_says_how_to_give_one():
    """The test is told which resource to bring."""
    with gates(), pytest.raises(InvalidInput, match=r"resources=\{Till"):
        pay_all.fn("1.00")


def test_arguments_are_held_against_the_definition():
    """A flow that proposes nonsense fails in its test as in earnest."""
    with gates() as asked, pytest.raises(InvalidArguments, match="amount = 'much'"):
        gated(pay)({"payee": "acme", "amount": "much"})
    assert asked == []


def test_floats_are_refused_with_their_name():
    """Money in floats never reaches a person's card."""

    @gated("tips.give")
    def tip(amount: float) -> None:
        SENT.append(str(amount))

    with gates(), pytest.raises(NotCanonical, match=r"\$.amount = 0.1 is a float"):
        tip(0.1)
    assert SENT == []


def test_a_failure_can_be_tried_again_under_the_same_key():
    """ActionFailed says that nothing was left behind: the next call of the key is a new try."""
    till = Till(broken="no paper")
    with gates(resources={Till: lambda: till}) as asked:
        with pytest.raises(ActionFailed, match="no paper") as failed:
            gated(pay, key="pay")(PAYOUT)
        till.broken = ""
        assert gated(pay, key="pay")(PAYOUT) == {"paid": "500.00"}
    assert failed.value.error_class == "TillError"
    assert len(asked) == 1


def test_a_body_with_an_unknown_end_fails_the_test_that_expected_none():
    """In earnest people would be asked; a test is told so."""

    @gated("notes.lose")
    def lose() -> None:
        raise RuntimeError("line cut")

    with gates(), pytest.raises(GatesError, match="RuntimeError: line cut") as doubt:
        lose()
    assert doubt.value.code == "in_doubt"


def test_two_calls_with_one_key_are_refused_naming_both():
    """The second would get the first one's result, and its action would silently not run."""
    with gates():
        gated(pay, key="k")  # naming an action asks nobody
        require_approval("First?", key="k")
        with pytest.raises(MisusedGate, match=r"First\?.*Second\?.*`key` of its own"):
            require_approval("Second?", key="k")


def test_require_approval_returns_who_agreed():
    """A question with nothing behind it: the outcome is the answer."""
    with gates(Answer("approve", by="Dana Okafor")) as asked:
        outcome = require_approval("Close May?", month="May", claims={"confidence": "0.5"})
    assert outcome.by == ("Dana Okafor",)
    assert asked[0].arguments == {"month": "May"}
    assert asked[0].claims == {"confidence": "0.5"}


def test_each_block_starts_afresh():
    """Keys and answers of one test do not leak into the next."""
    for _ in range(2):
        with gates() as asked:
            require_approval("Again?", key="once")
        assert len(asked) == 1


@action("till.refund", title="Take back a payout")
def refund(till: Till, payout: Payout, *, idempotency_key: str) -> dict[str, str]:
    till.paid.clear()
    return {"refunded": str(payout.amount), "key": idempotency_key}


@action("till.pay_out", title="Pay out", undo=lambda done: Undo(refund, done.arguments))
def pay_out(till: Till, payout: Payout, *, idempotency_key: str) -> dict[str, str]:
    till.paid[idempotency_key] = str(payout.amount)
    return {"paid": str(payout.amount)}


@flow
def pay_and_send() -> str:
    try:
        gated(pay_out)(PAYOUT)
        return send("ops")
    except Rejected as no:
        SENT.extend(f"{one}: {undo(one)['refunded']}" for one in no.done)
        raise


def test_a_flow_takes_back_what_it_has_done_through_a_gate():
    """The rejection says what stands; the undo is an action with a gate of its own."""
    till = Till()
    decide = {
        "till.pay_out": "approve",
        "till.refund": "approve",
        "notes.send": Answer("reject", "not now", "Dana Okafor"),
    }
    with gates(decide, resources={Till: lambda: till}) as asked, pytest.raises(Rejected):
        pay_and_send.fn()
    assert (SENT, till.paid) == (["Pay out payee acme, amount 500.00: 500.00"], {})
    assert [(one.name, one.key) for one in asked] == [
        ("till.pay_out", "till.pay_out-1"),
        ("notes.send", "notes.send-1"),
        ("till.refund", "undo-till.pay_out-1"),
    ]


def test_what_cannot_be_taken_back_says_so():
    """An action without an undo is refused with its reason, and nothing is proposed."""
    till = Till()

    @flow
    def pays() -> None:
        gated(pay)(PAYOUT)
        try:
            send("ops")
        except Rejected as no:
            (step,) = no.done
            undo(step)

    decide = {"till.pay": "approve", "notes.send": "reject"}
    with (
        gates(decide, resources={Till: lambda: till}),
        pytest.raises(InvalidInput, match="cannot be taken back"),
    ):
        pays.fn()
    assert till.paid


def test_what_is_sent_back_first_may_be_approved_next():
    """An agent loop: the guidance reaches it, its second proposal is the same gate's next round."""
    till = Till()

    def half(proposal: Proposal) -> Answer:
        large = proposal.arguments["amount"] == "500.00"
        return Answer("send_back", "250.00") if large else Answer("approve")

    amount = "500.00"
    with gates(half, resources={Till: lambda: till}) as asked:
        for _ in range(2):
            try:
                gated(pay)(Payout(payee="acme", amount=Decimal(amount)))
            except SentBack as back:
                told, amount = str(back), back.guidance
    assert told == "Sent back by Test Approver: 250.00"
    assert list(till.paid.values()) == ["250.00"]
    assert [(one.key, one.call) for one in asked] == [("till.pay-1", 1), ("till.pay-1", 2)]


def test_an_agent_that_insists_is_asked_about_again():
    """The same proposal once more is a round of its own."""
    answers = iter([Answer("send_back", "smaller"), Answer("approve")])
    with gates(lambda _: next(answers)) as asked:
        with pytest.raises(SentBack):
            send("ops")
        assert send("ops") == "sent to ops"
    assert [one.call for one in asked] == [1, 2]
