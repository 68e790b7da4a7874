"""What docs/agents-and-injection.md shows runs and prints what it says there."""

import contextlib
import io
import re

import pytest

from gates.actions import ActionDefinition
from gates.core.model import Verdict
from gates.core.origin import origin
from gates.core.policy import load_policy
from gates.core.sources import compared
from tests.support.policies import ROOT, demo_people, question

DOCUMENT = (ROOT / "docs" / "agents-and-injection.md").read_text()
RESULTS = (ROOT / "docs" / "results" / "policies.md").read_text()


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", DOCUMENT, re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


def test_the_definitions_are_definitions():
    """Each has the effect and the destinations that the page gives it."""
    names: dict[str, object] = {}
    exec(compile(blocks("python")[0], "agents-and-injection.md", "exec"), names)  # noqa: S102 - ours
    made = [one for one in names.values() if isinstance(one, ActionDefinition)]
    assert [(one.name, one.effect) for one in made] == [
        ("tool.message", "write"),
        ("tool.open_page", "web"),
    ]
    page = made[1].parse({"url": "www.known.example"})
    assert made[1].destinations(page) == ["www.known.example"]


@pytest.mark.parametrize("example", [0, 1])
def test_the_comparisons_print_what_the_page_says(example):
    """Run as a reader would."""
    printed, code = io.StringIO(), blocks("python")[example + 1]
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "agents-and-injection.md", "exec"), {})  # noqa: S102 - ours
    assert printed.getvalue() == blocks("text")[example]


def test_sources_that_disagree_are_asked_about():
    """And so is a fact that is not there."""
    policy = load_policy(blocks("yaml")[1], "docs", demo_people())
    apart = compared({"books": lambda: "DE89", "bank": lambda: "DE11"})
    for facts in ({"account": apart}, {}):
        judgement = policy.judge(question("supplier.account.change", None, facts=facts))
        assert judgement.verdict is Verdict.REQUIRE_APPROVAL
        assert judgement.reasons[0].rule == "sources-disagree"
    said = policy.judge(question("supplier.account.change", None, facts={"account": apart}))
    assert "books: DE89, bank: DE11" in said.reasons[0].text


@pytest.mark.parametrize(
    ("to", "request_", "verdict"),
    [
        ("lea@known.example", "Tell lea@known.example", Verdict.ALLOW),
        ("eve@evil.example", "Tell lea@known.example", Verdict.REQUIRE_APPROVAL),
        ("lea@known.example", "", Verdict.REQUIRE_APPROVAL),
    ],
)
def test_the_policy_of_the_page_does_what_it_says(to, request_, verdict):
    """Where the request is not known nothing is written unseen."""
    text = blocks("yaml")[0]
    asked = question("tool.send", None, arguments={"to": to}).model_copy(
        update={"circumstances": {"origin": origin({"to": to}, request_)}}
    )
    assert load_policy(text, "docs", demo_people()).judge(asked).verdict is verdict


@pytest.mark.parametrize(
    "figure", ["98.7 %", "8.8", "5.7 %", "55.1 %", "22.2 %", "28.8 %", "12.5 %"]
)
def test_the_figures_of_the_page_are_those_that_were_recorded(figure):
    """Whoever records anew sees which have changed."""
    assert figure in DOCUMENT
    assert figure in RESULTS
