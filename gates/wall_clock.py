"""What time it is where the work is done, for the rules that ask: the circumstance `time`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from gates.core.calendars import WEEKDAYS
from gates.core.model import Json, RunRef
from gates.core.policy import Policy, Question


@dataclass
class WallClock:
    """Circumstances of the policy's own `calendar`; without one, in UTC and without
    `business_hours`, so that a rule that wants them asks.
    """

    policy: Callable[[], Policy]
    names: tuple[str, ...] = ("time",)

    def look(self, question: Question, run: RunRef, now: datetime) -> Mapping[str, Json]:
        del question, run  # the time is the same for everybody
        calendar = self.policy().sections.get("calendar")
        local = now.astimezone(calendar.place if calendar else UTC)
        found: Json = {
            "hour": local.hour,
            "weekday": WEEKDAYS[local.weekday()],
            "date": local.date().isoformat(),
            "zone": calendar.zone if calendar else "UTC",
        }
        if calendar is not None:
            found["business_hours"] = calendar.is_open(now)
        return {"time": found}
