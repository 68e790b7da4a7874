"""What the inbox shows, and what it must never do with what agents and documents say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from gates.core.asked import Requirement
from gates.core.model import (
    Action,
    ApprovalRequest,
    Attempt,
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
    UndoOffer,
    Verdict,
)
from gates.web.listing import inbox, row
from gates.web.rendering import request_page
from gates.web.showing import TEMPLATES
from gates.web.values import LONG, ROWS, Table, Text, compare, fields, label, shown, text, visible
from gates.web.words import duration, moment, safe_link, said, status

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
PEOPLE = {"dana": "Dana Okafor", "mika": "Mika Lindqvist"}


class Reader:
    person_id = "dana"
    name = "Dana Okafor"
    csrf = "a-token"


def view(**changes: Any) -> RequestView:
    """A payment that waits for Dana and Mika; `changes` go to the request or the view."""
    outer = {key: changes.pop(key) for key in set(RequestView.model_fields) & set(changes)}
    quorum = changes.pop("quorum", 1)
    people = changes.pop("people", PEOPLE)
    deadline = changes.pop("deadline", NOW + timedelta(hours=3, minutes=12))
    values: dict[str, Any] = {
        "id": "a" * 32,
        "gate_key": "pay",
        "round": 1,
        "run": RunRef(run_id="r", root_run_id="r", flow_name="vendor-invoice", run_name="blue-fox"),
        "requester": Requester(agent="invoice-agent", on_behalf_of="sam"),
        "action": Action(
            name="erp.payment.submit",
            title="Pay a bill",
            subject=("supplier:DE123", "invoice:DE123/2026-17"),
            arguments={"bill_id": 4, "amount": "12480.00", "payee_iban": "NL91ABNA0417164300"},
        ),
        "in_process": False,
        "amount": Money(minor=1_248_000),
        "claims": {"confidence": "0.93"},
        "facts": {"supplier_name": "Acme GmbH", "to_pay_minor": 1_248_000},
        "judgement": Judgement(
            verdict=Verdict.REQUIRE_APPROVAL,
            tier=Tier.HIGH,
            reasons=(Reason(rule="large", text="12,480.00 EUR is 10,000.00 EUR or more"),),
            policy_digest="f" * 64,
        ),
        "requirement": Requirement(people=people, quorum=quorum, deadline_at=deadline),
        "opened_at": NOW - timedelta(minutes=20),
    }
    return RequestView(request=ApprovalRequest(**(values | changes)), **outer)


def decision(person: str = "dana", kind: DecisionKind = DecisionKind.APPROVE) -> Decision:
    return Decision(
        person=person,
        name=PEOPLE[person],
        kind=kind,
        reason="seen the contract",
        at=NOW - timedelta(minutes=5),
        channel="slack",
        assurance="account",
    )


def ended(kind: OutcomeKind, by: str = "Dana Okafor", reason: str = "") -> Outcome:
    return Outcome(kind=kind, by=(by,), reason=reason, at=NOW - timedelta(minutes=5))


def html(shown_: RequestView, *rounds: RequestView, person: str = "dana") -> str:
    page = request_page(shown_, rounds, person, NOW)
    return TEMPLATES.get_template("request.html").render(
        page=page,
        session=Reader(),
        refusal="",
        said="",
        typed="",
        typed_for="",
        table=None,
        look=None,
        info=None,
        confirming="",
        longest=99,
    )


# -- values -------------------------------------------------------------------------------


def test_long_text_is_cut_visibly_and_kept_whole() -> None:
    """What is too long ends with an ellipsis and has its full text beside it."""
    cut = text("x" * (LONG + 1))
    assert cut.short == "x" * LONG + "…"
    assert cut.full == "x" * (LONG + 1)
    assert text("x" * LONG) == Text("x" * LONG)


@pytest.mark.parametrize(
    ("given_", "spelled"),
    [
        ("NL91\u202e0034", "NL91[U+202E]0034"),
        ("pay\u200bpal", "pay[U+200B]pal"),
        ("a\x00b", "a[U+0000]b"),
        ("\ud800", "[U+D800]"),
        ("two\nlines\tand é ß 漢", "two\nlines\tand é ß 漢"),
    ],
)
def test_characters_that_deceive_the_eye_are_spelled_out(given_: str, spelled: str) -> None:
    """Nothing invisible and nothing that turns the reading order reaches the page as it is."""
    assert visible(given_) == spelled


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.text(), inner, max_size=6),
        max_leaves=30,
    )
)
def test_any_json_becomes_a_page(value: JsonValue) -> None:
    """Whatever an agent sends is laid out; nothing of it breaks the page or is markup."""
    page = html(view(claims={"sent": value}))
    assert page.count("<script") == 0
    page.encode()


def test_lists_of_records_become_a_table_and_the_rest_is_folded() -> None:
    """Invoice lines stand in columns; more than a screenful is folded away, not dropped."""
    lines: list[JsonValue] = [
        {"description": f"line {n}", "total_minor": 100 * n} for n in range(ROWS + 3)
    ]
    table = shown(lines)
    assert isinstance(table, Table)
    assert table.columns == ("Description", "Total")
    assert table.rows[2] == (Text("line 2"), Text("2.00"))
    assert len(table.rows) + len(table.rest) == len(lines)


def test_minor_units_are_shown_as_money() -> None:
    """An integer under a key in `_minor` is read as cents, nowhere else."""
    found = fields({"to_pay_minor": 50_575, "bill_id": 50_575, "payee_iban": "NL91"})
    assert [(one.label, one.value) for one in found.fields] == [
        ("To pay", Text("505.75")),
        ("Bill ID", Text("50575")),
        ("Payee IBAN", Text("NL91")),
    ]
    assert label("") == "(no name)"


def test_comparison_tells_what_differs_from_what_is_the_same() -> None:
    """Leaves are compared one by one; ids and times of attempts are told but not stressed."""
    first: dict[str, JsonValue] = {
        "at": "12:00",
        "arguments": {"bill": 4, "ref": "A"},
        "error": "overpays line",
    }
    second: dict[str, JsonValue] = {
        "at": "12:01",
        "arguments": {"bill": 4, "ref": "B"},
        "error": "overpays line",
    }
    found = compare(["Attempt 1", "Attempt 2"], [first, second])
    assert [(one.label, one.quiet) for one in found.differing] == [
        ("Arguments · Ref", False),
        ("At", True),
    ]
    assert [one.key for one in found.same] == ["arguments.bill", "error"]


def test_comparison_does_not_take_a_word_for_a_value() -> None:
    """A text "none" and a missing value, a text "yes" and true, are different things."""
    found = compare(["a", "b"], [{"x": None, "y": True, "z": 1}, {"x": "none", "y": "yes"}])
    assert [one.label for one in found.differing] == ["X", "Y", "Z"]


def test_the_part_that_differs_is_pointed_at() -> None:
    """Two account numbers that differ in four digits are not left to the eye."""
    found = compare(["a", "b"], [{"iban": "NL91ABNA0417164300"}, {"iban": "NL91ABNA0417169900"}])
    assert [cell.middle for cell in found.differing[0].cells] == ["43", "99"]
    assert found.differing[0].cells[0].before + "43" == "NL91ABNA04171643"


# -- words --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(seconds=40), "less than a minute"),
        (timedelta(minutes=12), "12 min"),
        (timedelta(hours=3), "3 h"),
        (timedelta(hours=3, minutes=12), "3 h 12 min"),
        (timedelta(days=1, hours=1), "1 day 1 h"),
        (timedelta(days=30, hours=1), "30 days"),
    ],
)
def test_durations_read_like_speech(span: timedelta, words: str) -> None:
    """Two units at most."""
    assert duration(span) == words


def test_deadlines_are_relative_and_absolute() -> None:
    """A reader sees how long is left and, for every time zone, when that is."""
    at = moment(NOW + timedelta(minutes=59), NOW)
    assert (at.relative, at.absolute, at.soon) == ("in 59 min", "20 Nov, 12:59 UTC", True)
    assert moment(NOW - timedelta(hours=2), NOW).relative == "2 h ago"
    assert moment(NOW, NOW).relative == "just now"
    assert moment(NOW + timedelta(days=60), NOW).absolute == "19 Jan 2027, 12:00 UTC"


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "//evil", "http://[", "", "file:///etc"]
)
def test_only_web_addresses_become_links(url: str) -> None:
    """A run's address comes from a flow: no other scheme is ever put into a link."""
    assert safe_link(url) == ""
    run = RunRef(run_id="r", root_run_id="r", url=url)
    assert "Open the run" not in html(view(run=run))


@pytest.mark.parametrize(
    ("purpose", "kind", "words"),
    [
        (Purpose.ACTION, OutcomeKind.APPROVED, "Approved"),
        (Purpose.LOOP, OutcomeKind.APPROVED, "More attempts allowed"),
        (Purpose.LOOP, OutcomeKind.REJECTED, "Run stopped"),
        (Purpose.IN_DOUBT, OutcomeKind.APPROVED, "Allowed to run again"),
        (Purpose.IN_DOUBT, OutcomeKind.REJECTED, "Not run again"),
        (Purpose.IN_DOUBT, OutcomeKind.EXPIRED, "Expired"),
    ],
)
def test_outcomes_are_told_in_the_words_of_their_question(
    purpose: Purpose, kind: OutcomeKind, words: str
) -> None:
    """The word "approved" alone would not say what was approved."""
    assert status(view(purpose=purpose, outcome=ended(kind))).words == words


# -- the list -----------------------------------------------------------------------------


def test_what_waits_for_me_is_apart_and_the_nearest_deadline_first() -> None:
    """Mine are those where I am asked and have not decided; the rest is for others."""
    late = view(id="1" * 32)
    soon = view(id="2" * 32, deadline=NOW + timedelta(minutes=5))
    done = view(id="3" * 32, quorum=2, decisions=(decision(),))
    foreign = view(id="4" * 32, people={"mika": "Mika"})
    found = inbox([late, soon, done, foreign], [], "dana", NOW)
    assert [one.id[0] for one in found.mine] == ["2", "1"]
    assert {one.id[0] for one in found.others} == {"3", "4"}


def test_whom_the_agent_acts_for_is_not_asked_to_decide() -> None:
    """The page offers no buttons to the person on whose behalf the agent acts, and says why."""
    own = view(requester=Requester(agent="invoice-agent", on_behalf_of="dana"))
    assert inbox([own], [], "dana", NOW).mine == ()
    assert "The agent acts for you" in html(own)
    assert '<button class="approve"' not in html(own)


@pytest.mark.parametrize(
    ("chosen", "ids"),
    [("all", "123"), ("mine", "1"), ("approved", "2"), ("ended", "3"), ("nonsense", "123")],
)
def test_the_list_is_filtered_by_state(chosen: str, ids: str) -> None:
    """Each filter shows its own; counts stay those of everything."""
    approved = view(id="2" * 32, outcome=ended(OutcomeKind.APPROVED))
    expired = view(id="3" * 32, outcome=ended(OutcomeKind.EXPIRED, "deadline"))
    found = inbox([view(id="1" * 32)], [approved, expired], "dana", NOW, chosen)
    rows = (*found.mine, *found.others, *found.decided)
    assert "".join(sorted(one.id[0] for one in rows)) == ids
    assert next(one.count for one in found.filters if one.key == "all") == 3


def test_a_row_tells_what_how_much_why_who_and_until_when() -> None:
    """One line answers the questions that decide whether to open it."""
    one = row(view(quorum=2, decisions=(decision("mika"),)), "dana", NOW)
    assert one.subject == "Acme GmbH · invoice 2026-17"
    assert one.amount is not None
    assert (one.amount.number, one.amount.currency) == ("12,480.00", "EUR")
    assert (one.progress, one.asked) == ("1 of 2 agreed", "Dana Okafor and Mika Lindqvist")
    assert one.deadline is not None
    assert one.deadline.relative == "in 3 h 12 min"


# -- one request --------------------------------------------------------------------------


def test_what_agents_write_stays_text() -> None:
    """Markup in a title, an argument, a claim, a reason or an error is shown, never run."""
    evil = "<img src=x onerror=alert(1)>"
    page = html(
        view(
            action=Action(name=evil, title=evil, subject=(evil,), arguments={"a": evil}),
            claims={evil.encode().hex(): evil},
            evidence={"attempts": [{"error": evil}, {"error": "b"}], "note": evil},
            decisions=(decision().model_copy(update={"reason": evil, "name": evil}),),
        )
    )
    assert "<img" not in page
    assert page.count("&lt;img src=x") >= 7


def test_facts_and_claims_stand_apart() -> None:
    """What the server found and what the agent said are never in one group."""
    page = html(view())
    facts, claims = page.index('class="card facts"'), page.index('class="card claims"')
    assert facts < page.index("To pay") < claims < page.index("Confidence")


@pytest.mark.parametrize(
    ("purpose", "evidence", "yes", "no"),
    [
        (Purpose.ACTION, {}, "Approve", "Reject"),
        (Purpose.LOOP, {"allow_more": 3}, "Allow 3 more attempts", "Stop the run"),
        (Purpose.LOOP, {"allow_more": 1}, "Allow 1 more attempt", "Stop the run"),
        (
            Purpose.IN_DOUBT,
            {},
            "It did not happen: run it again",
            "Do not run it again",
        ),
    ],
)
def test_buttons_say_what_they_do(
    purpose: Purpose, evidence: dict[str, JsonValue], yes: str, no: str
) -> None:
    """The words on the buttons are the answer to the question that is asked."""
    page = html(view(purpose=purpose, evidence=evidence))
    assert f'<button class="approve">{yes}</button>' in page
    assert f'<button class="reject">{no}</button>' in page


def test_a_form_carries_the_revision_that_was_shown() -> None:
    """So that a decision on a page that has changed since is noticed."""
    assert html(view(revision=7)).count('name="revision" value="7"') == 3


def test_attempts_of_a_loop_stand_side_by_side() -> None:
    """The last attempts in columns; the folded rest names the digests."""
    tried = [
        {
            "number": n,
            "request_id": f"r{n}",
            "at": f"12:0{n}",
            "arguments": {"bill": 4},
            "error": "overpays line",
        }
        for n in range(1, 8)
    ]
    evidence = {"attempts": tried, "count": 7, "signature": "ab", "allow_more": 3}
    page = request_page(view(purpose=Purpose.LOOP, evidence=evidence), [], "dana", NOW)
    assert page.attempts is not None
    assert page.attempts.headings == tuple(f"Attempt {n}" for n in range(3, 8))
    assert page.attempts_left_out == 2
    assert [one.label for one in page.attempts.differing] == ["At"]
    assert page.finding == "Failed 7 times in the same way."
    assert [one.key for one in page.more_evidence.fields] == ["count", "signature"]


@pytest.mark.parametrize(
    ("more", "label"),
    [
        ({}, "Error"),
        ({"detector": "failing_retry"}, "Error"),
        ({"detector": "same_outcome"}, "Came back"),
        ({"detector": "budget"}, "Came back"),
    ],
)
def test_an_answer_in_a_loops_attempts_is_called_an_error_only_where_all_failed(
    more: dict[str, Any], label: str
) -> None:
    """A poll that says the same each time has failed in nothing."""
    tried = [{"number": n, "at": "12:00", "error": f"still {n}"} for n in (1, 2)]
    evidence = {"attempts": tried, "count": 2, **more}
    page = request_page(view(purpose=Purpose.LOOP, evidence=evidence), [], "dana", NOW)
    assert page.attempts is not None
    assert [one.label for one in page.attempts.differing] == [label]


def attempt(state: ExecutionState = ExecutionState.IN_DOUBT, **changes: Any) -> Attempt:
    values = {
        "id": "t1",
        "number": 1,
        "holder": "erp-executor",
        "fence": 1,
        "lease_until": NOW - timedelta(minutes=1),
        "started_at": NOW - timedelta(minutes=2),
        "state": state,
    }
    return Attempt(**(values | changes))


def test_a_question_in_doubt_tells_of_the_attempt_in_doubt() -> None:
    """The attempt that nobody knows about belongs to the round before; it is shown here."""
    execution = Execution(
        request_id="a" * 32,
        state=ExecutionState.IN_DOUBT,
        attempts=(attempt(error="connection lost"),),
    )
    before = view(execution=execution, outcome=ended(OutcomeKind.APPROVED))
    now = view(id="b" * 32, round=2, purpose=Purpose.IN_DOUBT)
    page = html(now, before, now)
    assert "What is known about the last attempt" in page
    assert "connection lost" in page
    assert f'href="/requests/{"a" * 32}"' in page


def test_a_new_round_shows_what_changed() -> None:
    """After a drift the reader sees the difference, not two pages to compare by eye."""
    before = view(precondition={"payee": "NL91"}, outcome=ended(OutcomeKind.VOIDED))
    after = view(id="b" * 32, round=2, precondition={"payee": "LT60"})
    page = request_page(after, [before, after], "dana", NOW)
    assert page.changed is not None
    assert [one.label for one in page.changed.differing] == ["Real system · Payee"]
    assert [one.number for one in page.earlier] == [1]
    newer = request_page(before, [before, after], "dana", NOW).newer
    assert newer is not None
    assert newer.id == after.request.id


def test_what_the_run_has_done_stands_on_the_page() -> None:
    """Each step with its state, what differs, and how it is taken back; text stays text."""
    same = {"gate_key": "k", "title": "Post"}
    offer = UndoOffer(name="erp.bill.cancel", title="Cancel <b>a bill</b>", arguments={})
    steps = (
        Step(request_id="1", summary="Bill 7 posted", state="done", undo=offer, **same),
        Step(request_id="2", summary="Bill 8 paid", state="half_done", note="nobody knows", **same),
        Step(request_id="3", summary="Bill 9 entered", state="undone", undo=offer, **same),
        Step(request_id="4", summary="x", state="done", differences=("a",), **same),
    )
    page = html(view(stands=steps))
    assert "Done so far in this run" in page
    for part in ("half done", "nobody knows", "taken back", "Read back, and not as approved."):
        assert part in page
    assert page.count("To take it back: Cancel &lt;b&gt;a bill&lt;/b&gt; (erp.bill.cancel)") == 1
    assert '<a href="/requests/2">Bill 8 paid</a>' in page
    assert "Done so far" not in html(view())


def test_differences_read_back_are_an_alarm() -> None:
    """Done is not good where the books show something else than what was approved."""
    execution = Execution(
        request_id="a" * 32,
        state=ExecutionState.SUCCEEDED,
        attempts=(attempt(ExecutionState.SUCCEEDED, ended_at=NOW),),
        result={"payment_id": 12},
        differences=("payee: NL91 -> LT60",),
    )
    paid = view(execution=execution, outcome=ended(OutcomeKind.APPROVED))
    one = row(paid, "dana", NOW)
    assert one.execution is not None
    assert (one.execution.words, one.execution.tone) == ("Done, but not as approved", "bad")
    assert "payee: NL91 -&gt; LT60" in html(paid)


def test_who_has_decided_and_who_has_not_is_told() -> None:
    """Names with channel and reason, and those who are still asked."""
    page = request_page(view(quorum=2, decisions=(decision("mika"),)), [], "dana", NOW)
    assert [(one.name, one.words, one.you) for one in page.voices] == [
        ("Mika Lindqvist", "approved", False),
        ("Dana Okafor", "asked", True),
    ]
    assert (page.approvals, page.quorum) == (1, 2)
    assert page.voices[0].reason == "seen the contract"


def test_an_auditor_sees_how_a_decision_is_known() -> None:
    """Account, transport, what Slack said and when, and the card that they saw, folded away."""
    how = {
        "team": "T012AB",
        "user": "U0MIKA",
        "flags": {"deleted": False},
        "card": "sha256:ab",
    }
    seen = decision("mika").model_copy(update={"verified_by": how, "card_revision": 3})
    page = html(view(quorum=2, decisions=(seen,)))
    told = page[page.index("How that is known") :]
    for words in ("mika", "T012AB", "U0MIKA", "sha256:ab", "deleted"):
        assert words in told


def test_a_decision_is_only_confirmed_to_whom_has_made_it() -> None:
    """A link with a flash in it tells nobody that they have decided."""
    assert said(view(), "dana") == ""
    assert "Others are still asked" in said(view(quorum=2, decisions=(decision(),)), "dana")
