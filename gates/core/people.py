"""The people file: who there is, how they are known, and which groups they are in.

version: 1
groups:
  controllers: Approve large payments
  treasury: {for: Moves money, slack_group: S0123ABCD}   # whoever is in it now, asked of Slack
people:
  - id: dana
    name: Dana Okafor
    email: dana.okafor@example.com
    slack: T012AB3C4/U056DE7F8        # team/user, one or a list
    groups: [controllers]
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import yaml

from gates.core.errors import Unavailable, UnknownPerson
from gates.core.model import Person
from gates.core.yaml_file import Fields, YamlFile, cure

SLACK = re.compile(r"[TE][A-Z0-9]{1,30}/[UW][A-Z0-9]{1,30}")
SLACK_GROUP = re.compile(r"S[A-Z0-9]{2,30}")
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
PERSON_KEYS = ("id", "name", "email", "slack", "groups")
GROUP_KEYS = ("for", "slack_group")


class People:
    """A Directory over a fixed list. Nobody is found twice: `load_people` has seen to it.

    `groups`: their names; one that takes its members from a Slack user group has that group's id,
    the others nothing.
    """

    def __init__(self, people: Iterable[Person], groups: Mapping[str, str]) -> None:
        self.all = tuple(people)
        self.groups = dict(groups)
        self._by_id = {person.id: person for person in self.all}
        self._by_slack = {account: person for person in self.all for account in person.slack}
        self._by_email = {_mail(person.email): person for person in self.all if person.email}

    def person(self, person_id: str) -> Person:
        return _found(self._by_id.get(person_id), f"Nobody has the id {person_id!r}")

    def by_slack(self, team_id: str, user_id: str) -> Person:
        account = f"{team_id}/{user_id}"
        return _found(self._by_slack.get(account), f"Nobody has the Slack account {account!r}")

    def by_email(self, email: str) -> Person:
        return _found(self._by_email.get(_mail(email)), f"Nobody has the e-mail {email!r}")

    def members(self, groups: Sequence[str]) -> Sequence[Person]:
        """Everybody who is in one of the groups, each once. Raises UnknownPerson for a group
        that does not exist (it is not the same as an empty one), and Unavailable for one whose
        members Slack knows.
        """
        for group in groups:
            if self.slack_group(group):
                raise Unavailable(
                    f"Who is in {group!r} is known to Slack, which nobody asks here: set up Slack "
                    "(docs/set-up-slack.md)."
                )
        return [person for person in self.all if not set(groups).isdisjoint(person.groups)]

    def candidates(self, groups: Sequence[str]) -> Sequence[Person]:
        """Everybody who is in one of the groups, or could be: for the proof that enough people
        exist, which must not depend on Slack. Raises UnknownPerson.
        """
        elsewhere = [self.slack_group(group) for group in groups]
        return self.all if any(elsewhere) else self.members(groups)

    def slack_group(self, group: str) -> str:
        """The Slack user group whose members it has, or nothing. Raises UnknownPerson."""
        if group not in self.groups:
            raise UnknownPerson(f"There is no group {group!r}: {cure(group, self.groups)}.")
        return self.groups[group]


def _mail(email: str) -> str:
    """Case counts for nothing, but a look-alike (a Kelvin sign for a K) is another address."""
    return email.lower() if email.isascii() else email


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


def _groups(file: YamlFile, top: Fields) -> dict[str, str]:
    """Names, and the Slack user group that a group takes its members from."""
    node = top.values.get("groups")
    if node is None:
        return {}
    if not isinstance(node, yaml.MappingNode):
        file.note(node, "groups is not a mapping: write each as `name: what it is for`")
        return {}
    names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
    fields = Fields(file, node, "groups", names)
    return {name: _slack_group(file, value) for name, value in fields.values.items()}


def _slack_group(file: YamlFile, node: yaml.Node) -> str:
    if not isinstance(node, yaml.MappingNode):
        return ""
    fields = Fields(file, node, "a group", GROUP_KEYS)
    fields.require("slack_group")
    found = fields.text("slack_group") or ""
    if found and not SLACK_GROUP.fullmatch(found):
        file.note(
            fields.values["slack_group"], f"slack_group {found!r} is no user group's id: S0123ABCD"
        )
    return found


class _Reader:
    """Reads one person after the other; what identifies one may not identify another."""

    def __init__(self, file: YamlFile, groups: Mapping[str, str]) -> None:
        self.file = file
        self.groups = groups
        self.taken: set[tuple[str, str]] = set()
        self.users: dict[str, tuple[str, str | None]] = {}

    def person(self, node: yaml.Node) -> Person | None:
        fields = Fields(self.file, node, "a person", PERSON_KEYS)
        fields.require("id", "name")
        person_id = self._identity(fields, "id", ID, "lower-case letters, digits, . _ -")
        self._identity(fields, "email", EMAIL, "name@example.com")
        self._identity(fields, "slack", SLACK, "TEAM/USER, such as T012AB3C4/U056DE7F8")
        self._one_user(fields, person_id)
        name = fields.text("name")
        for group, where in fields.texts("groups"):
            if group not in self.groups:
                self.file.note(where, f"unknown group {group!r}: {cure(group, self.groups)}")
            elif self.groups[group]:
                self.file.note(where, f"group {group!r} has its members from Slack: remove it here")
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

    def _one_user(self, fields: Fields, person_id: str | None) -> None:
        """In an organization somebody has one user id in all its workspaces: with two entries
        they could approve what their own agent asks.
        """
        for account, where in fields.texts("slack"):
            user = account.rpartition("/")[2]
            first, owner = self.users.setdefault(user, (account, person_id))
            if account != first and owner != person_id:
                self.file.note(
                    where, f"Slack user {user!r} is {owner!r} as {first}: one entry for one person"
                )
