"""The people file: who there is, how they are known, and which groups they are in.

version: 1
groups:
  controllers: Approve large payments
people:
  - id: dana
    name: Dana Okafor
    email: dana.okafor@example.com
    slack: T012AB3C4/U056DE7F8        # team/user, one or a list
    groups: [controllers]
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import yaml

from gates.core.errors import UnknownPerson
from gates.core.model import Person
from gates.core.yaml_file import Fields, YamlFile, cure

SLACK = re.compile(r"[TE][A-Z0-9]{1,30}/[UW][A-Z0-9]{1,30}")
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
PERSON_KEYS = ("id", "name", "email", "slack", "groups")


class People:
    """A Directory over a fixed list. Nobody is found twice: `load_people` has seen to it."""

    def __init__(self, people: Iterable[Person], groups: Iterable[str]) -> None:
        self.all = tuple(people)
        self.groups = frozenset(groups)
        self._by_id = {person.id: person for person in self.all}
        self._by_slack = {account: person for person in self.all for account in person.slack}
        self._by_email = {person.email.casefold(): person for person in self.all if person.email}

    def person(self, person_id: str) -> Person:
        return _found(self._by_id.get(person_id), f"Nobody has the id {person_id!r}")

    def by_slack(self, team_id: str, user_id: str) -> Person:
        account = f"{team_id}/{user_id}"
        return _found(self._by_slack.get(account), f"Nobody has the Slack account {account!r}")

    def by_email(self, email: str) -> Person:
        return _found(self._by_email.get(email.casefold()), f"Nobody has the e-mail {email!r}")

    def members(self, groups: Sequence[str]) -> Sequence[Person]:
        """Everybody who is in one of the groups, each once. Raises UnknownPerson for a group
        that does not exist: it is not the same as an empty one.
        """
        for group in groups:
            if group not in self.groups:
                raise UnknownPerson(f"There is no group {group!r}: {cure(group, self.groups)}.")
        return [person for person in self.all if not set(groups).isdisjoint(person.groups)]


def _found(person: Person | None, problem: str) -> Person:
    if person is None:
        raise UnknownPerson(f"{problem}: add them to the people file.")
    return person


def load_people(text: str, source: str) -> People:
    """`source` names the file in messages. Raises InvalidPolicy with all that is wrong."""
    file = YamlFile(text, source)
    top = Fields(file, file.root(), "a people file", ("version", "groups", "people"))
    top.require("version", "groups", "people")
    if top.integer("version", least=1) not in (None, 1):
        file.note(top.values["version"], "this version is unknown here: write 1")
    reader = _Reader(file, _groups(file, top))
    people = [reader.person(node) for node in top.items("people")]
    file.check()
    return People([one for one in people if one is not None], reader.groups)


def _groups(file: YamlFile, top: Fields) -> set[str]:
    node = top.values.get("groups")
    if node is None:
        return set()
    if not isinstance(node, yaml.MappingNode):
        file.note(node, "groups is not a mapping: write each as `name: what it is for`")
        return set()
    names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
    return set(Fields(file, node, "groups", names).values)


class _Reader:
    """Reads one person after the other; what identifies one may not identify another."""

    def __init__(self, file: YamlFile, groups: set[str]) -> None:
        self.file = file
        self.groups = groups
        self.taken: set[tuple[str, str]] = set()

    def person(self, node: yaml.Node) -> Person | None:
        fields = Fields(self.file, node, "a person", PERSON_KEYS)
        fields.require("id", "name")
        person_id = self._identity(fields, "id", ID, "lower-case letters, digits, . _ -")
        self._identity(fields, "email", EMAIL, "name@example.com")
        self._identity(fields, "slack", SLACK, "TEAM/USER, such as T012AB3C4/U056DE7F8")
        name = fields.text("name")
        for group, where in fields.texts("groups"):
            if group not in self.groups:
                self.file.note(where, f"unknown group {group!r}: {cure(group, self.groups)}")
        if person_id is None or name is None:
            return None
        return Person(
            id=person_id,
            name=name,
            email=fields.text("email") or "",
            groups=tuple(dict.fromkeys(group for group, _ in fields.texts("groups"))),
            slack=tuple(account for account, _ in fields.texts("slack")),
        )

    def _identity(self, fields: Fields, key: str, form: re.Pattern[str], cue: str) -> str | None:
        for text, node in fields.texts(key):
            if not form.fullmatch(text):
                self.file.note(node, f"{key} {text!r} is not of the form {cue}")
            elif (key, text.casefold()) in self.taken:
                self.file.note(node, f"{key} {text!r} stands twice: everybody has their own")
            self.taken.add((key, text.casefold()))
        return fields.text(key) if key == "id" else None
