"""What the pages need of the rest of the server, as contracts: whoever satisfies them can be behind
the inbox, and nobody here knows a table.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal, Protocol

from gates.core.model import DecisionKind, Json, LoopAnswer, RequestView


class Session(Protocol):
    """Who is logged in, and the token that this person's forms carry."""

    @property
    def person_id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def csrf(self) -> str: ...
    @property
    def expires_at(self) -> datetime: ...
    @property
    def stepped_up(self) -> bool: ...


class Sessions(Protocol):
    """Log-in links and sessions; each call raises NotAuthenticated for what it does not know."""

    def redeem_link(self, token: str) -> str: ...
    def session(self, token: str) -> Session: ...
    def end_session(self, token: str) -> None: ...


class Steps(Protocol):
    """Codes of authenticators."""

    def enrolled(self, person_id: str) -> bool: ...
    def step_up(self, token: str, code: str) -> None: ...


class Requests(Protocol):
    """What the inbox needs of the service; `clock` is the one that deadlines go by."""

    @property
    def clock(self) -> Callable[[], datetime]: ...
    def waiting(self) -> list[RequestView]: ...
    def recent(self, limit: int = ...) -> list[RequestView]: ...
    def view(self, request_id: str) -> RequestView: ...
    def rounds(self, request_id: str) -> list[RequestView]: ...
    def decide(
        self,
        request_id: str,
        *,
        person_id: str,
        kind: DecisionKind,
        reason: str = ...,
        channel: str,
        assurance: str,
        card_revision: int | None = ...,
        verified_by: Json | None = ...,
        changes: Json | None = ...,
        refused: Mapping[str, str] | None = ...,
        loop: LoopAnswer | None = ...,
    ) -> RequestView: ...


class Looks(Protocol):
    """What the inbox needs of gates/reviews.py."""

    def mine(self, person_id: str) -> list[RequestView]: ...
    def may(self, view: RequestView, person_id: str) -> bool: ...
    def say(
        self,
        request_id: str,
        *,
        person_id: str,
        word: Literal["fine", "wrong"],
        reason: str = ...,
        category: str = ...,
        channel: str,
        assurance: str,
        verified_by: Json | None = ...,
    ) -> RequestView: ...


class Informs(Protocol):
    """What the inbox needs of gates/informing.py."""

    def ask(
        self, request_id: str, *, person_id: str, question: str, channel: str
    ) -> RequestView: ...
    def answer(
        self, request_id: str, *, person_id: str, text: str, channel: str
    ) -> RequestView: ...
    def may_answer(self, view: RequestView, person_id: str) -> bool: ...
