"""What was drawn where, and what was clicked: the memory of the channels.

A card's token names one revision of one request as it was drawn; a button carries nothing
else. A click is stored raw before it is acknowledged, and settled once it has been worked on.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, fields
from datetime import datetime

import orjson
from sqlmodel import col, func, select

from gates.core.errors import NotFound
from gates.core.model import Json
from gates.service import utc_now
from gates.store import wishes
from gates.store.database import Database
from gates.store.repository import Unit
from gates.store.tables import CardRow, ClickRow, NoticeRow, RequestRow


@dataclass(frozen=True)
class Card:
    """`digest`: of all that stood on it."""

    token: str
    request_id: str
    revision: int
    digest: str


@dataclass(frozen=True)
class Notice:
    """A message that shows a request: `place` and `message` are the channel's own ids; without a
    `message` it was meant to be posted, and nobody knows whether it was. `told`: lines of the story
    that stand below it; negative while that is being changed. `digest`: it shows others, too.
    """

    request_id: str
    place: str
    message: str
    revision: int
    told: int = 0
    posted_at: datetime | None = None
    digest: bool = False


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
            return [_notice(row) for row in session.exec(query).all()]

    def notice(self, request_id: str, channel: str, place: str) -> Notice | None:
        with self.database.read() as session:
            row = session.get(NoticeRow, (channel, request_id, place))
            return None if row is None else _notice(row)

    def notices_at(self, channel: str, place: str, message: str | None = None) -> list[Notice]:
        """What a place shows, or one message there."""
        query = select(NoticeRow).where(NoticeRow.channel == channel, NoticeRow.place == place)
        if message is not None:
            query = query.where(NoticeRow.message == message)
        with self.database.read() as session:
            rows = session.exec(query.order_by(NoticeRow.request_id)).all()
            return [_notice(row) for row in rows]

    def posted_since(self, channel: str, place: str, since: datetime) -> int:
        """How many messages a place has got."""
        messages = func.count(func.distinct(NoticeRow.message))
        query = select(messages).where(
            NoticeRow.channel == channel, NoticeRow.place == place, col(NoticeRow.posted_at) > since
        )
        with self.database.read() as session:
            return session.exec(query).one()

    def waiting_at(self, channel: str, place: str, limit: int = 1_000) -> list[str]:
        """Requests that are yet to be shown at a place, in their order."""
        with self.database.read() as session:
            return wishes.waiting_at(session, channel, place, limit)

    def standings(self, request_ids: Collection[str]) -> dict[str, tuple[int, bool]]:
        """Each request's revision, and whether it is open."""
        query = select(RequestRow.id, RequestRow.revision, RequestRow.outcome)
        with self.database.read() as session:
            rows = session.exec(query.where(col(RequestRow.id).in_(request_ids))).all()
            return {row[0]: (row[1], row[2] is None) for row in rows}

    def shown(self, channel: str, *notices: Notice) -> None:
        with self.database.write() as session:
            for one in notices:
                session.merge(NoticeRow(channel=channel, **asdict(one)))

    def wish(self, channel: str, request_id: str, place: str) -> None:
        """Have something shown at a place."""
        with self.database.write() as session:
            Unit(session, self.clock()).wish(request_id, channel, place=place)

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


def _notice(row: NoticeRow) -> Notice:
    return Notice(**{one.name: getattr(row, one.name) for one in fields(Notice)})
