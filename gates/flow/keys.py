"""Which gate is this call: the same on every pass of a run, and never one gate for two calls.

A flow that was suspended runs again from its top, and each call has to find its own gate. The
default key counts the calls of an action in the order of the flow. What could go wrong:
1. Two calls with one key: the second would get the first one's result, and its action would
   silently not run. Refused, naming both.
2. A call after the same key's call failed is the next try, not a repeat: it gets the next
   number. With other arguments it is another gate (`key~2`), or a replay of the earlier try
   would look like a change of mind.
3. A task that Prefect runs again repeats its calls: the same keys once more, the same gates.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from gates.core.errors import MisusedGate

LONGEST = 200  # characters of a key, as the server takes them


class Scope(NamedTuple):
    """Where in a run calls are counted: in the flow itself, in one task or in one sub-flow.
    `attempt` tells Prefect's own repeats of a task apart.
    """

    name: str = ""
    attempt: str = ""


@dataclass
class Ticket:
    """The place of one call: gate `key`, try number `call`. The holder says how it ended.

    `failed`: raised ActionFailed, the next call is the next try. `void`: nothing came of it
    (the server was away), the next call takes its place.
    """

    key: str
    call: int
    words: str
    digest: str
    scope: Scope
    variant: int = 1
    state: Literal["open", "ended", "failed", "void"] = "open"


@dataclass
class Keys:
    """One pass of one run. Thread-safe: tasks run side by side."""

    _ordinals: Counter[tuple[Scope, str]] = field(default_factory=Counter)
    _last: dict[str, Ticket] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, name: str, key: str | None, digest: str, words: str, scope: Scope) -> Ticket:
        """`digest` tells arguments apart; `words` names the call where two share a key.

        Raises MisusedGate.
        """
        with self._lock:
            base = key if key is not None else self._ordinal(name, scope)
            if not 1 <= len(base) <= LONGEST:
                raise MisusedGate(
                    f"key = {base[:60]!r} has {len(base)} characters: use 1 to {LONGEST}."
                )
            ticket = self._next(base, digest, words, scope)
            self._last[base] = ticket
            return ticket

    def _ordinal(self, name: str, scope: Scope) -> str:
        self._ordinals[scope, name] += 1
        within = f"-{scope.name}" if scope.name else ""
        end = f"{within}-{self._ordinals[scope, name]}"
        return f"{name[: LONGEST - len(end)]}{end}"

    def _next(self, base: str, digest: str, words: str, scope: Scope) -> Ticket:
        last = self._last.get(base)
        if last is None:
            return Ticket(base, 1, words, digest, scope)
        repeated = last.scope.name == scope.name and last.scope.attempt != scope.attempt
        if last.state == "failed":
            if last.digest == digest:
                return Ticket(last.key, last.call + 1, words, digest, scope, last.variant)
            variant = last.variant + 1
            return Ticket(f"{base}~{variant}", 1, words, digest, scope, variant)
        if last.state == "void" or repeated:
            return Ticket(last.key, last.call, words, digest, scope, last.variant)
        raise MisusedGate(
            f"Two calls share the gate key {base!r}: {last.words} and {words}. The second would "
            "get the first one's answer: give each call a `key` of its own."
        )
