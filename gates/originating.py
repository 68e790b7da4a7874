"""The circumstance `origin`: which destinations of an action does the run's request name."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from gates.core.model import Json, RunRef
from gates.core.origin import origin
from gates.core.policy import Question
from gates.ports import RunRequests


class OriginOf:
    """Implements the port Circumstances. Without `requests` (no engine knows the runs) there is no
    request to compare with, and every destination counts as unseen.
    """

    names: tuple[str, ...] = ("origin",)

    def __init__(self, requests: RunRequests | None = None) -> None:
        self.requests = requests

    def look(self, question: Question, run: RunRef, now: datetime) -> Mapping[str, Json]:
        del now  # a request does not age
        text = self.requests.text(run) if self.requests else ""
        found = origin(
            question.action.arguments, text, declared=question.destinations, facts=question.facts
        )
        return {"origin": found}
