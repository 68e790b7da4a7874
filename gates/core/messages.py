"""What processes say to the server, shared by both ends."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from gates.core.model import Action, Json, Name, RunRef
from gates.core.value import Value


class LineOf(Value):
    """The batch that people have agreed to, and which of its lines is proposed."""

    request_id: Name
    line: int = Field(ge=1)


class Proposal(Value):
    """What a flow sends. `call` counts the calls of this gate in one pass of the flow;
    `attempt_id` is made by the caller once a call, so that a repeated message is recognized.
    `in_process`: the body runs in the flow's own process, and no registry knows it; `question`:
    there is no body, the answer is all that is wanted; `changes_nothing`: a body that only looks,
    and may run again. `begins` False: a body that is not to be begun with this message, because
    others of the same pass come first. `batch`: people may have agreed to it already, as a line of
    that.
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
    changes_nothing: bool = False
    begins: bool = True
    title: str = ""
    subject: tuple[str, ...] = ()
    lease_seconds: int = Field(default=30, ge=1, le=3600)
    batch: LineOf | None = None


class Awaited(Value):
    """A gate that a flow waits for, and the version at which it was seen last."""

    request_id: Name
    attempt_id: str = ""
    call: int = Field(default=1, ge=1)
    after: int = 0


class AttemptReport(Value):
    """`absent`: a reconciliation found that nothing had happened. `unclear`: it cannot tell.
    `drifted`: nothing was done, since the real system is no longer as it was approved; `error`
    says how, `precondition` is what was read (None: it could not be read).
    """

    state: Literal["succeeded", "failed", "in_doubt", "absent", "unclear", "drifted"]
    fence: int
    result: Json | None = None
    error: str = Field(default="", max_length=20_000)
    error_class: str = Field(default="", max_length=200)
    differences: tuple[str, ...] = ()
    precondition: Json | None = None


class Redemption(Value):
    """What a redeemed grant allows, once: the approved copy, by whom, until when."""

    request_id: str
    attempt_id: str
    action: Action
    fingerprint: str
    idempotency_key: str
    by: tuple[str, ...]
    expires_at: datetime
