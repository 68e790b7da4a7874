"""Speed of the whole, measured on real parts.

    python -m tests.benchmarks [--profile NAME[,NAME...]|all] [--record FILE]

Prints a table each, as Markdown, with each target met or missed; nothing here fails for being
slow.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks.figures import say

PROFILES = {
    "policies": "policies",
    "history": "history",
    "traces": "traces",
    "routine": "routine",
    "lingering": "lingering",
    "asleep": "suspended",
    "two-servers": "two_servers",
    "doorbells": "doorbells",
    "memory": "memory",
    "clicks": "slack:clicks",
    "burst": "slack:burst",
    "loops": "loops",
}

HEADING = """# Speed, as measured

{where}; everything on one machine, whose load average stands below each table. One run of
`make bench`, all tables in it. The figures of one benchmark move by a tenth between two runs: trust
the ratios within a table, and measure on a machine of your own. What the figures mean is said in
[performance.md](../performance.md).
"""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("--profile", default="all", help=f"all, or some of {', '.join(PROFILES)}")
    parser.add_argument("--record", type=Path, help="write the tables into this page, too")
    given = parser.parse_args(arguments)
    wanted = given.profile.split(",")
    chosen = list(PROFILES) if wanted == ["all"] else wanted
    unknown = [name for name in chosen if name not in PROFILES]
    if unknown:
        parser.error(f"there is no profile {unknown[0]!r}: choose among {', '.join(PROFILES)}")
    began, tables = time.monotonic(), list[str]()
    for name in chosen:
        module, _, function = PROFILES[name].partition(":")
        report = getattr(import_module(f"tests.benchmarks.{module}"), function or "run")()
        report.load.append(os.getloadavg()[0])
        tables.append(report.markdown())
        sys.stdout.write(tables[-1] + "\n")
        sys.stdout.flush()
    say(f"{time.monotonic() - began:.0f} s")
    if given.record is not None:
        given.record.write_text("\n".join([heading(chosen), *tables]))
    return 0


def heading(chosen: list[str]) -> str:
    """A page of one benchmark may have words of its own."""
    module = import_module(f"tests.benchmarks.{PROFILES[chosen[0]].partition(':')[0]}")
    words = getattr(module, "HEADING", HEADING) if len(chosen) == 1 else HEADING
    where = (
        f"{os.cpu_count()} cores, Python {platform.python_version()}, Prefect {version('prefect')}"
    )
    return str(words.format(where=where))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
