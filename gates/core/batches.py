"""Many like actions asked about as one. Pure.

Rules, each with what it protects from:
1. Each line is judged as if it were asked alone, with the size of the batch beside it; the
   strictest verdict of all counts for the whole (a risky line must not hide among harmless ones).
2. What the policy forbids is refused line by line, and named; the rest can still be asked for
   (nothing is dropped in silence).
3. A batch has one currency, no line twice, and no more lines and money than the policy lets a
   batch have (what nobody can look through is no review).
4. Whoever approves may refuse some lines, each with a reason. A line that one person refuses is
   refused, whoever else agrees (people who disagree do not outvote each other).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field, JsonValue

from gates.core.errors import InvalidInput
from gates.core.model import (
    Action,
    ApprovalRequest,
    Decision,
    DecisionKind,
    Json,
    Line,
    Money,
    Verdict,
)
from gates.core.value import Value

END = ".batch"  # how the name of a batch ends
MOST_LINES = 1_000  # whatever a policy says
POLICY = "the policy"


class BatchLimits(Value):
    """How large a batch may be; `most_total` in minor units by currency, empty: no limit."""

    most_lines: int = 200
    most_total: dict[str, int] = Field(default_factory=dict)


def base_of(name: str) -> str:
    """The action of which this is a batch; empty where it is none."""
    base = name.removesuffix(END)
    return base if base != name else ""


def given(arguments: Mapping[str, JsonValue]) -> list[Json]:
    """The arguments of each line."""
    lines = arguments.get("lines")
    return [one for one in lines if isinstance(one, dict)] if isinstance(lines, list) else []


def refuse_unfit(
    name: str, actions: Sequence[Action], amounts: Sequence[Money | None], limits: BatchLimits
) -> None:
    """Raises InvalidInput for what is too large, or no batch at all."""
    most = min(limits.most_lines, MOST_LINES)
    if not actions:
        raise InvalidInput(f"{name}: lines = []: a batch has at least one line.")
    if len(actions) > most:
        raise InvalidInput(
            f"{name}: lines = {len(actions):,}: the policy lets a batch have {most:,}; split it, "
            "or raise `most_lines` in the policy's `batch`."
        )
    seen: dict[str, int] = {}
    for number, action in enumerate(actions, 1):
        first = seen.setdefault(action.fingerprint, number)
        if first != number:
            raise InvalidInput(
                f"{name}: lines {first} and {number} are the same: leave one out, or tell them "
                "apart in their arguments."
            )
    _refuse_mixed(name, amounts)
    sum_ = total(amounts)
    if sum_ is not None and limits.most_total:
        limit = limits.most_total.get(sum_.currency)
        if limit is None or sum_.minor > limit:
            allowed = (
                "nothing" if limit is None else str(Money(minor=limit, currency=sum_.currency))
            )
            raise InvalidInput(
                f"{name}: a total of {sum_}: the policy lets a batch move {allowed} in "
                f"{sum_.currency}; split it, or change `most_total` in the policy's `batch`."
            )


def _refuse_mixed(name: str, amounts: Sequence[Money | None]) -> None:
    first: tuple[int, str] | None = None
    for number, amount in enumerate(amounts, 1):
        if amount is None:
            continue
        if first is None:
            first = number, amount.currency
        elif amount.currency != first[1]:
            raise InvalidInput(
                f"{name}: line {number} is in {amount.currency} and line {first[0]} in "
                f"{first[1]}: make a batch for each currency."
            )


def total(amounts: Sequence[Money | None]) -> Money | None:
    """Nothing where the amount of a line is not known."""
    known = [one for one in amounts if one is not None]
    if not known or len(known) < len(amounts):
        return None
    return Money(minor=sum(one.minor for one in known), currency=known[0].currency)


def summary(lines: Sequence[Line]) -> Json:
    """What reviewers are told of the whole, beside its lines."""
    forbidden = [one.number for one in lines if one.judgement.verdict is Verdict.FORBID]
    found: Json = {"lines": len(lines)}
    sum_ = total([one.amount for one in lines])
    if sum_ is not None:
        found |= {"total_minor": sum_.minor, "currency": sum_.currency}
    parties = {one.counterparty for one in lines if one.counterparty}
    if parties:
        found["counterparties"] = len(parties)
    return found | ({"forbidden_lines": [*forbidden]} if forbidden else {})


@dataclass(frozen=True)
class LineShown:
    """One line as people see it. `refused_by` is empty where it may run."""

    number: int
    arguments: Json
    amount: Money | None
    subject: tuple[str, ...]
    reasons: tuple[str, ...]
    facts: Json
    refused_by: str = ""
    because: str = ""

    def __str__(self) -> str:
        what = ", ".join(self.subject) or ", ".join(str(one) for one in self.arguments.values())
        words = f"{self.amount}  {what}" if self.amount else what
        if self.refused_by:
            return f"{words} (refused by {self.refused_by}: {self.because})"
        return f"{words} ({'; '.join(self.reasons)})" if self.reasons else words


def lines_of(request: ApprovalRequest, decisions: Sequence[Decision]) -> list[LineShown]:
    """Every line, with who has refused it, if anybody has."""
    refusals, arguments = refused(request, decisions), given(request.action.arguments)
    return [
        LineShown(
            line.number,
            arguments[line.number - 1],
            line.amount,
            line.subject,
            tuple(one.text for one in line.judgement.reasons),
            line.facts,
            *refusals.get(line.number, ("", "")),
        )
        for line in request.lines
    ]


def refused(request: ApprovalRequest, decisions: Sequence[Decision]) -> dict[int, tuple[str, str]]:
    """By line: who has refused it, and why. The first who did."""
    found = {
        line.number: (POLICY, "; ".join(one.text for one in line.judgement.reasons))
        for line in request.lines
        if line.judgement.verdict is Verdict.FORBID
    }
    for one in decisions:
        for number, reason in one.refused.items():
            found.setdefault(int(number), (one.name, reason))
    return found


def refuse_wrong_lines(
    request: ApprovalRequest, before: Sequence[Decision], decision: Decision
) -> None:
    """Raises InvalidInput where what a person refuses is no line, has no reason, or is all."""
    if not decision.refused:
        return
    if not request.lines or decision.kind is not DecisionKind.APPROVE:
        raise InvalidInput(
            "refused: single lines are refused where the rest of a batch is approved; reject the "
            "whole, or approve it without."
        )
    for text, reason in decision.refused.items():
        known = text.isascii() and text.isdigit() and 1 <= int(text) <= len(request.lines)
        if not known or text != str(int(text)):
            raise InvalidInput(
                f"refused: there is no line {text[:20]!r}: this batch has lines 1 to "
                f"{len(request.lines)}."
            )
        if not reason.strip():
            raise InvalidInput(f"refused: say why line {text} is not to run.")
    if len(refused(request, [*before, decision])) == len(request.lines):
        raise InvalidInput("refused: that leaves no line to run: reject the batch instead.")


def runs(request: ApprovalRequest, decisions: Sequence[Decision]) -> Iterator[int]:
    """The numbers of the lines that may run, once the batch is approved."""
    no = refused(request, decisions)
    return (line.number for line in request.lines if line.number not in no)
