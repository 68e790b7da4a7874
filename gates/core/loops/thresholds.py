"""The thresholds of the detector, all of them, with what they may be set to.

The upper bound of each is the floor of protection: configuration may make the detector stricter
than it comes, or more patient up to there, but cannot switch a rule off. That the same successful
write never runs twice has no threshold at all.

Where the defaults come from: three is the first number that is a pattern and not a coincidence;
the rules that see less of the evidence (an answer alone, failures alone) want more of it.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from gates.core.errors import InvalidInput
from gates.core.value import Value

LONGEST_PERIOD = 8
WINDOW = 3 * LONGEST_PERIOD  # steps that are remembered one by one: three laps of the longest cycle
WASTE_WINDOW = 40  # steps over which it is counted what brought nothing
Small = Annotated[int, Field(ge=2, le=6)]


class Limits(Value):
    """What holds for one action. Each counts attempts, the last one included."""

    same_outcome: Small = 3
    """The same call with the same outcome so often in a row."""
    same_failing_call: Small = 3
    """The same call failing so often, in whatever way, without a change of state in between."""
    laps: Small = 3
    """A cycle of two to eight calls run through so often with the same outcomes."""
    repeats: Annotated[int, Field(ge=3, le=10)] = 5
    """The same call with the same outcome so often within sixteen steps, with nothing new."""
    same_failure: Annotated[int, Field(ge=3, le=20)] = 15
    """One action failing in the same way so often in a row, whatever its arguments."""
    same_refused_write: Annotated[int, Field(ge=3, le=10)] = 5
    """The same for an action that is declared to write."""
    volatile: tuple[str, ...] = ()
    """Fields of its answers that change by themselves (`checked_at`): they are not compared."""
    exact: bool = False
    """A new id in an answer is news (the next of a worklist): ids and times are compared, too."""


class Budget(Value):
    """What may be used before a person is asked; None where nobody counts."""

    attempts: Annotated[int, Field(ge=1, le=10_000)] | None = None
    seconds: Annotated[int, Field(ge=1)] | None = None
    """From the first to the last attempt, without the time in which people were asked."""
    cost: Annotated[int, Field(ge=1)] | None = None
    """In minor units."""
    tokens: Annotated[int, Field(ge=1)] | None = None


class Thresholds(Value):
    """`actions`: by name or pattern (`erp.*`), the first that fits holds for the action; what it
    leaves out is as in `limits`.
    """

    limits: Limits = Limits()
    errors: Annotated[int, Field(ge=4, le=30)] = 16
    """Failing calls in a row, of whatever action."""
    nothing_new: Annotated[int, Field(ge=4, le=16)] = 6
    """Steps in a row whose call and outcome were both seen before."""
    wasted: Annotated[int, Field(ge=12, le=60)] = 26
    """Points of the last forty steps: one for a failure, two for what was known already, since a
    failure tells at least that; of eighty, a third.
    """
    patience: Annotated[int, Field(ge=4, le=20)] = 10
    """Steps after which a failing call that comes again is no longer a retry of the last."""
    actions: dict[str, Limits] = Field(default_factory=dict)
    run: Budget = Budget(attempts=1_000)
    business_key: Budget = Budget(attempts=200)
    agent: Budget = Budget()

    @field_validator("actions")
    @classmethod
    def _inherit(cls, actions: dict[str, Limits], info: ValidationInfo) -> dict[str, Limits]:
        """Once and not with each call, of which `of_action` is a part."""
        general = info.data.get("limits", Limits())
        return {
            pattern: general.model_copy(
                update={name: getattr(own, name) for name in own.model_fields_set}
            )
            for pattern, own in actions.items()
        }

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """Raises InvalidInput naming field, value and what it may be."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            path = ".".join(str(part) for part in first["loc"])
            raise InvalidInput(f"loops.{path} = {first['input']!r}: {first['msg']}.") from error

    @property
    def counts_time(self) -> bool:
        return any(one.seconds is not None for one in (self.run, self.business_key, self.agent))

    def of_action(self, action: str) -> Limits:
        for pattern, limits in self.actions.items():
            if fnmatchcase(action, pattern):
                return limits
        return self.limits
