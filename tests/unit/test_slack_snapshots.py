"""The samples' cards, block by block, as they were last looked at; and the page that shows them.

After a change that is meant, run this file with `GATES_TEST_SNAPSHOTS=write`; then look at the
difference, and at `gates slack preview --sample ...`.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from lxml import html

from gates.core.model import Action, RequestView
from integrations.slack.blocks import Block, button, context, ours, plain
from integrations.slack.card import Card, card
from integrations.slack.preview import NotDrawn, page
from integrations.slack.samples import PREFECT, SAMPLES, sample_of
from tests.support.slack_server import check_message_blocks

SNAPSHOTS = Path(__file__).with_name("snapshots")
HOSTILE = '<script>alert(1)</script> <!channel> <https://evil.example|inbox> *x* "><img src=x>'

each_sample = pytest.mark.parametrize("name", SAMPLES)


def drawn(view: RequestView) -> Card:
    return card(view, "preview", prefect_ui_url=PREFECT)


def shown(*blocks: Block) -> html.HtmlElement:
    return html.fromstring(page(Card("", blocks), caption="Preview"))


def hostile() -> RequestView:
    """The large invoice, with everything that an agent may write written by a hostile one."""
    view = sample_of("large-invoice")
    arguments: dict[str, Any] = {HOSTILE: HOSTILE, "old_iban": HOSTILE, "new_iban": "DE1"}
    action = Action(name="pay", title=HOSTILE, subject=(HOSTILE,), arguments=arguments)
    changes = {"action": action, "claims": {HOSTILE: HOSTILE}, "evidence": {HOSTILE: HOSTILE}}
    return view.model_copy(update={"request": view.request.model_copy(update=changes)})


@each_sample
def test_a_sample_is_drawn_as_it_was(name: str) -> None:
    """A card changes where somebody means it to, and then the snapshot shows how."""
    found = drawn(sample_of(name))
    text = json.dumps({"text": found.text, "blocks": found.blocks}, indent=1, ensure_ascii=False)
    file = SNAPSHOTS / f"{name}.json"
    if os.environ.get("GATES_TEST_SNAPSHOTS") == "write":
        file.write_text(text + "\n", encoding="utf-8")
    assert text + "\n" == file.read_text(encoding="utf-8")


@each_sample
def test_slack_would_take_each_snapshot(name: str) -> None:
    """What lies in the file is valid Block Kit by itself."""
    kept = json.loads((SNAPSHOTS / f"{name}.json").read_text(encoding="utf-8"))
    assert check_message_blocks(kept["blocks"]) == []


def test_every_snapshot_is_of_a_sample() -> None:
    """A sample that is gone leaves no file behind."""
    assert {file.stem for file in SNAPSHOTS.glob("*.json")} == set(SAMPLES)


@each_sample
def test_the_page_shows_every_word_of_a_card(name: str) -> None:
    """Each plain text is there as it stands, and no time or link is left as markup."""
    found = drawn(sample_of(name))
    seen = html.fromstring(page(found, caption="Preview")).text_content()
    texts = re.findall(r'"plain_text", "text": ("(?:[^"\\]|\\.)*")', json.dumps(found.blocks))
    assert len(texts) > 10
    for text in texts:
        assert json.loads(text) in seen
    assert "<!date" not in seen
    assert "&lt;" not in seen


def test_what_agents_write_stays_text_on_the_page() -> None:
    """No script, no ping, no masked link, no picture and no bold type of theirs."""
    found = drawn(hostile())
    tree = html.fromstring(page(found, caption=HOSTILE))
    assert {one.tag for one in tree.iter()}.isdisjoint({"script", "img", "mark"})
    assert {one.get("href") for one in tree.iter("a")} == {
        sample_of("large-invoice").url,
        sample_of("large-invoice").request.run.url,
    }
    assert "x" not in [one.text for one in tree.iter("b")]
    assert HOSTILE in tree.text_content()


def test_our_own_markup_is_drawn() -> None:
    """Bold type, a link, a time in UTC, escaped signs; a ping would be seen."""
    tree = shown(
        context("*Rejected &lt;by&gt;* <!date^1772443920^{date_short_pretty} {time}|then> & on"),
        context("<http://gates.test/a?b=1&amp;c=2|Open> <!channel>"),
        {"type": "divider"},
        {"type": "section", "text": ours("*May this run?*"), "fields": [plain("*no*", 10)]},
    )
    assert [one.text for one in tree.iter("b")][1:] == ["Rejected <by>", "May this run?"]
    assert [one.text for one in tree.iter("time")] == ["2026-03-02 09:32 UTC"]
    (link,) = tree.iter("a")
    assert (link.text, link.get("href")) == ("Open", "http://gates.test/a?b=1&c=2")
    assert [one.text for one in tree.iter("mark")] == ["!channel"]
    assert len(list(tree.iter("hr"))) == 1
    assert "*no*" in tree.text_content()


def test_buttons_look_as_their_style_says() -> None:
    """Primary, danger and plain ones; none of them does a thing."""
    tree = shown(
        {
            "type": "actions",
            "elements": [
                button("a", "Yes", "t", "primary"),
                button("b", "No", "t", "danger"),
                button("c", "More", "t"),
            ],
        }
    )
    made = [(one.text, one.get("class"), one.get("type")) for one in tree.iter("button")]
    assert made == [
        ("Yes", "primary", "button"),
        ("No", "danger", "button"),
        ("More", "plain", "button"),
    ]
    assert not list(tree.iter("form"))


def test_a_block_that_cannot_be_drawn_is_an_error() -> None:
    """A new kind of block is not left out in silence."""
    with pytest.raises(NotDrawn, match="'video'"):
        shown({"type": "video"})


def test_samples_have_every_kind_of_block_of_a_card() -> None:
    """What card() makes of samples is what the page was looked at with."""
    kinds = {block["type"] for name in SAMPLES for block in drawn(sample_of(name)).blocks}
    assert kinds == {"header", "section", "context", "actions"}
