"""What docs/agents-and-injection.md shows runs and prints what it says there."""

import contextlib
import io
import re

import pytest

from gates.actions import ActionDefinition
from gates.core.model import Verdict
from gates.core.origin import origin
from gates.core.policy import load_policy
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


def test_the_comparison_prints_what_the_page_says():
    """Run as a reader would."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(blocks("python")[1], "agents-and-injection.md", "exec"), {})  # noqa: S102 - ours
    assert printed.getvalue() == blocks("text")[0]


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
    (text,) = blocks("yaml")
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
