"""What docs/people.md shows is loaded and run as it stands there."""

import contextlib
import io
import re
from datetime import UTC, datetime

import pytest

from gates import whom
from gates.core.asked import Assurance
from gates.core.errors import InvalidPolicy
from gates.core.model import Requester
from gates.core.people import load_people
from gates.core.policy import load_policy
from gates.core.quorum import seats_of, votes
from tests.support.policies import ROOT, question
from tests.unit.test_seats import wanted

DOCUMENT = (ROOT / "docs" / "people.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)


def test_the_example_prints_what_the_document_says(tmp_path, monkeypatch):
    """With the document's own people file beside it."""
    (tmp_path / "people.yaml").write_text(blocks("yaml")[0])
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "people.md", "exec"), {})  # noqa: S102 - our own document
    assert printed.getvalue() == blocks("text")[0]


def test_the_policy_asks_these_people_as_it_says():
    """A code for what moves an account; one in each role where nothing else is said."""
    people = load_people(blocks("yaml")[0], "people.yaml")
    policy = load_policy(blocks("yaml")[1], "policy.yaml", people)
    judged = policy.judge(question("erp.supplier.bank_account.change"))
    assert policy.assured(judged) is Assurance.STEP_UP
    november = datetime(2026, 11, 20, tzinfo=UTC)
    found = whom.ask(people, judged, "erp.x", Requester(agent="agent"), november)
    assert found.groups == {"role controller": ("dana",), "role treasurer": ("tomas",)}


def test_the_refusal_is_worded_as_in_the_document():
    """What the document quotes is what the flow gets."""
    people = load_people(blocks("yaml")[0], "people.yaml")
    two = blocks("yaml")[1].replace(
        "ask: {assurance: step_up}", "ask: {who: [controllers], roles: [controller], quorum: 2}"
    )
    judged = load_policy(two, "policy.yaml", people).judge(
        question("erp.supplier.bank_account.change")
    )
    leave = datetime(2026, 12, 8, tzinfo=UTC)
    with pytest.raises(InvalidPolicy) as caught:
        whom.ask(people, judged, "erp.supplier.x", Requester(agent="agent"), leave)
    assert f"{caught.value}\n" == blocks("text")[1]


@pytest.mark.parametrize(
    ("stands_for", "agreed", "count"),
    [
        ({"tess": {"dana": "D"}}, ["dana", "tess"], 1),
        ({"tess": {"dana": "D", "mika": "M"}}, ["tess"], 1),
        ({"mika": {"mika": "M", "dana": "D"}}, ["mika"], 1),
        ({"mika": {"mika": "M", "dana": "D"}}, ["mika", "dana"], 2),
    ],
)
def test_the_table_of_votes_is_right(stands_for, agreed, count):
    """Line by line; Tess stands for the document's Tomas."""
    assert votes(seats_of(wanted(1, stands_for=stands_for), agreed)) == count
