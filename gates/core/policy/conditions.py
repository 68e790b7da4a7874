"""Conditions in CEL: typed and compiled when a policy is loaded, evaluated without side effects.

Names are declared one by one (`amount.minor`, not `amount`), so that a misspelled one is found
when the policy is loaded; what stands under `claims`, `facts` and `action.arguments` is known
only when it is asked. What relaxes is compiled without the names that a requester can fill:
it cannot even mention a claim.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cel_expr_python import cel
from pydantic import Field

from gates.core.model import Action, ApprovalRequest, Effect, Json, Money, Requester
from gates.core.policy.chains import chains
from gates.core.policy.circumstances import CIRCUMSTANCES, Kind, typed, unknown
from gates.core.value import Value
from gates.core.yaml_file import cure, short

_OBJECT = cel.Type.Map(cel.Type.STRING, cel.Type.DYN)
TRUSTED = {
    "action.name": cel.Type.STRING,
    "action.subject": cel.Type.List(cel.Type.STRING),
    "action.arguments": _OBJECT,
    "action.effect": cel.Type.STRING,
    "action.in_process": cel.Type.BOOL,
    "amount.known": cel.Type.BOOL,
    "amount.minor": cel.Type.INT,
    "amount.currency": cel.Type.STRING,
    "amount.base": cel.Type.INT,
    "amount.base_known": cel.Type.BOOL,
    "batch.count": cel.Type.INT,
    "batch.total_minor": cel.Type.INT,
    "facts": _OBJECT,
    **dict.fromkeys(CIRCUMSTANCES, _OBJECT),
}
CLAIMED = {
    "claims": _OBJECT,
    "requester.agent": cel.Type.STRING,
    "requester.on_behalf_of": cel.Type.STRING,
}
NAMES = (*TRUSTED, *CLAIMED)
OPEN_NAMES = (
    "facts",
    "claims",
    "action.arguments",
    *CIRCUMSTANCES,
)  # what stands below is known when asked

_MENTIONED = re.compile(rf"\b({'|'.join(CIRCUMSTANCES)})\b")
_HAS = re.compile(rf"\bhas\(\s*(?:{'|'.join(CIRCUMSTANCES)})(?:\.\w+)+\s*\)")
_OWN = re.compile(r"\baction\.in_process\b")
_TRUSTED_ENV = cel.NewEnv(variables=TRUSTED)
_ENV = cel.NewEnv(variables={**TRUSTED, **CLAIMED})
_KINDS: dict[Kind, Any] = {
    "bool": cel.Type.BOOL,
    "int": cel.Type.INT,
    "string": cel.Type.STRING,
    "list": cel.Type.List(cel.Type.DYN),
    "map": _OBJECT,
    "dyn": cel.Type.DYN,
}
_BOOLEAN = (cel.Type.BOOL, cel.Type.DYN)
_PROBLEM = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")


class Question(Value):
    """What a policy is asked: what would run, what is claimed, and what the server found out.

    `counterparty`: the business object on the other side, as the action's definition names it.
    `circumstances`: what the server knows beside the facts of the action itself, by the names in
    CIRCUMSTANCES; only what the policy's rules for this action mention needs to be there.
    `batch_count`, `batch_total`: of the batch of which it is a line; alone it is one of one.
    `gate`: the id of the gate that asks, whose own rounds are no history of it.
    `effect` and `destinations` are as the action's definition says; without one it may write.
    `in_process`: a flow's own function, which no registry knows.
    """

    action: Action
    amount: Money | None = None
    claims: Json
    facts: Json
    requester: Requester
    counterparty: str = ""
    circumstances: dict[str, Json] = Field(default_factory=dict)
    batch_count: int = 1
    batch_total: Money | None = None

    gate: str = ""
    effect: Effect = "write"
    in_process: bool = False
    destinations: tuple[str, ...] = ()

    @property
    def batch(self) -> dict[str, int]:
        """The sum is left out where it is not known: a comparison with it then asks."""
        sum_ = self.batch_total if self.batch_count > 1 else self.amount
        return {"count": self.batch_count} | ({"total_minor": sum_.minor} if sum_ else {})

    @classmethod
    def of(cls, request: ApprovalRequest) -> Question:
        """As it was put when the request was judged."""
        return cls(
            action=request.action,
            amount=request.amount,
            claims=request.claims,
            facts=request.facts,
            requester=request.requester,
            counterparty=request.counterparty,
            circumstances=request.circumstances,
            gate=request.gate_id,
            effect=request.effect,
            in_process=request.in_process,
            batch_count=request.covered.count if request.covered else 1,
            batch_total=request.covered.total if request.covered else None,
        )


class Malformed(Exception):
    """A text of the policy that is not well formed: where in it (in characters), and why."""

    def __init__(self, offset: int, words: str) -> None:
        super().__init__(words)
        self.offset = offset
        self.words = words


@dataclass(frozen=True)
class Condition:
    """`claimed`: it rests on what the requester says, too. `mentions`: the circumstances whose
    names occur in it.
    """

    text: str
    expression: Any
    claimed: bool

    @property
    def mentions(self) -> frozenset[str]:
        return frozenset(_MENTIONED.findall(self.text))

    @property
    def tells_apart(self) -> bool:
        """Whether it says something about a flow's own functions."""
        return _OWN.search(self.text) is not None


def compile_condition(text: str, windows: Collection[str] | None = None) -> Condition:
    """`windows`: those of the policy's section `exposure`; None: any may be named. Raises
    Malformed.
    """
    _check_circumstances(text, None if windows is None else tuple(sorted(windows)))
    expression = _compiled(_ENV, text)
    if not any(expression.return_type() == kind for kind in _BOOLEAN):
        kind = expression.return_type().name().lower()
        raise Malformed(0, f"this is of type {kind}, not true or false: compare it with something")
    try:
        _compiled(_TRUSTED_ENV, text)
    except Malformed as error:
        del error  # the caller wants to know that, not where
        return Condition(text, expression, claimed=True)
    return Condition(text, expression, claimed=False)


def _check_circumstances(text: str, windows: tuple[str, ...] | None) -> None:
    """Each of their keys is one that somebody fills, and taken for what it is. At judging time they
    are maps, so that a rule can ask `has(history.median_minor)`.
    """
    if not _MENTIONED.search(text):
        return
    # What has() asks for is no value there; as long as before, so that places stay right.
    typed_ = _HAS.sub(lambda found: "true".ljust(len(found[0])), text)
    _compiled(_typed_env(windows), typed_)
    for chain in chains(text):
        if (wrong := unknown(chain.path, windows)) is not None:
            name, known = wrong
            what = cure(name, known) if known else "declare it in the section `exposure`"
            raise Malformed(chain.offset, f"there is no {name!r}: {what}")


@lru_cache(maxsize=100)
def _typed_env(windows: tuple[str, ...] | None) -> Any:
    keys = {name: _KINDS[kind] for name, kind in typed(windows).items()}
    return cel.NewEnv(variables={**TRUSTED, **CLAIMED, **keys})


def refuse_claims(condition: Condition) -> None:
    """Raises Malformed at the first name that only a requester can fill."""
    _compiled(_TRUSTED_ENV, condition.text)


def joined(conditions: Sequence[Condition]) -> Any:
    """All conditions as one list expression: one call a question instead of one a rule."""
    # The line ends keep a `//` comment at the end of a condition from swallowing the bracket.
    return _compiled(_ENV, "[" + ",".join(f"(\n{one.text}\n)" for one in conditions) + "]")


def _compiled(env: Any, text: str) -> Any:
    try:
        return env.compile(text)
    except RuntimeError as error:
        raise _malformed(text, str(error)) from error


def bindings(question: Question, base: Money | None = None) -> dict[str, Any]:
    """The names of a condition and their values. A missing amount has no value, so that a
    comparison with it is an error, which asks; nor has `amount.base` without a rate. `base`: the
    amount in the policy's base currency.
    """
    found: dict[str, Any] = {
        "action.name": question.action.name,
        "action.subject": list(question.action.subject),
        "action.arguments": question.action.arguments,
        "action.effect": question.effect,
        "action.in_process": question.in_process,
        "amount.known": question.amount is not None,
        "amount.base_known": base is not None,
        "facts": question.facts,
        "claims": question.claims,
        "requester.agent": question.requester.agent,
        "requester.on_behalf_of": question.requester.on_behalf_of or "",
    } | {name: question.circumstances.get(name, {}) for name in CIRCUMSTANCES}
    found |= {f"batch.{name}": value for name, value in question.batch.items()}
    if question.amount is not None:
        found["amount.minor"] = question.amount.minor
        found["amount.currency"] = question.amount.currency
    if base is not None:
        found["amount.base"] = base.minor
    return found


def evaluate_all(expression: Any, values: Mapping[str, Any]) -> list[bool] | None:
    """The answers of a `joined` expression; None where any of them is not a plain boolean."""
    try:
        found = expression.eval(data=values).plain_value()
    except Exception:  # noqa: BLE001 - whatever the engine raises, each rule is then asked alone
        return None
    if isinstance(found, list) and all(one is True or one is False for one in found):
        return found
    return None


def evaluate(condition: Condition, values: Mapping[str, Any]) -> bool | str:
    """True, false, or in words why there is no answer. Raises nothing."""
    try:
        found = condition.expression.eval(data=values)
        if found.type() == cel.Type.ERROR:
            return _in_words(str(found.value()))
        answer = found.plain_value()
    except Exception as error:  # noqa: BLE001 - an engine that fails must ask, not let through
        return _in_words(str(error))
    if answer is True or answer is False:
        return answer
    return f"its answer is {short(repr(answer))}, not true or false"


def _in_words(error: str) -> str:
    if missing := re.search(r'Key not found in map : "(.*)"', error):
        return f"{missing[1]!r} is missing"
    if missing := re.search(r'No value with name "(.*)" found', error):
        return f"{missing[1]!r} is missing"
    if "Iteration budget exceeded" in error:
        return "it takes too many steps"
    if types := re.search(r"No matching overloads found : _?(.+?)_?\((.*)\)", error):
        return f"{types[1]!r} cannot take ({types[2]})"
    return short(re.sub(r"^[A-Z_]+: | \[[A-Z_]+\]$", "", error))


def _malformed(text: str, error: str) -> Malformed:
    found = _PROBLEM.search(error)
    if found is None:
        return Malformed(0, short(error))
    lines = text.split("\n")
    line = min(int(found[1]), len(lines))
    offset = sum(len(one) + 1 for one in lines[: line - 1]) + int(found[2]) - 1
    offset = max(0, min(offset, len(text.rstrip())))
    if unknown := re.match(r"undeclared reference to '(.+)' \(in", found[3]):
        return _unknown_name(text, offset, unknown[1])
    if types := re.match(r"found no matching overload for '(.+)' applied to '\((.*)\)'", found[3]):
        operator = types[1].strip("_")
        return Malformed(
            offset, f"{operator!r} cannot take ({types[2]}): compare values of the same type"
        )
    words = re.sub(r"^Syntax error: | expecting .*$", "", found[3])
    if "<EOF>" in words:
        return Malformed(offset, "the condition ends too early: complete it")
    return Malformed(offset, f"this is not CEL ({words}): check the spelling there")


def _unknown_name(text: str, offset: int, name: str) -> Malformed:
    # CEL points at the last dot of a.b, at the bracket of f(x), and at the start of a plain name.
    start = offset - name.rfind(".") if "." in name else offset
    if text[offset : offset + 1] == "(":
        start = offset - len(name)
        return Malformed(max(0, start), f"there is no function {name!r}: use one of CEL's own")
    if name in CLAIMED or any(name.startswith(f"{one}.") for one in CLAIMED):
        return Malformed(
            max(0, start),
            f"{name!r} is said by the requester, and what allows may rest on facts, action and "
            "amount only: use a fact, or a rule that asks",
        )
    return Malformed(max(0, start), f"there is no {name!r}: {cure(name, NAMES)}")
