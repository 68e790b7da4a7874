"""What the driver itself has seen, as one JSON object a line: written at once, read by the checker.

{"what": "run", "run", "kind", "steps"}           a run was started for the first time
{"what": "sent", "request", "person", "kind", "reason"}   somebody clicked
{"what": "acknowledged", ...likewise}             the server said yes to this click
{"what": "kill", "victim", ...}                   and other faults, for the report
{"what": "seen", "seq", "digest"}                 a log entry that was there
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any


class Journal:
    def __init__(self, file: Path) -> None:
        self.file = file
        self.counted: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._out = file.open("a", encoding="utf-8")
        self._begun = time.monotonic()

    def note(self, what: str, **told: Any) -> None:
        at = round(time.monotonic() - self._begun, 3)
        with self._lock:
            self.counted[what] += 1
            self._out.write(json.dumps({"what": what, "at": at, **told}) + "\n")
            self._out.flush()

    def close(self) -> None:
        self._out.close()


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
