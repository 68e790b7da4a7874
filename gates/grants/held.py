"""The grant under which the code at hand runs: for a body that acts through a grant proxy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from gates.core.errors import MisusedGate
from gates.core.model import Grant


class Held:
    """A grant in use; a renewal puts the newer one in its place."""

    def __init__(self, grant: Grant) -> None:
        self.grant = grant


_HELD: ContextVar[Held] = ContextVar("gates_held")


@contextmanager
def holding(held: Held) -> Iterator[None]:
    """Whatever runs within, in tasks and threads that copy the context too, finds the grant."""
    token = _HELD.set(held)
    try:
        yield
    finally:
        _HELD.reset(token)


def grant_headers() -> dict[str, str]:
    """What a request to a grant proxy has to carry: `{"Gates-Grant": token}`. Raises MisusedGate
    outside of a gate's body.
    """
    held = _HELD.get(None)
    if held is None:
        raise MisusedGate(
            "grant_headers() is for the body of a gated function or action: nothing is granted "
            "here."
        )
    return {"Gates-Grant": held.grant.token}
