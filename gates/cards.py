"""What was drawn where, and what was clicked: the memory of the channels.

A card's token names one revision of one request as it was drawn; a button carries nothing
else. A click is stored raw before it is acknowledged, and settled once it has been worked on.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import orjson
from sqlmodel import col, select

from gates.core.errors import NotFound
from gates.core.model import Json
from gates.service import utc_now
from gates.store.database import Database
from gates.store.repository import Unit
from gates.store.tables import CardRow, ClickRow, NoticeRow


@dataclass(frozen=True)
class Card:
    """`digest`: of all that stood on it."""

    token: str
    request_id: str
    revision: int
    digest: str


@dataclass(frozen=True)
class Notice:
    """A message that shows a request: `place` and `message` are the channel's own ids."""

    request_id: str
    place: str
    message: str
    revision: int


@dataclass(frozen=True)
class Click:
    id: str
    source: str
    payload: Json


@dataclass
class Cards:
    database: Database
    clock: Callable[[], datetime] = utc_now

    def issue(self, request_id: str, channel: str, revision: int, body: object) -> Card:
        """The token for this revision; the first drawing of it is the one that is kept."""
        with self.database.write() as session:
            query = select(CardRow).where(
                CardRow.request_id == request_id,
                CardRow.channel == channel,
                CardRow.revision == revision,
            )
            row = session.exec(query).one_or_none()
            if row is None:
                row = CardRow(
                    token=secrets.token_urlsafe(18),
                    request_id=request_id,
                    channel=channel,
                    revision=revision,
                    body=orjson.dumps(body).decode(),
                    at=self.clock(),
                )
                session.add(row)
            return _card(row)

    def find(self, token: str) -> Card:
        """Raises NotFound."""
        with self.database.read() as session:
            row = session.get(CardRow, token)
        if row is None:
            raise NotFound("This button belongs to no request that is known here.")
        return _card(row)

    def notices(self, request_id: str, channel: str) -> list[Notice]:
        with self.database.read() as session:
            query = select(NoticeRow).where(
                NoticeRow.request_id == request_id, NoticeRow.channel == channel
            )
            return [
                Notice(row.request_id, row.place, row.message, row.revision)
                for row in session.exec(query).all()
            ]

    def shown(self, channel: str, notice: Notice) -> None:
        with self.database.write() as session:
            session.merge(
                NoticeRow(
                    channel=channel,
                    request_id=notice.request_id,
                    place=notice.place,
                    message=notice.message,
                    revision=notice.revision,
                )
            )

    def record_click(self, source: str, payload: Json) -> str:
        """Durable before it returns."""
        click_id = secrets.token_hex(16)
        with self.database.write() as session:
            session.add(
                ClickRow(
                    id=click_id,
                    source=source,
                    payload=orjson.dumps(payload).decode(),
                    received_at=self.clock(),
                )
            )
        return click_id

    def clicks_unprocessed(self) -> list[Click]:
        with self.database.read() as session:
            query = select(ClickRow).where(col(ClickRow.settled_at).is_(None))
            rows = session.exec(query.order_by(col(ClickRow.received_at))).all()
            return [Click(row.id, row.source, orjson.loads(row.payload)) for row in rows]

    def settle_click(self, click_id: str, result: str) -> None:
        with self.database.write() as session:
            row = session.get(ClickRow, click_id)
            if row is not None and row.settled_at is None:
                row.settled_at, row.result = self.clock(), result

    def log_refusal(self, actor: str, subject: str, code: str, **body: object) -> None:
        """A click that was refused before it came to a decision is told to the log."""
        with self.database.write() as session:
            Unit(session, self.clock()).log(actor, "click.refused", subject, code=code, **body)


def _card(row: CardRow) -> Card:
    drawn = hashlib.sha256(row.body.encode()).hexdigest()
    return Card(row.token, row.request_id, row.revision, drawn)
