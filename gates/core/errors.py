"""The one tree of errors.

    GatesError
    ├── InvalidInput            the caller's words are off: nothing was written
    │   ├── UnknownAction       the registry has no such action
    │   ├── InvalidArguments    the arguments do not fit the action
    │   ├── InvalidPolicy       file:line:column, the text and the cure
    │   ├── NotCanonical        a value that has no single canonical JSON form
    │   └── ReasonNeeded        this answer counts only with a reason
    ├── Refused                 understood, and not allowed to this caller
    │   ├── NotAuthenticated    no key or session, or one that is unknown, expired or revoked
    │   ├── WrongCode           a code of an authenticator that does not fit
    │   ├── NotEntitled         a person or key that this request does not admit
    │   │   ├── SelfApproval    the requester, or whom the agent acts for, decides
    │   │   ├── AssuranceTooLow a person who is known too little for this approval
    │   │   └── UnknownPerson   the account belongs to nobody in the directory
    │   └── InvalidGrant        a grant that is stale, used, or for something else
    ├── Conflict                true a moment ago, no longer
    │   ├── NotFound            no such request, card or run
    │   ├── RequestClosed       the request has its outcome
    │   ├── AlreadyDecided      this person has decided this round
    │   ├── AlreadyAsked        somebody waits for information already
    │   ├── NothingAsked        nobody waits for information (any more)
    │   └── StaleCard           the card has changed since it was drawn
    ├── RetryLater              the other side asks for patience, in seconds
    ├── Unavailable             a server that we need does not answer
    ├── ActionFailed            the action failed and is proven to have left nothing behind
    ├── MisusedGate             a flow that is written so that a gate could be skipped
    └── GateStopped             how a gate ends a flow; authors catch these
        ├── Rejected            people said no
        │   └── Skipped         and that the run may go on without this step
        ├── SentBack            people gave the agent guidance instead
        ├── Expired             nobody decided in time
        ├── Cancelled           the request was withdrawn
        ├── Frozen              a person in command has stopped such actions
        ├── Undecided           the author waits no longer; the question stays open
        └── Forbidden           the policy never allows this

Each has a stable `code`, survives pickling (Prefect moves exceptions between processes) and
its text is one sentence that names the field, the value and the cure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from gates.core.model import Step


class GatesError(Exception):
    """Root of every error that this package raises on purpose."""

    code: ClassVar[str] = "error"
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.details)

    def __str__(self) -> str:
        return self.message


def _rebuild(cls: type[GatesError], message: str, details: dict[str, Any]) -> GatesError:
    return cls(message, **details)


class InvalidInput(GatesError):
    code = "invalid_input"
    http_status = 422


class UnknownAction(InvalidInput):
    code = "unknown_action"


class InvalidArguments(InvalidInput):
    code = "invalid_arguments"


class InvalidPolicy(InvalidInput):
    code = "invalid_policy"


class NotCanonical(InvalidInput):
    code = "not_canonical"


class ReasonNeeded(InvalidInput):
    code = "reason_needed"


class Refused(GatesError):
    code = "refused"
    http_status = 403


class NotAuthenticated(Refused):
    code = "not_authenticated"
    http_status = 401


class WrongCode(Refused):
    code = "wrong_code"


class NotEntitled(Refused):
    code = "not_entitled"


class SelfApproval(NotEntitled):
    code = "self_approval"


class AssuranceTooLow(NotEntitled):
    """`needs`, in its details: the assurance that is wanted."""

    code = "assurance_too_low"


class UnknownPerson(NotEntitled):
    code = "unknown_person"


class InvalidGrant(Refused):
    code = "invalid_grant"


class Conflict(GatesError):
    code = "conflict"
    http_status = 409


class NotFound(Conflict):
    code = "not_found"
    http_status = 404


class RequestClosed(Conflict):
    code = "request_closed"


class AlreadyDecided(Conflict):
    code = "already_decided"


class AlreadyAsked(Conflict):
    code = "already_asked"


class NothingAsked(Conflict):
    code = "nothing_asked"


class StaleCard(Conflict):
    code = "stale_card"


class RetryLater(GatesError):
    """`seconds`: how long the other side asks us to wait."""

    code = "retry_later"
    http_status = 503

    def __init__(self, message: str, *, seconds: float = 1.0, **details: Any) -> None:
        super().__init__(message, seconds=seconds, **details)
        self.seconds = seconds


class Unavailable(GatesError):
    code = "unavailable"
    http_status = 503


class ActionFailed(GatesError):
    """Raised by an action only where nothing was left behind; any other exception means
    that the effect is in doubt. `error_class` names the kind of failure for the loop detector.
    """

    code = "action_failed"
    http_status = 502

    def __init__(self, message: str, *, error_class: str = "ActionFailed", **details: Any) -> None:
        super().__init__(message, error_class=error_class, **details)
        self.error_class = error_class


class MisusedGate(GatesError):
    code = "misused_gate"


class GateStopped(GatesError):
    """How a gate ends a flow. `state_name` is what the run's final state is called."""

    code = "gate_stopped"
    http_status = 409
    state_name: ClassVar[str] = "Stopped"

    @property
    def done(self) -> tuple[Step, ...]:
        """What the run has done and not taken back when this was raised, oldest first."""
        return tuple(self.details.get("done", ()))


class Rejected(GateStopped):
    code = "rejected"
    state_name = "Rejected"


class Skipped(Rejected):
    """A step that went in circles is left out. Who catches it may go on without the step; who does
    not ends as rejected.
    """

    code = "skipped"
    state_name = "Skipped"


class SentBack(GateStopped):
    """`guidance` is what a person wants the agent to do instead, as they wrote it."""

    code = "sent_back"
    state_name = "SentBack"

    @property
    def guidance(self) -> str:
        return str(self.details.get("guidance", ""))


class Expired(GateStopped):
    code = "expired"
    state_name = "Expired"


class Cancelled(GateStopped):
    code = "cancelled"
    state_name = "Withdrawn"


class Frozen(GateStopped):
    code = "frozen"
    state_name = "Frozen"


class Undecided(GateStopped):
    code = "undecided"
    state_name = "Undecided"


class Forbidden(GateStopped):
    code = "forbidden"
    state_name = "Forbidden"


def _tree(root: type[GatesError]) -> dict[str, type[GatesError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        found |= _tree(child)
    return found


def by_code(code: str) -> type[GatesError]:
    """The class that a server's error code stands for; the root where it is unknown here."""
    return _tree(GatesError).get(code, GatesError)
