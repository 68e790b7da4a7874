"""Speed of the whole, measured on real parts.

    python -m tests.benchmarks [routine] [lingering] [suspended] [policies]

Prints a table each, as Markdown; nothing here fails for being slow.
"""

from __future__ import annotations

import os
import sys
import time
from importlib import import_module

from tests.benchmarks.figures import say

NAMES = ("policies", "routine", "lingering", "suspended")


def main(chosen: list[str]) -> int:
    unknown = [name for name in chosen if name not in NAMES]
    if unknown:
        say(f"There is no benchmark {unknown[0]!r}: choose among {', '.join(NAMES)}.")
        return 2
    began = time.monotonic()
    for name in chosen or NAMES:
        report = import_module(f"tests.benchmarks.{name}").run()
        report.load.append(os.getloadavg()[0])
        sys.stdout.write(report.markdown() + "\n")
        sys.stdout.flush()
    say(f"{time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
