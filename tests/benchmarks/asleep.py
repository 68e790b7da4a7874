"""A deployed flow that suspends for a question and notes when its second process got how far.

It imports what the demo's own flow imports: that is part of every wake.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from prefect import flow

import flows.vendor_invoice
from gates import require_approval

DEMO = flows.vendor_invoice
IMPORTED = time.time()


@flow(name="bench-asleep", persist_result=True)
def asleep(document: str) -> None:
    """Writes its moments to the file `document`, in seconds since the epoch."""
    first_line = time.time()
    require_approval("Shall this run go on?")
    passed = time.time()
    moments = {
        "process": os.getpid(),
        "spawned": _spawned(),
        "imported": IMPORTED,
        "first line": first_line,
        "gate passed": passed,
    }
    draft = Path(document).with_suffix(".part")
    draft.write_text(json.dumps(moments))
    draft.rename(document)


def _spawned() -> float:
    """When this process was made, on today's clock: Linux counts from the machine's start."""
    after_name = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    since_boot = int(after_name[19]) / os.sysconf("SC_CLK_TCK")
    return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - since_boot)
