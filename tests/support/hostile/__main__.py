"""`python -m tests.support.hostile KNOWN.json DIARY.json`, as the flow's user."""

import os
import sys
import time
from pathlib import Path

from pydantic import TypeAdapter

from tests.support.hostile import erp, gates, machine, prefect
from tests.support.hostile.diary import Diary, Known, Try

PARTS = (
    machine.files,
    machine.processes,
    machine.rights,
    machine.ports,
    machine.database,
    machine.command_line,
    gates.every_route,
    gates.odd_callers,
    gates.odd_bodies,
    gates.odd_paths,
    gates.raw_bytes,
    gates.lies,
    gates.replays,
    erp.calls,
    prefect.calls,
)


def main() -> None:
    if os.geteuid() == 0:
        sys.exit("This does harm where nothing stops it: it runs as a flow's user alone.")
    known = Known.model_validate_json(Path(sys.argv[1]).read_bytes())
    diary = Diary()
    for part in PARTS:
        begun = time.monotonic()
        part(known, diary)
        sys.stderr.write(f"{part.__module__}.{part.__name__}: {time.monotonic() - begun:.1f} s\n")
    Path(sys.argv[2]).write_bytes(TypeAdapter(list[Try]).dump_json(diary.tries, indent=1))


if __name__ == "__main__":
    main()
