"""Whether those who agree are enough. Pure.

A vote belongs to a seat: each who is asked has one, and a delegate takes that of somebody else.
One person takes one seat, and one seat is taken once, whatever accounts and delegations there
are: so a delegate never adds a vote. Where somebody of each group (or in each role) must agree,
nobody and no seat stands for two of them. Both are one question, a flow with capacities of one
from groups over seats to people, filled along augmenting paths (L. R. Ford and D. R. Fulkerson,
"Maximal flow through a network", 1956; sizes here are tiny). What fills the groups can always be
extended to as many votes as there are at all, so the two counts may be made apart.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from gates.core.asked import PersonId, Requirement

Node = tuple[str, str]
Graph = dict[Node, list[Node]]
START: Node = ("start", "")
END: Node = ("end", "")
Seats = Mapping[PersonId, Iterable[PersonId]]


def satisfied(requirement: Requirement, approvers: Collection[str]) -> bool:
    """`approvers`: ids of those who agreed; others than those asked do not count."""
    return missing(requirement, approvers) == 0


def missing(requirement: Requirement, approvers: Collection[str]) -> int:
    """How many more must agree at least."""
    seats = seats_of(requirement, approvers)
    lacking = len(unmet(requirement.groups, seats))
    return max(requirement.quorum - votes(seats), lacking, 0)


def seats_of(requirement: Requirement, approvers: Collection[str]) -> dict[str, tuple[str, ...]]:
    """The seats that those of the approvers who are asked may take."""
    return {one: requirement.seats(one) for one in approvers if one in requirement.people}


def votes(people: Seats) -> int:
    """As many seats as these people can take at once."""
    own = {seat: (seat,) for seats in people.values() for seat in seats}
    return len(own) - len(unmet(own, people))


def unmet(groups: Mapping[str, Collection[str]], people: Collection[str] | Seats) -> list[str]:
    """The groups that `people` leave without a representative of their own. Without a mapping
    each has their own seat alone.
    """
    seats = people if isinstance(people, Mapping) else {one: (one,) for one in people}
    graph = _network(groups, seats)
    return [group for group in groups if not _filled(graph, group)]


def open_groups(
    groups: Mapping[str, Collection[str]], people: Collection[str] | Seats
) -> list[str]:
    """The groups that still want somebody; more are than are `unmet` where one of `people` could
    stand for either of two.
    """
    lacking = len(unmet(groups, people))

    def without(group: str) -> dict[str, Collection[str]]:
        return {one: members for one, members in groups.items() if one != group}

    return [group for group in groups if len(unmet(without(group), people)) < lacking]


def _network(groups: Mapping[str, Collection[str]], people: Seats) -> Graph:
    """Each seat is two nodes with one edge between them: it can be taken once."""
    graph: Graph = {START: [], END: []}
    for person, seats in people.items():
        graph["person", person] = [END]
        for seat in seats:
            graph.setdefault(("seat", seat), [("taken", seat)])
            graph.setdefault(("taken", seat), []).append(("person", person))
    for group, members in groups.items():
        held = (("seat", one) for one in dict.fromkeys(members))
        graph["group", group] = [seat for seat in held if seat in graph]
    return graph


def _filled(graph: Graph, group: str) -> bool:
    """Find one more representative, for which others may have to change theirs."""
    came_from: dict[Node, Node] = {("group", group): START}
    reached = [("group", group)]
    for node in reached:
        for following in graph[node]:
            if following not in came_from:
                came_from[following] = node
                reached.append(following)
        if END in came_from:
            break
    if END not in came_from:
        return False
    node = END
    while (before := came_from[node]) != START:
        graph[before].remove(node)
        graph[node].append(before)
        node = before
    return True
