"""The public keys that an executor or a proxy goes by, fetched or pinned.

Fetched from the gates server they are worth as much as the connection: whoever poses as the
server hands out keys too. Pinned in a file they are worth as much as the file, and an impostor
gets nothing done. Either way they are read again when they are a minute old, so that a retired
key is forgotten, and sooner where a grant names an unknown one; made-up names soon use up what
there is of such looks, and then there is one a second.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from gates.core.errors import InvalidInput
from gates.grants.token import Claims, Keys, key_id, read_keys, verify

OLDEST = 60.0  # seconds for which keys are used without looking again
MOST_LOOKS = 10.0  # for unknown names, before they are rationed to one a second


@dataclass
class TrustedKeys:
    """`read` returns a JWK set; `name` says in messages where it is from."""

    read: Callable[[], Any]
    name: str
    _keys: Keys = field(default_factory=dict)
    _read_at: float = float("-inf")
    _looks: float = MOST_LOOKS
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def pinned(cls, path: Path) -> TrustedKeys:
        """Keys from a file and nowhere else. Raises InvalidInput where it holds none."""
        keys = cls(lambda: _load(path), f"GATES_GRANT_KEYS = {str(path)!r}")
        keys.known("")
        return keys

    def known(self, kid: str) -> Keys:
        """The keys; read again where they are old or lack `kid`. Raises what `read` raises."""
        with self._lock:
            age = time.monotonic() - self._read_at
            looks = min(self._looks + age, MOST_LOOKS)
            if age >= OLDEST or (kid not in self._keys and looks >= 1):
                self._keys = read_keys(self.read(), self.name)
                self._read_at, self._looks = time.monotonic(), looks - 1
            return self._keys

    def verify(
        self,
        token: str,
        now: datetime,
        *,
        fingerprint: str | None = None,
        audience: str | None = None,
    ) -> Claims:
        """As `gates.grants.token.verify`, with these keys."""
        known = self.known(key_id(token))
        return verify(token, known, now, fingerprint=fingerprint, audience=audience)


def _load(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes())
    except OSError as error:
        raise InvalidInput(
            f"GATES_GRANT_KEYS = {str(path)!r} cannot be read: {error.strerror}."
        ) from error
    except orjson.JSONDecodeError as error:
        raise InvalidInput(
            f"GATES_GRANT_KEYS = {str(path)!r} is not JSON ({error}): write what "
            "`gates grant keys --json` prints."
        ) from error
