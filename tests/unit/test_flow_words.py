"""What a run's log says of a gate that stops it."""

from __future__ import annotations

import pytest

from gates import Cancelled, Expired, Forbidden, Rejected, Skipped
from gates.core.errors import GateStopped
from gates.flow.words import STANDS, stands


@pytest.mark.parametrize(
    ("kind", "final"),
    [(Rejected, True), (Expired, True), (Skipped, False), (Forbidden, False), (Cancelled, False)],
)
def test_a_new_run_is_named_only_where_it_would_help(kind: type[GateStopped], final: bool) -> None:
    """The policy forbids the same in any run, a skipped step lets this one go on, and what was
    withdrawn is asked anew in it.
    """
    told = stands(kind("So it ended", action="note", request_id="r"))
    assert told.startswith("So it ended")
    assert (STANDS in told) is final
