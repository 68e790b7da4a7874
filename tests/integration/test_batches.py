"""Many like actions asked about as one, on both stores: the server's side."""

from collections.abc import Mapping
from typing import Any

import pytest

from gates.core.errors import InvalidArguments, InvalidInput, NotEntitled, UnknownAction
from gates.core.gate_keys import line_key
from gates.core.messages import LineOf
from gates.core.model import GateReply, OutcomeKind, RequestView, Standing, Verdict
from gates.explaining import explained
from tests.support.world import POLICY, World

RULES = (
    POLICY
    + """
  - name: never-there
    on: till.pay
    when: action.arguments.payee == "mallory"
    verdict: forbid
    tier: expert
    because: "{action.arguments.payee} is on the list"
  - name: adds-up
    on: till.pay
    when: batch.count > 1 && batch.total_minor >= 150000
    verdict: require_approval
    tier: high
    ask: {who: [controllers, treasury], quorum: 2, deadline: 1h, valid: 2h}
    because: "{amount} of {batch.total_minor} in {batch.count} lines"
"""
)
PAYEES = ("acme", "bolt", "carl")


def lines(*amounts: str, payees: tuple[str, ...] = PAYEES) -> list[dict[str, str]]:
    return [{"payee": payee, "amount": one} for payee, one in zip(payees, amounts, strict=False)]


def batch(world: World, rows: list[dict[str, str]], **changes: Any) -> GateReply:
    changes = {"key": "run", "name": "till.pay.batch"} | changes
    return world.propose(arguments={"lines": rows}, **changes)


def line(
    world: World, whole: str, number: int, row: Mapping[str, str], **changes: Any
) -> GateReply:
    values: dict[str, Any] = {
        "arguments": dict(row),
        "key": line_key("run", number),
        "batch": LineOf(request_id=whole, line=number),
    }
    return world.propose(**values | changes)


def approve(world: World, whole: str, person: str, refused: dict[str, str]) -> RequestView:
    return world.gates.decide(
        whole,
        person_id=person,
        kind="approve",
        channel="test",
        assurance="session",
        refused=refused,
    )


@pytest.fixture
def ruled(world: World) -> World:
    world.rule(RULES)
    world.till.accounts |= {"bolt": "NL02", "carl": "NL03"}
    return world


def test_one_question_about_all_of_them(ruled: World) -> None:
    """What each line alone would be let run adds up; people see sum, count and every reason."""
    reply = batch(ruled, lines("900.00", "700.00"))
    assert reply.standing is Standing.WAITING
    asked = reply.view.request
    assert str(asked.amount) == "1,600.00 EUR"
    assert asked.facts == {
        "lines": 2,
        "total_minor": 160000,
        "currency": "EUR",
        "counterparties": 2,
    }
    assert [one.judgement.verdict for one in asked.lines] == [Verdict.REQUIRE_APPROVAL] * 2
    assert asked.lines[0].precondition == {"account": "NL01"}
    (reason,) = asked.judgement.reasons
    assert reason.text.startswith("line 1: 900.00 EUR of 160000 in 2 lines; line 2: 700.00")
    assert batch(ruled, lines("900.00", "500.00"), key="small").standing is Standing.SUCCEEDED


def test_approved_lines_run_each_with_its_own_grant_and_nobody_is_asked_twice(
    ruled: World,
) -> None:
    """The batch itself executes nothing; each line is booked once under its own key."""
    rows = lines("900.00", "700.00")
    whole = batch(ruled, rows).view.request.id
    ruled.decide(whole, "dana")
    ruled.decide(whole, "tess")
    assert batch(ruled, rows).standing is Standing.SUCCEEDED
    assert ruled.lease() is None
    for number, row in enumerate(rows, 1):
        reply = line(ruled, whole, number, row)
        assert reply.standing is Standing.EXECUTING
        assert str(reply.view.outcome) == (
            f"approved by Dana Okafor, Tess Laurent: line {number} of batch {whole[:8]}"
        )
        job = ruled.lease()
        assert job is not None
        assert ruled.perform(job).standing is Standing.SUCCEEDED
        assert line(ruled, whole, number, row).standing is Standing.SUCCEEDED
    assert sorted(ruled.till.paid.values()) == ["700.00", "900.00"]
    assert ruled.gates.waiting() == []


def test_a_line_is_explained_as_it_was_judged(ruled: World) -> None:
    """As one of a batch: alone nobody would have been asked about it."""
    rows = lines("900.00", "700.00")
    whole = batch(ruled, rows).view.request.id
    for person in ("dana", "tess"):
        ruled.decide(whole, person)
    request = line(ruled, whole, 1, rows[0]).view.request
    found = explained(ruled.gates, request.id)
    (adds_up,) = [one for one in found.explanation.rules if one.rule == "adds-up"]
    assert adds_up.answer == "matches"
    assert found.notes == ()


def test_some_lines_are_refused_and_the_rest_runs(ruled: World) -> None:
    """Each refusal has a reason and a name; one person's refusal counts whoever else agrees."""
    rows = lines("900.00", "700.00", "800.00")
    whole = batch(ruled, rows).view.request.id
    approve(ruled, whole, "dana", {"2": "no such order"})
    view = approve(ruled, whole, "tess", {"3": "paid by card"})
    assert view.outcome is not None
    assert view.outcome.kind is OutcomeKind.APPROVED
    assert view.decisions[0].refused == {"2": "no such order"}
    batch(ruled, rows)
    assert line(ruled, whole, 1, rows[0]).standing is Standing.EXECUTING
    with pytest.raises(InvalidInput, match="was refused by Dana Okafor: no such order"):
        line(ruled, whole, 2, rows[1])


@pytest.mark.parametrize(
    ("refused", "words"),
    [
        ({"4": "x"}, "there is no line '4': this batch has lines 1 to 2"),
        ({"x": "x"}, "there is no line 'x'"),
        ({"01": "x"}, "there is no line '01'"),
        ({"1": " "}, "say why line 1 is not to run"),
        ({"1": "x", "2": "y"}, "leaves no line to run: reject the batch"),
    ],
)
def test_a_refusal_that_is_none_is_told(ruled: World, refused: dict[str, str], words: str) -> None:
    """A line that is not there, no reason, or nothing left: said, and nothing recorded."""
    whole = batch(ruled, lines("900.00", "700.00")).view.request.id
    with pytest.raises(InvalidInput, match=words):
        approve(ruled, whole, "dana", refused)
    assert ruled.gates.view(whole).decisions == ()


def test_two_people_do_not_refuse_everything_between_them(ruled: World) -> None:
    """The second, who would leave nothing, is told to reject."""
    whole = batch(ruled, lines("900.00", "700.00")).view.request.id
    approve(ruled, whole, "dana", {"1": "x"})
    with pytest.raises(InvalidInput, match="leaves no line to run"):
        approve(ruled, whole, "tess", {"2": "y"})
    single = ruled.propose("5000.00", key="single").view.request.id
    with pytest.raises(InvalidInput, match="the rest of a batch"):
        approve(ruled, single, "dana", {"1": "x"})


def test_what_the_policy_forbids_is_refused_by_line_and_named(ruled: World) -> None:
    """The others can be asked for; a batch of nothing else is forbidden as a whole."""
    rows = lines("900.00", "700.00", "10.00", payees=("acme", "bolt", "mallory"))
    asked = batch(ruled, rows).view.request
    assert asked.judgement.verdict is Verdict.REQUIRE_APPROVAL
    assert "line 3 refused: “mallory” is on the list" in [
        one.text for one in asked.judgement.reasons
    ]
    ruled.decide(asked.id, "dana")
    ruled.decide(asked.id, "tess")
    batch(ruled, rows)
    assert line(ruled, asked.id, 3, rows[2]).standing is Standing.FORBIDDEN
    only = batch(ruled, lines("1.00", payees=("mallory",)), key="only")
    assert only.standing is Standing.FORBIDDEN


def test_a_line_that_drifted_is_asked_alone(ruled: World) -> None:
    """Its new question says what has changed; the other lines run as agreed."""
    rows = lines("900.00", "700.00")
    whole = batch(ruled, rows).view.request.id
    ruled.decide(whole, "dana")
    ruled.decide(whole, "tess")
    batch(ruled, rows)
    ruled.till.accounts["bolt"] = "XX66"
    assert line(ruled, whole, 1, rows[0]).standing is Standing.EXECUTING
    reply = line(ruled, whole, 2, rows[1])
    assert reply.standing is Standing.WAITING
    assert "changed since people were asked: account: NL02 -> XX66" in reply.view.request.before[0]
    ruled.decide(reply.view.request.id, "mika")
    ruled.decide(reply.view.request.id, "tess")
    assert line(ruled, whole, 2, rows[1]).standing is Standing.EXECUTING


def test_an_approval_of_a_batch_does_not_last_for_ever(ruled: World) -> None:
    """After its time, or without its people, what is left is asked line by line."""
    rows = lines("900.00", "700.00")
    whole = batch(ruled, rows).view.request.id
    ruled.decide(whole, "dana")
    ruled.decide(whole, "tess")
    batch(ruled, rows)
    assert line(ruled, whole, 1, rows[0]).standing is Standing.EXECUTING
    ruled.clock.advance(hours=2)
    late = line(ruled, whole, 2, rows[1])
    assert late.standing is Standing.WAITING
    assert "the approval has lapsed" in late.view.request.before[0]
    assert ruled.lease() is None  # what waited too long for an executor is looked at again
    assert "lapsed" in ruled.gates.waiting()[1].request.before[0]


@pytest.mark.parametrize(
    ("old", "new", "standing"),
    [
        ("quorum: 2, deadline: 1h, valid: 2h", "quorum: 1, valid: 3h", Standing.EXECUTING),
        (
            "who: [controllers, treasury], quorum: 2, deadline: 1h, valid: 2h",
            "who: [controllers], quorum: 2",
            Standing.WAITING,
        ),
        ('"mallory"', '"bolt"', Standing.FORBIDDEN),
    ],
)
def test_another_policy_is_asked_line_by_line(
    ruled: World, old: str, new: str, standing: Standing
) -> None:
    """What people said does for it, or it does not, or it is forbidden by now."""
    rows = lines("900.00", "700.00")
    whole = batch(ruled, rows).view.request.id
    ruled.decide(whole, "dana")
    ruled.decide(whole, "tess")
    batch(ruled, rows)
    ruled.rule(RULES.replace(old, new))
    assert line(ruled, whole, 2, rows[1]).standing is standing


def test_a_line_is_covered_once_and_only_as_it_was_shown(ruled: World) -> None:
    """Not under another key, number, amount or run, nor before people have agreed."""
    rows = lines("900.00", "700.00")
    whole = batch(ruled, rows).view.request.id
    with pytest.raises(InvalidInput, match="the batch is not decided"):
        line(ruled, whole, 1, rows[0])
    ruled.decide(whole, "dana")
    ruled.decide(whole, "tess")
    batch(ruled, rows)
    for number, row, changes in (
        (1, rows[0], {"key": "another"}),
        (2, rows[0], {}),
        (1, rows[0] | {"amount": "9000.00"}, {}),
    ):
        with pytest.raises(InvalidInput, match="is something else than this proposal"):
            line(ruled, whole, number, row, **changes)
    with pytest.raises(InvalidInput, match="it has 2 lines"):
        line(ruled, whole, 3, rows[0])
    ruled.run = "f" * 32
    with pytest.raises((InvalidInput, NotEntitled), match="no batch of this run"):
        line(ruled, whole, 1, rows[0])


@pytest.mark.parametrize(
    ("rows", "error", "words"),
    [
        ([], InvalidInput, r"lines = \[\]: a batch has at least one line"),
        (lines("1.00", "1.00", payees=("a", "a")), InvalidInput, "lines 1 and 2 are the same"),
        ([{"payee": "a"}], InvalidArguments, r"lines.0.amount = .*Field required"),
        ("none", InvalidArguments, "lines = 'none'"),
        (
            [{"payee": f"p{n}", "amount": "1.00"} for n in range(201)],
            InvalidInput,
            "lines = 201: the policy lets a batch have 200; split it",
        ),
    ],
)
def test_a_batch_that_is_none_is_refused(
    ruled: World, rows: Any, error: type[Exception], words: str
) -> None:
    """Before the real system is asked anything, with what to do."""
    ruled.till.reachable = False
    with pytest.raises(error, match=words):
        batch(ruled, rows)


def test_the_policy_limits_lines_and_money(ruled: World) -> None:
    """By currency; a currency that is not named moves nothing."""
    ruled.rule("batch: {most_lines: 1000, most_total: {EUR: 100000}}\n" + RULES.lstrip())
    with pytest.raises(InvalidInput, match=r"1,000.01 EUR: the policy lets a batch move 1,000.00"):
        batch(ruled, lines("1000.00", "0.01"))
    many = [{"payee": f"p{n}", "amount": "1.00"} for n in range(1000)]
    assert batch(ruled, many, key="many").standing is Standing.SUCCEEDED
    ruled.rule("batch: {most_total: {USD: 100000}}\n" + RULES.lstrip())
    with pytest.raises(InvalidInput, match="lets a batch move nothing in EUR"):
        batch(ruled, lines("1.00", "2.00"), key="euros")


def test_only_actions_of_the_registry_come_in_batches(ruled: World) -> None:
    """And no function of a flow may call itself one."""
    with pytest.raises(UnknownAction):
        batch(ruled, [], name="till.lend.batch")
    with pytest.raises(InvalidInput, match="an action of the registry"):
        batch(ruled, [], name="till.pay.batch", in_process=True)


def test_a_batch_stands_nowhere_and_counts_in_no_sum(ruled: World) -> None:
    """What the run has done are the lines."""
    rows = lines("900.00", "700.00")
    whole = batch(ruled, rows).view.request.id
    ruled.decide(whole, "dana")
    ruled.decide(whole, "tess")
    batch(ruled, rows)
    line(ruled, whole, 1, rows[0])
    job = ruled.lease()
    assert job is not None
    ruled.perform(job)
    steps = ruled.gates.trail(ruled.flow, whole)
    assert [one.gate_key for one in steps] == [line_key("run", 1)]


def test_people_may_change_a_batch_and_then_what_they_changed_runs(ruled: World) -> None:
    """The next round is the changed table; its lines run, the proposed ones do not."""
    rows = lines("900.00", "700.00")
    whole = batch(ruled, rows).view.request.id
    fewer = [rows[0] | {"amount": "800.00"}, rows[1] | {"amount": "750.00"}]
    asked = ruled.decide(whole, "dana", "approve_with_changes", "less", {"lines": fewer}).request
    assert asked.round == 2
    ruled.decide(asked.id, "tess")
    assert batch(ruled, rows).standing is Standing.SUCCEEDED
    assert line(ruled, asked.id, 1, fewer[0]).standing is Standing.EXECUTING
    with pytest.raises(InvalidInput, match="something else than this proposal"):
        line(ruled, asked.id, 2, rows[1])
    with pytest.raises(InvalidInput, match="the batch is voided"):
        line(ruled, whole, 2, rows[1])


def test_silence_lets_the_lines_of_a_batch_run(ruled: World) -> None:
    """Where a window is all that the policy wants; a line that wants people by then asks them."""
    asks = "ask: {who: [controllers, treasury], quorum: 2, deadline: 1h, valid: 2h}"
    windowed = RULES.replace(asks, "ask: {who: [controllers]}\n    window: 1h").replace(
        "verdict: require_approval\n    tier: high\n    ask: {who: [controllers]}\n",
        "verdict: veto_window\n    tier: high\n    ask: {who: [controllers]}\n",
    )
    ruled.rule(windowed)
    rows = lines("900.00", "700.00")
    whole = batch(ruled, rows).view.request
    assert whole.judgement.verdict is Verdict.VETO_WINDOW
    ruled.clock.advance(hours=1)
    assert ruled.gates.expire() == 1
    assert batch(ruled, rows).standing is Standing.SUCCEEDED
    assert line(ruled, whole.id, 1, rows[0]).standing is Standing.EXECUTING
    ruled.rule(RULES)
    reply = line(ruled, whole.id, 2, rows[1])
    assert reply.standing is Standing.WAITING
    assert "silence is not enough for it now" in reply.view.request.before[0]


def test_a_batch_that_the_policy_lets_run_asks_where_a_line_wants_people(ruled: World) -> None:
    """What the policy alone allowed as a whole has to be allowed as a line."""
    rows = lines("900.00", "500.00")
    whole = batch(ruled, rows).view.request.id
    ruled.rule(RULES.replace("150000", "100000"))
    reply = line(ruled, whole, 1, rows[0])
    assert reply.standing is Standing.WAITING
    assert "the policy alone let the batch run" in reply.view.request.before[0]
