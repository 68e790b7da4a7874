"""Flows that the tests run under a real worker; what they do is written down by `trace`."""

import asyncio
import os
from datetime import timedelta
from pathlib import Path
from typing import Literal

from prefect import flow, task
from prefect.context import FlowRunContext

from gates import (
    ActionFailed,
    Rejected,
    SentBack,
    Skipped,
    batch,
    gated,
    require_approval,
    together,
)
from gates.flow import Ask
from tests.support.world import Payout, pay


def trace(line: str) -> None:
    context = FlowRunContext.get()
    assert context is not None
    assert context.flow_run is not None
    with Path(os.environ["GATES_TEST_TRACE"]).open("a") as file:
        file.write(f"{context.flow_run.id} {line}\n")


def payout(amount: str) -> Payout:
    return Payout.model_validate({"payee": "acme", "amount": amount})


@gated("note")
def memo(text: str) -> str:
    trace(f"memo {text}")
    return text.upper()


@gated("note")
async def async_memo(text: str) -> str:
    await asyncio.sleep(0)
    trace(f"memo {text}")
    return text.upper()


@task(persist_result=True)
def read() -> str:
    trace("read")
    return "5000.00"


@flow
def one_payment(amount: str) -> dict[str, str]:
    receipt = gated(pay)(payout(amount))
    trace(f"paid {receipt['paid']}")
    return receipt


@flow
def pay_all(amounts: list[str]) -> None:
    for line in batch(pay, [payout(one) for one in amounts], key="run"):
        what = line.result()["paid"] if line.state == "done" else f"{line.by}: {line.reason}"
        trace(f"{line.number} {line.state} {what}")


@flow
def lingering_payment(amount: str) -> dict[str, str]:
    receipt = gated(pay, linger=60)(payout(amount))
    trace(f"paid {receipt['paid']}")
    return receipt


@flow
def two_gates() -> None:
    amount = read()
    trace(f"paid {gated(pay)(payout(amount))['paid']}")
    trace(memo("second"))


@flow
async def async_gates() -> None:
    outcome = await require_approval("Close the books?", month="May")
    trace(f"agreed {outcome.by[0]}")
    first, second = await asyncio.gather(async_memo("a"), async_memo("b"))
    trace(f"{first} {second}")


@flow(retries=2)
def with_retries() -> None:
    trace("before")
    gated(pay)(payout("5000"))


@task
def pay_in_task(amount: str) -> dict[str, str]:
    return gated(pay)(payout(amount))


@flow
def in_a_task() -> None:
    trace(f"paid {pay_in_task('5000')['paid']}")


@flow
def sub(amount: str) -> str:
    return gated(pay)(payout(amount))["paid"]


@flow
def in_a_sub_flow() -> None:
    trace(f"paid {sub('5000')}")
    trace(f"paid {sub('6000')}")


@flow
def side_by_side() -> None:
    futures = [pay_in_task.submit(amount) for amount in ("5000", "6000")]
    trace(f"paid {sorted(future.result()['paid'] for future in futures)}")


@gated("note")
def dies(text: str) -> str:
    trace(f"memo {text}")
    raise ConnectionError("line cut")


@flow
def in_doubt() -> None:
    dies("x")


@gated("note")
def fails(text: str) -> None:
    trace(f"memo {text}")
    raise ActionFailed("no paper", error_class="Printer")


@flow
def circles() -> None:
    for _ in range(4):
        try:
            fails("x")
        except ActionFailed as error:
            trace(f"failed {error}")


@flow
def guided() -> None:
    """An agent that reads what people say, and does the same all the same."""
    for _ in range(6):
        try:
            fails("y")
        except ActionFailed as error:
            trace(f"failed {error}")
        except SentBack as back:
            trace(f"guided {back.guidance}")
        except Skipped:
            trace("skipped")
            return


def told(one: Ask[dict[str, str]]) -> str:
    try:
        return f"paid {one.result()['paid']}"
    except Rejected as no:
        return f"not paid: {no}"


@flow
def three_payments() -> None:
    asks = [gated(pay).ask(payout(amount)) for amount in ("5000", "6000", "7000")]
    for one in together(asks):
        trace(told(one))
        trace(memo(one.key))


@flow
async def three_payments_async() -> None:
    asks = [gated(pay).ask(payout(amount)) for amount in ("5000", "500")]
    async for one in together(*asks, async_memo.ask("x")):
        trace(str(one.result()))


@flow
def waits_no_longer(seconds: float, left: Literal["open", "withdrawn"]) -> None:
    asks = [gated(pay).ask(payout(amount)) for amount in ("5000", "6000")]
    for one in together(asks, within=timedelta(seconds=seconds), left=left):
        trace(f"{one.key} {type(one.error).__name__}")


@flow
def line_and_task() -> None:
    """One gate in a task, which stays, and one in the flow's own line."""
    future = pay_in_task.submit("6000")
    trace(f"line {gated(pay)(payout('5000'))['paid']}")
    trace(f"task {future.result()['paid']}")


@flow
def mapped() -> None:
    futures = pay_in_task.map(["500", "600", "5000"])
    trace(f"paid {sorted(future.result()['paid'] for future in futures)}")


@flow
def looped() -> None:
    for amount in ("5000", "6000"):
        receipt = gated(pay, key=f"pay-{amount}")(payout(amount))
        trace(f"paid {receipt['paid']}")


@flow
def changed() -> None:
    """Its code changes while it is suspended: the file says which key it uses now."""
    key = Path(os.environ["GATES_TEST_TRACE"]).with_name("key").read_text()
    trace(f"paid {gated(pay, key=key)(payout('5000'))['paid']}")
