"""What the service needs of the outside, as contracts. Implementations live in integrations/."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gates.core.model import Person, RequestView, RunRef


class Directory(Protocol):
    """Who people are. A lookup that matches nobody or more than one raises UnknownPerson."""

    def person(self, person_id: str) -> Person: ...
    def by_slack(self, team_id: str, user_id: str) -> Person: ...
    def by_email(self, email: str) -> Person: ...
    def members(self, groups: Sequence[str]) -> Sequence[Person]: ...


class Notifier(Protocol):
    """Shows requests to people on one channel.

    `show` makes every card of the request look as `view` says, and posts the first one where
    there is none; it may be called again with the same view. It returns once the channel has
    taken it, and raises RetryLater or Unavailable where it has not.
    """

    channel: str

    def show(self, view: RequestView) -> None: ...


class RunWaker(Protocol):
    """Touches flow runs from outside.

    `ring` returns True once the run is no longer waiting for us: scheduled again, going on, or
    ended. False: not yet, ring again. `tell` makes the run say what it waits for.
    """

    def ring(self, run: RunRef, pause_key: str) -> bool: ...
    def tell(self, view: RequestView) -> None: ...
