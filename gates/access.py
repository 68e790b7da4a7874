"""Keys for processes, links and sessions for people. Only digests of secrets are stored.

Secrets are 256 random bits, so that a plain SHA-256 is enough: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

import orjson
from sqlmodel import Session as StoreSession
from sqlmodel import col, select

from gates.core.asked import PersonId
from gates.core.errors import InvalidInput, NotAuthenticated
from gates.core.model import Requester
from gates.ports import Directory
from gates.recording import ANY
from gates.service import KeyHolder, utc_now
from gates.store.database import Database
from gates.store.repository import Unit
from gates.store.tables import KeyRow, LoginLinkRow, SessionRow

LONGEST_NAME = 200
MOST_PATTERNS = 50
PATTERN = re.compile(r"[\w.*:/-]+", re.ASCII)
KNOWN_SECONDS = 1.0  # so long may another server still take a key that was revoked on this one
MOST_KNOWN = 1_000
STEPPED_UP = timedelta(minutes=10)  # so long a code of an authenticator vouches for a session
SCOPES = ("flow", "executor", "admin")


@dataclass(frozen=True)
class Session:
    """A logged-in person. `csrf` goes into every form that changes something; `stepped_up`: they
    have shown a code of their authenticator a short while ago.
    """

    person_id: PersonId
    name: str
    csrf: str
    expires_at: datetime
    stepped_up: bool = False


class Key(NamedTuple):
    """A process's key without its secret."""

    id: str
    scope: str
    agent: str
    on_behalf_of: PersonId | None
    created_at: datetime
    revoked_at: datetime | None
    expires_at: datetime | None
    actions: tuple[str, ...]


@dataclass
class Access:
    database: Database
    directory: Directory
    clock: Callable[[], datetime] = utc_now
    link_lives: timedelta = timedelta(minutes=30)
    session_lives: timedelta = timedelta(hours=12)
    _known: dict[str, tuple[KeyHolder, float]] = field(default_factory=dict)

    # -- processes --------------------------------------------------------------------------

    def create_key(
        self,
        scope: str,
        agent: str,
        on_behalf_of: str | None = None,
        actions: Sequence[str] = ANY,
    ) -> str:
        """A new key, shown once. `actions`: names with `*`, for an executor that may take these
        alone. Raises InvalidInput or UnknownPerson.
        """
        if scope not in SCOPES:
            raise InvalidInput(f"scope = {scope!r}: one of {', '.join(SCOPES)}.")
        if on_behalf_of is not None:
            self.directory.person(on_behalf_of)
        if not 1 <= len(agent) <= LONGEST_NAME or not agent.isprintable():
            raise InvalidInput(f"agent = {agent[:80]!r}: 1 to {LONGEST_NAME} printable characters.")
        _refuse_patterns(scope, actions)
        with self.database.write() as session:
            return _new_key(Unit(session, self.clock()), scope, agent, on_behalf_of, actions)

    def rotate_key(self, key_id: str, overlap: timedelta) -> str:
        """Another key for the same holder, shown once; the old one ends after `overlap`, or when
        it would have ended anyway. What waits goes on: a run belongs to the agent and person.

        Raises InvalidInput where there is no such key, or it opens nothing any more.
        """
        with self.database.write() as session:
            unit = Unit(session, self.clock())
            row = self._key(session, key_id, lock=True)
            if _ended(row, unit.now):
                raise InvalidInput(
                    f"Key {key_id} opens nothing any more: make one with `gates key create`."
                )
            until = unit.now + overlap
            row.expires_at = min(until, row.expires_at or until)
            key = _new_key(unit, row.scope, row.agent, row.on_behalf_of, _actions(row))
            unit.log("admin", "key.rotated", key_id, to=key.split("_")[1], until=str(until))
        self._known.clear()
        return key

    def key_holder(self, key: str) -> KeyHolder:
        """Raises NotAuthenticated."""
        remembered = self.remembered(key)
        if remembered is not None:
            return remembered
        digest = digest_of(key)
        holder = self._key_holder(key, digest)
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known[digest] = (holder, time.monotonic() + KNOWN_SECONDS)
        return holder

    def remembered(self, key: str) -> KeyHolder | None:
        """Who this is, if we knew a moment ago: without waiting for anything."""
        known = self._known.get(digest_of(key))
        return known[0] if known is not None and time.monotonic() < known[1] else None

    def _key_holder(self, key: str, digest: str) -> KeyHolder:
        with self.database.read() as session:
            row = session.get(KeyRow, key.split("_")[1]) if key.count("_") > 1 else None
        known = row is not None and secrets.compare_digest(row.digest, digest)
        if row is None or not known or _ended(row, self.clock()):
            raise NotAuthenticated(
                "This API key is unknown, revoked or replaced: set GATES_API_KEY to one that "
                "`gates key create` or `gates key rotate` made."
            )
        requester = Requester(agent=row.agent, on_behalf_of=row.on_behalf_of)
        return KeyHolder(key_id=row.id, scope=row.scope, requester=requester, actions=_actions(row))

    def keys(self) -> list[Key]:
        """All of them, the newest first; never their secrets."""
        with self.database.read() as session:
            rows = session.exec(select(KeyRow).order_by(col(KeyRow.created_at).desc())).all()
        told = [{name: getattr(row, name) for name in Key._fields} for row in rows]
        return [
            Key(**one | {"actions": _actions(row)}) for one, row in zip(told, rows, strict=True)
        ]

    def revoke_key(self, key_id: str) -> None:
        """Raises InvalidInput where there is no such key."""
        with self.database.write() as session:
            unit = Unit(session, self.clock())
            row = self._key(session, key_id)
            if row.revoked_at is None:
                row.revoked_at = unit.now
                unit.log("admin", "key.revoked", key_id)
        self._known.clear()

    @staticmethod
    def _key(session: StoreSession, key_id: str, *, lock: bool = False) -> KeyRow:
        row = session.get(KeyRow, key_id, with_for_update=lock)
        if row is None:
            raise InvalidInput(f"There is no key {key_id!r}: see `gates key list`.")
        return row

    # -- people -----------------------------------------------------------------------------

    def create_link(self, person_id: str) -> str:
        """A one-time token for /login/TOKEN. Raises UnknownPerson."""
        person = self.directory.person(person_id)
        token = secrets.token_hex(24)  # hex: `gates login TOKEN` must not take it for an option
        with self.database.write() as session:
            unit = Unit(session, self.clock())
            expires = unit.now + self.link_lives
            session.add(LoginLinkRow(digest=digest_of(token), person=person.id, expires_at=expires))
            unit.log("admin", "link.created", person.id)
        return token

    def redeem_link(self, token: str) -> str:
        """A session token for a link's. Raises NotAuthenticated: unknown, used or expired."""
        with self.database.write() as session:
            unit = Unit(session, self.clock())
            row = session.get(LoginLinkRow, digest_of(token), with_for_update=True)
            if row is None or row.used_at is not None or row.expires_at <= unit.now:
                raise NotAuthenticated(
                    "This login link was used or has expired: ask for a new one "
                    "(`gates login-link YOU`)."
                )
            row.used_at = unit.now
            new = secrets.token_urlsafe(32)
            session.add(
                SessionRow(
                    digest=digest_of(new),
                    person=row.person,
                    csrf=secrets.token_urlsafe(16),
                    expires_at=unit.now + self.session_lives,
                )
            )
            unit.log(row.person, "session.opened", row.person)
        return new

    def session(self, token: str) -> Session:
        """Who is logged in. Raises NotAuthenticated, or UnknownPerson for who has left."""
        with self.database.read() as session:
            row = session.get(SessionRow, digest_of(token))
        if row is None or row.ended_at is not None or row.expires_at <= self.clock():
            raise NotAuthenticated("You are not logged in, or no longer: open a new login link.")
        person = self.directory.person(row.person)
        at, now = row.stepped_up_at, self.clock()
        stepped_up = at is not None and at <= now < at + STEPPED_UP
        return Session(person.id, person.name, row.csrf, row.expires_at, stepped_up)

    def end_session(self, token: str) -> None:
        with self.database.write() as session:
            unit = Unit(session, self.clock())
            row = session.get(SessionRow, digest_of(token))
            if row is not None and row.ended_at is None:
                row.ended_at = unit.now
                unit.log(row.person, "session.ended", row.person)


def _new_key(
    unit: Unit, scope: str, agent: str, on_behalf_of: str | None, actions: Sequence[str]
) -> str:
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    key = f"gk_{key_id}_{secret}"
    unit.session.add(
        KeyRow(
            id=key_id,
            digest=digest_of(key),
            scope=scope,
            agent=agent,
            on_behalf_of=on_behalf_of,
            created_at=unit.now,
            actions=orjson.dumps(list(actions)).decode(),
        )
    )
    unit.log("admin", "key.created", key_id, scope=scope, agent=agent, actions=list(actions))
    return key


def _actions(row: KeyRow) -> tuple[str, ...]:
    return tuple(orjson.loads(row.actions))


def _refuse_patterns(scope: str, actions: Sequence[str]) -> None:
    if scope != "executor" and tuple(actions) != ANY:
        raise InvalidInput(f"actions: only an executor's key can be limited, not one for {scope}.")
    if not 1 <= len(actions) <= MOST_PATTERNS:
        raise InvalidInput(f"actions: 1 to {MOST_PATTERNS} names with `*`; `*` alone is for all.")
    for one in actions:
        if len(one) > LONGEST_NAME or not PATTERN.fullmatch(one):
            raise InvalidInput(
                f"actions = {one[:80]!r}: one name for each, such as erp.bill.post or 'erp.bill.*'."
            )


def _ended(row: KeyRow, now: datetime) -> bool:
    return row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= now)


def digest_of(secret: str) -> str:
    # JSON may hold half a character, which is no secret of ours but has a digest all the same.
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
