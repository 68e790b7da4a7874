"""The table of a policy's sections, in the order in which they are read.

To add one: write `read(place) -> value` in a module of its own, and one line here. Where a section
uses another (an `ask` names a calendar), it stands below that one. Its value is then
`policy.sections["key"]`; while an `ask` is read it is `asks.sections["key"]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from gates.core.asked import Ask
from gates.core.batches import BatchLimits
from gates.core.errors import InvalidInput
from gates.core.loops.thresholds import Thresholds
from gates.core.model import MOST_MORE, Tier
from gates.core.policy import (
    assurance_section,
    batch_section,
    calendars,
    command_section,
    currencies,
    exposure,
    judges,
    sampling,
)
from gates.core.policy.command import ADMINS, Command
from gates.core.policy.judging import Defaults, LoopPolicy
from gates.core.policy.loop_budgets import read_over_runs
from gates.core.policy.loop_levels import read_levels
from gates.core.policy.places import Demand, Place, Section
from gates.core.yaml_file import Fields, plain

LEAST_FAILURES, MOST_FAILURES = 2, 20  # one is no circle; and no policy switches the rule off
NOBODY = Defaults(tier=Tier.AMBIGUOUS, ask=Ask(who=()))


def read_defaults(place: Place) -> Defaults:
    fields = place.fields("tier", "ask")
    fields.require("tier", "ask")
    tier = fields.word("tier", Tier) or NOBODY.tier
    ask = place.asks.read(fields, None) or NOBODY.ask
    if "ask" in fields:
        where = fields.values["ask"]
        place.demands.append(Demand("defaults", "*", tier, ask, place.file, where))
    return Defaults(tier=tier, ask=ask)


def read_loops(place: Place) -> LoopPolicy:
    fields = place.fields("same_failure", "allow_more", "ask", "thresholds", "over_runs", "levels")
    ask = place.ask(fields)
    failures = fields.integer("same_failure", least=LEAST_FAILURES, most=MOST_FAILURES)
    return LoopPolicy(
        thresholds=_thresholds(place, fields),
        same_failure=failures or 3,
        allow_more=fields.integer("allow_more", least=1, most=MOST_MORE) or 3,
        ask=ask,
        levels=read_levels(place, fields, ask),
        over_runs=read_over_runs(place, fields),
        actions_at=_places(place, fields.values.get("thresholds")),
    )


def _places(place: Place, thresholds: yaml.Node | None) -> dict[str, str]:
    """Each key of `actions`, as file:line:column."""
    found = dict(thresholds.value) if isinstance(thresholds, yaml.MappingNode) else {}
    named = [value for key, value in found.items() if key.value == "actions"]
    return {
        str(key.value): place.file.place(key)
        for node in named
        if isinstance(node, yaml.MappingNode)
        for key, _ in node.value
    }


def _thresholds(place: Place, fields: Fields) -> Thresholds:
    """As gates/core/loops/thresholds.py names them; what is left out is as it comes."""
    node = fields.values.get("thresholds")
    if node is None:
        return Thresholds()
    content = plain(node)
    if not isinstance(content, dict):
        place.note(node, "thresholds is not a mapping: write `thresholds: {nothing_new: 5}`")
        return Thresholds()
    try:
        return Thresholds.of(content)
    except InvalidInput as error:
        place.note(node, error.message.replace("loops.", "thresholds."))
        return Thresholds()


def no_loops(found: Mapping[str, Any]) -> LoopPolicy:
    return LoopPolicy(ask=found["defaults"].ask)


def read_in_doubt(place: Place) -> Ask:
    return place.ask(place.fields("ask"))


def no_in_doubt(found: Mapping[str, Any]) -> Ask:
    ask: Ask = found["defaults"].ask
    return ask


def no_command(found: Mapping[str, Any]) -> Command:
    return Command(who=found[ADMINS])


SECTIONS: dict[str, Section] = {
    section.key: section
    for section in (
        # -- what an `ask` or a rule may name stands above the defaults --
        Section(
            "currencies",
            currencies.read_currencies,
            lambda _: currencies.Currencies(),
            currencies.SCHEMA,
        ),
        Section("exposure", exposure.read_windows, lambda _: {}, exposure.SCHEMA),
        Section("calendars", calendars.read_calendars, lambda _: {}, calendars.SCHEMA),
        Section("calendar", calendars.read_default, lambda _: None, calendars.DEFAULT_SCHEMA),
        Section("batch", batch_section.read_batch, lambda _: BatchLimits(), batch_section.SCHEMA),
        Section(
            "assurance", assurance_section.read_assurance, lambda _: {}, assurance_section.SCHEMA
        ),
        Section("judges", judges.read_judges, lambda _: {}, judges.SCHEMA),
        Section("sampling", sampling.read_sampling, lambda _: {}, sampling.SCHEMA),
        Section("defaults", read_defaults, lambda _: NOBODY),
        # -- what may hold an `ask` stands below them --
        Section("loops", read_loops, no_loops),
        Section("command", command_section.read_command, no_command, command_section.SCHEMA),
        Section("in_doubt", read_in_doubt, no_in_doubt),
    )
}
