"""A loop is told alike in the inbox, in Slack and on a terminal."""

from __future__ import annotations

from typing import Any

import pytest

from gates.core.errors import InvalidInput
from gates.core.loops import reported
from gates.core.model import Judgement, Purpose, Reason, RequestView, Tier, Verdict
from integrations.slack.blocks import APPROVE
from integrations.slack.card import card
from integrations.slack.loop_fields import LABEL, MORE, read
from integrations.slack.samples import loop
from integrations.terminal import details
from tests.unit.test_rendering import html as drawn

EVIDENCE: dict[str, Any] = {
    "detector": "cycle",
    "words": "2 calls went round 3 times with the same outcomes",
    "count": 3,
    "total": 3,
    "cycle": "erp.bill.post {bill: 21} → erp.payment.submit {bill: 21} → erp.bill.post {bill: 21}",
    "attempts": [
        {"number": n, "at": f"2026-03-02T09:0{n}:00Z", "error": "locked", "arguments": {"call": c}}
        for n, c in ((4, "erp.bill.post {bill: 21}"), (5, "erp.payment.submit {bill: 21}"))
    ],
    "differences": ["step 5: answer locked -> closed"],
    "spent": {"seconds": 240, "cost_minor": 1_234, "tokens": 56_789},
    "half_done": ["payment SCRIPT-7 on bill CC-118, 1,785.00 EUR, is draft: no money has left"],
    "level": 2,
    "guidance": [{"by": "Dana Okafor", "said": "withdraw SCRIPT-7", "at": "2026-03-02T09:00:00Z"}],
    "allow_more": 0,
}
WHY = "Level 2: it came back after guidance by Dana Okafor: withdraw SCRIPT-7"


def looping(**evidence: Any) -> RequestView:
    view = loop()
    judgement = Judgement(
        verdict=Verdict.REQUIRE_APPROVAL,
        tier=Tier.HIGH,
        reasons=(Reason(rule="loop.cycle", text="goes round"), Reason(rule="loop.level", text=WHY)),
        policy_digest="d",
    )
    request = view.request.model_copy(
        update={"purpose": Purpose.LOOP, "evidence": EVIDENCE | evidence, "judgement": judgement}
    )
    return view.model_copy(update={"request": request})


def html(view: RequestView) -> str:
    """As one of those sees it who are asked."""
    return drawn(view, person="dana")


def on_a_terminal(view: RequestView) -> str:
    return "\n".join(f"{name} {text}" for name, text in details(view))


SURFACES = {
    "inbox": lambda view: html(view).replace("&#39;", "'"),
    "slack": lambda view: str(card(view, "token").blocks).replace("\\u2192", "→"),
    "terminal": on_a_terminal,
}


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize(
    "words",
    [
        EVIDENCE["cycle"],
        "locked",
        "erp.payment.submit {bill: 21}",
        "4 min, 12.34 in money and 56,789 tokens by the agent's own count",
        EVIDENCE["half_done"][0],
        WHY,
    ],
)
def test_the_evidence_is_there(surface: str, words: str) -> None:
    """The cycle, the attempts, the cost, what stands half done, and why it is on this level."""
    shown = SURFACES[surface](looping())
    assert words in shown or words.replace("'", '"') in shown


@pytest.mark.parametrize("surface", ["slack", "terminal"])
def test_attempts_have_their_time_as_people_write_it(surface: str) -> None:
    """Like all others there; what is no moment is left out."""
    told = ({"at": "2026-03-02T10:04:00+01:00"}, {"at": "then"}, {"at": "2026-03-02T09:04:00"}, {})
    attempts = [{"number": n, "error": f"e{n}", **one} for n, one in enumerate(told, 1)]
    shown = SURFACES[surface](looping(attempts=attempts))
    assert "2026-03-02 09:04 UTC: e1" in shown
    assert all(f"{before}e{n}" not in shown for n in (2, 3, 4) for before in (": ", "then"))
    assert "T09:04" not in shown


def test_what_nobody_may_allow_is_not_offered() -> None:
    """Neither in the inbox nor in Slack; what one may do instead is."""
    barred, offered = looping(), looping(allow_more=1)
    assert 'name="decision" value="approve"' not in html(barred)
    assert "on level 2 the policy lets nobody allow more tries" in html(barred)
    assert 'name="decision" value="send_back"' in html(barred)
    assert 'name="decision" value="approve"' in html(offered)
    assert "Allow 1 more attempt" in html(offered)
    shown = str(card(barred, "token").blocks)
    assert APPROVE not in shown
    assert "on level 2 the policy lets nobody allow more tries" in shown
    assert APPROVE in str(card(offered, "token").blocks)


def test_what_the_policy_forbids_has_no_button_that_would_be_refused() -> None:
    """The third refusal of a policy is there to be steered."""
    forbidden = looping(allow_more=1, refused_by="policy")
    assert 'name="decision" value="approve"' not in html(forbidden)
    assert "the policy forbids this" in html(forbidden)
    assert APPROVE not in str(card(forbidden, "token").blocks)


def test_escape_sequences_of_an_agent_do_nothing_on_a_terminal() -> None:
    """What was called and what came back is the agent's text."""
    bad = "\x1b[2J"
    attempt = {"number": 1, "at": bad, "error": bad, "arguments": {"call": bad}}
    shown = on_a_terminal(looping(attempts=[attempt], cycle=bad, half_done=[bad]))
    assert "\x1b" not in shown


@pytest.mark.parametrize("more", ["21", "0", "1.5", "many"])
def test_more_than_anybody_may_allow_is_refused(more: str) -> None:
    """Slack's client checks it; whoever speaks without it is told."""
    with pytest.raises(InvalidInput, match="whole number from 1 to 20"):
        read({MORE: {MORE: {"type": "number_input", "value": more}}})


def test_a_label_that_nobody_offered_is_refused() -> None:
    """In words, as a form of the inbox is: no menu sends it."""
    chosen = {"type": "static_select", "selected_option": {"value": "nonsense"}}
    with pytest.raises(InvalidInput, match="choose one of loop, not_a_loop, harmful"):
        read({LABEL: {LABEL: chosen}})


@pytest.mark.parametrize(
    ("said", "counts"),
    [
        (1_500, 1_500),
        ("1500", 1_500),
        (" 1500 ", 1_500),
        (12.0, 12),
        (12.2, 13),
        ("12.5", 13),
        ("999999999999999", 10**12),
        ("1,500", 0),
        ("-3", 0),
        (-3.5, 0),
        ("nan", 0),
        (float("inf"), 0),
        ("many", 0),
        ("٣", 0),
        (True, 0),
        (None, 0),
        ([5], 0),
    ],
)
def test_a_price_may_be_reported_as_the_text_of_a_number(said: Any, counts: int) -> None:
    """Agents write numbers as they like; what is none counts for nothing."""
    assert reported({"tokens": said}, "tokens") == counts


@pytest.mark.parametrize(
    ("total", "count", "words"),
    [
        (5, 1, "Failed 5 times in the same way (once since people allowed more, or its cause"),
        (1, 1, "Failed once in the same way"),
    ],
)
def test_failures_are_counted_as_people_see_them(total: int, count: int, words: str) -> None:
    """As many as stand there side by side; how many are new comes second."""
    plain = {name: one for name, one in EVIDENCE.items() if name not in ("words", "detector")}
    view = looping()
    told = plain | {"total": total, "count": count, "allow_more": 1}
    view = view.model_copy(update={"request": view.request.model_copy(update={"evidence": told})})
    assert words in html(view)
    assert f"{'once' if total == 1 else f'{total} times'} in the same way" in str(
        card(view, "token").blocks
    )


def test_the_name_of_an_action_is_not_spelt_otherwise() -> None:
    """At the beginning of the finding, too."""
    assert "erp.bill.post failed 5 times." in html(looping(words="erp.bill.post failed 5 times"))
    assert "It was refused." in html(looping(words="it was refused"))


def test_the_page_says_beside_each_answer_what_follows_from_it() -> None:
    """Not above the button that lets it go on what stopping it means."""
    page = html(looping(allow_more=2))
    tries, stops = "After so many more tries people are asked again.", "The step ends with this"
    assert page.index(tries) < page.index("Allow 2 more attempts") < page.index(stops)
    once = html(looping(detector="same_write", level=1, allow_more=1))
    assert "It runs once; the next time people are asked again." in once
