"""Whether those who agree are enough. Pure.

Where somebody of each group must agree, nobody stands for two groups (one person in two roles
is one person): the groups must have distinct representatives, found as a maximum bipartite
matching along augmenting paths (H. W. Kuhn, "The Hungarian method", 1955; sizes here are tiny).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from gates.core.model import Requirement


def satisfied(requirement: Requirement, approvers: Collection[str]) -> bool:
    """`approvers`: ids of those who agreed; others than those asked do not count."""
    counted = [one for one in approvers if one in requirement.people]
    if len(set(counted)) < requirement.quorum:
        return False
    return not unmet(requirement.groups, counted)


def unmet(groups: Mapping[str, Collection[str]], people: Collection[str]) -> list[str]:
    """The groups that `people` leave without a representative of their own."""
    taken: dict[str, str] = {}
    return [group for group in groups if not _represented(group, groups, people, taken, set())]


def open_groups(groups: Mapping[str, Collection[str]], people: Collection[str]) -> list[str]:
    """The groups that still want somebody; more than are `unmet` where one of `people` could
    stand for either of two.
    """
    lacking = len(unmet(groups, people))

    def without(group: str) -> dict[str, Collection[str]]:
        return {one: members for one, members in groups.items() if one != group}

    return [group for group in groups if len(unmet(without(group), people)) < lacking]


def missing(requirement: Requirement, approvers: Collection[str]) -> int:
    """How many more must agree at least."""
    counted = {one for one in approvers if one in requirement.people}
    return max(requirement.quorum - len(counted), len(unmet(requirement.groups, counted)), 0)


def _represented(
    group: str,
    groups: Mapping[str, Collection[str]],
    people: Collection[str],
    taken: dict[str, str],
    tried: set[str],
) -> bool:
    for person in people:
        if person in tried or person not in groups[group]:
            continue
        tried.add(person)
        holder = taken.get(person)
        if holder is None or _represented(holder, groups, people, taken, tried):
            taken[person] = group
            return True
    return False
