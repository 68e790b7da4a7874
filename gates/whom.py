"""Whom a question is put to: the people of the directory, as they are at this moment.

Rules, each with what it protects from:
1. Nobody is asked who asks, or is acted for, and nobody in their place (self-approval, with a
   detour).
2. Who is away is not asked; a delegate who is there is, and takes that seat alone.
3. The requirement must be one that these people could meet, all of it at once; otherwise the error
   names the rule, who is missing and why (a run must not wait for nobody). What rules on claims
   add is left out as far as there is nobody for it (a claim must not stop what facts ask for).
4. Whoever was asked may answer as long as the directory still lets them: their own seat while they
   are of those asked, another's while that delegation holds. An absence that begins, or a turn on
   call that ends, takes no right away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from gates.core.asked import Ask, Beside, Person, PersonId, RoleAsked
from gates.core.errors import InvalidPolicy, UnknownPerson
from gates.core.model import ApprovalRequest, Judgement, Requester, deputy
from gates.core.quorum import unmet, votes
from gates.ports import Directory

Names = dict[PersonId, str]


@dataclass(frozen=True)
class Found:
    """As in Requirement."""

    people: Names
    groups: dict[str, tuple[PersonId, ...]]
    escalation: Names
    stands_for: dict[PersonId, Names]


def ask(
    directory: Directory, judgement: Judgement, action: str, requester: Requester, now: datetime
) -> Found:
    """Raises InvalidPolicy where these people could not meet what is asked."""
    wanted = judgement.ask
    assert wanted is not None  # noqa: S101 - the caller has looked
    room = _Room(directory, action, requester, now)
    asked = room.seats(wanted.who)
    groups = _slots(wanted, room)
    problem = _impossible(wanted, room, asked, groups)
    if problem:
        rules = ", ".join(repr(one.rule) for one in judgement.reasons)
        raise InvalidPolicy(f"Rule {rules}: {problem}")
    people = room.called()
    more, others = called(directory, wanted.escalate_to, action, requester, now)
    escalation = {one: name for one, name in more.items() if one not in people}
    stands_for = {one: seats for one, seats in others.items() if one in escalation}
    return Found(people, groups, escalation, stands_for | room.deputies(people))


def called(
    directory: Directory, groups: Sequence[str], action: str, requester: Requester, now: datetime
) -> tuple[Names, dict[PersonId, Names]]:
    """Who of these groups would be asked now, and whose seats they could take where those are not
    their own alone. Nothing is proven of them: for those who are asked as well.
    """
    room = _Room(directory, action, requester, now)
    room.seats(groups)
    people = room.called()
    return people, room.deputies(people)


def seats(
    directory: Directory, request: ApprovalRequest, person_id: PersonId, at: datetime
) -> Names:
    """Whose seat this person may take, of those that they were offered."""
    wanted, asked = request.judgement.ask, request.requirement
    if wanted is None or asked is None:
        return {}
    try:
        members = {one.id: one for one in directory.members(_groups(wanted))}
    except UnknownPerson:  # a group is gone, and with it the right of those who were in it
        return {}
    lets = directory.cover.givers(person_id, request.action.name, at) | {person_id}
    return {
        seat: members[seat].name
        for seat in asked.seats(person_id)
        if seat in lets
        and seat in members
        and not request.requester.is_one(seat)
        and not _lost_role(request, wanted, members[seat])
    }


def _lost_role(request: ApprovalRequest, wanted: Ask, person: Person) -> bool:
    """Whether somebody was asked for a role that they no longer have."""
    groups = request.requirement.groups if request.requirement else {}
    labels = _labels(wanted)
    return any(
        person.id in groups.get(label, ()) and one.role not in person.roles
        for one, label in labels.items()
    )


@dataclass
class _Room:
    """The people who are asked, each with the seats that they may take."""

    directory: Directory
    action: str
    requester: Requester
    now: datetime
    names: Names = field(default_factory=dict)
    stands: dict[PersonId, Names] = field(default_factory=dict)
    missing: dict[PersonId, str] = field(default_factory=dict)

    def seats(self, groups: Sequence[str], role: str = "") -> tuple[PersonId, ...]:
        """The seats of these groups that somebody can take now; who that is comes in."""
        members = self.directory.members(groups, self.now) if groups else ()
        return tuple(
            member.id
            for member in members
            if (not role or role in member.roles) and self._seated(member)
        )

    def called(self) -> Names:
        """Everybody, and for whom they are asked where that is not themselves alone."""
        return {one: deputy(name, one, self.stands[one]) for one, name in self.names.items()}

    def deputies(self, people: Names) -> dict[PersonId, Names]:
        """The seats of those who have others than their own."""
        return {one: self.stands[one] for one in people if self.stands[one].keys() != {one}}

    def _seated(self, member: Person) -> bool:
        if self.requester.is_one(member.id):
            self.missing[member.id] = f"the agent acts for {member.name}"
            return False
        takers = list(self._takers(member))
        for taker in takers:
            self.names.setdefault(taker.id, taker.name)
            self.stands.setdefault(taker.id, {})[member.id] = member.name
        return bool(takers)

    def _takers(self, member: Person) -> Iterator[Person]:
        cover, why = self.directory.cover, ""
        away = cover.away(member.id, self.now)
        if away is None:
            yield member
        else:
            until = f" until {away.until.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if away.until else ""
            why = f"{member.name} is out of office{until} and nobody there decides for them"
        for one in cover.deputies(member.id, self.action, self.now):
            taker = self.directory.person(one.taker)
            if self.requester.is_one(taker.id):
                why = f"{why} (the agent acts for {taker.name})" if why else ""
            elif cover.away(taker.id, self.now):
                why = f"{why} ({taker.name} is out of office, too)" if why else ""
            else:
                yield taker
        if why:
            self.missing[member.id] = why


def _slots(wanted: Ask, room: _Room) -> dict[str, tuple[PersonId, ...]]:
    """One place a group that must agree, and one a role. Where a stricter rule asks people of its
    own beside them, its quorum has places of its own too: neither rule's people stand for the
    other's.
    """
    labels = _labels(wanted)
    slots = _places(wanted, room, labels)
    if wanted.beside:
        slots = _places(wanted, room, labels, numbered=True)
    spare = [one for one in _numbered(wanted.who, wanted.quorum) if one in slots]
    for others in wanted.beside:
        within = set(others.who) <= set(wanted.who)  # then they are some of those many, too
        for label, seats in _places(others, room, labels).items():
            freed = spare[-1:] if within and label not in slots else []
            more = {one: held for one, held in slots.items() if one not in freed}
            more[label] = slots.get(label, seats)
            if not unmet(more, room.stands):
                slots, spare = more, [one for one in spare if one not in (*freed, label)]
    return slots


def _places(
    wanted: Ask | Beside, room: _Room, labels: Mapping[RoleAsked, str], *, numbered: bool = False
) -> dict[str, tuple[PersonId, ...]]:
    """What has to be filled. `numbered`: a plain quorum, too, which counts by itself otherwise."""
    slots = {group: room.seats((group,)) for group in wanted.from_each}
    slots |= {labels[one]: room.seats(one.among, one.role) for one in wanted.roles}
    others = {*wanted.from_each, *(group for one in wanted.roles for group in one.among)}
    plain = numbered or isinstance(wanted, Beside)
    if (slots or plain) and not set(wanted.who) <= others:
        seated = room.seats(wanted.who)
        slots |= dict.fromkeys(_numbered(wanted.who, wanted.quorum), seated)
    return slots


def _numbered(who: Sequence[str], quorum: int) -> list[str]:
    return [f"{', '.join(who)} ({number})" for number in range(1, quorum + 1)]


def _labels(wanted: Ask) -> dict[RoleAsked, str]:
    """How each role is called where people read it: groups and roles may have the same names."""
    roles = dict.fromkeys((*wanted.roles, *(role for one in wanted.beside for role in one.roles)))
    names = [one.role for one in roles]
    return {
        one: f"role {one.role}"
        + (f" ({', '.join(one.among)})" if names.count(one.role) > 1 else "")
        for one in roles
    }


def _groups(wanted: Ask) -> tuple[str, ...]:
    found = [*wanted.who, *wanted.from_each, *wanted.escalate_to]
    found += [group for one in wanted.roles for group in one.among]
    found += [group for rung in wanted.ladder for group in rung.who]
    for others in wanted.beside:
        found += [*others.who, *others.from_each]
        found += [group for one in others.roles for group in one.among]
    return tuple(dict.fromkeys(found))


def _impossible(
    wanted: Ask, room: _Room, asked: Sequence[PersonId], groups: dict[str, tuple[PersonId, ...]]
) -> str:
    """Why these people cannot meet what is asked, or nothing."""
    seated = {one: [seat for seat in seats if seat in asked] for one, seats in room.stands.items()}
    could = votes(seated)
    lonely = unmet(groups, room.stands)
    if could >= wanted.quorum and not lonely:
        return ""
    if could < wanted.quorum:
        there = ", ".join(name for one, name in room.called().items() if seated.get(one))
        words = (
            f"{wanted.quorum} of {', '.join(wanted.who)} have to agree, but only {could} could"
            + (f" ({there})" if there else "")
        )
    else:
        words = (
            f"somebody of each of {', '.join(groups)} has to agree, but {', '.join(lonely)} has "
            "nobody who does not stand for another of these"
        )
    because = "; ".join(room.missing.values())
    return (
        f"{words}{': ' + because if because else ''}. Put more people into the group, let somebody "
        "decide for who is missing, or lower the quorum."
    )
