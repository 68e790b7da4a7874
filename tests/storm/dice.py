"""Every random choice of a storm, from its seed. Each victim and each run has dice of its own, so
that what one of them draws does not depend on how fast another was.

The seed decides which runs there are, what people answer, and for each life of each process at
which of its calls what happens to it. It does not decide how the processes' steps interleave:
that is up to the machine, and two storms with one seed differ there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal

Moment = Literal["before", "during", "after"]
Act = Literal["kill", "drop", "delay", "busy", "stop"]

LONGEST_DELAY = 0.6  # seconds; below the server's `settle`, in which a late call may still land
KINDS = {  # of runs, with their weights
    "routine": 4,
    "asked": 5,
    "two": 3,
    "hand": 3,
    "chain": 3,
    "own": 2,
    "question": 1,
    "burn": 1,
    "late": 1,
}
STEPS = {  # key, action, and between which amounts
    "routine": [("pay", "till.pay", 1, 999)],
    "asked": [("pay", "till.pay", 1_000, 9_999)],
    "late": [("pay", "till.pay", 1_000, 9_999)],
    "two": [("pay", "till.pay", 10_000, 50_000)],
    "hand": [("hand", "till.hand", 1, 3_000)],
    "chain": [
        ("first", "till.hand", 1, 999),
        ("second", "till.pay", 500, 12_000),
        ("third", "own.book", 1, 99),
    ],
    "own": [("own", "own.book", 1, 999)],
    "burn": [("burn", "till.burn", 1, 999)],
}
CALLS = {  # at which calls a victim can be hit, with their weights
    "flow": {"propose": 4, "wait": 4, "claim": 3, "report": 1, "own": 2},
    "executor": {"lease": 1, "leased": 4, "report": 4, "pay": 6, "hand": 4, "look": 1},
    "gates": {"propose": 4, "claim": 4, "wait": 2, "report": 4, "lease": 2, "decide": 4},
    "till": {"pay": 4, "hand": 3, "own": 1, "look": 2},
    "flow of the house": {"propose": 5, "wait": 4, "claim": 2},
    "executor of the house": {"leased": 3, "report": 3, "book": 6, "look": 1},
    "erp": {"book": 3, "look": 1},
    "worker": {"propose": 2, "wait": 1, "report": 1},
    "prefect": {"propose": 1, "wait": 1, "decide": 1},
}
STOPPABLE = ("pay",)  # a stopped executor's call lands late: only a system that knows keys copes


@dataclass(frozen=True)
class Mark:
    """At the `nth` call of this kind in this life: what happens. `lands`: whether a call goes on
    although its sender is dead, or an answer although its server is; `seconds`: of a delay or stop.
    """

    call: str
    nth: int
    moment: Moment
    act: Act
    lands: bool = True
    seconds: float = 0.0


@dataclass(frozen=True)
class Planned:
    """One run: its steps are (key, action, arguments)."""

    id: str
    kind: str
    steps: tuple[tuple[str, str, dict[str, str]], ...]


@dataclass
class Dice:
    seed: int
    _of: dict[str, Random] = field(default_factory=dict)

    def of(self, name: str) -> Random:
        if name not in self._of:
            self._of[name] = Random(f"{self.seed}/{name}")  # noqa: S311 - to be repeatable
        return self._of[name]

    def run(self, number: int) -> Planned:
        name = f"run-{number:05}"
        dice = self.of(f"plan of {name}")
        kind = dice.choices(list(KINDS), list(KINDS.values()))[0]
        return Planned(name, kind, tuple(_steps(kind, name, dice)))

    def life(self, kind: str, victim: str, *, mortal: float, far: int) -> list[Mark]:
        """What will happen to a victim in its next life: with the chance `mortal` it is killed,
        at one of the first `far` calls of some kind; other trouble comes beside.
        """
        dice = self.of(f"lives of {victim}")
        marks: list[Mark] = []
        names, weights = list(CALLS[kind]), list(CALLS[kind].values())
        times = dice.choice((0, 0, 1, 2))
        marks += [_trouble(dice.choices(names, weights)[0], dice, far) for _ in range(times)]
        if dice.random() < mortal:
            call = dice.choices(names, weights)[0]
            stops = kind == "executor" and call in STOPPABLE and dice.random() < 0.1
            act: Act = "stop" if stops else "kill"
            seconds = dice.uniform(4, 7) if stops else dice.uniform(0.0, 0.02)
            moment = dice.choice(("before", "during", "after"))
            lands = dice.random() < 0.5
            nth = dice.randint(1, far)
            marks.append(Mark(call, nth, moment, act, lands, seconds))
        return marks


def _trouble(call: str, dice: Random, far: int) -> Mark:
    act = dice.choice(("drop", "drop", "delay", "busy"))
    moment = dice.choice(("before", "after"))
    seconds = dice.uniform(0.05, LONGEST_DELAY) if act == "delay" else 0.0
    return Mark(call, dice.randint(1, far), moment, act, lands=False, seconds=seconds)


Step = tuple[str, str, dict[str, str]]


def _steps(kind: str, run: str, dice: Random) -> Sequence[Step]:
    if kind == "question":
        return [("ask", "ask", {"reference": f"{run}/ask"})]
    return [
        (key, action, _payout(f"{run}/{key}", kind, dice.randint(low, high), dice))
        for key, action, low, high in STEPS[kind]
    ]


def _payout(reference: str, kind: str, amount: int, dice: Random) -> dict[str, str]:
    payee = "latecomer" if kind == "late" else dice.choice(("acme", "bolt", "carla"))
    cents = dice.randint(0, 99)
    return {"payee": payee, "amount": f"{amount}.{cents:02}", "reference": reference}


__all__ = ["Act", "Dice", "Mark", "Moment", "Planned"]
