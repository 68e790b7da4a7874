"""A call of a gate that is not made yet, and what it comes to."""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar, cast

from gates.core.errors import Undecided
from gates.core.model import GateReply
from gates.flow import awaiting
from gates.flow.bodies import Run
from gates.flow.gate import Gate

R_co = TypeVar("R_co", covariant=True)
FIRST = datetime.min.replace(tzinfo=UTC)


class Ask(Generic[R_co]):
    """One call of a gate, not made yet: give it to `together`, or in async code await it.

    Fields that begin with an underscore belong to the group that follows the call.
    """

    def __init__(
        self,
        gate: Gate,
        run: Run | None,
        load: Callable[[GateReply], R_co],
        alone: Callable[[], Any],
        words: str,
    ) -> None:
        self.gate, self.run, self._load, self._alone = gate, run, load, alone
        self._reply: GateReply | None = None
        self._error: BaseException | None = None
        self._done = False
        self._mark = awaiting.expect(
            self, f"{words} was not given to together(), so nobody was asked."
        )

    @property
    def key(self) -> str:
        """The gate's key within its run."""
        return self.gate.ticket.key

    @property
    def error(self) -> BaseException | None:
        """What `result` raises; None where there is a result, or none yet."""
        return self._error

    def result(self) -> R_co:
        """What the call returns, once it is decided and done.

        Raises what the plain call raises (Rejected, Expired, Cancelled, Forbidden, ActionFailed),
        or Undecided.
        """
        if self._error is not None:
            raise self._error
        if not self._done or self._reply is None:
            raise Undecided(f"{self.gate.name}: nobody has decided yet: loop over together().")
        return self._load(self._reply)

    def __await__(self) -> Generator[Any, Any, R_co]:
        self.taken()
        return cast("Generator[Any, Any, R_co]", self._alone().__await__())

    def taken(self) -> None:
        """Somebody sees to it that it is asked."""
        awaiting.met(self._mark)

    # -- for the group that follows it ----------------------------------------------------------

    def stands(self, reply: GateReply) -> None:
        self._reply = reply

    def ends(self, error: BaseException | None) -> None:
        self._error, self._done = error, error is None

    def recorded(self) -> datetime:
        """When the server recorded how it ended: the same on every pass."""
        view = self._reply.view if self._reply is not None else None
        last = view.execution.last if view is not None and view.execution is not None else None
        if last is not None and last.ended_at is not None:
            return last.ended_at
        return view.outcome.at if view is not None and view.outcome is not None else FIRST
