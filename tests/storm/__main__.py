"""python -m tests.storm: see --help. Ends with 1 where anything is wrong."""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from tests.storm import house_checker, report
from tests.storm.checker import Store, check, collect
from tests.storm.house_storm import HouseStorm
from tests.storm.report import Part
from tests.storm.till_storm import TillStorm
from tests.support.postgres import cluster

EVERY = 10.0  # seconds between two lines of progress
out = Console(highlight=False)


def main(words: list[str]) -> int:
    told = arguments(words)
    logging.getLogger("gates").setLevel(logging.ERROR)  # that clients try again is the point
    folder = told.folder or Path(tempfile.mkdtemp(prefix="gates-storm-"))
    out.print(f"seed {told.seed}; everything is kept in {folder}")
    parts = []
    for number, (profile, store, kills) in enumerate(shares(told)):
        parts.append(one(profile, store, told.seed + number, kills, folder / f"{number}-{profile}"))
        say(parts[-1])
    (folder / "storm.json").write_text(report.as_json(parts))
    if told.record:
        command = f"make storm STORM='--seed {told.seed} --kills {told.kills} "
        command += f"--profile {told.profile} --store {told.store}'"
        told.record.write_text(report.in_words(parts, f"{datetime.now(UTC):%Y-%m-%d}", command))
    return 0 if all(part.well for part in parts) else 1


def arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.storm")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--kills", type=int, default=60, help="in all")
    parser.add_argument("--profile", choices=("till", "house", "all"), default="till")
    parser.add_argument("--store", choices=("sqlite", "postgresql", "both"), default="both")
    parser.add_argument("--folder", type=Path, help="a folder that is not there yet")
    parser.add_argument("--record", type=Path, help="a page to write")
    return parser.parse_args(words)


def shares(told: argparse.Namespace) -> list[tuple[str, str, int]]:
    """Profile, store and kills of each part. Of `all` a tenth is the house's."""
    stores = ["sqlite", "postgresql"] if told.store == "both" else [told.store]
    house = {"till": 0, "house": told.kills, "all": told.kills // 10}[told.profile]
    left = told.kills - house
    parts = [("till", store, -(-left // len(stores))) for store in stores if left]
    return [*parts, *([("house", "sqlite", house)] if house else [])]


def one(profile: str, store: str, seed: int, kills: int, folder: Path) -> Part:
    begun = last = time.monotonic()

    def progress(storm: TillStorm | HouseStorm) -> None:
        nonlocal last
        if time.monotonic() - last < EVERY:
            return
        last = time.monotonic()
        counted = storm.journal.counted
        out.print(
            f"{last - begun:5.0f} s  {profile} on {store}: {counted['kill']} of {kills} kills, "
            f"{counted['ended']} of {counted['run']} runs ended, "
            f"{counted['acknowledged']} decisions"
        )

    with ExitStack() as stack:
        storm: TillStorm | HouseStorm
        if profile == "house":
            storm = HouseStorm(seed, kills, folder, progress=progress)
        else:
            storm = TillStorm(seed, kills, folder, progress=progress)
        if store == "postgresql" and isinstance(storm, TillStorm):
            made = stack.enter_context(cluster())
            storm.database, storm.restart_store = made.url, made.restart
        storm.run()
        took = time.monotonic() - begun
        with Store(storm.database) as rows:
            if profile == "house":
                found = house_checker.collect(rows, folder)
                wrong = check(found, house_checker.effects, house_checker.runs)
            else:
                found = collect(rows, folder)
                wrong = check(found)
    part = Part(profile, store, seed, took, folder, wrong, storm.trouble)
    part.entries = len(found.entries)
    return part


def say(part: Part) -> None:
    killed = ", ".join(f"{name} {times}" for name, times in sorted(part.killed.items()))
    out.print(
        f"[bold]{part.profile} on {part.store}[/]: {part.kills} kills ({killed}), "
        f"{part.count('run')} runs, {part.entries} effects in {part.seconds:.0f} s"
    )
    for words in (*map(str, part.violations), *part.trouble):
        out.print(f"[red]✗[/] {words}", markup=True)
    if part.well:
        out.print("[green]✓[/] no decision lost, no effect twice or unapproved, nobody stranded")
    else:
        out.print(f"again: {part.command}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
