"""`gates policy ...`: for whoever writes the rules.

Exit codes: 0 in order, 1 not in order, 2 used wrongly.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from gates.core.errors import InvalidInput, InvalidPolicy
from gates.core.people import People, load_people
from gates.core.policy import Policy, load_policies
from gates.core.policy.checking import check
from gates.core.policy.comparing import Comparison, compare
from gates.core.policy.examples import read_questions
from gates.core.policy.explaining import Explanation, explain
from gates.core.policy.schema import policy_schema
from gates.settings import ServerSettings
from integrations.policies import printing
from integrations.policies.actions import known_actions
from integrations.policies.files import policy_texts, text_of
from integrations.shell import AsJson, as_admin, as_person, err, home
from integrations.terminal import told

app = typer.Typer(help="The rules.", no_args_is_help=True)
OfPolicy = Annotated[
    str | None,
    typer.Option("--policy", help="A file, a folder, or several parted by commas."),
]
OfPeople = Annotated[Path | None, typer.Option("--people", help="The people file.")]
FLOWS = Path("flows")


@contextmanager
def usable() -> Iterator[None]:
    """A file that is not there is the caller's mistake, a policy that is wrong is a finding."""
    try:
        yield
    except InvalidInput as error:
        if isinstance(error, InvalidPolicy):
            raise
        err.print(str(error), markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None


@app.command("check")
def check_(
    policy: OfPolicy = None,
    people: OfPeople = None,
    flows: Annotated[
        list[Path] | None, typer.Option(help="Where flows are, for the actions that they use.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check policy and people: mistakes, examples, rules that never count, actions without one."""
    from integrations.erp.actions import ACTIONS  # noqa: PLC0415 - the ERP and all

    with told(), usable():
        texts, directory = read(policy, people)
        try:
            rules = load_policies(texts, directory)
        except InvalidPolicy as error:
            if not as_json:
                raise
            found = printing.unread(error.details["problems"])
            printing.checked(None, found, as_json=True, sound=False)
            raise typer.Exit(1) from None
        folders = flows if flows is not None else [FLOWS] if FLOWS.is_dir() else []
        remarks = check(rules, known_actions((one.name for one in ACTIONS), folders))
        sound = not any(strict or one.level == "error" for one in remarks)
        printing.checked(rules, remarks, as_json=as_json, sound=sound)
        if not sound:
            raise typer.Exit(1)


@app.command("explain")
def explain_(
    request: Annotated[str, typer.Argument(help="A request's id, or how it begins.")] = "",
    file: Annotated[
        Path | None, typer.Option(help="Instead: a question in the form of an example.")
    ] = None,
    policy: OfPolicy = None,
    people: OfPeople = None,
    as_json: AsJson = False,
) -> None:
    """Why a request was judged so: every rule, matched or not, with the values that it saw."""
    with told(), usable():
        if bool(request) == (file is not None):
            raise InvalidInput("Name either a request, or a question with --file.")
        if file is None:
            # On the server's own machine whoever holds the admin key need not log in.
            client = as_person() if (home() / "session").exists() else as_admin()
            with client:
                answer = client.explanation(request)
            notes, found = answer["notes"], [Explanation.model_validate(answer["explanation"])]
        else:
            texts, directory = read(policy, people)
            rules = load_policies(texts, directory)
            asked = read_questions(text_of(file, "--file"), str(file), rules)
            notes, found = [], [explain(rules, question) for _, question in asked]
        for one in found:
            printing.explained(one, notes, as_json=as_json)


@app.command("diff")
def diff(
    old: Annotated[str, typer.Argument(help="A file, a folder, or several parted by commas.")],
    new: Annotated[str, typer.Argument(help="Likewise.")],
    people: OfPeople = None,
    new_people: Annotated[
        Path | None, typer.Option(help="The people file of the new policy, if another.")
    ] = None,
    questions: Annotated[
        Path | None, typer.Option(help="Questions in the form of examples, put to both.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What a new policy changes: rules, defaults, people, and the answers to questions."""
    with told(), usable():
        texts, before = read(old, people)
        other_texts, after = read(new, new_people or people)
        one, other = load_policies(texts, before), load_policies(other_texts, after)
        asked = (
            read_questions(text_of(questions, "--questions"), str(questions), other)
            if (questions is not None)
            else []
        )
        found: Comparison = compare(one, other, asked, (ids_of(before), ids_of(after)))
        printing.compared(found, as_json=as_json)


@app.command("schema")
def schema() -> None:
    """Print the JSON Schema of a policy file, for editors."""
    sys.stdout.write(json.dumps(policy_schema(), indent=2) + "\n")


def read(policy: str | None, people: Path | None) -> tuple[list[tuple[str, str]], People]:
    """The texts of the policy, and the people. Raises InvalidInput or InvalidPolicy."""
    settings = ServerSettings()
    who = people or settings.people
    directory = load_people(text_of(who, "people" if people else "GATES_PEOPLE"), str(who))
    named = "policy" if policy else "GATES_POLICY"  # by whom it was said
    return policy_texts(policy or settings.policy, who, named), directory


def policy_of(policy: str | None, people: Path | None) -> Policy:
    """For commands of other things. Raises InvalidInput or InvalidPolicy."""
    return load_policies(*read(policy, people))


def ids_of(people: People) -> printing.Ids:
    return lambda groups: [person.id for person in people.candidates(groups)]
