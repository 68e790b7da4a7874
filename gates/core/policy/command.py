"""The `command:` section of a policy: who may freeze, hold and stop, and what needs four eyes.

    command:
      who: [admins]                       # left out: the group `admins`, if there is one
      ask: {who: [admins], quorum: 2}     # who agrees to what is named under `needs`
      needs: [policy, thaw, directory]

A change of this very section is judged by the section that is in force (nobody writes themselves
out of it).
"""

from __future__ import annotations

from gates.core.asked import Ask
from gates.core.errors import UnknownPerson
from gates.core.policy.asks import Asks
from gates.core.value import Value

KEYS = ("who", "ask", "needs")
NEEDS = ("policy", "thaw", "directory")
ADMINS = "admins"
EYES = 2  # as many must agree to a change of files, since nobody knows who has written them


class Command(Value):
    """`who`: groups in command. `ask`: whom what is in `needs` is put to."""

    who: tuple[str, ...] = ()
    ask: Ask | None = None
    needs: tuple[str, ...] = ()


def admins_of(asks: Asks) -> tuple[str, ...]:
    try:
        asks.directory.candidates([ADMINS])
    except UnknownPerson:
        return ()
    return (ADMINS,)


def wants_approval(old: Command, new: Command, *, policy: bool, directory: bool) -> bool:
    """Whether a change of files is put to people. `policy`, `directory`: what has changed."""
    if policy and old.needs and old != new:
        return True
    return (policy and "policy" in old.needs) or (directory and "directory" in old.needs)
