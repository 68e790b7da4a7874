"""What an answer to a loop may say beside yes and no, as fields of a modal. Pure.

As in the inbox: how many more tries, what it was, and whether the agent is to be frozen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gates.core.loops import answered, level_of
from gates.core.model import MOST_MORE, DecisionKind, LoopAnswer, Purpose, RequestView
from gates.web.words import LABELS, choice
from integrations.slack.blocks import HEADER, Block, plain

MORE, LABEL, FREEZE = "gates_more", "gates_label", "gates_freeze"
YES = "yes"


def fields(kind: DecisionKind, view: RequestView) -> Iterator[Block]:
    """Nothing where the question is about no loop."""
    if view.request.purpose is not Purpose.LOOP or kind is DecisionKind.ESCALATE:
        return
    usual = choice(view, "").more
    if kind is DecisionKind.APPROVE and usual:
        most = usual if level_of(view.request.evidence) > 1 else MOST_MORE
        limits = {"min_value": "1", "max_value": str(most), "is_decimal_allowed": False}
        element = {"type": "number_input", **limits}
        yield _field(MORE, "How many more tries?", f"{usual} if left empty", element)
    options = [_option(value, words) for value, words in LABELS]
    select = {"type": "static_select", "options": options}
    yield _field(LABEL, "What was it?", "For the detector's own record", select)
    if kind is DecisionKind.REJECT:
        choose = {"type": "static_select", "options": [_option(YES, "yes, freeze it")]}
        hint = "Nothing of it starts then, in any run, until somebody else thaws it"
        yield _field(FREEZE, "Freeze the agent, too?", hint, choose)


def read(values: Mapping[str, Any]) -> LoopAnswer | None:
    """What the fields say; None where they say nothing. `values`: the `state.values` of Slack.

    Raises InvalidInput for what the fields would not let through.
    """
    more = str(_held(values, MORE).get("value") or "")
    return answered(more, _chosen(values, LABEL), freeze=_chosen(values, FREEZE) == YES)


def _field(name: str, label: str, hint: str, element: Block) -> Block:
    return {
        "type": "input",
        "optional": True,
        "block_id": name,
        "label": plain(label, HEADER),
        "hint": plain(hint, HEADER),
        "element": {"action_id": name, **element},
    }


def _option(value: str, words: str) -> Block:
    return {"text": plain(words, HEADER), "value": value}


def _held(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return dict(values.get(name, {}).get(name) or {})


def _chosen(values: Mapping[str, Any], name: str) -> str:
    return str((_held(values, name).get("selected_option") or {}).get("value") or "")
