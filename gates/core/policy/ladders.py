"""The `ladder` of an `ask`: who is asked when nobody answers.

ladder:
  - {after: 4h, widen: [treasury]}        # asked as well
  - {after: 8h, replace: [controllers]}   # asked instead
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import yaml

from gates.core.model import Ask, Rung
from gates.core.yaml_file import Fields

if TYPE_CHECKING:
    from gates.core.policy.asks import Asks

STEPS: dict[str, Literal["widen", "replace"]] = {"widen": "widen", "replace": "replace"}


def read_ladder(asks: Asks, ask: Fields, found: Ask, base: Ask) -> tuple[Rung, ...]:
    """What is taken from the defaults ends where this deadline is shorter. `found`: the ask as far
    as it has been read.
    """
    if "ladder" not in ask:
        inherited = tuple(one for one in base.ladder if one.seconds < found.deadline_seconds)
        for rung in inherited:
            _prove(asks, rung, found, ask.node)
        return inherited
    written = ask.values["ladder"]
    if isinstance(written, yaml.SequenceNode) and not written.value:
        return ()  # none, whatever the defaults have
    rungs: list[Rung] = []
    for node in ask.items("ladder"):
        one = _rung(asks, node)
        if one is None:
            continue
        if rungs and one.seconds <= rungs[-1].seconds:
            words = "this rung is not after the one before it: order them by time"
            asks.file.note(node, words)
        if one.seconds >= found.deadline_seconds:
            words = "this rung comes when the deadline has passed: put it before the deadline"
            asks.file.note(node, words)
        _prove(asks, one, found, node)
        rungs.append(one)
    return tuple(rungs)


def _rung(asks: Asks, node: yaml.Node) -> Rung | None:
    fields = Fields(asks.file, node, "a rung", ("after", *STEPS))
    fields.require("after")
    seconds = asks.duration(fields, "after")
    steps = [step for step in STEPS if step in fields]
    if len(steps) != 1:
        asks.file.note(node, "a rung has one of widen and replace: write one")
        return None
    groups = [group for group, where in fields.texts(steps[0]) if asks.is_group(group, where)]
    if seconds is None or not groups:
        return None
    return Rung(seconds=seconds, step=STEPS[steps[0]], who=tuple(groups))


def _prove(asks: Asks, rung: Rung, ask: Ask, node: yaml.Node) -> None:
    people, least = asks.people(rung.who), 1 if rung.step == "widen" else ask.quorum
    if people < least:
        asks.file.note(
            node,
            f"{rung.step} {', '.join(rung.who)}: {least} are needed, {are(people)} there: "
            "name more groups, or write `ladder: []`",
        )
    if rung.step == "replace" and (ask.from_each or ask.roles):
        other = "from_each" if ask.from_each else "roles"
        words = f"replace contradicts {other}, whose places it takes away: widen"
        asks.file.note(node, words)


def are(people: int) -> str:
    return f"and {people} {'person is' if people == 1 else 'people are'}"
