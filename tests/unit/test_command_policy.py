"""The section `command:` of a policy, as docs/in-command.md shows it."""

from __future__ import annotations

import re

import pytest

from gates.core.policy import load_policy
from gates.core.policy.command import Command, wants_approval
from gates.core.versions import LONGEST_DIFF, Pair, Texts, diff, people_digest
from tests.support.policies import HEAD, ROOT, demo_people, policy

RULE = "  - {name: a, on: b, verdict: forbid, because: c}"
ALL = Command(who=("admins",), needs=("policy", "thaw", "directory"))


def test_the_section_of_the_document_says_what_the_document_says() -> None:
    """Who, whom they ask, and for what."""
    text = (ROOT / "docs" / "in-command.md").read_text()
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    found = load_policy(block, "docs", demo_people()).command
    assert found.who == ("admins", "controllers")
    assert found.needs == ("policy", "thaw", "directory")
    assert found.ask is not None
    assert (found.ask.quorum, found.ask.deadline_seconds) == (2, 8 * 3600)


def test_without_the_section_admins_are_in_command() -> None:
    """The demo's people have such a group."""
    assert policy(RULE).command == Command(who=("admins",))


def test_the_section_is_part_of_what_the_digest_names() -> None:
    """Who is in command is as much a rule as any other."""
    head = HEAD.replace("rules:", "command: {who: [security]}\nrules:")
    assert policy(RULE, head).command.who == ("security",)
    assert policy(RULE, head).digest != policy(RULE).digest


@pytest.mark.parametrize(
    ("old", "new", "policy_", "directory", "asks"),
    [
        (ALL, ALL, True, False, True),
        (ALL, ALL, False, True, True),
        (Command(), ALL, True, True, False),
        (Command(needs=("thaw",)), Command(needs=("thaw",)), True, True, False),
        (Command(needs=("thaw",)), Command(), True, False, True),
        (Command(needs=("thaw",)), Command(needs=("thaw",), who=("x",)), True, False, True),
        (Command(needs=("directory",)), Command(needs=("directory",)), True, False, False),
        (Command(needs=("directory",)), Command(needs=("directory",)), False, True, True),
    ],
)
def test_a_change_is_judged_by_the_section_in_force(
    old: Command, new: Command, *, policy_: bool, directory: bool, asks: bool
) -> None:
    """Also one of this section, as soon as it needs anything at all."""
    assert wants_approval(old, new, policy=policy_, directory=directory) is asks


def test_a_difference_shows_what_is_in_force_and_what_is_asked_for() -> None:
    """By file; one that is new or gone, too; cut where nobody could read it."""
    old = Texts((("a.yaml", "one\ntwo\n"), ("gone.yaml", "x\n")), ("people.yaml", "p\n"))
    new = Texts((("a.yaml", "one\nthree\n"), ("new.yaml", "y\n")), ("people.yaml", "p\n"))
    lines = diff(old, new).splitlines()
    assert lines[:2] == ["--- a.yaml in force", "+++ a.yaml asked for"]
    assert {"-two", "+three", "-x", "+y"} <= set(lines)
    assert "people.yaml" not in diff(old, new)
    long = Texts((("a.yaml", "z\n" * LONGEST_DIFF),), ("people.yaml", "p\n"))
    assert diff(old, long).endswith("characters more.")


def test_layout_and_comments_of_a_people_file_do_not_count() -> None:
    """What it means does."""
    text = "version: 1\ngroups: {a: A}\npeople: [{id: x, name: X}]\n"
    assert people_digest("p", f"# new\n{text}\n") == people_digest("q", text)
    assert people_digest("p", text.replace("name: X", "name: Y")) != people_digest("p", text)


def test_pairs_are_the_same_whenever_they_were_in_force() -> None:
    """Their place does not matter."""
    assert Pair("a", "b", 1).same(Pair("a", "b", 7))
    assert not Pair("a", "b").same(Pair("a", "c"))
    assert not Pair("a", "b").same(None)
