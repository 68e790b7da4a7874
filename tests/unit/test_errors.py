import inspect
import pickle
import re

import pytest

from gates.core import errors
from gates.core.errors import ActionFailed, GatesError, GateStopped, RetryLater, by_code

ALL = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, GatesError)
]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_an_error_survives_pickling(kind):
    """Prefect moves errors between processes: class, text and details arrive."""
    sent = kind("Field x = 1 is wrong: write 2.", field="x", value=1)
    got = pickle.loads(pickle.dumps(sent))  # noqa: S301 - our own bytes
    assert type(got) is kind
    assert (got.message, str(got), got.details) == (sent.message, str(sent), sent.details)
    assert got.args == sent.args


def test_what_an_error_carries_survives_pickling():
    """How long to wait, and the class of a failure, are still there."""
    later = pickle.loads(pickle.dumps(RetryLater("Busy.", seconds=7.5, method="post")))  # noqa: S301
    failed = pickle.loads(pickle.dumps(ActionFailed("No.", error_class="overpaid")))  # noqa: S301
    assert (later.seconds, later.details["method"]) == (7.5, "post")
    assert failed.error_class == "overpaid"


def test_every_code_is_stable_text_and_used_once():
    """Clients tell errors apart by code: each is its own, in snake case, and found again."""
    codes = [kind.code for kind in ALL]
    assert len(set(codes)) == len(codes)
    for kind in ALL:
        assert "code" in vars(kind), f"{kind.__name__} inherits its parent's code"
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", kind.code)
        assert by_code(kind.code) is kind


def test_an_unknown_code_is_the_root():
    """A server that is newer than its client still gets an error raised."""
    assert by_code("from_the_future") is GatesError


def test_the_drawn_tree_is_the_real_one():
    """The module's docstring names every error below the one that it is derived from."""
    drawn: dict[str, str] = {}
    above = ["GatesError"]
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ([│ ]*)[├└]── (\w+)", line)
        if found:
            depth = len(found[1]) // 4 + 1
            above[depth:] = [found[2]]
            drawn[found[2]] = above[depth - 1]
    real = {kind.__name__: kind.__bases__[0].__name__ for kind in ALL if kind is not GatesError}
    assert drawn == real


def test_how_a_gate_ends_a_flow_has_a_name():
    """Each way to stop shows as its own state in Prefect, and none looks like a crash."""
    names = [kind.state_name for kind in ALL if issubclass(kind, GateStopped)]
    assert len(set(names)) == len(names)
    assert not {"Crashed", "Failed", "Completed", "Cancelled", "Pending"} & set(names)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_error_has_an_http_status(kind):
    """The web layer needs no table of its own."""
    assert 400 <= kind.http_status < 600
