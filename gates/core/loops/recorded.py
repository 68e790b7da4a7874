"""Recorded runs, one a line of JSON, as steps for the detector.

Three forms are read: our own, `{"run": ..., "attempts": [...]}` with what a Step and an End hold;
that of public agent traces, `{"trajectory_id": ..., "steps": [...]}`; and the messages of
`conversations`. Of a call that does not say whether it writes, the patterns `writes` do.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, ClassVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from gates.core.errors import InvalidInput
from gates.core.loops.conversations import Conversation, says_failed
from gates.core.loops.steps import End, Step, digest_and_beginning, digest_of, named, once
from gates.core.model import Json
from gates.core.value import Value

LONGEST_PATH = 80  # of a field's name in a message
LONGEST_LINE = 64 * 1024 * 1024


class Recorded(Value):
    """One attempt of our own form."""

    action: str
    arguments: Json = Field(default_factory=dict)
    writes: bool = False
    at: datetime | None = None
    business_key: str = ""
    agent: str = ""
    round: str = ""
    attempt_id: str = ""
    result: JsonValue = None
    failed: bool = False
    error: str = ""
    error_class: str = ""
    changed: bool | None = None
    vetoed: bool = False
    cost: Annotated[int, Field(ge=0)] = 0
    tokens: Annotated[int, Field(ge=0)] = 0

    def pair(self, writes: Sequence[str] = ()) -> tuple[Step, End]:
        says = "writes" in self.model_fields_set
        changes = self.writes if says else named(self.action, writes)
        step = Step.of(
            self.action,
            self.arguments,
            writes=changes and (says or once(self.arguments)),
            at=self.at,
            business_key=self.business_key,
            agent=self.agent,
            round=self.round,
            attempt_id=self.attempt_id,
        )
        said = self.result if isinstance(self.result, str) else orjson.dumps(self.result).decode()
        end = End(
            outcome=digest_of([self.result, self.error_class, self.error]),
            text=self.error if self.failed else said,
            failed=self.failed,
            error_class=self.error_class,
            changed=changes if self.changed is None else self.changed,
            vetoed=self.vetoed,
            cost=self.cost,
            tokens=self.tokens,
        )
        return step, end


class OwnRun(Value):
    unmatched: ClassVar[int] = 0

    run: str
    attempts: tuple[Recorded, ...]

    def pairs(self, writes: Sequence[str] = ()) -> list[tuple[Step, End]]:
        return [one.pair(writes) for one in self.attempts]


class Traced(BaseModel):
    """One step of a public trace; what else stands there is somebody else's."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    tool: str
    args: JsonValue = None
    args_sha: str | None = None
    result: str | None = None
    result_sha: str | None = None
    result_len: int | None = None
    error: bool | None = None
    is_write: bool | None = None
    gate_rejected: bool = False

    def pair(self, writes: Sequence[str] = ()) -> tuple[Step, End]:
        changes = named(self.tool, writes) if self.is_write is None else self.is_write
        text = self.result or ""
        failed = says_failed(text) if self.error is None else self.error
        whole = self.result_len is None or self.result_len <= len(text)
        digest, beginning = digest_and_beginning(self.args)
        step = Step(
            action=self.tool,
            arguments=self.args_sha or digest,  # of the whole; what stands here may be cut
            shown=beginning,
            writes=changes and once(self.args),
        )
        end = End(
            outcome=self.result_sha or digest_of(self.result),
            text=text,
            failed=failed,
            changed=changes,
            vetoed=self.gate_rejected,
            whole=whole,
        )
        return step, end


class TracedRun(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")
    unmatched: ClassVar[int] = 0

    trajectory_id: str
    steps: tuple[Traced, ...]

    @property
    def run(self) -> str:
        return self.trajectory_id

    def pairs(self, writes: Sequence[str] = ()) -> list[tuple[Step, End]]:
        return [one.pair(writes) for one in self.steps]


Run = OwnRun | TracedRun | Conversation
FORMS: tuple[tuple[frozenset[str], type[Run]], ...] = (
    (frozenset({"run", "attempts"}), OwnRun),
    (frozenset({"trajectory_id", "steps"}), TracedRun),
    (frozenset({"messages"}), Conversation),
    (frozenset({"items"}), Conversation),
    (frozenset({"input"}), Conversation),
)


def read_run(line: str | bytes, number: int) -> Run:
    """Raises InvalidInput naming the line and the field."""
    if len(line) > LONGEST_LINE:
        raise InvalidInput(f"line {number}: has more than {LONGEST_LINE:,} characters: split it.")
    try:
        values = orjson.loads(line)
    except ValueError as error:
        raise InvalidInput(f"line {number}: is no JSON ({error}): give one run a line.") from error
    form = _form(values)
    if form is None:
        raise InvalidInput(
            f"line {number}: is of none of the known forms: give one run a line, with `run` and "
            "`attempts`, `trajectory_id` and `steps`, the `messages` of a conversation, or its "
            "`items` or `input`."
        )
    try:
        return form.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        if len(path) > LONGEST_PATH:
            path = path[:LONGEST_PATH] + "…"
        given = "" if first["type"] == "missing" else f" = {repr(first['input'])[:80]}"
        why = first["msg"].removeprefix("Value error, ")
        raise InvalidInput(f"line {number}: {path}{given}: {why}.") from error


def _form(values: object) -> type[Run] | None:
    """The first whose keys all stand there; else the first of which one does, which then says what
    is missing.
    """
    if not isinstance(values, dict):
        return None
    whole = (form for keys, form in FORMS if keys <= values.keys())
    part = (form for keys, form in FORMS if keys & values.keys())
    return next(whole, None) or next(part, None)
