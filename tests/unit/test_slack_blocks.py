"""What a card shows, and that it is valid Block Kit whatever the request holds."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gates.core.asked import Requirement
from gates.core.model import (
    Action,
    ApprovalRequest,
    Decision,
    DecisionKind,
    Execution,
    ExecutionState,
    Judgement,
    Money,
    Outcome,
    OutcomeKind,
    Purpose,
    Reason,
    Requester,
    RequestView,
    RunRef,
    Step,
    Tier,
    Verdict,
)
from integrations.slack.blocks import APPROVE, CHANGE, DETAILS, REJECT, SEND_BACK
from integrations.slack.card import card
from integrations.slack.details import BACK, ON, details_view
from integrations.slack.forms import changes_view
from integrations.slack.modals import ASKS_FOR, REASON, answer_view
from integrations.slack.preview import page
from integrations.slack.text import clean, cut, escape, label, link, units, when
from tests.support.slack_server import check_message_blocks, check_view

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
HOSTILE = "<!channel> <https://evil.example|inbox> *Approved* :white_check_mark: & <@U1>\u202e"


def make_view(**changes: Any) -> RequestView:
    """Build a waiting request for one supplier payment; keywords replace parts of it."""
    request = {
        "id": "ab" * 16,
        "gate_key": "pay",
        "round": 1,
        "purpose": Purpose.ACTION,
        "run": RunRef(run_id="r1", root_run_id="r1", url="http://prefect.test/runs/r1"),
        "requester": Requester(agent="invoice-agent", on_behalf_of="dana"),
        "action": Action(
            name="erp.payment.submit",
            title="Pay Acme",
            subject=("bill 17",),
            arguments={"supplier": "Acme", "amount": "505.75", "lines": [{"sku": "x", "n": 2}]},
        ),
        "in_process": False,
        "amount": Money(minor=50575),
        "claims": {"confidence": "0.4", "why": "looks fine"},
        "facts": {"supplier_age_days": 3},
        "judgement": Judgement(
            verdict=Verdict.REQUIRE_APPROVAL,
            tier=Tier.HIGH,
            reasons=(Reason(rule="large", text="More than 500 EUR"),),
            policy_digest="d",
        ),
        "requirement": Requirement(
            people={"amara": "Amara Obi", "bruno": "Bruno Paz"},
            quorum=2,
            deadline_at=NOW + timedelta(hours=4),
        ),
        "opened_at": NOW,
    }
    outer = {k: changes.pop(k) for k in list(changes) if k in RequestView.model_fields}
    whole = ApprovalRequest.model_validate(request | changes)
    return RequestView(request=whole, url="http://gates.test/requests/1", **outer)


def done(summary: str, **changes: Any) -> Step:
    values = {"request_id": "r", "gate_key": "k", "title": "t", "state": "done"}
    return Step.model_validate(values | {"summary": summary} | changes)


def words(blocks: Any) -> str:
    """Return all the text of blocks, one object a line."""
    return "\n".join(
        re.findall(r'"text": "((?:[^"\\]|\\.)*)"', json.dumps(blocks, ensure_ascii=False))
    )


def markup(blocks: Any) -> list[str]:
    """Return only what Slack reads as markup."""
    found: list[str] = []
    if isinstance(blocks, dict):
        if blocks.get("type") == "mrkdwn":
            found.append(blocks["text"])
        for value in blocks.values():
            found += markup(value)
    elif isinstance(blocks, list | tuple):
        for value in blocks:
            found += markup(value)
    return found


def buttons(blocks: Any) -> list[dict[str, Any]]:
    return [e for b in blocks if b["type"] == "actions" for e in b["elements"]]


def test_card_answers_what_how_much_why_for_whom_and_until_when() -> None:
    """A waiting card shows everything a person needs, and buttons with the token."""
    drawn = card(make_view(), "tok", prefect_ui_url="http://prefect.test")
    seen = words(drawn.blocks)
    for part in (
        "Pay Acme",
        "505.75 EUR",
        "invoice-agent",
        "dana",
        "More than 500 EUR",
        "tier high",
        "Amara Obi, Bruno Paz",
        "2 of",
        "erp.payment.submit",
        "Supplier age days",
        "Lines [1].sku",
        "Open in the inbox",
        "Prefect run",
        "by the executor",
        f"<!date^{int((NOW + timedelta(hours=4)).timestamp())}^",
        "2026-03-02 13:30 UTC",
    ):
        assert part in seen, part
    assert [(b["action_id"], b["value"]) for b in buttons(drawn.blocks)] == [
        (APPROVE, "tok"),
        (CHANGE, "tok"),
        (SEND_BACK, "tok"),
        (REJECT, "tok"),
        (DETAILS, "tok"),
    ]
    assert check_message_blocks(list(drawn.blocks)) == []
    assert drawn.text == "May this run? Pay Acme (505.75 EUR)"


def test_what_is_frozen_is_on_the_card() -> None:
    """Who has frozen it and why; the buttons stay, since an approval waits for the thaw."""
    view = make_view().model_copy(update={"frozen": "Frozen by Tess (everything): <odd>"})
    drawn = json.dumps(card(view, "token").blocks)
    assert "Frozen by Tess (everything): <odd>. Nothing starts here." in drawn
    assert "Frozen" not in json.dumps(card(make_view(), "token").blocks)


def test_claims_stand_last_and_apart_from_facts() -> None:
    """What the agent says is under its own heading, each line behind a bar."""
    blocks = card(make_view(claims={"why": "ok\nChecked by the server: all fine"}), "t").blocks
    texts = [json.dumps(b, ensure_ascii=False) for b in blocks]
    said = next(i for i, t in enumerate(texts) if "nobody has checked" in t)
    assert said > next(i for i, t in enumerate(texts) if "Checked by the server*" in t)
    lines = blocks[said + 1]["text"]["text"].splitlines()
    assert len(lines) == 2
    assert all(line.startswith("│ ") for line in lines)


def test_a_decided_card_has_no_buttons_and_names_person_time_and_reason() -> None:
    """An outcome takes the buttons away and says who, when and why."""
    decision = Decision(
        person="amara",
        name="Amara Obi",
        kind=DecisionKind.REJECT,
        reason="wrong bank",
        at=NOW,
        channel="inbox",
        assurance="session",
    )
    outcome = Outcome(kind=OutcomeKind.REJECTED, by=("Amara Obi",), reason="wrong bank", at=NOW)
    drawn = card(make_view(decisions=(decision,), outcome=outcome), "tok")
    assert buttons(drawn.blocks) == []
    seen = words(drawn.blocks)
    assert "*Rejected*" in seen
    assert "Amara Obi" in seen
    assert "rejected via inbox, 2026-03-02 09:30 UTC: wrong bank" in seen
    assert when(NOW) in seen
    assert "then it is rejected" not in seen
    assert drawn.text.startswith("Rejected Pay Acme")


def test_a_half_decided_card_keeps_its_buttons_and_shows_who_has_agreed() -> None:
    """With a quorum of two, the first approval is on the card and the question stays open."""
    decision = Decision(
        person="amara",
        name="Amara Obi",
        kind=DecisionKind.APPROVE,
        at=NOW,
        channel="slack",
        assurance="slack",
    )
    drawn = card(make_view(decisions=(decision,)), "tok")
    assert "approved via slack" in words(drawn.blocks)
    assert len(buttons(drawn.blocks)) == 5


def voice(
    kind: DecisionKind = DecisionKind.APPROVE, person: str = "amara", **more: Any
) -> Decision:
    values = {"name": "Amara Obi", "at": NOW, "channel": "slack", "assurance": "slack"}
    return Decision(person=person, kind=kind, **(values | more))


def test_the_group_that_is_missing_is_on_the_card() -> None:
    """One of each: before anybody has agreed both groups, then the one that is left."""
    needed = Requirement(
        people={"amara": "Amara Obi", "bruno": "Bruno Paz"},
        quorum=2,
        deadline_at=NOW,
        valid_seconds=7_200,
        groups={"controllers": ("amara",), "treasury": ("bruno",)},
    )
    seen = words(card(make_view(requirement=needed), "tok").blocks)
    assert "one of each: controllers (Amara Obi), treasury (Bruno Paz)" in seen
    assert "nobody yet" in seen
    assert "An approval holds for 2 h" in seen
    seen = words(card(make_view(requirement=needed, decisions=(voice(),)), "tok").blocks)
    assert "1 of treasury (Bruno Paz)" in seen
    assert "nobody yet" not in seen


def test_what_came_before_is_on_the_card() -> None:
    """How the last round ended and what is different, each line behind a bar."""
    before = ("Round 1: sent back by Amara Obi: <!channel>\nhalf of it", "amount: 9 -> 5")
    drawn = card(make_view(round=2, before=before), "tok")
    seen = words(drawn.blocks)
    assert "*Since round 1*" in seen
    assert "│ Round 1: sent back by Amara Obi: <!channel> half of it" in seen
    assert "│ amount: 9 -> 5" in seen
    assert not any("<!channel>" in text for text in markup(drawn.blocks))


def test_a_changed_round_says_by_whom_and_what() -> None:
    """Old and new value stand at the decision; the card of that round has no buttons left."""
    changes = {"supplier": "Acme", "amount": "400.00", "lines": [{"sku": "x", "n": 2}]}
    one = voice(DecisionKind.APPROVE_WITH_CHANGES, changes=changes, reason="partial")
    outcome = Outcome(kind=OutcomeKind.VOIDED, by=("Amara Obi",), reason="partial", at=NOW)
    drawn = card(make_view(decisions=(one,), outcome=outcome), "tok")
    seen = words(drawn.blocks)
    assert "*Changed by Amara Obi*" in seen
    assert "amount: 505.75 -> 400.00" in seen
    assert buttons(drawn.blocks) == []


def test_a_change_has_a_button_where_there_is_something_to_change() -> None:
    """As long as it is open and may be changed."""

    def offers(**changes: Any) -> bool:
        return CHANGE in [b["action_id"] for b in buttons(card(make_view(**changes), "t").blocks)]

    assert offers()
    assert not offers(purpose=Purpose.IN_DOUBT)
    assert not offers(action=Action(name="look"))
    assert not offers(outcome=Outcome(kind=OutcomeKind.APPROVED, by=("Amara Obi",), at=NOW))


def test_what_may_have_happened_is_not_sent_back() -> None:
    """In doubt there is yes and no."""
    drawn = card(make_view(purpose=Purpose.IN_DOUBT), "tok")
    assert [one["action_id"] for one in buttons(drawn.blocks)] == [APPROVE, REJECT, DETAILS]


def test_a_difference_after_execution_is_on_the_card() -> None:
    """What was booked otherwise than approved is said on the card."""
    execution = Execution(
        request_id="ab" * 16,
        state=ExecutionState.SUCCEEDED,
        differences=("total: 505.75 -> 605.75",),
    )
    outcome = Outcome(kind=OutcomeKind.APPROVED, by=("Amara Obi",), at=NOW)
    seen = words(card(make_view(outcome=outcome, execution=execution), "").blocks)
    assert "total: 505.75 -> 605.75" in seen


def test_a_resume_without_a_decision_is_on_the_card() -> None:
    """Somebody resumed the run in Prefect although nobody had decided: people see it."""
    seen = words(card(make_view(woken=2), "tok").blocks)
    assert "resumed 2 times although nobody had decided" in seen


@pytest.mark.parametrize("purpose", list(Purpose))
def test_each_purpose_asks_its_own_question(purpose: Purpose) -> None:
    """A loop and a doubt ask something else than a plain action, with other buttons."""
    drawn = card(make_view(purpose=purpose, evidence={"allow_more": 3}), "tok")
    texts = [b["text"]["text"] for b in buttons(drawn.blocks)]
    expected = {
        Purpose.ACTION: "Approve",
        Purpose.LOOP: "Allow 3 more attempts",
        Purpose.IN_DOUBT: "It did not happen: run it again",
    }
    assert texts[0] == expected[purpose]
    assert check_message_blocks(list(drawn.blocks)) == []


def test_a_loop_shows_its_attempts_below_each_other() -> None:
    """Who decides about a circle sees each try, its error, and what changed between them."""
    tried = [{"number": n, "at": f"2026-03-02T09:0{n}:00Z", "error": "locked"} for n in (1, 2, 3)]
    evidence = {
        "total": 3,
        "error": "bill is locked",
        "error_class": "Locked",
        "attempts": tried,
        "differences": [],
        "allow_more": 3,
        "arguments_digest": "abc",
    }
    seen = words(card(make_view(purpose=Purpose.LOOP, evidence=evidence), "t").blocks)
    assert "3 times in the same way" in seen
    assert seen.count(": locked") == 3
    assert "nothing" in seen
    assert "abc" not in seen


def test_old_and_new_stand_as_what_would_change() -> None:
    """A changed bank account is one row: the old one, and below it the new one."""
    arguments = {"supplier": "Acme", "old_iban": "DE1\n→ DE9", "new_iban": "DE2", "document": "L1"}
    blocks = card(make_view(action=Action(name="change", arguments=arguments)), "t").blocks
    where = next(i for i, b in enumerate(blocks) if "What would change" in str(b))
    fields = blocks[where + 1]["fields"]
    assert [field["text"] for field in fields] == ["*IBAN*", "DE1 → DE9\n→ DE2"]
    rest = str(blocks[where + 2 :])
    assert "Document" in rest
    assert "old_iban" not in rest
    assert "DE2" not in rest


def test_money_in_cents_is_shown_as_money() -> None:
    """A name that ends in _minor loses the ending, so the number is no longer in cents."""
    moved = {"old_limit_minor": 100, "new_limit_minor": 250_000, "total_minor": 1_249_050}
    action = Action(name="change", arguments=moved)
    view = make_view(action=action, facts={"open_bills_minor": 7_005}, claims={"owed_minor": 1})
    seen = words(card(view, "t").blocks)
    for part in ("1.00\\n→ 2,500.00", "12,490.50", "70.05", "│ Owed: 0.01"):
        assert part in seen, part


def test_details_show_everything_in_pages() -> None:
    """A text of 100,000 characters goes on from section to section and page to page."""
    long = "".join(f"{n:06d}," for n in range(15_000))
    view = make_view(facts={"long": long, "short": "yes"})
    pages = [details_view(view, "tok", "C1", n) for n in range(6)]
    counted = re.search(r"Page 1 of (\d+)", words(pages[0]["blocks"]))
    assert counted is not None
    number = int(counted[1])
    assert 3 < number < 6
    texts = [
        block["text"]["text"]
        for page in pages[:number]
        for block in page["blocks"]
        if block["type"] == "section" and "text" in block
    ]
    assert long in "".join(texts)
    assert [one["action_id"] for one in buttons(pages[1]["blocks"])] == [BACK, ON]
    assert [one["value"] for one in buttons(pages[1]["blocks"])] == ["0", "2"]
    assert pages[5] == pages[number - 1]


def test_details_of_a_small_request_are_one_page() -> None:
    """Arguments, facts, reasons, fingerprint and story, without buttons to turn pages."""
    view = make_view(decisions=(voice(reason="fine"),))
    page = details_view(view, "tok", "C1")
    seen = words(page["blocks"])
    for part in ("Lines [1].sku", "Supplier age days", "More than 500 EUR", "│ Why: looks fine"):
        assert part in seen, part
    assert view.request.action.fingerprint in seen
    assert "2026-03-02 09:30 UTC, approved via slack: fine" in seen
    assert buttons(page["blocks"]) == []


def test_hostile_text_everywhere_stays_text() -> None:
    """No mention, masked link, emoji or hidden character of somebody else's reaches markup."""
    view = make_view(
        action=Action(
            name=HOSTILE, title=HOSTILE, subject=(HOSTILE,), arguments={HOSTILE: HOSTILE}
        ),
        claims={HOSTILE: HOSTILE},
        facts={HOSTILE: HOSTILE},
        stands=(done(HOSTILE, note=HOSTILE),),
        requester=Requester(agent=HOSTILE, on_behalf_of=HOSTILE),
        run=RunRef(run_id="r", root_run_id="r", url="https://evil.example/runs/1"),
        requirement=Requirement(people={"a": HOSTILE}, quorum=1, deadline_at=NOW),
        judgement=Judgement(
            verdict=Verdict.REQUIRE_APPROVAL,
            tier=Tier.HIGH,
            reasons=(Reason(rule=HOSTILE, text=HOSTILE),),
            policy_digest="d",
        ),
    )
    drawn = card(view, "tok", prefect_ui_url="https://prefect.test")
    angles = [
        m for text in [drawn.text, *markup(drawn.blocks)] for m in re.findall("<[^>]*>", text)
    ]
    assert all(m.startswith(("<!date^", "<http://gates.test/")) for m in angles)
    assert "\u202e" not in json.dumps(drawn.blocks, ensure_ascii=False)
    assert "[U+202E]" in words(drawn.blocks)
    plain = [o for o in json.dumps(drawn.blocks).split("{") if '"plain_text"' in o]
    assert all('"emoji": false' in o for o in plain)
    assert not any(":white_check_mark:" in text for text in markup(drawn.blocks))


def test_a_run_link_is_shown_only_below_our_own_prefect() -> None:
    """The flow tells its run's address; elsewhere than our Prefect it is not followed."""
    view = make_view(run=RunRef(run_id="r", root_run_id="r", url="http://prefect.test.evil/x"))
    drawn = card(view, "t", prefect_ui_url="http://prefect.test")
    assert "evil" not in json.dumps(drawn.blocks)


def test_long_content_is_cut_and_counted() -> None:
    """What does not fit is announced: cut values say so, left-out rows are counted."""
    drawn = card(make_view(facts={f"f{i}": "x" * 5000 for i in range(40)}), "t")
    seen = words(drawn.blocks)
    assert "[5,000 characters, cut]" in seen
    assert "and 30 more values: see Details" in seen


def test_what_the_run_has_done_is_on_the_card() -> None:
    """Done, half done and taken back, the latest ones; earlier ones are counted."""
    steps = [done(f"Bill {n} entered") for n in range(6)]
    steps += [done("Bill 7 paid", state="half_done", note="nobody knows")]
    steps += [done("Bill 8 posted", state="undone", note="taken back")]
    seen = words(card(make_view(stands=tuple(steps)), "t").blocks)
    for part in ("*Done so far in this run*", "*Half done*", "Bill 7 paid (nobody knows)"):
        assert part in seen
    assert "*Taken back*" in seen
    assert "Bill 0 entered" not in seen
    assert "and 3 before: see Details" in seen


@pytest.mark.parametrize("purpose", list(Purpose))
@pytest.mark.parametrize("ended", [False, True])
def test_the_fullest_card_fits(purpose: Purpose, ended: bool) -> None:
    """Every section at its longest, all at once, is still within Slack's fifty blocks."""
    many: dict[str, Any] = {f"value {n}": n for n in range(40)}
    moved: dict[str, Any] = {f"{age}_{n}": f"{age}{n}" for n in range(9) for age in ("old", "new")}
    changed = voice(DecisionKind.APPROVE_WITH_CHANGES, changes=dict.fromkeys(many | moved, 0))
    reasons = tuple(Reason(rule=f"rule {n}", text="asks") for n in range(12))
    tried = [{"number": n, "at": "then", "error": "locked"} for n in range(9)]
    view = make_view(
        purpose=purpose,
        action=Action(name="change", arguments=moved | many),
        facts=many,
        claims=many,
        evidence=many | {"total": 9, "error": "x", "error_class": "X", "attempts": tried},
        judgement=Judgement(
            verdict=Verdict.REQUIRE_APPROVAL, tier=Tier.HIGH, reasons=reasons, policy_digest="d"
        ),
        round=2,
        before=("ended",) * 9,
        decisions=(changed,) * 12,
        stands=tuple(done(f"Bill {n} entered") for n in range(9)),
        execution=Execution(
            request_id="ab" * 16, state=ExecutionState.SUCCEEDED, differences=("total: 1 -> 2",) * 5
        ),
        outcome=Outcome(kind=OutcomeKind.APPROVED, by=("Amara Obi",), at=NOW) if ended else None,
        woken=2,
    )
    drawn = card(view, "tok", prefect_ui_url="http://prefect.test")
    assert check_message_blocks(list(drawn.blocks)) == []
    assert len(drawn.blocks) > 40


def text(longest: int, least: int = 0) -> st.SearchStrategy[str]:
    """Of any length up to `longest`; long ones repeat themselves, for chance is dear."""
    short = st.text(min_size=least, max_size=min(longest, 12))
    times = st.sampled_from([1, 1, 3, longest // 20, longest])
    return st.builds(lambda part, number: (part * number)[:longest], short, times)


def objects(keys: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    whole = st.integers(1 - 2**53, 2**53 - 1)
    json_ = st.recursive(
        st.none() | st.booleans() | whole | text(4000),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=6,
    )
    many = st.builds(
        lambda key, number, value: {f"{key[:250]}{n}": value for n in range(number)},
        keys,
        st.integers(5, 20),
        text(4000),
    )
    return st.dictionaries(keys, json_, max_size=6) | many


def few(inner: st.SearchStrategy[Any], most: int) -> st.SearchStrategy[tuple[Any, ...]]:
    """None, some, or `most` of a kind."""
    alike = st.builds(lambda one: (one,) * most, inner)
    return st.lists(inner, max_size=3).map(tuple) | alike


OBJECTS = objects(text(300))
# As the server takes them.
ARGUMENTS = objects(st.text(st.characters(codec="ascii"), max_size=20))
NAMES = text(200, least=1)
PEOPLE = st.dictionaries(NAMES, text(500), min_size=1, max_size=5)
OUTCOMES = st.builds(
    Outcome,
    kind=st.sampled_from(OutcomeKind),
    by=few(text(300), 5),
    reason=text(5000),
    at=st.just(NOW),
)
DECISIONS = st.builds(
    Decision,
    person=NAMES,
    name=text(300),
    kind=st.sampled_from(DecisionKind),
    reason=text(4000),
    at=st.just(NOW),
    channel=text(30),
    assurance=st.just("slack"),
    card_revision=st.none(),
    verified_by=st.just({}),
    changes=st.none() | OBJECTS,
)
STEPS = st.builds(
    done,
    text(4000),
    state=st.sampled_from(["done", "half_done", "undone"]),
    note=text(4000),
)
REASONS = st.builds(Reason, rule=text(300), text=text(4000))


@st.composite
def views(draw: st.DrawFn) -> RequestView:
    people = draw(PEOPLE)
    members = st.lists(st.sampled_from(sorted(people)), unique=True).map(tuple)
    groups = draw(st.dictionaries(NAMES, members, max_size=3))
    return make_view(
        purpose=draw(st.sampled_from(Purpose)),
        action=Action(
            name=draw(NAMES),
            title=draw(text(400)),
            subject=draw(few(text(400), 4)),
            arguments=draw(ARGUMENTS),
        ),
        claims=draw(OBJECTS),
        facts=draw(OBJECTS),
        evidence=draw(OBJECTS),
        requester=Requester(agent=draw(NAMES), on_behalf_of=draw(st.none() | NAMES)),
        judgement=Judgement(
            verdict=Verdict.REQUIRE_APPROVAL,
            tier=draw(st.sampled_from(Tier)),
            reasons=draw(few(REASONS, 12)),
            policy_digest="d",
        ),
        requirement=Requirement(
            people=people,
            quorum=1,
            deadline_at=NOW,
            groups=groups,
            escalation=draw(st.just({}) | PEOPLE),
        ),
        round=draw(st.integers(1, 3)),
        before=draw(few(text(400), 12)),
        decisions=draw(few(DECISIONS, 12)),
        outcome=draw(st.none() | OUTCOMES),
        stands=draw(few(STEPS, 9)),
    )


@settings(max_examples=60, deadline=None)
@given(views())
def test_every_card_is_valid_block_kit(view: RequestView) -> None:
    """Whatever a request holds, Slack would take its card, its text and its modals, and the
    preview draws it with no ping and no link but ours."""
    drawn = card(view, "tok", prefect_ui_url="http://prefect.test")
    assert check_message_blocks(list(drawn.blocks)) == []
    assert 0 < units(drawn.text) <= 4000
    total = sum(len(json.dumps(b, ensure_ascii=False)) for b in drawn.blocks)
    assert total < 60_000
    shown = page(drawn, caption="Preview")
    assert "<mark" not in shown
    assert shown.count("<a ") <= 2
    assert check_view(changes_view(view, {}, "tok", "C1")) == []
    assert all(check_view(answer_view(kind, view, "tok", "C1")) == [] for kind in ASKS_FOR)


@settings(max_examples=20, deadline=None)
@given(views(), st.integers(0, 9))
def test_every_page_of_details_is_valid_and_nothing_is_left_out(view: RequestView, n: int) -> None:
    """Whatever a request holds, each page is a modal that Slack takes, and the last one exists."""
    page = details_view(view, "tok", "C1", n)
    assert check_view(page) == []
    last = details_view(view, "tok", "C1", 10_000)
    assert check_view(last) == []
    shown = {element["action_id"] for element in buttons(last["blocks"])}
    assert ON not in shown


@given(st.text(max_size=400), st.integers(min_value=1, max_value=120))
def test_cut_keeps_the_limit_and_says_that_it_cut(text: str, limit: int) -> None:
    """A cut text is within the limit and carries the sign of the cut."""
    short = cut(text, limit)
    assert units(short) <= max(limit, 1)
    assert short == text or "…" in short


@given(st.text())
def test_escaped_text_cannot_open_markup(text: str) -> None:
    """No angle bracket survives, and nothing is lost."""
    safe = escape(text)
    assert "<" not in safe
    assert ">" not in safe
    assert safe.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == text


@given(st.text(max_size=300))
def test_labels_hold_nothing_that_formats(key: str) -> None:
    """A key cannot end its own bold type, ping or link."""
    assert not set(label(key)) & set("*_~`<>&:@|\n")
    assert label(key)


def test_links_only_to_addresses_that_cannot_break_out() -> None:
    """An address with a bar, a bracket or another scheme is not linked."""
    assert link("http://gates.test/a?b=1&c=2", "x") == "<http://gates.test/a?b=1&amp;c=2|x>"
    for url in ("javascript:alert(1)", "http://a|b", "http://a>b", "http://\u202ea", "", "http://"):
        assert link(url, "x") == ""


def test_reason_is_required_and_bounded() -> None:
    """The modal asks for one to 1,500 characters."""
    for kind in ASKS_FOR:
        element = answer_view(kind, make_view(), "t", "C")["blocks"][-1]["element"]
        assert (element["min_length"], element["max_length"]) == (1, REASON)


def test_hidden_characters_are_spelled_out() -> None:
    """A direction override does not turn an account number around unseen."""
    assert clean("DE1\u202e2") == "DE1[U+202E]2"
