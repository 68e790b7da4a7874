"""Circumstances that the store knows: the past of an agent and a counterparty, and sums.

A sum is taken twice: before the question is judged, and once more in the transaction that opens
it, where nobody else can add to it. Two payments that are proposed at once would otherwise both
see what was there before the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from gates.asking import Asking
from gates.core.errors import InvalidInput, RetryLater
from gates.core.model import ApprovalRequest, Json, Money, Purpose, RunRef
from gates.core.policy import Policy, Question
from gates.core.policy.patterns import matches
from gates.core.policy.windows import total
from gates.store import history
from gates.store.database import Database
from gates.store.repository import Unit

if TYPE_CHECKING:
    from sqlmodel import Session


class Overtaken(RetryLater):
    """What a request was judged by has changed before it was opened: judge it anew."""

    code = "overtaken"


@dataclass
class History:
    """`history`: see docs/history-and-exposure.md for what it holds."""

    database: Database
    names: tuple[str, ...] = ("history",)

    def look(self, question: Question, run: RunRef, now: datetime) -> Mapping[str, Json]:
        del run
        with self.database.read() as session:
            return {"history": history.history(session, question, now)}


@dataclass
class Exposure:
    """`exposure`: the windows that the rules for this action name. `policy` is asked each time,
    for it may be another by then.
    """

    database: Database
    policy: Callable[[], Policy]
    names: tuple[str, ...] = ("exposure",)

    def look(self, question: Question, run: RunRef, now: datetime) -> Mapping[str, Json]:
        del run
        with self.database.read() as session:
            return {"exposure": exposures(session, self.policy(), question, now)}


def exposures(session: Session, policy: Policy, question: Question, now: datetime) -> Json:
    """Raises InvalidInput where the action does not say whom its window goes by, or a sum is in a
    currency that the policy has no rate for.
    """
    answer: Json = {}
    for window in policy.exposure(question.action.name):
        lacking = [key for key, value in history.keyed(question, window) if not value]
        if lacking:
            raise InvalidInput(
                f"exposure.{window.name} goes by {lacking[0]}, and {question.action.name} names "
                "none: say it in the action's definition, or leave this window out of its rules."
            )
        found = history.sums(session, question, window, now)
        own = matches(window.on, question.action.name)
        base = _base(policy)
        answer[window.name] = total(question.amount, found, counts=own, convert=base)
    return answer


def _base(policy: Policy) -> Callable[[Money], Money] | None:
    """How sums become sums of the policy's base currency, where it has one."""
    table = policy.sections.get("currencies")
    if table is None or not table.base:
        return None

    def convert(amount: Money) -> Money:
        found = policy.in_base(amount)
        if found is None:
            raise InvalidInput(
                f"exposure adds up {amount.currency}, for which `currencies` has no rate: add one."
            )
        return found

    return convert


def recounted(unit: Unit, asking: Asking, request: ApprovalRequest) -> ApprovalRequest:
    """The request with its sums as they are now, when nobody else can add to them before this
    transaction ends. Raises Overtaken where they make another answer of it.
    """
    if "exposure" not in request.circumstances or request.purpose is not Purpose.ACTION:
        return request
    if request.judgement.policy_digest != asking.policy.digest:
        raise Overtaken("The policy has changed meanwhile: try again.")
    asked = Question.of(request)
    history.lock(unit.session, asked, asking.policy.exposure(request.action.name))
    now = exposures(unit.session, asking.policy, asked, unit.now)
    if now == request.circumstances["exposure"]:
        return request
    found: dict[str, Json] = request.circumstances | {"exposure": now}
    fresh = asking.policy.judge(
        asked.model_copy(update={"circumstances": found}), request.lifted.keys()
    )
    before = request.judgement
    stricter = fresh.verdict.strictness - before.verdict.strictness
    if stricter > 0 or (stricter == 0 and (fresh.ask, fresh.tier) != (before.ask, before.tier)):
        raise Overtaken("Others have added to the sums that this was judged by: try again.")
    changes: dict[str, object] = {"circumstances": found}
    if [one.rule for one in fresh.reasons] == [one.rule for one in before.reasons]:
        reasons = {"reasons": fresh.reasons}  # with the sums as they are now
        changes["judgement"] = before.model_copy(update=reasons)
    return request.model_copy(update=changes)
