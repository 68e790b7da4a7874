"""What `gates policy` says, for people or as JSON."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

from rich.text import Text

from gates.core.policy import Policy
from gates.core.policy.checking import Remark
from gates.core.policy.comparing import Comparison
from gates.core.policy.explaining import Explanation, RuleSeen
from integrations.shell import out
from integrations.terminal import plain

Ids = Callable[[tuple[str, ...]], Iterable[str]]
STYLES = {"error": "red", "warning": "yellow"}
MARKS = {"matches": "✓", "does not match": " ", "cannot be evaluated": "!"}
_PLACE = re.compile(r"(.*?:\d+:\d+): (.*)", re.DOTALL)


def unread(problems: Sequence[str]) -> list[Remark]:
    """What keeps a file from being read, as remarks."""
    found = []
    for problem in problems:
        parts = _PLACE.fullmatch(problem)
        at, text = (parts[1], parts[2]) if parts else ("", problem)
        found.append(Remark(level="error", kind="invalid", at=at, text=text))
    return found


def checked(
    policy: Policy | None, remarks: Sequence[Remark], *, as_json: bool, sound: bool
) -> None:
    rules = len(policy.rules) if policy else 0
    tried = sum(len(rule.examples) for rule in policy.rules) if policy else 0
    if as_json:
        found = {
            "sound": sound,
            "digest": policy.digest if policy else None,
            "rules": rules,
            "examples": tried,
            "findings": [one.model_dump() for one in remarks],
        }
        sys.stdout.write(json.dumps(found) + "\n")
        return
    for one in remarks:
        line = Text(f"{plain(one.at)}: ")
        line.append(one.level, style=STYLES[one.level])
        line.append(f": {plain(one.text)}.")
        out.print(line, soft_wrap=True)
    if policy is not None and sound:
        with_examples = f" and {tried} examples" if tried else ""
        words = f"{rules} rules{with_examples} are in order; policy {policy.digest[:12]}."
        out.print(words, markup=False, highlight=False, soft_wrap=True)


def explained(found: Explanation, notes: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        told = found.model_dump(mode="json") | {"notes": list(notes)}
        sys.stdout.write(json.dumps(told) + "\n")
        return
    judged = found.judgement
    head = f"{found.action}: {judged.verdict.value} ({judged.tier.value})"
    out.print(Text(plain(head), style="bold"))
    lines = [f"note: {one}" for one in notes]
    lines += [f"- {reason.rule}: {reason.text}" for reason in judged.reasons]
    lines += ["", *found.steps, ""]
    elsewhere = [one.rule for one in found.rules if one.answer not in MARKS]
    lines += [line for one in found.rules if one.answer in MARKS for line in _rule(one)]
    if elsewhere:
        lines.append(f"Not about this action: {', '.join(elsewhere)}.")
    for line in lines:
        out.print(plain(line), markup=False, highlight=False, soft_wrap=True)


def _rule(one: RuleSeen) -> Iterator[str]:
    error = f": {one.error}" if one.error else ""
    lifted = f", lifted by {one.lifted_by}" if one.lifted_by else ""
    verdict = f"{one.verdict.value}, {one.tier.value}"
    yield f"{MARKS[one.answer]} {one.rule} ({verdict}) {one.answer}{error}{lifted}  {one.at}"
    yield f"    {' '.join(one.condition.split())}"
    for name, value in one.values.items():
        yield f"    {name} = {json.dumps(value, ensure_ascii=False)}"


def compared(found: Comparison, *, as_json: bool) -> None:
    if as_json:
        relaxed = sum(one.relaxed for one in found.differs)
        told = found.model_dump(mode="json") | {"same": found.same, "relaxed": relaxed}
        sys.stdout.write(json.dumps(told) + "\n")
        return
    for line in _lines(found):
        out.print(plain(line), markup=False, highlight=False, soft_wrap=True)


def _lines(found: Comparison) -> Iterator[str]:
    if found.same:
        yield f"Nothing differs; policy {found.new[:12]}."
        return
    yield from (f"+ rule {name}" for name in found.added)
    yield from (f"- rule {name}" for name in found.removed)
    for name, changes in found.changed.items():
        yield f"~ rule {name}"
        yield from (f"    {change}" for change in changes)
    yield from (f"~ {change}" for change in found.sections)
    yield from (f"~ people of {change}" for change in found.people)
    for one in found.differs:
        how = "relaxed" if one.relaxed else "stricter" if one.before is not one.after else "other"
        before, after = (
            f"{one.before.value} ({one.tier_before})",
            f"{one.after.value} ({one.tier_after})",
        )
        yield f"{how}: {one.about}: {before} -> {after}: {'; '.join(one.reasons)}"
    yield f"{len(found.differs)} of {found.asked} questions are answered differently."
