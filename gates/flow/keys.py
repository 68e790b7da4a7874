"""Which gate is this call: the same on every pass of a run, and never one gate for two calls.

A flow that was suspended runs again from its top, and each call has to find its own gate. The
default key counts the calls of an action in the order of the flow. Where calls run side by
side (in tasks, in gathered coroutines) no order repeats itself, so there the key is made of the
arguments, and only equal calls, which are interchangeable, are counted. What could go wrong:
1. Two calls with one key: the second would get the first one's result, and its action would
   silently not run. Refused, naming both.
2. A call after the same key's call failed is the next try, not a repeat: it gets the next
   number. With other arguments it is another gate (`key~2`), or a replay of the earlier try
   would look like a change of mind. What was sent back is the same gate's next round, whatever
   the agent proposes then: people are to see what has changed. What was refused is over: an agent
   that proposes once more, however often, opens another gate (`key~2`), so that people see that it
   does not take no for an answer.
3. A task that Prefect runs again repeats its calls: the same keys once more, the same gates. What
   it was refused it hears again, from the first refusal on.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from gates.core.errors import MisusedGate

LONGEST = 200  # characters of a key, as the server takes them


State = Literal["open", "ended", "failed", "sent_back", "refused", "void"]


class Scope(NamedTuple):
    """Where in a run a call is made. `flow`: the sub-flow, empty in the flow itself; `task` the
    task's run, `attempt` Prefect's own tries of it; `ordered`: calls come in the same order on
    every pass; `side`: the one of several gates side by side that the author looks at.
    """

    flow: str = ""
    task: str = ""
    attempt: int = 0
    ordered: bool = True
    side: str = ""


@dataclass
class Ticket:
    """The place of one call: gate `key`, try number `call`. The holder says how it ended.

    `failed`: raised ActionFailed, the next call is the next try. `void`: nothing came of it
    (the server was away), the next call takes its place. `sent_back`: the next call is the next
    round. `refused`: by people or the policy; `insists`: it comes after such a call.
    """

    key: str
    call: int
    words: str
    digest: str
    scope: Scope
    variant: int = 1
    state: State = "open"
    insists: bool = False


@dataclass
class Keys:
    """One pass of one run. Thread-safe: tasks run side by side."""

    _counts: Counter[tuple[str, ...]] = field(default_factory=Counter)
    _owned: defaultdict[tuple[str, str, str], list[str]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _made: Counter[tuple[Scope, str]] = field(default_factory=Counter)
    _line: dict[tuple[str, str, str], str] = field(default_factory=dict)  # the last default key
    _last: dict[str, Ticket] = field(default_factory=dict)
    _bases: dict[str, str] = field(default_factory=dict)  # of every key, what the author gave
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, name: str, key: str | None, digest: str, words: str, scope: Scope) -> Ticket:
        """`digest` tells arguments apart; `words` names the call where two share a key.

        Raises MisusedGate.
        """
        with self._lock:
            base = key if key is not None else self._default(name, digest, scope)
            if not 1 <= len(base) <= LONGEST:
                raise MisusedGate(
                    f"key = {base[:60]!r} has {len(base)} characters: use 1 to {LONGEST}."
                )
            ticket = self._next(base, digest, words, scope)
            if self._bases.setdefault(ticket.key, base) != base:
                raise MisusedGate(
                    f"Two calls share the gate key {ticket.key!r}: {words} under {base!r}, and one "
                    f"under {self._bases[ticket.key]!r}. A call after a failure or a refusal gets "
                    "`~2` behind its key: give each call another `key`, without such an end."
                )
            self._last[base] = ticket
            return ticket

    def _default(self, name: str, digest: str, scope: Scope) -> str:
        if scope.ordered:
            place = (name, scope.flow, scope.side)
            last = self._line.get(place)
            if last is None or self._last[last].state != "sent_back":
                last = self._line[place] = self._count(*place)
            return last
        # A task that Prefect tries again takes its earlier tries' keys, in the same order.
        owned = self._owned[scope.flow + scope.side, scope.task, digest]
        index = self._made[scope, digest]
        self._made[scope, digest] += 1
        if index == len(owned):
            owned.append(self._count(name, digest[:12], scope.flow, scope.side))
        return owned[index]

    def _count(self, name: str, *within: str) -> str:
        self._counts[name, *within] += 1
        end = "-".join(["", *filter(None, within), str(self._counts[name, *within])])
        return f"{name[: LONGEST - len(end)]}{end}"

    def _next(self, base: str, digest: str, words: str, scope: Scope) -> Ticket:
        last = self._last.get(base)
        if last is None:
            return Ticket(base, 1, words, digest, scope)
        same = replace(last, words=words, digest=digest, scope=scope, state="open")
        if last.state == "sent_back" or (last.state == "failed" and last.digest == digest):
            return replace(same, call=last.call + 1)
        if last.state == "failed":
            return _another(base, same)
        repeated = scope.task != "" and last.scope.task == scope.task
        repeated = repeated and last.scope.attempt != scope.attempt
        if repeated and (last.insists or last.state == "refused"):
            return Ticket(base, 1, words, digest, scope)
        if last.state == "refused" and last.scope == scope and (scope.ordered or scope.task):
            return replace(_another(base, same), insists=True)
        if last.state == "void" or repeated:
            return same
        raise MisusedGate(
            f"Two calls share the gate key {base!r}: {last.words} and {words}. The second would "
            "get the first one's answer: give each call a `key` of its own."
        )


def _another(base: str, ticket: Ticket) -> Ticket:
    variant = ticket.variant + 1
    end = f"~{variant}"
    return replace(ticket, key=f"{base[: LONGEST - len(end)]}{end}", call=1, variant=variant)
