"""The policy file's form as JSON Schema (draft 2020-12), for editors.

It says what the reader says as far as a schema can: it knows no group, no CEL and no other file.
What it refuses, the reader refuses; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterable

from gates.core.model import MOST_MORE, Json, Tier, Verdict
from gates.core.policy.asks import ASK_KEYS, WAYS
from gates.core.policy.assurances import WORDS as ASSURANCES
from gates.core.policy.circumstances import CIRCUMSTANCES
from gates.core.policy.examples import KEYS as EXAMPLE_KEYS
from gates.core.policy.examples import MAPPINGS
from gates.core.policy.ladders import ENDS, STEPS
from gates.core.policy.loop_budgets import SCHEMA as OVER_RUNS
from gates.core.policy.loop_levels import SCHEMA as LEVELS
from gates.core.policy.rules import RULE_KEYS
from gates.core.policy.sections import LEAST_FAILURES, MOST_FAILURES, SECTIONS

ID = "https://prefect-gates.example/policy.schema.json"
COMMENT = "# yaml-language-server: $schema="
TEXT: Json = {"type": "string", "pattern": r"\S"}
WORDS: Json = {"type": ["string", "boolean", "number"]}  # the reader takes them as written
COUNT: Json = {"type": "integer", "minimum": 1}
TRUTH: Json = {"type": "boolean"}


def policy_schema() -> Json:
    """The whole schema."""
    sections: Json = {key: one.schema or _OWN.get(key, {}) for key, one in SECTIONS.items()}
    version: Json = {"version": {"const": 1}}
    rules: Json = {"rules": _many({"$ref": "#/$defs/rule"})}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": ID,
        "title": "A policy of prefect-gates",
        "type": "object",
        "required": ["version"],
        "additionalProperties": False,
        "properties": version | sections | rules,
        "$defs": _definitions(),
    }


def _definitions() -> Json:
    return {
        "rule": _rule(),
        "ask": _object(_anything(ASK_KEYS) | _ASK),
        "rung": _rung(),
        "example": _object(_example()),
        "groups": _some(TEXT),
        "pattern": {"type": "string", "pattern": r"^[A-Za-z0-9_.*-]+$"},
        "tier": {"enum": [tier.value for tier in Tier]},
        "verdict": {"enum": [verdict.value for verdict in Verdict]},
        "duration": {"type": "string", "pattern": r"^([0-9]{1,6}[dhms])+$"},
        "share": {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 1},
                {"type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]{1,4})?%?$"},
            ]
        },
        "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
        "rate": {
            "anyOf": [
                {"type": "string", "pattern": r"^[0-9]{1,12}(\.[0-9]{1,12})?$"},
                {"type": "number", "exclusiveMinimum": 0},
            ]
        },
    }


def _rung() -> Json:
    steps: Json = {step: {"$ref": "#/$defs/groups"} for step in STEPS}
    after: Json = {"after": {"$ref": "#/$defs/duration"}}
    rung: Json = _object(after | steps, "after")
    rung["oneOf"] = [{"required": [step]} for step in STEPS]
    return rung


def _object(properties: Json, *required: str) -> Json:
    found: Json = {"type": "object", "additionalProperties": False, "properties": properties}
    if required:
        found["required"] = [*required]
    return found


def _anything(keys: Iterable[str]) -> Json:
    """Keys of which no more is said here."""
    return {key: {} for key in keys}


def _some(item: Json) -> Json:
    """One, or a list of at least one."""
    return {"anyOf": [item, {"type": "array", "minItems": 1, "items": item}]}


def _rule() -> Json:
    known: Json = {
        "name": TEXT,
        "on": _some({"$ref": "#/$defs/pattern"}),
        "when": {"type": ["string", "boolean"]},
        "verdict": {"$ref": "#/$defs/verdict"},
        "tier": {"$ref": "#/$defs/tier"},
        "ask": {"$ref": "#/$defs/ask"},
        "window": {"$ref": "#/$defs/duration"},
        "sample": {"$ref": "#/$defs/share"},
        "lifts": _some(TEXT),
        "standing": TRUTH,
        "because": WORDS,
        "examples": _many({"$ref": "#/$defs/example"}),
        "counterexamples": _many({"$ref": "#/$defs/example"}),
    }
    rule: Json = _object(_anything(RULE_KEYS) | known, "name", "on", "verdict", "because")
    rule["allOf"] = [
        _where("allow", {"required": ["when"], "not": {"required": ["ask"]}}),
        _where("veto_window", {"required": ["window"]}),
        _where("forbid", {"not": {"required": ["ask"]}}),
        _only("window", "veto_window"),
        _only("sample", "review_later"),
        _only("lifts", "allow"),
    ]
    return rule


def _many(item: Json) -> Json:
    return {"type": "array", "minItems": 1, "items": item}


def _where(verdict: str, then: Json) -> Json:
    return {"if": {"properties": {"verdict": {"const": verdict}}}, "then": then}


def _only(key: str, verdict: str) -> Json:
    return {"if": {"required": [key]}, "then": {"properties": {"verdict": {"const": verdict}}}}


def _example() -> Json:
    known: Json = {
        "action": TEXT,
        "subject": _some(TEXT),
        "amount": {"type": "string", "pattern": r"^-?[0-9][0-9,]*(\.[0-9]{1,6})? [A-Z]{3}$"},
        "verdict": {"$ref": "#/$defs/verdict"},
        "tier": {"$ref": "#/$defs/tier"},
    }
    mappings: Json = {key: {"type": "object"} for key in (*MAPPINGS, *CIRCUMSTANCES)}
    return _anything(EXAMPLE_KEYS) | mappings | known


_ASK: Json = {
    "who": {"$ref": "#/$defs/groups"},
    "quorum": COUNT,
    "deadline": {"$ref": "#/$defs/duration"},
    "valid": {"$ref": "#/$defs/duration"},
    "from_each": TRUTH,
    "escalate_to": {"$ref": "#/$defs/groups"},
    "reason": TRUTH,
    "notify": _some({"enum": list(WAYS)}),
    "channel": {"type": "string", "pattern": "^[CG][A-Z0-9]{2,30}$"},
    "roles": _some(TEXT),
    "assurance": {"enum": [*ASSURANCES]},
    "calendar": {"type": "string"},
    "remind": {
        "anyOf": [
            {"$ref": "#/$defs/duration"},
            {"type": "array", "items": {"$ref": "#/$defs/duration"}},
        ]
    },
    "at_end": {"enum": [*ENDS]},
    "ladder": {"type": "array", "items": {"$ref": "#/$defs/rung"}},
}
_OWN: dict[str, Json] = {
    "defaults": _object(
        {"tier": {"$ref": "#/$defs/tier"}, "ask": {"$ref": "#/$defs/ask"}}, "tier", "ask"
    ),
    "loops": _object(
        {
            "same_failure": {
                "type": "integer",
                "minimum": LEAST_FAILURES,
                "maximum": MOST_FAILURES,
            },
            "allow_more": COUNT | {"maximum": MOST_MORE},
            "thresholds": {"type": "object"},
            "ask": {"$ref": "#/$defs/ask"},
            "over_runs": OVER_RUNS,
            "levels": LEVELS,
        }
    ),
    "in_doubt": _object({"ask": {"$ref": "#/$defs/ask"}}),
}
