"""Freezes and holds: a freeze beats any grant, a hold only ever adds."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gates.core.asked import Ask
from gates.core.errors import InvalidInput, NotEntitled
from gates.core.freezes import (
    HELD,
    Freeze,
    Hold,
    InForce,
    Scope,
    Start,
    checked,
    held,
    refuse_thaw,
    stopping,
    why,
)
from gates.core.model import Judgement, Reason, Tier, Verdict

AT = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
WORDS = st.sampled_from(["", "a", "ab", "b.c", "a*", "*", "*c"])
NAMES = st.sampled_from(["a", "ab", "b.c", "abc"])
SCOPES = st.one_of(
    st.just(Scope(everything=True)),
    st.builds(Scope, agent=WORDS, action=WORDS, counterparty=WORDS, run=WORDS),
)
STARTS = st.builds(Start, agent=NAMES, action=NAMES, counterparty=NAMES, run=NAMES)


def freeze(scope: Scope, number: int = 1, *, by: str = "priya", for_good: bool = False) -> Freeze:
    return Freeze(
        id=str(number), scope=scope, by=by, name="Priya", reason="odd", at=AT, for_good=for_good
    )


HOLD = Hold(id="1", run="r", by="priya", name="Priya Raman", reason="odd amounts", at=AT)


@given(st.lists(SCOPES, max_size=6), STARTS, st.randoms())
def test_one_freeze_that_covers_is_enough_in_any_order(scopes, start, random):
    """Neither the order nor any number of others lets through what one of them covers."""
    freezes = [freeze(scope, number) for number, scope in enumerate(scopes)]
    covered = any(one.scope.covers(start) for one in freezes)
    random.shuffle(freezes)
    assert (stopping(freezes, start) is not None) == covered


@given(st.lists(SCOPES, max_size=6), SCOPES, STARTS)
def test_another_freeze_never_frees_anything(scopes, more, start):
    """Adding one stops as much as before, or more."""
    before = [freeze(scope) for scope in scopes]
    if stopping(before, start) is not None:
        assert stopping([*before, freeze(more)], start) is not None
        assert stopping([freeze(more), *before], start) is not None


@given(st.lists(SCOPES, min_size=2, max_size=5), STARTS)
def test_a_thaw_lifts_one_freeze_and_no_other(scopes, start):
    """What two of them cover stays frozen when one is lifted."""
    freezes = [freeze(scope, number) for number, scope in enumerate(scopes)]
    covering = [one for one in freezes if one.scope.covers(start)]
    for lifted in freezes:
        rest = [one for one in freezes if one is not lifted]
        assert (stopping(rest, start) is None) == (not [one for one in covering if one != lifted])


@given(SCOPES, SCOPES, STARTS)
def test_a_scope_that_names_more_covers_less(one, other, start):
    """Several fields must all fit."""
    if one.everything or other.everything:
        return
    joined = {name: value or getattr(other, name) for name, value in one}
    if all(getattr(one, name) in ("", joined[name]) for name in joined) and (
        Scope(**joined).covers(start) and any((one.agent, one.action, one.counterparty, one.run))
    ):
        assert one.covers(start)


def test_names_have_stars_and_a_counterparty_has_none() -> None:
    """A counterparty is one business object, whose id may hold any sign."""
    start = Start(agent="invoice-agent", action="erp.payment.submit", counterparty="s:1", run="r")
    covers = {
        "agent": Scope(agent="invoice-*"),
        "action": Scope(action="erp.payment.*"),
        "counterparty": Scope(counterparty="s:1"),
        "run": Scope(run="r"),
        "two": Scope(agent="*", action="*.submit"),
    }
    assert all(scope.covers(start) for scope in covers.values())
    misses = [Scope(agent="invoice"), Scope(counterparty="s:*"), Scope(agent="x", action="*")]
    assert not any(scope.covers(start) for scope in misses)
    assert not Scope().covers(start)


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        (Scope(), "Nothing is named"),
        (Scope(everything=True, agent="a"), "everything = true and agent a: choose one"),
    ],
)
def test_an_order_says_what_it_is_about(scope: Scope, words: str) -> None:
    """An empty form does not stop the house, and everything is said alone."""
    with pytest.raises(InvalidInput, match=words):
        checked(scope)


def test_a_reason_is_wanted_and_short() -> None:
    """Somebody else has to judge whether it may end."""
    assert why("  odd amounts ") == "odd amounts"
    with pytest.raises(InvalidInput, match="say why"):
        why("  ")
    with pytest.raises(InvalidInput, match="shorten it"):
        why("x" * 1_001)


def test_who_has_frozen_does_not_thaw() -> None:
    """Nor does anybody a run that was stopped."""
    made = freeze(Scope(agent="a"))
    refuse_thaw(made, "dana", "Dana")
    with pytest.raises(NotEntitled, match="Priya, you have frozen this, so somebody else"):
        refuse_thaw(made, "priya", "Priya")
    with pytest.raises(NotEntitled, match="stopped for good: start a new run"):
        refuse_thaw(freeze(Scope(run="r"), for_good=True), "dana", "Dana")


def test_an_order_reads_as_a_sentence() -> None:
    """Who, when, what and why, for pages, logs and the run's last state."""
    assert str(freeze(Scope(agent="a", action="b.*"))) == (
        "Frozen by Priya at 2026-11-20 09:00 UTC (agent a, action b.*): odd"
    )
    assert str(HOLD) == "Held by Priya Raman: odd amounts"
    assert InForce(holds=(HOLD,)).hold("r") is HOLD
    assert InForce().hold("r") is None


VERDICTS = [one for one in Verdict if one is not Verdict.FORBID]
OWN = Ask(who=("controllers",), quorum=2)
COMMANDERS = Ask(who=("admins",))


@pytest.mark.parametrize(("verdict", "own"), list(itertools.product(VERDICTS, [None, OWN])))
def test_a_hold_asks_whatever_the_policy_says(verdict: Verdict, own: Ask | None) -> None:
    """People in command are asked, and whoever the policy asks is asked beside them."""
    before = Judgement(
        verdict=verdict,
        tier=Tier.ROUTINE,
        reasons=(Reason(rule="small", text="small"),),
        policy_digest="d",
        ask=own,
    )
    after = held(before, HOLD, COMMANDERS)
    assert after.verdict is Verdict.REQUIRE_APPROVAL
    assert [reason.rule for reason in after.reasons] == [HELD, "small"]
    assert after.ask is not None
    if own is None:
        assert after.ask.who == ("admins",)
    else:
        assert (after.ask.who, after.ask.quorum) == (own.who, own.quorum)
        assert after.ask.from_each == ("admins",)


def test_a_hold_forgives_nothing() -> None:
    """What the policy forbids is not asked."""
    before = Judgement(
        verdict=Verdict.FORBID,
        tier=Tier.EXPERT,
        reasons=(Reason(rule="never", text="never"),),
        policy_digest="d",
    )
    assert held(before, HOLD, COMMANDERS) is before
