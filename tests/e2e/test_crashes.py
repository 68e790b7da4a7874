"""kill -9 at each step from proposal to report: one bill and one payment, or a person is asked.

Every test stops one run of the demo's flow at one point, by holding one call in a proxy, kills
one process there, and starts it again where a supervisor would. What counts is what the ERP's
own books say afterwards.
"""

from collections.abc import Iterator
from itertools import count
from typing import Literal, NamedTuple

import pytest

from gates.core.model import DecisionKind, Purpose
from integrations.demo.runs import Run
from integrations.erp.company import installed
from tests.support.erp import WHY_SKIPPED
from tests.support.house import House, house, until
from tests.support.proxy import Proxy

pytestmark = [
    pytest.mark.erp,
    pytest.mark.prefect,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not installed(), reason=WHY_SKIPPED),
]

SMALL, LARGE = "acme-steel-routine", "acme-steel-large"  # runs by itself; asks controllers twice
ACTIONS = 4  # of a bill: look for it, enter, post, pay
NUMBERS = count(1)
NOTICED = 250.0  # seconds: Prefect's shortest heartbeat, two and a half times, and some


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("house")) as running:
        yield running


# What differs from a case that runs every time in who dies alone, or by a step: with `make soak`.
SOAKED = (pytest.mark.soak,)


class Doomed(NamedTuple):
    """Two runs and the numbers of their bills: one asked people, the other had just proposed."""

    asking: Run
    quiet: Run
    numbers: tuple[str, str]


@pytest.fixture(scope="module", autouse=True)
def doomed(home: House) -> Iterator[Doomed]:
    """Killed at the start together with their worker, unseen; looked at by the last test: it
    takes more than a minute until their silence is noticed. Their calls go through a proxy of
    their own, and what they have queued is paid before the first test: no test holds their calls.
    """
    with Proxy(home.stack.gates_url) as proxy:
        with held(proxy, LINGERING) as lingering, held(proxy, PROPOSED) as proposed:
            asking, quiet = begun(home, LARGE, proxy.url), begun(home, SMALL, proxy.url)
            lingering.wait()
            proposed.wait()
            home.kill("worker")
            home.kill_flow(asking[0])
            home.kill_flow(quiet[0])
            lingering.lose()
            proposed.lose()
        home.start("worker")
        until(lambda: home.log(quiet[0]).count("attempt.succeeded") == ACTIONS, "its payment", home)
        yield Doomed(asking[0], quiet[0], (asking[1], quiet[1]))


class Step(NamedTuple):
    """A call that is stopped: before it is passed on, or after, before its answer is."""

    at: Literal["gates", "erp"]
    moment: Literal["before", "after"]
    says: tuple[str, ...]


PAY = '"name":"erp.payment.submit"'
PROPOSING = Step("gates", "before", ("POST /v1/actions", PAY))
PROPOSED = Step("gates", "after", ("POST /v1/actions", PAY))
LEASED = Step("gates", "after", ("/v1/jobs/lease", '"kind":"execute"', PAY))
ENTERING = Step("erp", "before", ("model.account.invoice.create",))
ENTERED = Step("erp", "after", ("model.account.invoice.create",))
POSTING = Step("erp", "before", ("model.account.invoice.post",))
POSTED = Step("erp", "after", ("model.account.invoice.post",))
CREATING = Step("erp", "before", ("model.account.payment.create",))
CREATED = Step("erp", "after", ("model.account.payment.create",))
MOVING = Step("erp", "before", ("wizard.account.payment.process.execute",))
MOVED = Step("erp", "after", ("wizard.account.payment.process.execute",))
PAID = Step("erp", "after", ("model.account.payment.succeed",))
POST_REPORTED = Step("gates", "after", ("/report", '"name":"erp.bill.post"'))
REPORTING = Step("gates", "before", ("/report", "payment_number"))
REPORTED = Step("gates", "after", ("/report", "payment_number"))
LINGERING = Step("gates", "after", ("GET /v1/requests/", "/wait", '"standing":"waiting"'))
CLAIMING = Step("gates", "before", ("POST /v1/requests/", "/claim"))
CLAIMED = Step("gates", "after", ("POST /v1/requests/", "/claim"))


def stopped_at(house: House, step: Step):
    return held(house.gates if step.at == "gates" else house.erp, step)


def held(proxy: Proxy, step: Step):
    return proxy.hold(lambda call: call.says(*step.says), step.moment)


def begun(house: House, sample: str, gates_url: str = "") -> tuple[Run, str]:
    number = f"CRASH-{next(NUMBERS)}"
    return house.run(sample, number, gates_url), number


def paid_once(house: House, run: Run, number: str) -> None:
    """The run has its receipt, and the books show one bill with one payment, nothing else."""
    house.until_state(run, "COMPLETED")
    (bill,) = house.booked(number)
    assert bill.state == "paid"
    assert [(p.state, p.amount) for p in bill.payments] == [("succeeded", bill.total)]


def end(house: House, victim: str, run: Run) -> None:
    """Kill, and start again whom a supervisor starts again: a run is nobody's child."""
    if victim == "flow":
        house.kill_flow(run)
    else:
        house.kill(victim)
        house.start(victim)


@pytest.mark.parametrize(
    ("step", "victim"),
    [
        pytest.param(step, victim, id=f"{name}-{victim}", marks=marks)
        for name, step, victims, left in [
            ("proposing", PROPOSING, ("flow",), ("gates",)),
            ("proposed", PROPOSED, (), ("gates", "flow")),
            ("leased", LEASED, (), ("executor",)),
            ("entering-bill", ENTERING, (), ("executor",)),
            ("bill-entered", ENTERED, ("executor",), ()),
            ("posting", POSTING, (), ("executor",)),
            ("posted", POSTED, (), ("executor",)),
            ("creating-payment", CREATING, ("executor",), ()),
            ("payment-created", CREATED, ("gates",), ("flow", "executor", "worker")),
            ("paid", PAID, (), ("executor", "gates", "flow")),
            ("reporting", REPORTING, ("executor",), ("gates",)),
            ("reported", REPORTED, ("gates",), ("executor",)),
        ]
        for victim, marks in [*((one, ()) for one in victims), *((one, SOAKED) for one in left)]
    ],
)
def test_whoever_dies_at_whatever_step_the_supplier_is_paid_once(
    home: House, step: Step, victim: str
) -> None:
    """A bill that nobody needs to look at is entered and paid once, whichever process dies when."""
    with stopped_at(home, step) as hold:
        run, number = begun(home, SMALL)
        hold.wait()
        if victim == "flow":
            home.kill_flow(run)
        else:
            home.kill(victim)
        if _was_on(step, victim) and step is not CREATING:
            hold.lose()  # the call, or its answer, dies with who sent or served it
        else:
            hold.release()  # CREATING: it lands although its sender is dead
        if victim == "flow":
            home.retry(run)
        else:
            home.start(victim)
        paid_once(home, run, number)


def _was_on(step: Step, victim: str) -> bool:
    """Whether the victim was at one end of the held call."""
    if step in (PROPOSING, PROPOSED):
        return victim in ("flow", "gates")
    return victim == "executor" or (victim == "gates" and step.at == "gates")


@pytest.mark.parametrize("victim", [pytest.param("flow", marks=SOAKED), "gates"])
def test_what_is_queued_outlives_who_queued_it(home: House, victim: str) -> None:
    """No executor is there when flow or server die; the next one pays what was queued, once."""
    with stopped_at(home, POST_REPORTED) as hold:
        run, number = begun(home, SMALL)
        hold.wait()
        home.kill("executor")
        hold.lose()
    until(lambda: home.log(run)[-1] == "grant.queued", "the queued payment", home, run)
    end(home, victim, run)
    home.start("executor")
    if victim == "flow":
        home.retry(run)
    paid_once(home, run, number)


# -- where people are asked -------------------------------------------------------------------


@pytest.mark.parametrize(
    "victim", ["flow", "gates", pytest.param("worker", marks=SOAKED), "prefect"]
)
def test_a_death_while_people_are_asked_costs_no_answer(home: House, victim: str) -> None:
    """While a run lingers: what people answer afterwards reaches it, without anybody's Retry."""
    with stopped_at(home, LINGERING) as hold:
        run, number = begun(home, LARGE)
        hold.wait()
        if victim == "prefect":
            home.kill(victim)
            hold.release()  # it wants to suspend, and cannot
            until(lambda: "run.suspended" in home.log(run), "its wish to suspend")
            home.start(victim)
        else:
            end(home, victim, run)
            hold.release() if victim == "worker" else hold.lose()
        if victim == "flow":
            home.until_state(run, "CRASHED")
        home.approve(run, "dana")
        home.approve(run, "mika")  # the second gate: the payment
        paid_once(home, run, number)


@pytest.mark.parametrize("victim", ["gates", pytest.param("worker", marks=SOAKED), "prefect"])
def test_a_suspended_run_outlives_everybody(home: House, victim: str) -> None:
    """Nobody is at home when the answer comes, or right after it: the run goes on all the same."""
    run, number = begun(home, LARGE)
    home.until_state(run, "PAUSED")
    if victim == "gates":
        end(home, victim, run)
        home.approve(run, "dana")
    else:
        home.kill(victim)
        home.approve(run, "dana")
        home.start(victim)
    home.approve(run, "mika")
    paid_once(home, run, number)


@pytest.mark.parametrize(
    "victim", ["flow", *(pytest.param(one, marks=SOAKED) for one in ("gates", "worker"))]
)
def test_a_death_between_decision_and_claim_uses_the_decision_once(
    home: House, victim: str
) -> None:
    """The run that comes back claims what was approved; nobody is asked the same twice."""
    with stopped_at(home, LINGERING) as waiting, stopped_at(home, CLAIMING) as claiming:
        run, number = begun(home, LARGE)
        waiting.wait()
        home.approve(run, "dana")
        waiting.release()
        claiming.wait()
        end(home, victim, run)
        claiming.release() if victim == "worker" else claiming.lose()
        home.approve(run, "dana")
        paid_once(home, run, number)
    assert home.log(run).count("request.settled") == 2


def test_a_rejection_for_a_run_that_is_dead_ends_it(home: House) -> None:
    """Rejected while the run's process is gone: the run ends saying who and why, books empty."""
    with stopped_at(home, LINGERING) as hold:
        run, number = begun(home, LARGE)
        hold.wait()
        home.kill_flow(run)
        hold.lose()
        home.decide(run, "dana", DecisionKind.REJECT, "Not ordered by us.")
        ended = home.until_state(run, "CANCELLED")
    assert "Dana Okafor" in ended.message
    assert "Not ordered by us." in ended.message
    assert home.booked(number) == []


def test_money_that_moves_while_its_executor_dies_is_a_question_for_people(home: House) -> None:
    """Processing at the bank when the executor died: people are asked, and their yes goes on with
    the one payment that is there.
    """
    with stopped_at(home, MOVED) as hold:
        run, number = begun(home, SMALL)
        hold.wait()
        home.kill("executor")
        hold.lose()
        home.start("executor")
        question = home.question(run)
    assert question.request.purpose is Purpose.IN_DOUBT
    (bill,) = home.booked(number)
    assert [p.state for p in bill.payments] == ["processing"]
    home.approve(run, "dana")
    paid_once(home, run, number)


def test_runs_that_died_with_their_worker_are_noticed(home: House, doomed: Doomed) -> None:
    """Nobody saw them die and Prefect took them for running: what was paid for the one, and the
    answer to the other, has them found and started again, without anybody's Retry.
    """
    home.until_state(doomed.asking, "CRASHED", "PAUSED", seconds=NOTICED)
    home.approve(doomed.asking, "dana")
    home.approve(doomed.asking, "dana")
    paid_once(home, doomed.asking, doomed.numbers[0])
    paid_once(home, doomed.quiet, doomed.numbers[1])
