"""Grants as signed tokens: compact JSON Web Signatures (RFC 7515) with Ed25519 (RFC 8037).

Whoever holds the server's public keys can tell by itself what was approved: no connection has
to be believed. Rules, each with what it protects from:
1. The algorithm is fixed here and never taken from the token (`none`, a public key used as
   an HMAC secret).
2. A key is named by its RFC 7638 thumbprint, computed here and not believed (a foreign key under
   a known name).
3. A token has one spelling: padding, foreign characters and spare bits are refused (two texts,
   one grant, where somebody counts texts).
4. Time is an argument; from the second `exp` on the grant is void (RFC 7519, 4.1.4).
5. Every field is there and nothing else is (a token of another kind, signed with the same key).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from jwt.api_jws import PyJWS
from jwt.exceptions import InvalidTokenError
from pydantic import ConfigDict, Field, ValidationError

from gates.core.errors import InvalidGrant, InvalidInput
from gates.core.model import Json
from gates.core.value import Value

TYPE = "gates-grant+jwt"
ALGORITHM = "EdDSA"
AFTER_LEASE = timedelta(seconds=5)  # `exp` lies so far behind the lease: the report's own way
CLOCKS = timedelta(seconds=5)  # by so much may the clocks of two machines differ
LONGEST_TOKEN = 8_192  # characters

_JWS = PyJWS(algorithms=[ALGORITHM])
_FORM = re.compile(r"[A-Za-z0-9_-]{1,2048}\.[A-Za-z0-9_-]{1,6144}\.[A-Za-z0-9_-]{86}")

Keys = Mapping[str, Ed25519PublicKey]


class Claims(Value):
    """What a grant says. Times are seconds since 1970; digests are SHA-256 in hex.

    `audience`: in whose hands it counts: `key:ID` of an executor's API key, or `run:ID`.
    `arguments` is the digest of the arguments alone, for who sees nothing else of the action.
    `precondition`: digest of the state of the real system that was approved. `by`: the names of
    those whose word it was.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)

    issuer: str = Field(alias="iss")
    request_id: str = Field(alias="sub")
    attempt_id: str = Field(alias="jti")
    audience: str = Field(alias="aud")
    issued_at: int = Field(alias="iat")
    not_before: int = Field(alias="nbf")
    expires_at: int = Field(alias="exp")
    action: str = Field(alias="act")
    use: Literal["execute", "reconcile"]
    arguments: str = Field(alias="arg")
    fingerprint: str = Field(alias="fpr")
    policy_digest: str = Field(alias="pol")
    precondition: str = Field(alias="pre")
    fence: int
    idempotency_key: str = Field(alias="idem")
    by: tuple[str, ...]

    @property
    def expires(self) -> datetime:
        return datetime.fromtimestamp(self.expires_at, UTC)


def state_digest(state: Json) -> str:
    """Of a precondition: any JSON, floats too, unlike what is approved itself."""
    return hashlib.sha256(orjson.dumps(state, option=orjson.OPT_SORT_KEYS)).hexdigest()


def sign(claims: Claims, kid: str, key: Ed25519PrivateKey) -> str:
    body = orjson.dumps(claims.model_dump(by_alias=True))
    return _JWS.encode(body, key, algorithm=ALGORITHM, headers={"kid": kid, "typ": TYPE})


def key_id(token: str) -> str:
    """Which key is said to have signed this; nothing is verified. Raises InvalidGrant."""
    if len(token) > LONGEST_TOKEN or not _FORM.fullmatch(token):
        raise InvalidGrant(
            "This is not a grant: a grant is three base64url texts joined by dots, as the server "
            "hands it out."
        )
    head, _, signature = token.split(".")
    if _text(_bytes(signature)) != signature:
        raise InvalidGrant("The grant's signature is not spelled as base64url spells it.")
    try:
        header = orjson.loads(_bytes(head))
    except orjson.JSONDecodeError as error:
        raise InvalidGrant("The grant's header is not JSON: it was changed on its way.") from error
    if not isinstance(header, dict) or header.keys() != {"alg", "kid", "typ"}:
        raise InvalidGrant("The grant's header does not hold exactly alg, kid and typ.")
    for name, wanted in (("alg", ALGORITHM), ("typ", TYPE)):
        if header[name] != wanted:
            raise InvalidGrant(f"{name} = {str(header[name])[:40]!r}: a grant has {wanted!r}.")
    if not isinstance(header["kid"], str):
        raise InvalidGrant("The grant's kid is not a text.")
    return header["kid"]


def verify(
    token: str,
    keys: Keys,
    now: datetime,
    *,
    fingerprint: str | None = None,
    audience: str | None = None,
    leeway: timedelta = CLOCKS,
) -> Claims:
    """What the grant says, if it is one of ours, counts now, and is for `fingerprint` and
    `audience` where these are given. Raises InvalidGrant saying what is wrong.
    """
    kid = key_id(token)
    if kid not in keys:
        raise InvalidGrant(
            f"kid = {kid[:60]!r} is none of the known keys: it is retired, has run out, or is "
            "not this server's.",
            kid=kid,
        )
    claims = _claims(token, keys[kid])
    seconds = now.timestamp()
    if seconds >= claims.expires_at + leeway.total_seconds():
        raise InvalidGrant(f"The grant has expired at {claims.expires:%Y-%m-%d %H:%M:%S} UTC.")
    if seconds < claims.not_before - leeway.total_seconds():
        begins = datetime.fromtimestamp(claims.not_before, UTC)
        raise InvalidGrant(
            f"The grant counts from {begins:%Y-%m-%d %H:%M:%S} UTC on: compare the clocks."
        )
    if fingerprint is not None and claims.fingerprint != fingerprint:
        raise InvalidGrant(
            f"The grant is for fingerprint {claims.fingerprint[:12]}, and this is "
            f"{fingerprint[:12]}: something else was approved."
        )
    if audience is not None and claims.audience != audience:
        raise InvalidGrant(f"The grant is for {claims.audience[:60]!r}, and this is {audience!r}.")
    return claims


def _claims(token: str, key: Ed25519PublicKey) -> Claims:
    try:
        payload = _JWS.decode(token, key, algorithms=[ALGORITHM])
    except InvalidTokenError as error:
        raise InvalidGrant(
            f"The grant's signature does not fit ({error}): it was changed, or somebody else "
            "signed it under this key's name."
        ) from error
    try:
        return Claims.model_validate_json(payload)
    except ValidationError as error:
        fields = ", ".join(str(one["loc"][0]) if one["loc"] else "body" for one in error.errors())
        raise InvalidGrant(f"What was signed is not a grant: see {fields}.") from error


# -- public keys as JSON Web Keys ---------------------------------------------------------------


def thumbprint(key: Ed25519PublicKey) -> str:
    """RFC 7638, with the members that RFC 8037 names for such keys."""
    body = f'{{"crv":"Ed25519","kty":"OKP","x":"{_text(key.public_bytes_raw())}"}}'
    return _text(hashlib.sha256(body.encode()).digest())


def to_jwk(key: Ed25519PublicKey) -> dict[str, str]:
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": _text(key.public_bytes_raw()),
        "kid": thumbprint(key),
        "use": "sig",
        "alg": ALGORITHM,
    }


def read_keys(document: Any, name: str) -> dict[str, Ed25519PublicKey]:
    """The keys of a JWK set by their thumbprints. Raises InvalidInput naming `name`."""
    found = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(found, list):
        raise InvalidInput(f'{name} is not a JWK set: write {{"keys": [...]}}.')
    keys = [_read_key(jwk, f"{name}: keys[{number}]") for number, jwk in enumerate(found)]
    return {thumbprint(key): key for key in keys}


def _read_key(jwk: Any, where: str) -> Ed25519PublicKey:
    if not isinstance(jwk, dict) or (jwk.get("kty"), jwk.get("crv")) != ("OKP", "Ed25519"):
        raise InvalidInput(f"{where} is not an Ed25519 key (kty OKP, crv Ed25519).")
    if "d" in jwk:
        raise InvalidInput(f"{where} holds a private key (d): publish only kty, crv, x and kid.")
    try:
        key = Ed25519PublicKey.from_public_bytes(_bytes(str(jwk.get("x", ""))))
    except (ValueError, binascii.Error) as error:
        raise InvalidInput(f"{where}: x is not the 32 bytes of a public key.") from error
    if jwk.get("kid", thumbprint(key)) != thumbprint(key):
        raise InvalidInput(f"{where}: kid is not the key's thumbprint {thumbprint(key)}.")
    return key


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
