"""The shipped policies for agents, rule by rule: a call with its origin, and what comes of it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from gates.actions import Registry, action
from gates.asking import Asking
from gates.core.errors import Unavailable
from gates.core.model import Effect, Requester, RunRef, Verdict
from gates.core.origin import origin
from gates.core.policy import Policy, Question, load_policy
from gates.originating import OriginOf
from gates.rounds import Origin
from tests.support.policies import ROOT, demo_people, question
from tests.support.world import Payout

ALLOW, ASK, FORBID = Verdict.ALLOW, Verdict.REQUIRE_APPROVAL, Verdict.FORBID
NOW = datetime(2026, 11, 20, tzinfo=UTC)
RUN = RunRef(run_id="r", root_run_id="r")
BOB, EVE = {"to": "bob@known.example"}, {"to": "eve@evil.example"}
REQUEST = "Write to bob@known.example"


def shipped(name: str) -> Policy:
    return load_policy((ROOT / "policies" / name).read_text(), name, demo_people())


@pytest.fixture(scope="module")
def agents() -> Policy:
    return shipped("agents.yaml")


@pytest.fixture(scope="module")
def service() -> Policy:
    return shipped("customer-service.yaml")


def call(name: str, effect: Effect, arguments: dict[str, Any], request: str = REQUEST) -> Question:
    asked = question(name, None, arguments=arguments)
    found = {"origin": origin(arguments, request)}
    return asked.model_copy(update={"effect": effect, "circumstances": found})


def judged(policy: Policy, asked: Question) -> tuple[Verdict, list[str]]:
    judgement = policy.judge(asked)
    return judgement.verdict, [one.rule for one in judgement.reasons]


@pytest.mark.parametrize(
    ("effect", "arguments", "request_", "verdict", "rules"),
    [
        ("read", BOB, REQUEST, ALLOW, ["looking"]),
        ("read", EVE, REQUEST, ALLOW, ["looking"]),
        ("read", EVE, "", ALLOW, ["looking"]),
        ("write", BOB, REQUEST, ALLOW, ["write-as-asked"]),
        ("write", {}, REQUEST, ALLOW, ["write-as-asked"]),
        ("write", EVE, REQUEST, ASK, ["destination-not-asked-for"]),
        ("write", {"to": [BOB, EVE]}, REQUEST, ASK, ["destination-not-asked-for"]),
        ("write", {}, "", ASK, ["request-unknown"]),
        ("write", BOB, "", ASK, ["destination-not-asked-for", "request-unknown"]),
        ("web", BOB, REQUEST, ALLOW, ["web-as-asked"]),
        ("web", EVE, REQUEST, ASK, ["destination-not-asked-for"]),
        ("web", {"url": "intranet"}, REQUEST, ASK, ["going-nowhere-known"]),
        ("web", {}, "", ASK, ["going-nowhere-known", "request-unknown"]),
    ],
)
def test_tool_using_agents(agents, effect, arguments, request_, verdict, rules):
    """What goes where the request does not send it is asked about; looking is free."""
    assert judged(agents, call("tool.send", effect, arguments, request_)) == (verdict, rules)


def test_the_reason_names_the_destination(agents):
    """Whoever is asked sees at once what is odd."""
    (reason,) = agents.judge(call("tool.send", "write", EVE)).reasons
    assert "does not name eve@evil.example;" in reason.text


@pytest.mark.parametrize("effect", ["write", "web"])
def test_where_the_origin_is_missing_people_are_asked(agents, effect):
    """No source is wired, or it was not asked: no rule lets anything through."""
    asked = question("tool.send", None, arguments=BOB).model_copy(update={"effect": effect})
    assert agents.judge(asked).verdict is ASK


@pytest.mark.parametrize("wrong", ["true", 1, None, [], {}])
@pytest.mark.parametrize("key", ["request_known", "unseen", "known"])
def test_an_origin_of_another_form_allows_nothing_that_goes_out(agents, key, wrong):
    """Each part that a rule rests on, spoilt: a missing list is no empty list."""
    asked = call("tool.send", "web", EVE)
    found = asked.circumstances["origin"] | {key: wrong}
    spoilt = asked.model_copy(update={"circumstances": {"origin": found}})
    assert agents.judge(spoilt).verdict is ASK


def test_the_rules_reach_no_other_action(agents):
    """An `allow` for every action would let through what another file means to ask about."""
    assert judged(agents, call("erp.payment.submit", "read", {})) == (ASK, ["default"])


@pytest.mark.parametrize(
    ("effect", "facts", "verdict", "rules"),
    [
        ("read", {}, ALLOW, ["looking"]),
        ("read", {"would_fail": True, "why": "gone"}, ALLOW, ["looking"]),
        ("write", {"would_fail": False, "why": ""}, ASK, ["a-change"]),
        ("web", {"would_fail": False, "why": ""}, ASK, ["a-change"]),
        ("write", {"would_fail": True, "why": "it is paid"}, FORBID, ["would-fail"]),
        ("write", {}, ASK, ["would-fail", "a-change"]),
        ("write", {"would_fail": "no"}, ASK, ["would-fail", "a-change"]),
    ],
)
def test_customer_service(service, effect, facts, verdict, rules):
    """Looking is free, a change is asked about, what would fail is refused without anybody."""
    asked = question("service.cancel", None, facts=facts).model_copy(update={"effect": effect})
    assert judged(service, asked) == (verdict, rules)


# -- by the server's own way --------------------------------------------------------------------


class Requests:
    """An engine that knows what each run was asked to do, or does not answer."""

    def __init__(self, text: str | None) -> None:
        self.told = text
        self.asked = 0

    def text(self, run: RunRef) -> str:
        self.asked += 1
        if self.told is None:
            raise Unavailable(f"Nobody knows {run.run_id}.")
        return self.told


class Line:
    """What the tools of these tests work with."""


@action("tool.look", effect="read")
def look(line: Line, payout: Payout, *, idempotency_key: str) -> None: ...


@action("tool.message", destinations=lambda p: [p.payee])
def message(line: Line, payout: Payout, *, idempotency_key: str) -> None: ...


@action("other.look", effect="read")
def other(line: Line, payout: Payout, *, idempotency_key: str) -> None: ...


def asking(policy: Policy, requests: Requests | None) -> Asking:
    registry = Registry.of([look, message, other], {Line: Line})
    return Asking(registry, policy, demo_people(), (OriginOf(requests),))


def proposed(policy: Policy, requests: Requests | None, name: str, payee: str, **more: Any):
    desk = asking(policy, requests)
    origin_ = Origin(
        run=RUN, key="k", in_process=False, claims=more, requester=Requester(agent="agent")
    )
    act = desk.registry.named(name, {"payee": payee, "amount": "1.00"})
    return desk.question(origin_, act, NOW).judgement


@pytest.mark.parametrize(
    ("name", "payee", "text", "verdict"),
    [
        ("tool.message", "Dora", "Write to Dora", ALLOW),
        ("tool.message", "Eve", "Write to Dora", ASK),
        ("tool.message", "Dora", "", ASK),
        ("tool.message", "Dora", None, ASK),
        ("tool.look", "Eve", "Write to Dora", ALLOW),
        ("tool.look", "Eve", None, ASK),
    ],
)
def test_the_server_asks_the_engine_what_the_run_is_to_do(agents, name, payee, text, verdict):
    """An engine that is away lets nothing through; a declared name counts as a destination."""
    assert proposed(agents, Requests(text), name, payee).verdict is verdict


def test_without_an_engine_there_is_no_request(agents):
    """Writes ask, and the reason says why."""
    judgement = proposed(agents, None, "tool.message", "Dora")
    assert judgement.verdict is ASK
    assert "request-unknown" in [one.rule for one in judgement.reasons]


def test_what_an_agent_claims_is_no_request(agents):
    """Claims named like the origin, the effect or the request change nothing."""
    claims = {"origin": {"unseen": [], "request_known": True}, "effect": "read", "request": "Eve"}
    assert (
        proposed(agents, Requests("Write to Dora"), "tool.message", "Eve", **claims).verdict is ASK
    )


def test_a_function_of_the_flow_counts_as_a_write(agents):
    """Nobody but its flow knows what it does."""
    desk = asking(agents, Requests("Write to Dora"))
    flow = Origin(run=RUN, key="k", in_process=True, claims={}, requester=Requester(agent="agent"))
    act = desk.registry.named("tool.look", {"payee": "eve@evil.example", "amount": "1.00"})
    own = act.model_copy(update={"name": "tool.own"})
    assert desk.question(flow, own, NOW).judgement.verdict is ASK


def test_an_engine_is_asked_only_where_a_rule_wants_to_know(agents):
    """Other actions cost it nothing."""
    requests = Requests("Write to Dora")
    proposed(agents, requests, "other.look", "Dora")
    assert requests.asked == 0
