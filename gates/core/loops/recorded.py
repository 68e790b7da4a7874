"""Recorded runs, one a line of JSON, as steps for the detector.

Two forms are read: our own, `{"run": ..., "attempts": [...]}` with what a Step and an End hold, and
the form of public agent traces, `{"trajectory_id": ..., "steps": [...]}`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import orjson
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from gates.core.errors import InvalidInput
from gates.core.loops.steps import End, Step, digest_and_beginning, digest_of
from gates.core.model import Json
from gates.core.value import Value

# Arguments that are a program: the same text can do something else each time, so that a success
# with the same arguments is not the same write.
PROGRAMS = frozenset({"command", "code", "script", "browser_actions"})
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

    def pair(self) -> tuple[Step, End]:
        step = Step.of(
            self.action,
            self.arguments,
            writes=self.writes,
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
            changed=self.changed,
            vetoed=self.vetoed,
            cost=self.cost,
            tokens=self.tokens,
        )
        return step, end


class OwnRun(Value):
    run: str
    attempts: tuple[Recorded, ...]

    def pairs(self) -> list[tuple[Step, End]]:
        return [one.pair() for one in self.attempts]


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

    def pair(self) -> tuple[Step, End]:
        program = isinstance(self.args, dict) and not PROGRAMS.isdisjoint(self.args)
        failed, text = bool(self.error), self.result or ""
        whole = self.result_len is None or self.result_len <= len(text)
        digest, beginning = digest_and_beginning(self.args)
        step = Step(
            action=self.tool,
            arguments=self.args_sha or digest,  # of the whole; what stands here may be cut
            shown=beginning,
            writes=bool(self.is_write) and not program,
        )
        end = End(
            outcome=self.result_sha or digest_of(self.result),
            text=text,
            failed=failed,
            changed=bool(self.is_write),
            vetoed=self.gate_rejected,
            whole=whole,
        )
        return step, end


class TracedRun(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    trajectory_id: str
    steps: tuple[Traced, ...]

    @property
    def run(self) -> str:
        return self.trajectory_id

    def pairs(self) -> list[tuple[Step, End]]:
        return [one.pair() for one in self.steps]


def read_run(line: str | bytes, number: int) -> OwnRun | TracedRun:
    """Raises InvalidInput naming the line and the field."""
    if len(line) > LONGEST_LINE:
        raise InvalidInput(f"line {number}: has more than {LONGEST_LINE:,} characters: split it.")
    try:
        values = orjson.loads(line)
    except ValueError as error:
        raise InvalidInput(f"line {number}: is no JSON ({error}): give one run a line.") from error
    if not isinstance(values, dict) or not values.keys() & {"run", "trajectory_id"}:
        raise InvalidInput(
            f"line {number}: names neither `run` nor `trajectory_id`: give one run a line."
        )
    form: type[OwnRun | TracedRun] = OwnRun if "run" in values else TracedRun
    try:
        return form.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        if len(path) > LONGEST_PATH:
            path = path[:LONGEST_PATH] + "…"
        given = "" if first["type"] == "missing" else f" = {repr(first['input'])[:80]}"
        raise InvalidInput(f"line {number}: {path}{given}: {first['msg']}.") from error
