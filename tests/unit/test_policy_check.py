"""What `gates policy check` finds in a policy that loads."""

import json
import re

import pytest
import yaml
from jsonschema import Draft202012Validator

from gates.core.errors import InvalidPolicy
from gates.core.policy import load_policy
from gates.core.policy.checking import Known, check
from gates.core.policy.conditions import compile_condition
from gates.core.policy.constants import answer_of
from gates.core.policy.schema import policy_schema
from integrations.policies.actions import actions_in, known_actions
from tests.support.policies import HEAD, ROOT, demo_people, policy


class _Yaml12(yaml.SafeLoader):
    """Editors read YAML 1.2, in which `on` is a text."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own form
        sign: [(tag, form) for tag, form in known if tag != "tag:yaml.org,2002:bool"]
        for sign, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Yaml12.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("true|false"), ["t", "f"])


def as_editors_read(text: str) -> object:
    return yaml.load(text, _Yaml12)  # noqa: S506 - a safe loader


EXAMPLES = sorted((ROOT / "policies" / "examples").glob("*.yaml"))
SHIPPED = [ROOT / "policies" / "erp.yaml", *EXAMPLES]


def rule(name: str, verdict: str, when: str = "'true'", on: str = "x", more: str = "") -> str:
    return (
        f"  - {{name: {name}, on: {on}, when: {when}, verdict: {verdict}, because: {name}{more}}}\n"
    )


SMALL = "amount.minor < 100"


@pytest.mark.parametrize(
    ("rules", "kind", "words"),
    [
        (
            rule("a", "allow", SMALL, more=", examples: [{amount: 2.00 EUR}]"),
            "example",
            "example of rule 'a': the rule should match, but it does not, with amount.minor = 200",
        ),
        (
            rule("a", "allow", SMALL, more=", counterexamples: [{amount: 0.50 EUR}]"),
            "example",
            "counterexample of rule 'a': the rule should not match, but it does, with amount.minor",
        ),
        (
            rule("a", "allow", SMALL, more=", counterexamples: [{}]"),
            "example",
            "but it cannot be evaluated: 'amount.minor' is missing, with amount.minor = (missing)",
        ),
        (
            rule("a", "allow", SMALL, more=", examples: [{action: y}]"),
            "example",
            "it is on x, not on 'y'",
        ),
        (
            rule("a", "allow", SMALL, more=", examples: [{amount: 0.5 EUR, verdict: forbid}]"),
            "example",
            "forbid is expected, but the policy says allow (a: a)",
        ),
        (
            rule("a", "allow", SMALL, more=", examples: [{amount: 0.5 EUR, tier: high}]"),
            "example",
            "tier high is expected, but it is routine",
        ),
        (rule("a", "allow", on="'*'"), "gates-nothing", "rule 'a' allows every action"),
        (
            rule("a", "allow", on="[x, y]"),
            "gates-nothing",
            "this policy gates nothing: it allows x, y in any case",
        ),
        (rule("a", "forbid", "false && facts.x"), "unreachable", "condition is always false"),
        (
            rule("a", "forbid", on="z.*"),
            "unreachable",
            "rule 'a' names 'z.*', which fits no action",
        ),
        (
            rule("a", "allow", SMALL) + rule("b", "require_approval", on="'*'"),
            "shadowed",
            "rule 'a' never decides: rule 'b' says require_approval to whatever it matches",
        ),
        (
            rule("a", "allow", SMALL) + rule("b", "forbid", SMALL, on="[y, x]"),
            "shadowed",
            "rule 'a' never decides: rule 'b' says forbid",
        ),
        (
            rule("a", "allow", SMALL, more=", examples: [{amount: 0.50 EUR}]")
            + rule("b", "forbid", "amount.minor < 1000"),
            "shadowed",
            "rule 'a' decides none of its own examples: 'b' is stricter",
        ),
        (
            rule("a", "forbid", SMALL) + rule("b", "forbid", SMALL),
            "duplicate",
            "rule 'b' says what rule 'a' says at policy.yaml:4:12",
        ),
        (rule("a", "forbid", SMALL), "unnamed", "no rule names y: the defaults ask"),
    ],
)
def test_what_is_wrong_with_a_policy_is_named(rules, kind, words):
    """Each with its kind, and in words that say what was seen."""
    known = Known({"x": "the registry", "y": "the registry"}, complete=True)
    found = [one for one in check(policy(rules), known) if one.kind == kind]
    assert any(words in one.text for one in found), check(policy(rules), known)
    assert all(
        one.level == ("error" if kind in ("example", "gates-nothing") else "warning")
        for one in found
    )


def test_limits_of_loops_that_hold_for_no_action_are_named():
    """One that fits nothing, and one that an earlier one covers, each where it stands."""
    actions = "{'erp.*': {laps: 4}, erp.pay: {laps: 2}, 'z.*': {laps: 4}, '*': {laps: 5}}"
    text = f"loops: {{thresholds: {{actions: {actions}}}}}\n" + HEAD + rule("a", "forbid", SMALL)
    made = load_policy(text, "p.yaml", demo_people())
    known = Known({"x": "the registry", "erp.pay": "the registry"}, complete=True)
    told = {one.kind: one for one in check(made, known) if "loops" in one.text}
    assert set(told) == {"shadowed", "unreachable"}
    assert told["shadowed"].at == f"p.yaml:1:{text.index('erp.pay') + 1}"
    assert "'erp.pay', which never counts: 'erp.*' before it" in told["shadowed"].text
    assert told["unreachable"].at == f"p.yaml:1:{text.index(chr(39) + 'z.*') + 1}"
    assert "'z.*', which fits no action of the registry" in told["unreachable"].text
    assert not [one for one in check(made) if "'z.*'" in one.text]


@pytest.mark.parametrize(
    "rules",
    [
        rule("a", "allow", SMALL, more=", lifts: [b]") + rule("b", "require_approval", on="'*'"),
        rule("a", "allow", SMALL) + rule("b", "forbid", "amount.minor < 10", on="'*'"),
        rule("a", "allow", SMALL, on="'*'") + rule("b", "require_approval", on="x"),
        rule("a", "allow", on="'*'") + rule("b", "forbid", SMALL),
    ],
)
def test_a_rule_that_can_decide_is_no_mistake(rules):
    """Exceptions by name, narrower rules and narrower conditions are how policies are written."""
    known = Known({"x": "", "y": ""}, complete=True)
    assert {one.kind for one in check(policy(rules), known)} <= {"unnamed"}


def test_a_failing_example_is_shown_where_it_stands():
    """File, line and column are those of the example."""
    text = HEAD + "  - name: a\n    on: x\n    verdict: forbid\n    because: a\n    when: facts.b\n"
    made = load_policy(
        text + "    examples:\n      - {facts: {b: false}}\n", "p.yaml", demo_people()
    )
    assert str(check(made)[0]).startswith("p.yaml:10:9: error: example of rule 'a'")


@pytest.mark.parametrize(
    ("condition", "answer"),
    [
        ("true", True),
        ("true || facts.x", True),
        ("1 > 2", False),
        ("facts.x && false", False),
        ("facts.x", None),
        ("facts.x == 1 || true", True),
        ("amount.minor < 100 && amount.minor > 200", False),
        ("amount.minor < 100 && amount.minor > 98", None),
        ("amount.minor < 100 && amount.minor > 99", False),
        ("facts.n < 100 && facts.n > 99", None),  # a fact may be 99.5
        ("amount.currency == 'EUR' && amount.currency == \"USD\"", False),
        ("amount.currency == 'EUR' && amount.currency != 'EUR'", False),
        ("amount.currency == 'EUR' || amount.currency == 'USD'", None),
        ("facts.x && !facts.x", False),
        ("facts.x && facts.y ? true : amount.minor < 1 && amount.minor > 2", None),
        ("(amount.minor < 1) && facts.x // && false\n && amount.minor == 5", False),
        ("facts.t == 'a && b' && facts.t == 'a && b'", None),
    ],
)
def test_a_condition_that_is_constant_is_found_as_far_as_it_can_be_shown(condition, answer):
    """Without a name, and by what cannot be true together; nothing is said that is not so."""
    assert answer_of(compile_condition(condition)) is answer


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_shipped_policies_are_in_order(file):
    """Each loads with the demo's people, does what its examples say, and has the schema's form."""
    made = load_policy(file.read_text(), str(file), demo_people())
    assert check(made) == []
    if file in EXAMPLES:
        assert all(one.examples for one in made.rules)
    SCHEMA.validate(as_editors_read(file.read_text()))
    depth = "../" if file in EXAMPLES else ""
    first = f"# yaml-language-server: $schema={depth}policy.schema.json\n"
    assert file.read_text().startswith(first)


def test_every_trigger_has_a_shipped_example():
    """Those that the field names."""
    assert {file.stem for file in EXAMPLES} == {
        *("amount", "business-hours", "confidence", "counterparty", "duplicates", "exposure"),
        *("first-use", "identity", "sensitive-words", "sentiment", "sources"),
    }


SCHEMA = Draft202012Validator(policy_schema())


def test_the_published_schema_is_the_readers():
    """The file beside the policies is what `gates policy schema` prints."""
    published = json.loads((ROOT / "policies" / "policy.schema.json").read_text())
    assert published == policy_schema()
    Draft202012Validator.check_schema(published)


@pytest.mark.parametrize(
    "wrong",
    [
        rule("a", "forbidd"),
        rule("a", "forbid", on="'a b'"),
        rule("a", "forbid", more=", ask: {who: [ap]}"),
        rule("a", "forbid", more=", window: 2h"),
        rule("a", "veto_window"),
        rule("a", "veto_window", more=", window: soon"),
        rule("a", "review_later", more=", sample: 2"),
        rule("a", "allow").replace("when: 'true', ", ""),
        rule("a", "forbid").replace("name: a, ", ""),
        rule("a", "forbid", more=", whne: x"),
        rule("a", "require_approval", more=", ask: {quorum: 0}"),
        rule("a", "forbid", more=", examples: [{acton: x}]"),
        rule("a", "forbid", more=", examples: [{amount: 5}]"),
        rule("a", "forbid", more=", tier: hgih"),
        rule("a", "forbid") + "loops: {same_failure: 21}\n",
        rule("a", "forbid") + "loops: {allow_more: 21}\n",
        rule("a", "forbid") + "loops: {over_runs: {}}\n",
        rule("a", "forbid") + "loops: {over_runs: {run: {attempts: 5}}}\n",
        rule("a", "forbid") + "loops: {over_runs: {agent: {per: 24h}}}\n",
        rule("a", "forbid") + "loops: {over_runs: {agent: {attempts: 1000001}}}\n",
        rule("a", "forbid") + "loops: {over_runs: {agent: {cost: 1, seconds: 5}}}\n",
        rule("a", "forbid") + "loops: {over_runs: {agent: {cost: 1, per: day}}}\n",
    ],
)
def test_what_the_schema_refuses_the_reader_refuses(wrong):
    """An editor marks what the server would not take."""
    assert not SCHEMA.is_valid(as_editors_read(HEAD + wrong))
    with pytest.raises(InvalidPolicy):
        policy(wrong)


FLOW = """
from gates import gated
import gates

@gated("notes.send", key="k")
def send(text): ...

@gates.gated
async def publish(text): ...

@flow
def notes():
    gated(submit_payment)(1)
    print("gated('not.one')")
"""


def test_the_actions_of_flows_are_read_from_their_files(tmp_path):
    """By name, or by the function's name; a broken file makes the list incomplete, not wrong."""
    (tmp_path / "notes.py").write_text(FLOW)
    found = actions_in(tmp_path / "notes.py")
    assert set(found) == {"notes.send", "publish"}
    assert found["notes.send"] == f"{tmp_path / 'notes.py'}:5:8"
    known = known_actions(["erp.pay"], [tmp_path])
    assert (set(known.actions), known.complete) == ({"erp.pay", "notes.send", "publish"}, True)
    (tmp_path / "broken.py").write_text("def (")
    assert not known_actions(["erp.pay"], [tmp_path]).complete
