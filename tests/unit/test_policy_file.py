import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gates.core.errors import InvalidPolicy
from gates.core.policy import load_policies, load_policy
from tests.support.policies import HEAD, ROOT, demo_people, policy

RULE = "  - {name: r, on: erp.*, when: 'true', verdict: forbid, because: x}\n"


def problems(text: str) -> list[str]:
    with pytest.raises(InvalidPolicy) as caught:
        load_policy(text, "p.yaml", demo_people())
    assert caught.value.details["problems"] == str(caught.value).split("\n")
    return caught.value.details["problems"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "p.yaml:1:1: the file is empty"),
        ("- 1\n", "p.yaml:1:1: a list is not a policy"),
        ("version: [\n", "p.yaml:2:1: 'end of file' is not YAML"),
        ("a: 1\nb: 2\n c: 3\n", "p.yaml:3:3: 'c: 3' is not YAML"),
        ("version: 1\n---\nversion: 1\n", "p.yaml:2:1: '---' is not YAML"),
        ("version: \x07\n", "p.yaml:1:10: character"),
        ("[" * 5_000, "p.yaml:1:1: the file is nested too deeply"),
        (HEAD.replace("version: 1", "version: 2") + RULE, "p.yaml:1:10: this version is unknown"),
        (HEAD.replace("version: 1\n", "") + RULE, "p.yaml:1:1: a policy has no 'version'"),
        (HEAD + "  []\n", "p.yaml:4:3: 'rules' is empty"),
        ("extra: 1\n" + HEAD + RULE, "p.yaml:1:1: unknown key 'extra' in a policy"),
        ("version: 1\nrules:\n" + RULE, "p.yaml:1:1: a policy has no 'defaults'"),
    ],
)
def test_a_file_that_is_no_policy_says_where_and_why(text, expected):
    """Every problem of the file as a whole has its line, column and cure."""
    assert any(one.startswith(expected) for one in problems(text)), problems(text)


def expect(marked: str, words: str) -> None:
    """`«` in the text stands where the problem is to be shown."""
    before, _, after = marked.partition("«")
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    found = problems(before + after)
    start = f"p.yaml:{line}:{column}: {words}"
    assert any(one.startswith(start) for one in found), (start, found)


@pytest.mark.parametrize(
    ("defaults", "words"),
    [
        ("tier: «ambigous, ask: {who: [ap]}", "unknown tier 'ambigous': did you mean 'ambiguous'"),
        ("ask: {who: [«app]}", "There is no group 'app': did you mean 'ap'"),
        ("ask: {who: «[]}", "'who' of ask is empty"),
        ("ask: «{quorum: 1}", "ask has no 'who'"),
        ("ask: {who: [ap], quorum: «0}", "quorum 0 is too small: write 1 or more"),
        ("ask: {who: [ap], quorum: «3}", "quorum 3 of ap can never be reached, and 2 people are"),
        ("ask: {who: [ap], quorum: «two}", "quorum 'two' is not a whole number"),
        ("ask: {who: [ap], deadline: «soon}", "deadline 'soon' is not a duration"),
        ("ask: {who: [ap], deadline: «0h}", "deadline '0h' is not between"),
        ("ask: {who: [ap], deadline: «400d}", "deadline '400d' is not between"),
        ("ask: {who: [ap], «deadlin: 1h}", "unknown key 'deadlin' in ask: did you mean 'deadline'"),
        ("ask: «[ap]", "a list is not ask"),
        ("ask: {who: [ap], escalate_to: [«nobody]}", "There is no group 'nobody'"),
        ("ask: {who: [ap], escalate_to: «[ap]}", "escalate_to ap is asked anyway"),
        ("ask: {who: [ap], reason: «maybe}", "reason 'maybe' is neither true nor false"),
    ],
)
def test_a_fault_in_the_defaults_is_shown_at_its_place(defaults, words):
    """The position is that of the word that is wrong."""
    expect(f"version: 1\ndefaults: {{{defaults}}}\nrules:\n{RULE}", words)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ("on: x, because: x, verdict: «forbidd", "unknown verdict 'forbidd': did you mean"),
        ("on: x, because: x, verdict: forbid, window: «2h", "`window` belongs to the verdict veto"),
        (
            "on: x, because: x, verdict: forbid, sample: «0.1",
            "`sample` belongs to the verdict revi",
        ),
        ("on: x, because: x, verdict: forbid, lifts: «[r]", "`lifts` belongs to the verdict allow"),
        ("on: x, because: x, verdict: review_later, sample: «2", "sample '2' is no share in whole"),
        (
            "on: x, because: x, verdict: review_later, sample: «0.0001",
            "sample '0.0001' is no share",
        ),
        ("on: x, because: x, verdict: review_later, sample: «101%", "sample '101%' is no share"),
        ("on: x, because: x, verdict: forbid, standing: «true", "a standing approval lifts only"),
        (
            "on: x, because: x, verdict: require_approval, ask: {quorum: 2}, standing: «true",
            "a standing approval is one person's",
        ),
        (
            "on: x, because: x, verdict: require_approval, when: claims.x == 1, standing: «true",
            "a standing approval rests on facts only",
        ),
        (
            "on: x, when: 'true', because: x, verdict: allow, lifts: [«s]",
            "rule 'r' lifts 's': write",
        ),
        (
            "on: x, when: 'true', because: x, verdict: allow, lifts: [«r]",
            "rule 'r' lifts 'r', which asks nobody",
        ),
        (
            "on: x, because: x, verdict: forbid, examples: [{«acton: x}]",
            "unknown key 'acton' in on",
        ),
        (
            "on: x.*, because: x, verdict: forbid, examples: [«{facts: {}}]",
            "one of examples has no",
        ),
        ("on: x, because: x, verdict: forbid, examples: [{amount: «5}]", "amount '5' is no sum of"),
        (
            "on: x, because: x, verdict: forbid, examples: [{amount: «0.001 EUR}]",
            "amount = 0.001 EUR has a fraction of a cent",
        ),
        ("on: x, because: x, verdict: forbid, examples: [{amount: «5 XQX}]", "unknown currency 'X"),
        ("on: x, because: x, verdict: forbid, examples: [{claims: {c: «0.8}}]", "0.8 is a decimal"),
        ("on: x, because: x, verdict: forbid, examples: [{facts: «[1]}]", "facts a list is no map"),
        (
            "on: x, because: x, verdict: forbid, examples: [{history: «{frist_use: true}}]",
            "there is no 'history.frist_use': did you mean",
        ),
        ("on: x, because: x, verdict: veto_window, window: «0s", "window '0s' is not between 1s"),
        ("on: «'a b', because: x, verdict: forbid", "on 'a b' names no action"),
        ("on: «[], because: x, verdict: forbid", "'on' of a rule is empty"),
        ("«whne: x, on: x, because: x, verdict: forbid", "unknown key 'whne' in a rule: did you"),
        ("on: x, «on: y, because: x, verdict: forbid", "'on' stands twice in a rule"),
        ("on: x, verdict: forbid, because: '«{amout}'", "in `{amout}`: {amout} stands for nothing"),
        ("on: x, verdict: forbid, because: 'hi «{claims}'", "in `hi {claims}`: {claims} stands"),
        ("on: x, verdict: forbid, because: '«a {x'", "in `a {x`: "),
        ("on: x, verdict: forbid, because: '«{amount!r:>9}'", "in `{amount!r:>9}`: {amount} is"),
        ("on: x, verdict: forbid, because: '«{facts[0]}'", "in `{facts[0]}`: {facts[0]} is not"),
        ("on: x, verdict: forbid, because: x, ask: «{who: [ap]}", "a rule with verdict 'forbid'"),
        ("on: x, verdict: forbid, because: «[x]", "because a list is not a text"),
        ("on: x, verdict: forbid, because: «''", "because '' is not a text"),
        ('on: x, verdict: forbid, because: «"\\ud800"', "because holds half a character"),
    ],
)
def test_a_fault_in_a_rule_is_shown_at_its_place(fields, words):
    """Unknown words, keys and placeholders, and contradictions, each with its column."""
    expect(f"{HEAD}  - {{name: r, {fields}}}\n", words)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("«{name: r, on: x, because: x, verdict: allow}", "this rule allows whatever comes"),
        ("«{name: r, on: x, verdict: forbid}", "a rule has no 'because'"),
        (
            "{name: «default, on: x, because: x, verdict: forbid}",
            "a rule cannot be named",
        ),
        ("«forbid", "'forbid' is not a rule"),
    ],
)
def test_a_rule_that_lacks_something_is_shown_where_it_begins(rule, words):
    """What is missing has no place of its own."""
    expect(f"{HEAD}  - {rule}\n", words)


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("«amuont.minor > 3", "there is no 'amuont.minor': did you mean 'amount.minor'"),
        ("facts.a == 1 && «amuont == 3", "there is no 'amuont': write one of"),
        ("amount.minor «> 3.5", "'>' cannot take (int, double)"),
        ("«amount.minor", "this is of type int, not true or false"),
        ("facts.x.«foo(3)", "there is no function 'foo'"),
        ("facts.x == 1 «& 2", "this is not CEL"),
        ("facts.x == 1 || «claims.y == 2", "'claims.y' is said by the requester"),
        ("facts.x == «requester.agent", "'requester.agent' is said by the requester"),
        ("facts.x == '«", "this is not CEL"),
        ("«history.frist_use", "there is no 'history.frist_use': did you mean 'history.first_use'"),
        ("has(«time.huor) && facts.x", "there is no 'time.huor': did you mean 'time.hour'"),
        ("«exposure.week.minor > 5", "there is no 'exposure.week': declare it in the section"),
        ("history.first_use «== 1", "'==' cannot take (bool, int)"),
        ("amount.currency == '«EURO'", "unknown currency 'EURO': did you mean 'EUR'"),
        ("amount.currency in ['EUR', '«XQX']", "unknown currency 'XQX'"),
        ("«amount.base > 100", "amount.base has no value here: declare the section `currencies`"),
    ],
)
@pytest.mark.parametrize("form", ["{}", '"{}"', "|\n      {}", ">-\n      true &&\n        {}"])
def test_a_fault_in_a_condition_is_shown_at_its_place(condition, words, form):
    """The place within the condition becomes the place in the file, however it is written."""
    if "true &&" in form and condition.startswith("«amount.minor"):
        return  # beside an operator it is the operator that does not fit
    if condition.endswith("'«"):
        condition = condition.replace("'«", "«'")
    rule = f"  - name: r\n    when: {form.format(condition)}\n    on: x\n    verdict: allow\n"
    before, _, after = f"{HEAD}{rule}    because: x\n".partition("«")
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    found = problems(before + after)
    start = f"p.yaml:{line}:{column}: in `"
    assert any(one.startswith(start) and words in one for one in found), (start, found)


@pytest.mark.parametrize("form", ["facts.x == 1 &&«", "|\n      facts.x == 1 &&«"])
def test_a_condition_that_ends_too_early_is_shown_at_its_end(form):
    """There is no wrong word to point at."""
    expect(
        f"{HEAD}  - name: r\n    when: {form}\n    on: x\n    verdict: allow\n    because: x\n",
        "in `facts.x == 1 &&`: the condition ends too early",
    )


RATES = """\
currencies: {base: EUR, rates: {USD: "0.92", JPY: {rate: "0.0061", minor: 0}}}
sampling: {routine: 0.02, ambiguous: 20%}
"""


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        ("base: EUR", "base: «euro", "currency 'euro' is no code of three capital letters"),
        ("USD", "USDX", "currency 'USDX' is no code"),
        ('"0.92"', "«'0,92'", "rate '0,92' of USD is no positive decimal"),
        ('"0.92"', "«'0.0'", "rate '0.0' of USD is no positive decimal"),
        ('{USD: "0.92"', '{USD: "0.92", EUR: «"1"', "EUR is the base, of which one is one"),
        ("minor: 0", "minor: «2", "JPY has 0 minor digits by ISO 4217, not 2"),
        ("routine: 0.02", "routine: «2", "routine '2' is no share"),
        ("routine: 0.02", "«rutine: 0.02", "unknown key 'rutine' in sampling: did you mean"),
    ],
)
def test_a_fault_in_a_section_is_shown_at_its_place(right, wrong, words):
    """Rates are exact and positive, digits those of ISO 4217, shares whole thousandths."""
    text = RATES.replace(right, wrong, 1) + HEAD + RULE
    if "«" in text:
        expect(text, words)
    else:
        assert any(words in one for one in problems(text))


def files(*texts: str) -> list[tuple[str, str]]:
    return [(f"{name}.yaml", text) for name, text in zip("abc", texts, strict=False)]


FIRST, SECOND = HEAD + RULE, "version: 1\nrules:\n" + RULE.replace("name: r", "name: s")


def test_several_files_make_one_policy_whatever_their_order():
    """Rules add up, each knows its place; neither order nor examples change the digest."""
    forth = load_policies(files(FIRST, SECOND), demo_people())
    back = load_policies(reversed(files(FIRST, SECOND)), demo_people())
    whole = policy(RULE.replace("name: r", "name: s") + RULE)
    assert {rule.name: rule.at for rule in forth.rules} == {"r": "a.yaml:4:12", "s": "b.yaml:3:12"}
    assert forth.digest == back.digest == whole.digest
    tried = SECOND.replace("because: x", "because: x, examples: [{action: erp.x}]")
    assert load_policies(files(FIRST, tried), demo_people()).digest == forth.digest
    assert load_policies(files(FIRST, tried.replace("erp.*", "x")), demo_people()) != forth


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ((FIRST, FIRST), "b.yaml:2:1: 'defaults' stands in another file, too: keep one of them."),
        ((FIRST, FIRST), "b.yaml:4:12: two rules are named 'r', the other at a.yaml:4:12: rename"),
        ((SECOND, SECOND), "a.yaml:1:1: none of the 2 files has 'defaults': add it to one of them"),
        ((FIRST, "version: 2\n"), "b.yaml:1:10: this version is unknown here: write 1."),
        ((FIRST, "rules:\n" + RULE), "b.yaml:1:1: a policy has no 'version': add it."),
        ((FIRST, "version: [\n"), "b.yaml:2:1: 'end of file' is not YAML"),
        ((FIRST.replace("forbid", "no"), "version: [\n"), "a.yaml:4:49: unknown verdict 'no'"),
    ],
)
def test_each_mistake_is_shown_in_its_own_file(texts, expected):
    """A section stands once over all files, a rule's name too; a broken file hides no other."""
    with pytest.raises(InvalidPolicy) as caught:
        load_policies(files(*texts), demo_people())
    assert any(one.startswith(expected) for one in caught.value.details["problems"]), str(
        caught.value
    )


def test_two_rules_cannot_share_a_name():
    """A name stands in every reason, and has to mean one rule."""
    assert problems(HEAD + RULE + RULE) == ["p.yaml:5:12: two rules are named 'r': rename one."]


def test_all_problems_are_told_at_once_in_the_order_of_the_file():
    """Nobody should have to find five mistakes in five runs."""
    found = problems(HEAD.replace("24h", "x") + RULE.replace("forbid", "no") + RULE + "zzz: 1\n")
    assert [one.split(":")[1] for one in found] == ["2", "4", "5", "6"]


def test_a_requirement_that_two_rules_make_impossible_together_is_refused():
    """Two rules may each be satisfiable, and nobody could fulfil both."""
    head = HEAD.replace("[ap]", "[ap, controllers]")
    many = "  - {name: many, on: erp.*, verdict: require_approval, ask: {quorum: 3}, because: x}\n"
    high = (
        "  - {name: high, on: '*.post', verdict: require_approval, tier: high,"
        " ask: {who: [controllers]}, because: x}\n"
    )
    found = problems(head + many + high)
    assert len(found) == 1
    assert "where rule 'high' and rule 'many' both apply, 3 of controllers are needed" in found[0]
    assert policy(many + high.replace("*.post", "crm.*"), head).rules  # they never meet


def test_what_an_ask_leaves_out_is_as_in_the_defaults():
    """A rule may name the group alone."""
    head = HEAD.replace("24h", "36h") + (
        "  - {name: r, on: x, verdict: require_approval, ask: {who: controllers}, because: x}\n"
    )
    made = load_policy(head, "p.yaml", demo_people())
    ask = made.rules[0].ask
    assert ask is not None
    assert (ask.who, ask.quorum, ask.deadline_seconds) == (("controllers",), 1, 36 * 3600)
    assert made.loops.ask == made.in_doubt == made.defaults.ask


def test_loops_and_doubts_have_people_of_their_own():
    """Their numbers and groups are read, and checked like any other."""
    text = "loops: {same_failure: 5, allow_more: 2, ask: {who: [security]}}\n" + (
        "in_doubt: {ask: {who: [controllers], quorum: 2}}\n" + HEAD + RULE
    )
    made = load_policy(text, "p.yaml", demo_people())
    assert (made.loops.same_failure, made.loops.allow_more) == (5, 2)
    assert made.loops.ask.who == ("security",)
    assert made.in_doubt.quorum == 2
    found = problems(text.replace("same_failure: 5", "same_failure: 1").replace("m: 2", "m: 3"))
    assert found[0] == "p.yaml:1:23: same_failure 1 is too small: write 2 or more."
    assert "quorum 3 of controllers can never be reached" in found[1]


def test_failures_over_runs_cannot_be_let_pass_for_ever():
    """The upper bounds are the floor of protection, as for the detector's own thresholds."""
    most = "loops: {same_failure: 20, allow_more: 20}\n" + HEAD + RULE
    made = load_policy(most, "p.yaml", demo_people())
    assert (made.loops.same_failure, made.loops.allow_more) == (20, 20)
    assert problems(most.replace("20", "1000000")) == [
        "p.yaml:1:23: same_failure 1000000 is too much: write 20 or less.",
        "p.yaml:1:44: allow_more 1000000 is too much: write 20 or less.",
    ]


def test_the_digest_names_the_content_and_not_the_layout():
    """Comments and line breaks do not make a new policy; another number does."""
    one = policy(RULE)
    block = (
        "  - name: r   # a comment\n    because: x\n    on: erp.*\n"
        "    when: 'true'\n    verdict: forbid\n"
    )
    assert policy(block).digest == one.digest
    assert policy(RULE, HEAD.replace("24h", "23h")).digest != one.digest


SHIPPED = (ROOT / "policies" / "erp.yaml").read_text()


@settings(max_examples=150, deadline=None)
@given(
    start=st.integers(0, len(SHIPPED)),
    length=st.integers(0, 40),
    junk=st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from([*"{}[]:&*!|>'\"#%@"]),
)
@example(0, 0, "&a [*a]\n")
@example(0, 0, "? [a, b]\n: 1\n")
@example(0, 0, "!!python/object:os.system x: 1\n")
def test_a_damaged_file_is_a_policy_or_a_clear_error(start, length, junk):
    """Whatever is cut out or typed in: a policy, or InvalidPolicy with positions, nothing else."""
    text = SHIPPED[:start] + junk + SHIPPED[start + length :]
    try:
        assert load_policy(text, "p.yaml", demo_people()).digest
    except InvalidPolicy as error:
        lines = text.count("\n") + 2
        for problem in error.details["problems"]:
            found = re.match(r"p\.yaml:(\d+):(\d+): .+\.$", problem, re.DOTALL)
            assert found, problem
            assert 1 <= int(found[1]) <= lines
            assert int(found[2]) >= 1
