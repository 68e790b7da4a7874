"""The keys with which servers sign grants: private halves in files, public ones in the store.

Each server has private keys of its own, in a folder that only its user reads, and registers the
public half, so that every server publishes the keys of all. One key of a server signs at a time.
A rotated key is published until the last grant that it signed has run out; a retired one is
refused from now on. A key that was taken over, and a retired one, loses its private file.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from sqlmodel import col, select

from gates.core.errors import InvalidInput, NotFound
from gates.grants.token import AFTER_LEASE, CLOCKS, read_keys, thumbprint, to_jwk
from gates.store.database import Database
from gates.store.repository import Unit
from gates.store.tables import SigningKeyRow

LONGEST_LEASE = timedelta(hours=1)  # what the API admits
PUBLISHED = LONGEST_LEASE + AFTER_LEASE + CLOCKS  # a rotated key's last grant lives so long
FRESH = 1.0  # seconds; so late does a server notice what another did to a key
OTHERS = 0o077


class SigningKey(NamedTuple):
    """A key's public side and its life."""

    kid: str
    jwk: Mapping[str, str]
    server: str
    created_at: datetime
    signs_from: datetime
    superseded_at: datetime | None
    retired_at: datetime | None

    def published(self, now: datetime) -> bool:
        """Whether a grant that it signed may still count."""
        over = self.superseded_at is not None and now >= self.superseded_at + PUBLISHED
        return self.retired_at is None and not over

    def over(self, now: datetime) -> bool:
        """Whether it will not sign again."""
        taken_over = self.superseded_at is not None and now >= self.superseded_at
        return taken_over or self.retired_at is not None

    def signs(self, now: datetime) -> bool:
        return self.signs_from <= now and not self.over(now)


@dataclass
class KeyRing:
    """`folder`: where the private keys are; None keeps them in this process's memory alone.
    Signing never touches the store in the middle of a transaction: call it outside of one.
    """

    database: Database
    server: str
    folder: Path | None = None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    _private: dict[str, Ed25519PrivateKey] = field(default_factory=dict)
    _known: dict[str, SigningKey] = field(default_factory=dict)
    _read_at: float = float("-inf")
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        if self.folder is not None:
            self._private = _load(self.folder)

    def signer(self) -> tuple[str, Ed25519PrivateKey]:
        """The key that signs now, by its id; made where there is none."""
        with self._lock:
            self._refresh()
            own = self._signing()
            if own is None:
                self._create(self.clock())
                own = self._signing()
            assert own is not None  # noqa: S101 - the line above made it
            return own

    def published(self) -> list[SigningKey]:
        """What a grant may be signed with, by any server, the oldest first. Never from memory: a
        key that another server made a moment ago may have signed what the asker holds.
        """
        with self._lock:
            self._refresh(at_once=True)
            now = self.clock()
            return [key for key in self._known.values() if key.published(now)]

    def all(self) -> list[SigningKey]:
        """Also those that no longer count."""
        with self._lock:
            self._refresh(at_once=True)
            return list(self._known.values())

    def rotate(self, by: str, delay: timedelta = timedelta()) -> str:
        """A new key, whose id is returned, signs from `delay` on; published from now on."""
        with self._lock:
            self._refresh(at_once=True)
            return self._create(self.clock() + delay, by=by)

    def retire(self, kid: str, by: str) -> None:
        """Nothing signed with it counts any more. Raises NotFound."""
        with self.database.write() as session:
            unit = Unit(session, self.clock())
            row = session.get(SigningKeyRow, kid, with_for_update=True)
            if row is None:
                raise NotFound(f"There is no signing key {kid[:60]!r}: see `gates grant keys`.")
            if row.retired_at is None:
                row.retired_at = unit.now
                session.add(row)
                unit.log(by, "grant_key.retired", kid, server=row.server)
        with self._lock:
            self._refresh(at_once=True)
            self.signer()

    # ---------------------------------------------------------------------------------------

    def _signing(self) -> tuple[str, Ed25519PrivateKey] | None:
        now = self.clock()
        own = [k for k in self._known.values() if k.kid in self._private and k.signs(now)]
        newest = max(own, key=lambda key: (key.signs_from, key.kid), default=None)
        return None if newest is None else (newest.kid, self._private[newest.kid])

    def _refresh(self, *, at_once: bool = False) -> None:
        if not at_once and time.monotonic() - self._read_at < FRESH:
            return
        with self.database.read() as session:
            self._known = published_keys(session)
        self._read_at = time.monotonic()
        if self.folder is not None:  # another process of the same folder may have rotated
            self._private |= _load(self.folder, but=self._private)
        self._drop_private()

    def _create(self, signs_from: datetime, by: str = "server") -> str:
        key, kid = fresh_key()
        if self.folder is not None:  # first: a key that is registered and lost would sign nothing
            _store(self.folder, kid, key)
        with self.database.write() as session:
            unit = Unit(session, self.clock())
            for old in session.exec(
                select(SigningKeyRow).where(
                    col(SigningKeyRow.kid).in_(self._private),
                    col(SigningKeyRow.superseded_at).is_(None),
                )
            ):
                old.superseded_at = signs_from
                session.add(old)
            session.add(
                SigningKeyRow(
                    kid=kid,
                    jwk=orjson.dumps(to_jwk(key.public_key())).decode(),
                    server=self.server,
                    created_at=unit.now,
                    signs_from=signs_from,
                )
            )
            unit.log(
                by, "grant_key.registered", kid, server=self.server, signs_from=str(signs_from)
            )
        self._private[kid] = key
        self._refresh(at_once=True)
        return kid

    def _drop_private(self) -> None:
        """Of own keys that will not sign again."""
        now = self.clock()
        for kid in list(self._private):
            key = self._known.get(kid)
            if key is None or not key.over(now):
                continue  # not registered yet, or still of use
            del self._private[kid]
            if self.folder is not None:
                _file(self.folder, kid).unlink(missing_ok=True)


def published_keys(session: Any) -> dict[str, SigningKey]:
    rows = session.exec(select(SigningKeyRow).order_by(col(SigningKeyRow.created_at))).all()
    return {
        row.kid: SigningKey(
            row.kid,
            orjson.loads(row.jwk),
            row.server,
            row.created_at,
            row.signs_from,
            row.superseded_at,
            row.retired_at,
        )
        for row in rows
    }


def counting(session: Any, now: datetime) -> dict[str, Ed25519PublicKey]:
    """The keys whose signatures count at this moment, read in the caller's transaction."""
    found = [key.jwk for key in published_keys(session).values() if key.published(now)]
    return read_keys({"keys": found}, "the store")


# -- files --------------------------------------------------------------------------------------


def fresh_key() -> tuple[Ed25519PrivateKey, str]:
    """A key and its id, which is none that a command line would take for an option."""
    while True:
        key = Ed25519PrivateKey.generate()
        kid = thumbprint(key.public_key())
        if not kid.startswith("-"):
            return key, kid


def _file(folder: Path, kid: str) -> Path:
    return folder / f"{kid}.pem"


def _store(folder: Path, kid: str, key: Ed25519PrivateKey) -> None:
    """Whole or not at all, and never readable by anybody else, not even for a moment."""
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = folder / f".{kid}.{secrets.token_hex(4)}"
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(_file(folder, kid))


def _load(folder: Path, but: Mapping[str, object] | None = None) -> dict[str, Ed25519PrivateKey]:
    """Raises InvalidInput for a file that others may read, or that is no such key."""
    found: dict[str, Ed25519PrivateKey] = {}
    for file in sorted(folder.glob("*.pem")) if folder.is_dir() else []:
        if file.stem in (but or {}):
            continue
        where = f"GATES_SIGNING_KEYS: {str(file)!r}"
        try:
            if file.stat().st_mode & OTHERS:
                raise InvalidInput(f"{where} can be read by others: `chmod 600` it, or rotate.")
            key = load_pem_private_key(file.read_bytes(), None)
        except FileNotFoundError:  # another process of this folder has just dropped it
            continue
        except (ValueError, TypeError) as error:
            raise InvalidInput(f"{where} is not a private key in PEM: {error}.") from error
        if not isinstance(key, Ed25519PrivateKey) or thumbprint(key.public_key()) != file.stem:
            raise InvalidInput(f"{where} is not the Ed25519 key that its name says: remove it.")
        found[file.stem] = key
    return found
