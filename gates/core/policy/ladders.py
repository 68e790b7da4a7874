"""What an `ask` says of the time in which nobody answers.

remind: [2h, 4h]                          # those who are asked
at_end: keep_open                         # the deadline does not end it; else: reject
ladder:
  - {after: 4h, widen: [treasury]}        # asked as well
  - {after: 6h, page: [leads]}            # asked as well, and told directly
  - {after: 8h, replace: [controllers]}   # asked instead
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from gates.core.asked import Ask, Rung, RungStep
from gates.core.yaml_file import Fields, cure

if TYPE_CHECKING:
    from gates.core.policy.asks import Asks

STEPS: dict[str, RungStep] = {"widen": "widen", "replace": "replace", "page": "page"}
ENDS = {"reject": False, "keep_open": True}


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


def read_remind(asks: Asks, ask: Fields, found: Ask, base: Ask) -> tuple[int, ...]:
    """Taken from the defaults as the ladder is."""
    if "remind" not in ask:
        return tuple(one for one in base.remind if one < found.deadline_seconds)
    written = ask.values["remind"]
    if isinstance(written, yaml.SequenceNode) and not written.value:
        return ()
    reminders: list[int] = []
    for text, node in ask.texts("remind"):
        seconds = asks.seconds("remind", text, node)
        if seconds is None:
            continue
        if seconds >= found.deadline_seconds:
            words = f"remind {text!r} is not before the deadline: shorten it"
            asks.file.note(node, words)
        elif reminders and seconds <= reminders[-1]:
            asks.file.note(node, f"remind {text!r} is not after the one before it: order them")
        reminders.append(seconds)
    return tuple(reminders)


def keeps_open(asks: Asks, ask: Fields, base: Ask) -> bool:
    text = ask.text("at_end")
    if text is not None and text not in ENDS:
        asks.file.note(ask.values["at_end"], f"unknown at_end {text!r}: {cure(text, ENDS)}")
    return base.keep_open if text is None else ENDS.get(text, False)


def _rung(asks: Asks, node: yaml.Node) -> Rung | None:
    fields = Fields(asks.file, node, "a rung", ("after", *STEPS))
    fields.require("after")
    seconds = asks.duration(fields, "after")
    steps = [step for step in STEPS if step in fields]
    if len(steps) != 1:
        asks.file.note(node, "a rung has one of widen, replace and page: write one")
        return None
    groups = [group for group, where in fields.texts(steps[0]) if asks.is_group(group, where)]
    if seconds is None or not groups:
        return None
    return Rung(seconds=seconds, step=STEPS[steps[0]], who=tuple(groups))


def _prove(asks: Asks, rung: Rung, ask: Ask, node: yaml.Node) -> None:
    people, least = asks.people(rung.who), ask.quorum if rung.step == "replace" else 1
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
