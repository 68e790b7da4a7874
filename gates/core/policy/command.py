"""The `command:` section of a policy: who may freeze, hold and stop, and what needs four eyes.

    command:
      who: [admins]                       # left out: the group `admins`, if there is one
      ask: {who: [admins], quorum: 2}     # who agrees to what is named under `needs`
      needs: [policy, thaw, directory]

A change of this very section is judged by the section that is in force (nobody writes themselves
out of it).
"""

from __future__ import annotations

from gates.core.errors import UnknownPerson
from gates.core.model import Ask, Value
from gates.core.policy.asks import Asks
from gates.core.yaml_file import Fields, cure

KEYS = ("who", "ask", "needs")
NEEDS = ("policy", "thaw", "directory")
ADMINS = "admins"
EYES = 2  # as many must agree to a change of files, since nobody knows who has written them


class Command(Value):
    """`who`: groups in command. `ask`: whom what is in `needs` is put to."""

    who: tuple[str, ...] = ()
    ask: Ask | None = None
    needs: tuple[str, ...] = ()


def read_command(top: Fields, asks: Asks, default: Ask) -> Command:
    """The section of a file, or what counts where there is none."""
    who = _admins(asks)
    if "command" not in top:
        return Command(who=who)
    file, node = asks.file, top.values["command"]
    fields = Fields(file, node, "command", KEYS)
    if "who" in fields:
        who = tuple(group for group, where in fields.texts("who") if asks.is_group(group, where))
    needs = tuple(dict.fromkeys(text for text, _ in fields.texts("needs")))
    for text, where in fields.texts("needs"):
        if text not in NEEDS:
            file.note(where, f"unknown need {text!r}: {cure(text, NEEDS)}")
    ask = asks.read(fields, default.model_copy(update={"who": who or default.who}))
    if needs and ask is None:
        file.note(fields.values["needs"], "needs are named and nobody to ask: add an `ask`")
    if ask is not None and ask.quorum < EYES and {"policy", "directory"} & set(needs):
        file.note(
            fields.values["ask"],
            f"quorum {ask.quorum}: whoever has changed the files could agree to it alone: "
            f"write {EYES} or more",
        )
    return Command(who=who, ask=ask, needs=needs)


def _admins(asks: Asks) -> tuple[str, ...]:
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
