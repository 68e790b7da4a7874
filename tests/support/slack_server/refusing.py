"""How the sandbox says no."""

from __future__ import annotations

from typing import Any


class SlackError(Exception):
    """Answered as `ok: false` with this name, and `extra` beside it."""

    def __init__(self, name: str, **extra: Any) -> None:
        super().__init__(name)
        self.body = {"ok": False, "error": name, **extra}
