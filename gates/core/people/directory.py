"""A Directory over a fixed list of people: what a people file says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from gates.core.asked import Person
from gates.core.errors import Unavailable, UnknownPerson
from gates.core.people.cover import Cover
from gates.core.yaml_file import cure


class People:
    """Nobody is found twice: `load_people` has seen to it.

    `groups`: their names; one that takes its members from a Slack user group has that group's id,
    the others nothing. `roles`: their names. `cover`: who decides for whom, and who is on call.
    """

    def __init__(
        self,
        people: Iterable[Person],
        groups: Mapping[str, str],
        roles: Iterable[str] = (),
        cover: Cover | None = None,
    ) -> None:
        self.all = tuple(people)
        self.groups = dict(groups)
        self.roles = tuple(roles)
        self.cover = cover or Cover()
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

    def members(self, groups: Sequence[str], now: datetime | None = None) -> Sequence[Person]:
        """Everybody who is in one of the groups, each once; of a group on call whose turn it is
        `now`, or whoever takes turns where no moment is given. Raises UnknownPerson for a group
        that does not exist (it is not the same as an empty one), and Unavailable for one whose
        members Slack knows.
        """
        for group in groups:
            if self.slack_group(group):
                raise Unavailable(
                    f"Who is in {group!r} is known to Slack, which nobody asks here: set up Slack "
                    "(docs/set-up-slack.md)."
                )
        turns = {one for group in groups for one in self._turns(group, now)}
        return [
            one for one in self.all if one.id in turns or not set(groups).isdisjoint(one.groups)
        ]

    def candidates(self, groups: Sequence[str]) -> Sequence[Person]:
        """Everybody who is in one of the groups, or could be: for the proof that enough people
        exist, which must not depend on Slack. Raises UnknownPerson.
        """
        elsewhere = [self.slack_group(group) for group in groups]
        return self.all if any(elsewhere) else self.members(groups)

    def most(self, groups: Sequence[str]) -> int:
        """How many of the groups' people there can be at one moment. Raises UnknownPerson."""
        fixed = [group for group in groups if group not in self.cover.on_call]
        always = {one.id for one in self.candidates(fixed)}
        turns = [self.cover.on_call[group].rota for group in groups if group not in fixed]
        return len(always) + sum(not always.issuperset(rota) for rota in turns)

    def slack_group(self, group: str) -> str:
        """The Slack user group whose members it has, or nothing. Raises UnknownPerson."""
        if group not in self.groups:
            raise UnknownPerson(f"There is no group {group!r}: {cure(group, self.groups)}.")
        return self.groups[group]

    def _turns(self, group: str, now: datetime | None) -> Sequence[str]:
        on_call = self.cover.on_call.get(group)
        if on_call is None:
            return ()
        return on_call.rota if now is None else (on_call.turn(now),)


def _mail(email: str) -> str:
    """Case counts for nothing, but a look-alike (a Kelvin sign for a K) is another address."""
    return email.lower() if email.isascii() else email


def _found(person: Person | None, problem: str) -> Person:
    if person is None:
        raise UnknownPerson(f"{problem}: add them to the people file.")
    return person
