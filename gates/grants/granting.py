"""From an attempt that was handed out to its signed grant. The token is made each time that it is
handed out and stored nowhere; the same attempt under the same key gives the same token.
"""

from __future__ import annotations

from dataclasses import dataclass

from gates.core import execution as tries
from gates.core.canonical import digest
from gates.core.errors import InvalidGrant
from gates.core.model import Attempt, Grant
from gates.grants.keyring import KeyRing
from gates.grants.token import AFTER_LEASE, Claims, sign, state_digest
from gates.store.aggregate import Aggregate


@dataclass(frozen=True)
class Granting:
    """`issuer`: this server's address, as the grants name it."""

    keys: KeyRing
    issuer: str

    def grant(self, current: Aggregate, audience: str = "") -> Grant:
        """The grant of the open attempt, signed. `audience` is the executor's API key; a flow's
        own function has its run. Not within a transaction: a key may have to be made.
        """
        execution = current.execution
        if execution is None or execution.last is None:
            raise InvalidGrant("Nobody holds this grant: claim it first.")
        made = tries.grant(current.request, execution)
        claims = self._claims(current, execution.last, made, audience or run_audience(current))
        return made.model_copy(update={"token": sign(claims, *self.keys.signer())})

    def _claims(self, current: Aggregate, attempt: Attempt, grant: Grant, audience: str) -> Claims:
        request, outcome = current.request, current.outcome
        started = int(attempt.started_at.timestamp())
        return Claims(
            issuer=self.issuer,
            request_id=grant.request_id,
            attempt_id=grant.attempt_id,
            audience=audience,
            issued_at=started,
            not_before=started,
            expires_at=int((grant.lease_until + AFTER_LEASE).timestamp()),
            action=request.action.name,
            use="reconcile" if attempt.reconciling else "execute",
            arguments=digest(request.action.arguments),
            fingerprint=grant.fingerprint,
            policy_digest=grant.policy_digest,
            precondition=state_digest(request.precondition),
            fence=grant.fence,
            idempotency_key=tries.idempotency_key(request),
            by=outcome.by if outcome else (),
        )


def key_audience(key_id: str) -> str:
    """Of what an executor gets: its API key's id, which it knows without asking anybody."""
    return f"key:{key_id}"


def run_audience(current: Aggregate) -> str:
    return f"run:{current.request.run.run_id}"
