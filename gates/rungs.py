"""The rungs of a ladder, with the people of the directory as they are when a question is put.

Rules, each with what it protects from:
1. Whoever is asked already keeps the seats that they have (time alone must not give anybody a
   second vote).
2. Those who come instead must be enough, by the seats that they could take (a run must not wait
   for nobody).
"""

from __future__ import annotations

from datetime import datetime

from gates.core.asked import Climb, PersonId
from gates.core.calendars import later
from gates.core.errors import InvalidPolicy
from gates.core.model import Judgement, Requester
from gates.core.quorum import votes
from gates.ports import Directory
from gates.whom import Found, Names, called


def of(
    directory: Directory,
    judgement: Judgement,
    action: str,
    requester: Requester,
    now: datetime,
    found: Found,
) -> tuple[tuple[Climb, ...], dict[PersonId, Names]]:
    """The rungs, and the seats of those whom they bring. `found`: who is asked before them.
    Raises InvalidPolicy where those who come instead could not answer.
    """
    ask = judgement.ask
    ladder: list[Climb] = []
    told = found.escalation | found.people
    more: dict[PersonId, Names] = {}
    for rung in ask.ladder if ask else ():
        people, seats = called(directory, rung.who, action, requester, now)
        more |= {one: names for one, names in seats.items() if one not in told}
        people |= {one: told[one] for one in people if one in told}
        told = people | told
        stands_for = found.stands_for | more
        could = votes({one: stands_for.get(one, {one: ""}) for one in people})
        if ask and rung.step == "replace" and could < ask.quorum:
            raise InvalidPolicy(
                f"{ask.quorum} have to agree, but the ladder replaces them with "
                f"{', '.join(rung.who)}, of whom only {could} could: put more people into the "
                "group, or lower the quorum."
            )
        at = later(now, rung.seconds, ask.calendar if ask else None)
        ladder.append(Climb(at=at, step=rung.step, people=people))
    return tuple(ladder), more
