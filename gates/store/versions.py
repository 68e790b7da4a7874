"""Rows of the rules: every policy and directory that was ever in force or asked for, as written,
and which pair was in force since when.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Text, UniqueConstraint, text, update
from sqlmodel import Field, Session, col, select

from gates.core.versions import Pair, Texts
from gates.store.tables import SERIAL, LogRow, RequestRow, Row, UtcDateTime


class PolicyVersionRow(Row, table=True):
    """`digest` is the one that requests carry; `files` a JSON list of names and texts;
    `activated_at`, `by`: when it came into force last, and through whom.
    """

    __tablename__ = "policy_version"
    digest: str = Field(primary_key=True)
    files: str = Field(sa_type=Text)
    people_digest: str
    first_seen_at: datetime = Field(sa_type=UtcDateTime)
    activated_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    by: str = ""


class PeopleVersionRow(Row, table=True):
    __tablename__ = "people_version"
    digest: str = Field(primary_key=True)
    name: str
    body: str = Field(sa_type=Text)
    first_seen_at: datetime = Field(sa_type=UtcDateTime)


class RulesRow(Row, table=True):
    """What came into force, one row each time; the last one counts. `request_id`: the approval
    that it took, which counts once.
    """

    __tablename__ = "rules"
    __table_args__: Any = (UniqueConstraint("request_id"),)
    seq: int | None = Field(default=None, primary_key=True, sa_type=SERIAL)
    policy_digest: str
    people_digest: str
    at: datetime = Field(sa_type=UtcDateTime)
    by: str
    request_id: str | None = None


def keep(session: Session, pair: Pair, texts: Texts, now: datetime) -> None:
    """Write both down as they are, unless they are known."""
    if session.get(PeopleVersionRow, pair.people) is None:
        name, body = texts.people
        people = PeopleVersionRow(digest=pair.people, name=name, body=body, first_seen_at=now)
        session.add(people)
    if session.get(PolicyVersionRow, pair.policy) is None:
        files = orjson.dumps(texts.policy).decode()
        row = PolicyVersionRow(
            digest=pair.policy, files=files, people_digest=pair.people, first_seen_at=now
        )
        session.add(row)
    session.flush()


def put_in_force(
    session: Session, pair: Pair, by: str, now: datetime, request_id: str | None = None
) -> None:
    """An approval that was used before breaks a constraint: it counts once."""
    row = RulesRow(
        policy_digest=pair.policy, people_digest=pair.people, at=now, by=by, request_id=request_id
    )
    session.add(row)
    change = update(PolicyVersionRow).where(col(PolicyVersionRow.digest) == pair.policy)
    session.execute(change.values(activated_at=now, by=by))
    session.flush()


def lock(session: Session) -> None:
    """Nobody else brings anything into force before this transaction ends."""
    if session.connection().dialect.name == "postgresql":  # on SQLite nobody else writes at all
        session.execute(text("LOCK TABLE rules IN EXCLUSIVE MODE"))


def in_force(session: Session) -> Pair | None:
    """The last pair, None where no server has started with this store yet."""
    query = select(RulesRow).order_by(col(RulesRow.seq).desc()).limit(1)
    row = session.exec(query).first()
    return Pair(row.policy_digest, row.people_digest, row.seq or 0) if row is not None else None


def was_in_force(session: Session, pair: Pair) -> bool:
    query = select(RulesRow.seq).where(RulesRow.policy_digest == pair.policy)
    query = query.where(RulesRow.people_digest == pair.people)
    return session.exec(query.limit(1)).first() is not None


def texts_of(session: Session, pair: Pair) -> Texts | None:
    policy = session.get(PolicyVersionRow, pair.policy)
    people = session.get(PeopleVersionRow, pair.people)
    if policy is None or people is None:
        return None
    return Texts(_files(policy), (people.name, people.body))


class Version(NamedTuple):
    """A policy that was seen, for people."""

    digest: str
    files: tuple[tuple[str, str], ...]
    people_digest: str
    first_seen_at: datetime
    activated_at: datetime | None
    by: str


def find(session: Session, prefix: str) -> list[Version]:
    """Versions whose digest begins so, at most two: enough to know whether it is unique."""
    begins = col(PolicyVersionRow.digest).startswith(prefix, autoescape=True)
    return [_version(row) for row in session.exec(select(PolicyVersionRow).where(begins).limit(2))]


def newest(session: Session, limit: int) -> list[Version]:
    query = select(PolicyVersionRow).order_by(col(PolicyVersionRow.first_seen_at).desc())
    return [_version(row) for row in session.exec(query.limit(limit))]


def _version(row: PolicyVersionRow) -> Version:
    told = {name: getattr(row, name) for name in Version._fields}
    return Version(**told | {"files": _files(row)})


def _files(row: PolicyVersionRow) -> tuple[tuple[str, str], ...]:
    return tuple((name, body) for name, body in orjson.loads(row.files))


def open_changes(session: Session, actions: Sequence[str]) -> list[str]:
    """Open questions of these actions, in one order."""
    query = select(RequestRow.id).where(col(RequestRow.action).in_(actions))
    return sorted(session.exec(query.where(col(RequestRow.outcome).is_(None))).all())


def logged(session: Session, kind: str, subject: str) -> bool:
    query = select(LogRow.seq).where(LogRow.subject == subject[:64], LogRow.kind == kind)
    return session.exec(query.limit(1)).first() is not None
