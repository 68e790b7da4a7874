"""What a section of a policy is, and what its reader is given.

A section is a top-level key such as `defaults`, `loops` or `currencies`; it stands at most once,
in whichever file. `gates.core.policy.sections` lists them all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from gates.core.asked import Ask
from gates.core.model import Json, Tier, Verdict
from gates.core.policy.asks import Asks
from gates.core.yaml_file import Fields, YamlFile


@dataclass(frozen=True)
class Demand:
    """Somebody whom the policy wants to ask: for the proof that a requirement can be met."""

    label: str
    on: Sequence[str]
    tier: Tier
    ask: Ask
    file: YamlFile
    node: yaml.Node
    verdict: Verdict = Verdict.REQUIRE_APPROVAL


@dataclass(frozen=True)
class Place:
    """Where one section is read: its node in its file, and what has been read before it.

    `found`: the values of the sections that stand above it in the table, `defaults` among them;
    `demands`: whom the policy wants to ask, so far.
    """

    key: str
    file: YamlFile
    node: yaml.Node
    asks: Asks
    found: Mapping[str, Any]
    demands: list[Demand] = field(default_factory=list)

    def fields(self, *known: str) -> Fields:
        """The section as a mapping with these keys."""
        return Fields(self.file, self.node, self.key, known)

    def each(self) -> list[tuple[str, yaml.Node]]:
        """The section as a mapping whose keys the author chooses, in their order."""
        names = []
        if isinstance(self.node, yaml.MappingNode):
            names = [key.value for key, _ in self.node.value if isinstance(key, yaml.ScalarNode)]
        return list(Fields(self.file, self.node, self.key, names).values.items())

    def ask(self, fields: Fields) -> Ask:
        """The `ask` in `fields`; whatever it leaves out is as in the defaults."""
        default: Ask = self.found["defaults"].ask
        return self.asks.read(fields, default) or default

    def note(self, where: yaml.Node, problem: str) -> None:
        self.file.note(where, problem)


@dataclass(frozen=True)
class Section:
    """`read` notes what is wrong and returns the value; `absent` makes the one that counts where
    no file has the section, from what has been read before. `schema`: its JSON Schema.
    """

    key: str
    read: Callable[[Place], Any]
    absent: Callable[[Mapping[str, Any]], Any]
    schema: Json = field(default_factory=dict)
