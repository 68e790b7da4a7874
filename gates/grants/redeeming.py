"""Using a grant up at the server: for a proxy before somebody else's system, which can verify a
token by itself but cannot know whether it was used before.
"""

from __future__ import annotations

from dataclasses import dataclass

from gates.core import execution as tries
from gates.core.errors import InvalidGrant, NotFound
from gates.core.messages import Redemption
from gates.core.model import OutcomeKind
from gates.grants.keyring import counting
from gates.grants.token import Claims, verify
from gates.service import Gates, KeyHolder
from gates.store.aggregate import Aggregate
from gates.store.repository import Unit


@dataclass(frozen=True)
class Redeeming:
    gates: Gates

    def redeem(self, caller: KeyHolder, token: str, method: str = "") -> Redemption:
        """What was approved, once: a second time the same grant is refused, and logged.
        `method`: what the grant is used for, for the log.

        Raises NotEntitled, or InvalidGrant saying what is wrong.
        """
        caller.refuse_unless("executor")
        with self.gates.database.write() as session:
            unit = Unit(session, self.gates.clock())
            subject, refusal, redeemed = "unknown", None, None
            try:
                claims = verify(token, counting(session, unit.now), unit.now)
                subject = claims.request_id
                redeemed = self._redeem(unit, caller, claims)
            except InvalidGrant as error:
                refusal = error
            who, words = caller.requester.agent, {"method": method}
            if refusal is not None:
                replayed = bool(refusal.details.get("replayed"))
                kind = "grant.replayed" if replayed else "grant.refused"
                unit.log(who, kind, subject, why=refusal.message, **words)
            elif redeemed is not None:
                words["attempt"] = redeemed.attempt_id
                unit.log(who, "grant.redeemed", subject, **words)
        if refusal is not None or redeemed is None:
            raise refusal or InvalidGrant("This grant allows nothing.")
        return redeemed

    def _redeem(self, unit: Unit, caller: KeyHolder, claims: Claims) -> Redemption:
        try:
            current = unit.load(claims.request_id, lock=True)
        except NotFound as error:
            raise InvalidGrant("This server's store has no request of this grant.") from error
        caller.refuse_unless_for(current.request.action.name)
        execution = current.execution
        if execution is None:
            raise InvalidGrant("Nobody holds this grant: it was not handed out by this store.")
        _refuse_another(current, claims)
        freeze = self.gates.frozen(unit, current.request)
        if freeze is not None:
            raise InvalidGrant(f"{freeze}. The grant is not used up.", frozen=freeze.id)
        after = tries.redeem(execution, claims.attempt_id, claims.fence, unit.now)
        unit.save(current, after)
        return Redemption(
            request_id=current.request.id,
            attempt_id=claims.attempt_id,
            action=current.request.action,
            fingerprint=current.request.action.fingerprint,
            idempotency_key=tries.idempotency_key(current.request),
            by=claims.by,
            expires_at=claims.expires,
        )


def _refuse_another(current: Aggregate, claims: Claims) -> None:
    """The store is asked again for what the token says, as it stands now."""
    request, outcome = current.request, current.outcome
    if outcome is None or outcome.kind is not OutcomeKind.APPROVED:
        stands = "open" if outcome is None else outcome.kind.value
        raise InvalidGrant(f"The request of this grant is {stands}, no longer approved.")
    if claims.use != "execute":
        raise InvalidGrant("This grant is for finding out what happened: it allows no call.")
    signed = (claims.fingerprint, claims.policy_digest)
    if signed != (request.action.fingerprint, request.judgement.policy_digest):
        raise InvalidGrant("The grant and its request name different actions or policies.")
