"""What processes say to the server, shared by both ends."""

from typing import Literal

from pydantic import Field

from gates.core.model import Json, Name, RunRef, Value


class Proposal(Value):
    """What a flow sends. `call` counts the calls of this gate in one pass of the flow;
    `attempt_id` is made by the caller once a call, so that a repeated message is recognized.
    `in_process`: the body runs in the flow's own process, and no registry knows it; `question`:
    there is no body, the answer is all that is wanted.
    """

    name: Name
    arguments: Json = Field(default_factory=dict)
    claims: Json = Field(default_factory=dict)
    run: RunRef
    key: Name
    call: int = Field(default=1, ge=1)
    attempt_id: Name
    in_process: bool = False
    question: bool = False
    title: str = ""
    subject: tuple[str, ...] = ()
    lease_seconds: int = Field(default=30, ge=1, le=3600)


class AttemptReport(Value):
    """`absent`: a reconciliation found that nothing had happened. `unclear`: it cannot tell."""

    state: Literal["succeeded", "failed", "in_doubt", "absent", "unclear"]
    fence: int
    result: Json | None = None
    error: str = Field(default="", max_length=20_000)
    error_class: str = Field(default="", max_length=200)
    differences: tuple[str, ...] = ()
