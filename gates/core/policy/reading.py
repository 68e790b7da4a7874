"""The texts of policy files -> Policy, or every mistake in them with file:line:column.

    version: 1
    defaults: {tier: ambiguous, ask: {who: [ap], quorum: 1, deadline: 24h}}
    calendars:                                                   # optional: calendars.py
      office: {zone: Europe/Berlin, hours: {mon-fri: ["09:00-17:00"]}, holidays: [2026-12-25]}
    calendar: office                                             # optional: for `time` in rules
    loops: {same_failure: 3, allow_more: 3, ask: {who: [ap]}}    # optional
    in_doubt: {ask: {who: [controllers]}}                        # optional
    batch: {most_lines: 200, most_total: {EUR: 5000000}}         # optional
    assurance: {high: inbox_session, expert: step_up}            # optional: the least, by tier
    command: {who: [admins]}                                     # optional: command.py
    rules:
      - name: large
        on: [erp.bill.post, erp.payment.*]
        when: amount.minor >= 1000000 || amount.currency != "EUR"
        verdict: require_approval
        tier: high
        ask: {who: [controllers], quorum: 2}
        because: "{amount} is 10,000 or more"
        standing: true    # a person may lift it beforehand, within limits

`exposure` is read in windows.py, `judges` in judges.py.

An `ask` may also say `valid: 8h` (an approval not used by then has lapsed; a day if left out) and
`from_each: true` (somebody of each group in `who`, nobody for two of them), `escalate_to: [group]`
(asked as well once somebody escalates), `roles: [controller, treasurer]` (somebody in each, out of
`who`, nobody for two of them), `assurance: step_up` (how surely it must be known who approves;
slack_click and inbox_session are less), `reason: true` (no approval without one),
`channel: C0123ABCD` (where they are asked, instead of the usual channel),
`notify: [channel, direct]` (there, or each of them directly, or both), `calendar: office` (its
deadline counts that calendar's working time) and a `ladder` (see ladders.py).

`verdict: veto_window` wants `window: 2h` (the people of `ask` may object; at its end it runs), and
`review_later` may say `sample: 0.1` (of what ran, so many are looked at by those of `ask`). An
`allow` may say `lifts: [rule]`, what asks `standing: true` (see `judging`), each rule `examples`
and `counterexamples` (see `examples`).

Several files make one policy: each section (`defaults`, `loops`, ...) stands in one of them, the
rules of all count together. Neither their order nor that of the rules matters, nor does the digest
depend on it, on layout, on comments or on examples.

What an `ask` leaves out it takes from `defaults.ask`. An unsatisfiable requirement is refused
where it is written: no group that is unknown, no quorum that the groups cannot fill.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from gates.core.canonical import digest
from gates.core.errors import InvalidPolicy
from gates.core.model import Json
from gates.core.policy.asks import Asks, Groups
from gates.core.policy.command import ADMINS, admins_of
from gates.core.policy.judging import Policy
from gates.core.policy.ladders import are
from gates.core.policy.patterns import may_meet
from gates.core.policy.places import Demand, Place
from gates.core.policy.rules import TRIED, Rules
from gates.core.policy.sections import SECTIONS
from gates.core.yaml_file import Fields, YamlFile, check_all
from gates.core.yaml_file import plain as plain_content


def load_policy(text: str, source: str, directory: Groups) -> Policy:
    """`source` names the file in messages. Raises InvalidPolicy with all that is wrong."""
    return load_policies([(source, text)], directory)


def load_policies(files: Iterable[tuple[str, str]], directory: Groups) -> Policy:
    """One policy from files, each its name for messages and its text. Raises InvalidPolicy with all
    that is wrong in any of them.
    """
    return _Reader([YamlFile(text, source) for source, text in files], directory).policy()


@dataclass(frozen=True)
class _Top:
    """One file's outermost mapping."""

    file: YamlFile
    fields: Fields


class _Reader:
    def __init__(self, files: Sequence[YamlFile], directory: Groups) -> None:
        if not files:
            raise InvalidPolicy("There is no policy file: name at least one.", problems=[])
        self.files = files
        self.directory = directory
        # not a section, but what one that is left out comes to: those in command by default
        self.found: dict[str, Any] = {ADMINS: admins_of(Asks(files[0], directory))}
        self.demands: list[Demand] = []

    def policy(self) -> Policy:
        tops = [top for file in self.files if (top := _top(file)) is not None]
        if tops:
            self._require(tops)
        for key in SECTIONS:
            self._section(key, tops)
        entries = [(top, node) for top in tops for node in top.fields.items("rules")]
        reader = Rules(self.found)
        read = [reader.read(self._place("rules", top.file, node)) for top, node in entries]
        ready = tuple(rule for rule in read if rule is not None)
        if len(tops) == len(
            self.files
        ):  # what is lifted may stand in a file that nobody could read
            reader.check_lifts(ready)
        self._prove()
        check_all(self.files)
        content = _content(tops, [node for _, node in entries])
        return Policy(
            rules=ready,
            defaults=self.found["defaults"],
            loops=self.found["loops"],
            in_doubt=self.found["in_doubt"],
            digest=digest(content),
            sections=self.found,
            told={key: value for key, value in content.items() if key in SECTIONS},
        )

    def _require(self, tops: Sequence[_Top]) -> None:
        """Each file has its version; one of them the defaults, and some of them rules."""
        for top in tops:
            top.fields.require("version")
            if top.fields.integer("version", least=1) not in (None, 1):
                top.file.note(top.fields.values["version"], "this version is unknown here: write 1")
        for key in ("defaults", "rules"):
            if len(self.files) == 1:
                tops[0].fields.require(key)
            elif len(tops) == len(self.files) and not any(key in top.fields for top in tops):
                words = f"none of the {len(tops)} files has {key!r}: add it to one of them"
                tops[0].file.note(tops[0].fields.node, words)

    def _section(self, key: str, tops: Sequence[_Top]) -> None:
        section, read = SECTIONS[key], False
        for top in (top for top in tops if key in top.fields):
            if read:
                words = f"{key!r} stands in another file, too: keep one of them"
                top.file.note(top.fields.keys[key], words)
                continue
            read = True
            self.found[key] = section.read(self._place(key, top.file, top.fields.values[key]))
        if not read:
            self.found[key] = section.absent(self.found)

    def _place(self, key: str, file: YamlFile, node: yaml.Node) -> Place:
        asks = Asks(file, self.directory, self.found)
        return Place(key, file, node, asks, self.found, self.demands)

    def _prove(self) -> None:
        """Where two demands meet, the groups of the higher tier must fill the larger quorum."""
        for high in self.demands:
            people = Asks(high.file, self.directory).people(high.ask.who)
            for low in self.demands:
                higher = high.tier.height > low.tier.height
                alike = high.verdict is low.verdict
                if alike and higher and low.ask.quorum > people > 0 and may_meet(high.on, low.on):
                    high.file.note(
                        high.node,
                        f"where {high.label} and {low.label} both apply, {low.ask.quorum} of "
                        f"{', '.join(high.ask.who)} are needed, {are(people)} there: "
                        "name more groups here or lower the quorum there",
                    )


def _top(file: YamlFile) -> _Top | None:
    """None for what is no YAML, which has been noted: the other files are read all the same."""
    try:
        root = file.root()
    except InvalidPolicy:
        return None
    return _Top(file, Fields(file, root, "a policy", ("version", *SECTIONS, "rules")))


def _content(tops: Sequence[_Top], rules: Sequence[yaml.Node]) -> Json:
    """What the files say, whichever of them says it and in whatever order."""
    found: Json = {}
    for top in tops:
        found |= {key: plain_content(node) for key, node in top.fields.values.items()}
    plain = [plain_content(node) for node in rules]
    told = [
        {key: value for key, value in rule.items() if key not in TRIED}
        for rule in plain
        if isinstance(rule, dict)
    ]
    found["rules"] = [*sorted(told, key=lambda rule: str(rule["name"]))]
    return found
