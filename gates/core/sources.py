"""One question to several sources: do they agree? For the `facts` of an action's definition.

Rules, each with what it protects from:
1. A source that fails or has nothing has not agreed (silence is no consent).
2. Fewer answers than `least` are no agreement (one source always agrees with itself).
3. Answers are compared as values, texts without case and blanks, amounts as numbers; anything that
   is of two kinds differs (a list is never a text that looks like it).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping
from decimal import Decimal

from pydantic import JsonValue

from gates.core.canonical import canonical_json
from gates.core.drift import cut
from gates.core.model import Json

# As amounts are written: an account's leading zeros and `1e3` stay texts.
_AMOUNT = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")
Source = Callable[[], JsonValue]


def compared(
    sources: Mapping[str, Source],
    *,
    least: int = 2,
    alike: Callable[[JsonValue], Hashable] | None = None,
) -> Json:
    """What the named sources say: `agree`, the `value` that all of them give (else nothing), how
    many `answered`, which are `silent`, and the `disagreements` in words for people.

    `alike` gives two answers that mean the same the same key.
    """
    key = alike or _key
    answers: dict[str, JsonValue] = {}
    groups: dict[Hashable, list[str]] = {}  # the names of those that say the same
    silent: list[str] = []
    for name, source in sources.items():
        try:
            said = source()
            same = key(said)
        except Exception as error:  # noqa: BLE001 - whatever it is, this source has not agreed
            silent.append(f"{name}: {cut(error)}")
            continue
        if said is None:
            silent.append(f"{name}: nothing")
        else:
            answers[name] = said
            groups.setdefault(same, []).append(name)
    agree = len(groups) == 1 and not silent and len(answers) >= least
    return {
        "agree": agree,
        "value": next(iter(answers.values())) if agree else None,
        "answered": len(answers),
        "silent": [*silent],
        "disagreements": [_told(answers, names) for names in groups.values()]
        if len(groups) > 1
        else [],
    }


def _told(answers: Mapping[str, JsonValue], names: list[str]) -> str:
    return f"{', '.join(names)}: {cut(answers[names[0]])}"


def _key(said: JsonValue) -> Hashable:
    if isinstance(said, bool):
        return "truth", said
    if isinstance(said, str):
        text = "".join(said.split()).casefold()
        return ("number", Decimal(text)) if _AMOUNT.fullmatch(text) else ("text", text)
    if isinstance(said, int):
        return "number", Decimal(said)
    if isinstance(said, float):
        return "number", Decimal(str(said))
    return "whole", canonical_json(said)
