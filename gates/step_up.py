"""A second proof of who decides: a code of the person's authenticator app (TOTP, RFC 6238).

Rules, each with what it protects from:
1. The secret is shown once, to the person whose it is, and counts once they have confirmed it with
   a code (a secret that reached nobody would lock them out).
2. A code is taken once, under the row's lock, and none that is older than the last (whoever looks
   over a shoulder).
3. After some wrong ones in a row none is taken for a while, and longer with each further one (a
   million codes are few). The wait is the person's, whatever session they come with.
4. Who has an authenticator gets another one only through an admin (a stolen session).
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import pyotp
from sqlmodel import select

from gates.access import digest_of
from gates.core.asked import PersonId
from gates.core.errors import InvalidInput, NotAuthenticated, WrongCode
from gates.recording import utc_now
from gates.store.database import Database
from gates.store.repository import Unit
from gates.store.second_factor import AuthenticatorRow
from gates.store.tables import SessionRow

ISSUER = "prefect-gates"
CODE = re.compile(r"[0-9]{6}", re.ASCII)
STEP_SECONDS = 30
DRIFT = 1  # steps by which a clock may be off
FREE_TRIES = 5
FIRST_WAIT = timedelta(minutes=1)
LONGEST_WAIT = timedelta(hours=1)
SET_UP = "set one up on your page in the inbox (/people/me)"


class Secret(NamedTuple):
    """What an authenticator app is told, as text and as the address in the picture."""

    text: str
    uri: str


@dataclass
class StepUp:
    database: Database
    clock: Callable[[], datetime] = utc_now

    def enrolled(self, person_id: PersonId) -> bool:
        with self.database.read() as session:
            row = session.get(AuthenticatorRow, person_id)
        return row is not None and row.confirmed_at is not None

    def enrol(self, person_id: PersonId) -> Secret:
        """A new secret, shown once; it counts once `confirm` has seen a code of it. Raises
        InvalidInput where the person has an authenticator.
        """
        text = pyotp.random_base32()
        with self.database.write() as session:
            unit = Unit(session, self.clock())
            row = session.get(AuthenticatorRow, person_id, with_for_update=True)
            if row is not None and row.confirmed_at is not None:
                raise InvalidInput(
                    "You have an authenticator already: an admin can reset it "
                    f"(`gates person reset-totp {person_id}`)."
                )
            if row is None:
                row = AuthenticatorRow(person=person_id, secret=text, created_at=unit.now)
            row.secret, row.created_at, row.last_step = text, unit.now, 0
            session.add(row)
            unit.log(person_id, "authenticator.shown", person_id)
        uri = pyotp.TOTP(text).provisioning_uri(name=person_id, issuer_name=ISSUER)
        return Secret(text, uri)

    def confirm(self, person_id: PersonId, code: str) -> None:
        """From now on codes of this authenticator count. Raises as `step_up`."""
        self._take(person_id, code, confirming=True)

    def step_up(self, token: str, code: str) -> None:
        """Mark this session as one whose person has shown a code, for some minutes.

        Raises NotAuthenticated, InvalidInput (no authenticator), or WrongCode (too many, too).
        """
        with self.database.read() as session:
            found = session.get(SessionRow, digest_of(token))
        if found is None or found.ended_at is not None or found.expires_at <= self.clock():
            raise NotAuthenticated("You are not logged in, or no longer: open a new login link.")
        self._take(found.person, code, session_digest=found.digest)

    def reset(self, person_id: PersonId, by: str) -> bool:
        """Forget an authenticator; False where there is none. What rested on it ends with it."""
        with self.database.write() as session:
            unit = Unit(session, self.clock())
            row = session.get(AuthenticatorRow, person_id, with_for_update=True)
            if row is None:
                return False
            session.delete(row)
            for one in session.exec(select(SessionRow).where(SessionRow.person == person_id)):
                one.stepped_up_at = None
            unit.log(by, "authenticator.reset", person_id)
        return True

    def _take(
        self, person_id: PersonId, code: str, *, confirming: bool = False, session_digest: str = ""
    ) -> None:
        with self.database.write() as session:
            unit = Unit(session, self.clock())
            row = session.get(AuthenticatorRow, person_id, with_for_update=True)
            if row is None or (row.confirmed_at is None) is not confirming:
                here = "is confirmed already" if row and confirming else f"is not there: {SET_UP}"
                raise InvalidInput(f"Your authenticator {here}.")
            _refuse_hasty(row, unit.now)
            step = _step(row, code, unit.now)
            if step is None:
                row.wrong += 1
                if row.wrong >= FREE_TRIES:
                    wait = FIRST_WAIT * 2 ** min(row.wrong - FREE_TRIES, 10)
                    row.waits_until = unit.now + min(wait, LONGEST_WAIT)
                unit.log(person_id, "authenticator.refused", person_id, wrong=row.wrong)
            else:
                row.last_step, row.wrong, row.waits_until = step, 0, None
                row.confirmed_at = row.confirmed_at or unit.now
                unit.log(
                    person_id,
                    "authenticator.confirmed" if confirming else "session.stepped_up",
                    person_id,
                )
                if session_digest:
                    stepped = session.get(SessionRow, session_digest, with_for_update=True)
                    assert stepped is not None  # noqa: S101 - sessions are kept
                    stepped.stepped_up_at = unit.now
        if step is None:
            raise WrongCode(
                "This code is wrong, or was used before: type the one that your authenticator app "
                "shows now."
            )


def _refuse_hasty(row: AuthenticatorRow, now: datetime) -> None:
    if row.waits_until is not None and now < row.waits_until:
        left = int((row.waits_until - now).total_seconds()) // 60 + 1
        raise WrongCode(f"Too many wrong codes: wait {left} min, then try again.")


def _step(row: AuthenticatorRow, code: str, now: datetime) -> int | None:
    """The step whose code this is, if it may still be used."""
    text = "".join(code.split())
    if not CODE.fullmatch(text):
        return None
    totp, this = pyotp.TOTP(row.secret), int(now.timestamp()) // STEP_SECONDS
    for step in range(this - DRIFT, this + DRIFT + 1):
        if step > row.last_step and hmac.compare_digest(totp.generate_otp(step), text):
            return step
    return None
