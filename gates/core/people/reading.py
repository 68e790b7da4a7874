"""The people file: who there is, how they are known, which groups they are in, what they do.

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
    roles: [controller]               # what somebody does; named in `roles`, as groups are

`delegations`, `out_of_office` and `on_call` are read in covering.py.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import yaml

from gates.core.asked import Person
from gates.core.people.covering import COVER_KEYS, read_cover
from gates.core.people.directory import People
from gates.core.yaml_file import Fields, YamlFile, cure

SLACK = re.compile(r"[TE][A-Z0-9]{1,30}/[UW][A-Z0-9]{1,30}")
SLACK_GROUP = re.compile(r"S[A-Z0-9]{2,30}")
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
PERSON_KEYS = ("id", "name", "email", "slack", "groups", "roles")
KEYS = ("version", "groups", "roles", "people", *COVER_KEYS)
GROUP_KEYS = ("for", "slack_group")


def load_people(text: str, source: str) -> People:
    """`source` names the file in messages. Raises InvalidPolicy with all that is wrong."""
    file = YamlFile(text, source)
    top = Fields(file, file.root(), "a people file", KEYS)
    top.require("version", "groups", "people")
    if top.integer("version", least=1) not in (None, 1):
        file.note(top.values["version"], "this version is unknown here: write 1")
    reader = _Reader(file, _groups(file, top), _roles(file, top), _on_call(top))
    people = [one for node in top.items("people") if (one := reader.person(node)) is not None]
    cover = read_cover(file, top, people, reader.groups)
    file.check()
    return People(people, reader.groups, reader.roles, cover)


def _groups(file: YamlFile, top: Fields) -> dict[str, str]:
    """Names, and the Slack user group that a group takes its members from."""
    fields = _named(file, top, "groups")
    return {name: _slack_group(file, value) for name, value in fields.items()}


def _roles(file: YamlFile, top: Fields) -> tuple[str, ...]:
    found = _named(file, top, "roles")
    for name, node in found.items():
        if not isinstance(node, yaml.ScalarNode):
            file.note(node, f"role {name!r} is not a text: write what it is for")
    return tuple(found)


def _named(file: YamlFile, top: Fields, key: str) -> Mapping[str, yaml.Node]:
    """Names of the file's own, and what stands beside each."""
    node = top.values.get(key)
    if node is None:
        return {}
    if not isinstance(node, yaml.MappingNode):
        file.note(node, f"{key} is not a mapping: write each as `name: what it is for`")
        return {}
    names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
    return Fields(file, node, key, names).values


def _on_call(top: Fields) -> set[str]:
    """The groups that have whose turn it is."""
    node = top.values.get("on_call")
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return {key.value for key, _ in pairs if isinstance(key, yaml.ScalarNode)}


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

    def __init__(
        self,
        file: YamlFile,
        groups: Mapping[str, str],
        roles: Collection[str],
        on_call: Collection[str],
    ) -> None:
        self.file = file
        self.groups = groups
        self.roles = roles
        self.on_call = on_call
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
            elif group in self.on_call:
                self.file.note(where, f"group {group!r} has whose turn it is: put them on its rota")
        for role, where in fields.texts("roles"):
            if role not in self.roles:
                self.file.note(where, f"unknown role {role!r}: {cure(role, self.roles)}")
        if person_id is None or name is None:
            return None
        return Person(
            id=person_id,
            name=name,
            email=fields.text("email") or "",
            groups=tuple(dict.fromkeys(group for group, _ in fields.texts("groups"))),
            slack=tuple(account for account, _ in fields.texts("slack")),
            roles=tuple(dict.fromkeys(role for role, _ in fields.texts("roles"))),
        )

    def _identity(self, fields: Fields, key: str, form: re.Pattern[str], cue: str) -> str | None:
        for text, node in fields.texts(key):
            if not form.fullmatch(text):
                self.file.note(node, f"{key} {text!r} is not of the form {cue}")
            elif (key, _same(key, text)) in self.taken:
                self.file.note(node, f"{key} {text!r} stands twice: everybody has their own")
            self.taken.add((key, _same(key, text)))
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


def _same(key: str, text: str) -> str:
    """What two texts have in common that lead to one account: dana+bills@example.com is Dana's."""
    text = text.casefold()
    if key != "email":
        return text
    box, _, host = text.rpartition("@")
    return f"{box.partition('+')[0]}@{host}"
