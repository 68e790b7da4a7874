"""What a requester says, read twice: as it stands, and without what only hides it. Pure.

A letter that nobody sees would take a word out of a rule's sight. What would run is the text as it
stands, though: so neither reading alone lets anything through.
"""

from __future__ import annotations

from pydantic import JsonValue

from gates.core.disguises import plain
from gates.core.model import Json, Verdict
from gates.core.policy.conditions import Question

OTHERWISE = "it answers otherwise once what nobody sees is left out of claims and arguments"


def plainly(question: Question) -> Question | None:
    """The question with plain texts in claims and arguments; None where they are plain."""
    arguments, claims = _plain(question.action.arguments), _plain(question.claims)
    if arguments == question.action.arguments and claims == question.claims:
        return None
    action = question.action.model_copy(update={"arguments": arguments})
    return question.model_copy(update={"action": action, "claims": claims})


def either(verdict: Verdict, raw: bool | str, shown: bool | str) -> bool | str:
    """The answer of a rule that was asked both ways. What asks or forbids does so where it matches
    either way; any other must match both ways, or asks.
    """
    if raw == shown or isinstance(raw, str):
        return raw
    strict = verdict.strictness >= Verdict.REQUIRE_APPROVAL.strictness
    if strict:
        return True if raw is True else shown
    return OTHERWISE


def _plain(value: Json) -> Json:
    return {key: _shown(item) for key, item in value.items()}


def _shown(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, dict):
        return _plain(value)
    if isinstance(value, list):
        return [_shown(item) for item in value]
    return value
