"""Who there is, how they are known, which groups they are in, and who decides for whom when."""

from gates.core.people.cover import Absence, Cover, Delegation, OnCall
from gates.core.people.directory import People
from gates.core.people.reading import load_people

__all__ = ["Absence", "Cover", "Delegation", "OnCall", "People", "load_people"]
