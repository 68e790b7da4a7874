"""The folder that a demo takes for itself."""

from pathlib import Path

import pytest

from integrations.demo.processes import NotStarted
from integrations.demo.stack import down, up


def quiet(_words: str) -> None:
    """Nobody listens."""


def test_a_folder_that_no_demo_made_is_left_as_it_is(tmp_path: Path) -> None:
    """A demo empties its folder; `down` does not make a foreign one its own either."""
    precious = tmp_path / "precious.txt"
    precious.write_text("keep")
    assert down(tmp_path) == []
    with pytest.raises(NotStarted, match=r"GATES_HOME = .*no demo made it"):
        up(tmp_path, quiet)
    assert [one.name for one in tmp_path.iterdir()] == ["precious.txt"]


@pytest.mark.parametrize("port", ["abc", "-1", "70000"])
def test_a_port_that_is_none_is_said_in_a_sentence(
    port: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence names the variable and its value, and nothing is started."""
    monkeypatch.setenv("GATES_PORT", port)
    with pytest.raises(NotStarted, match=f"GATES_PORT = {port}: give a port's number"):
        up(tmp_path / "home", quiet)
    assert not (tmp_path / "home").exists()
