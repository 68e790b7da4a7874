"""Signed grants as values: what is refused, and that nothing else is needed to refuse it."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from gates.core.errors import InvalidGrant, InvalidInput
from gates.grants.keyring import fresh_key
from gates.grants.token import Claims, key_id, read_keys, sign, thumbprint, to_jwk, verify
from gates.grants.trusted_keys import TrustedKeys

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
AT = int(NOW.timestamp())
NONE = timedelta()
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KID = thumbprint(PRIVATE.public_key())
KEYS = {KID: PRIVATE.public_key()}
CLAIMS = Claims(
    issuer="http://gates.test",
    request_id="r" * 32,
    attempt_id="attempt-one",
    audience="key:abc123",
    issued_at=AT,
    not_before=AT,
    expires_at=AT + 30,
    action="till.pay",
    use="execute",
    arguments="a" * 64,
    fingerprint="f" * 64,
    policy_digest="p" * 64,
    precondition="c" * 64,
    fence=1,
    idempotency_key="GATE-1",
    by=("Dana Okafor",),
)
TOKEN = sign(CLAIMS, KID, PRIVATE)


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forged(header: dict[str, Any], payload: bytes | None = None, signature: bytes = b"") -> str:
    """A token put together by hand; the true payload and an empty-looking signature by default."""
    body = TOKEN.split(".")[1] if payload is None else b64(payload)
    return f"{b64(orjson.dumps(header))}.{body}.{b64(signature or bytes(64))}"


def signed(payload: bytes, private: Ed25519PrivateKey = PRIVATE, **header: Any) -> str:
    head = {"alg": "EdDSA", "kid": KID, "typ": "gates-grant+jwt"} | header
    text = f"{b64(orjson.dumps(head))}.{b64(payload)}"
    return f"{text}.{b64(private.sign(text.encode()))}"


def body(**changes: Any) -> bytes:
    return orjson.dumps(CLAIMS.model_dump(by_alias=True) | changes)


def test_a_grant_says_what_was_signed() -> None:
    """The claims come back as they went in, under the names of RFC 7519 where it has some."""
    assert verify(TOKEN, KEYS, NOW, fingerprint="f" * 64, audience="key:abc123") == CLAIMS
    assert key_id(TOKEN) == KID
    names = orjson.loads(base64.urlsafe_b64decode(TOKEN.split(".")[1] + "=="))
    assert names.keys() >= {"iss", "sub", "jti", "aud", "iat", "nbf", "exp"}


def test_a_key_is_named_by_its_thumbprint() -> None:
    """As in RFC 8037, appendix A.3."""
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    (kid,) = read_keys({"keys": [jwk]}, "the RFC")
    assert kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@given(st.integers(0, len(TOKEN) - 1), st.integers(0, 255))
def test_any_single_byte_that_is_changed_is_refused(index: int, byte: int) -> None:
    """There is one spelling of a grant, to the last bit of its last character."""
    raw = bytearray(TOKEN.encode("latin-1"))
    if raw[index] == byte:
        return
    raw[index] = byte
    with pytest.raises(InvalidGrant):
        verify(raw.decode("latin-1"), KEYS, NOW)


def test_every_spelling_of_the_last_character_but_one_is_refused() -> None:
    """Its spare bits carry nothing, and are not to carry anything."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    passed = [one for one in alphabet if passes(TOKEN[:-1] + one)]
    assert passed == [TOKEN[-1]]


def passes(token: str) -> bool:
    try:
        verify(token, KEYS, NOW)
    except InvalidGrant:
        return False
    return True


@pytest.mark.parametrize("token", ["", "x", "a.b", "a.b.c", TOKEN + "=", TOKEN + "\n", " " + TOKEN])
def test_what_is_no_token_is_refused(token: str) -> None:
    """By its form, before anything is decoded."""
    with pytest.raises(InvalidGrant, match="not a grant"):
        verify(token, KEYS, NOW)


@pytest.mark.parametrize("alg", ["none", "None", "HS256", "RS256", "ES256", "Ed448", "", None, 1])
def test_the_token_does_not_choose_its_algorithm(alg: Any) -> None:
    """`none`, and everything else but the one that the code names."""
    token = forged({"alg": alg, "kid": KID, "typ": "gates-grant+jwt"})
    with pytest.raises(InvalidGrant, match="alg = "):
        verify(token, KEYS, NOW)


def test_a_public_key_is_no_secret() -> None:
    """The old trick: HMAC with the published key."""
    public = PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head = b64(orjson.dumps({"alg": "HS256", "kid": KID, "typ": "gates-grant+jwt"}))
    text = f"{head}.{b64(body())}"
    mac = hmac.new(public, text.encode(), hashlib.sha256).digest()
    with pytest.raises(InvalidGrant):
        verify(f"{text}.{b64(mac)}", KEYS, NOW)
    with pytest.raises(InvalidGrant, match="alg = "):
        verify(f"{text}.{b64(mac + mac)}", KEYS, NOW)


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "EdDSA", "kid": KID},
        {"alg": "EdDSA", "kid": KID, "typ": "JWT"},
        {"alg": "EdDSA", "kid": KID, "typ": "gates-grant+jwt", "crit": ["b64"], "b64": False},
        {"alg": "EdDSA", "kid": KID, "typ": "gates-grant+jwt", "jwk": to_jwk(PRIVATE.public_key())},
        {"alg": "EdDSA", "kid": [KID], "typ": "gates-grant+jwt"},
        [],
    ],
)
def test_a_header_holds_three_words_and_no_more(header: Any) -> None:
    """No key of the sender's own, no extension, no other type."""
    text = f"{b64(orjson.dumps(header))}.{b64(body())}"
    with pytest.raises(InvalidGrant):
        verify(f"{text}.{b64(PRIVATE.sign(text.encode()))}", KEYS, NOW)


def test_another_key_under_this_ones_name_is_refused() -> None:
    """And one that nobody has published."""
    stranger = Ed25519PrivateKey.generate()
    with pytest.raises(InvalidGrant, match="signature does not fit"):
        verify(sign(CLAIMS, KID, stranger), KEYS, NOW)
    with pytest.raises(InvalidGrant, match="none of the known keys") as refusal:
        verify(sign(CLAIMS, thumbprint(stranger.public_key()), stranger), KEYS, NOW)
    assert refusal.value.details["kid"] == thumbprint(stranger.public_key())


def test_a_grant_ends_at_its_second() -> None:
    """RFC 7519: on or after `exp` it must not be accepted; nor before `nbf`."""
    last = NOW + timedelta(seconds=30)
    assert verify(TOKEN, KEYS, last - timedelta(microseconds=1), leeway=NONE)
    with pytest.raises(InvalidGrant, match="expired at 2026-11-20 09:00:30 UTC"):
        verify(TOKEN, KEYS, last, leeway=NONE)
    assert verify(TOKEN, KEYS, NOW, leeway=NONE)
    with pytest.raises(InvalidGrant, match="counts from"):
        verify(TOKEN, KEYS, NOW - timedelta(microseconds=1), leeway=NONE)
    leeway = timedelta(seconds=5)
    assert verify(TOKEN, KEYS, last + timedelta(seconds=4.9), leeway=leeway)
    with pytest.raises(InvalidGrant, match="expired"):
        verify(TOKEN, KEYS, last + leeway, leeway=leeway)


def test_a_grant_for_something_or_somebody_else_is_refused() -> None:
    """Both are named, so that the log says what was tried."""
    with pytest.raises(InvalidGrant, match="ffffffffffff, and this is eeeeeeeeeeee"):
        verify(TOKEN, KEYS, NOW, fingerprint="e" * 64)
    with pytest.raises(InvalidGrant, match="for 'key:abc123', and this is 'key:other'"):
        verify(TOKEN, KEYS, NOW, audience="key:other")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"{}",
        body(extra=1),
        body(exp=float(AT + 30)),
        body(exp=str(AT + 30)),
        body(exp=None),
        body(use="anything"),
        body(fence=True),
        orjson.dumps({"sub": "r", "fpr": "f" * 64}),
    ],
)
def test_what_is_signed_and_no_grant_is_refused(payload: bytes) -> None:
    """A server may sign other things with its key one day: they are no grants."""
    with pytest.raises(InvalidGrant):
        verify(signed(payload), KEYS, NOW)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "not a JWK set"),
        ({"keys": [{}]}, "not an Ed25519 key"),
        ({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AA"}]}, "32 bytes"),
        ({"keys": [to_jwk(PRIVATE.public_key()) | {"d": "x"}]}, "private key"),
        ({"keys": [to_jwk(PRIVATE.public_key()) | {"kid": "mine"}]}, "thumbprint"),
    ],
)
def test_a_key_set_that_is_none_is_refused(document: Any, words: str) -> None:
    """A foreign key cannot take a known one's name, and nobody publishes a private one."""
    with pytest.raises(InvalidInput, match=words):
        read_keys(document, "jwks.json")


def test_an_unknown_key_is_looked_for_but_not_at_every_lie() -> None:
    """Made-up kids soon do not make a process ask the server any more."""
    asked: list[int] = []

    def read() -> Any:
        asked.append(1)
        return {"keys": [to_jwk(PRIVATE.public_key())]}

    keys = TrustedKeys(read, "test")
    assert keys.verify(TOKEN, NOW) == CLAIMS
    for _ in range(50):
        stranger = Ed25519PrivateKey.generate()
        with pytest.raises(InvalidGrant):
            keys.verify(sign(CLAIMS, thumbprint(stranger.public_key()), stranger), NOW)
    assert len(asked) == 10


def test_pinned_keys_come_from_their_file_alone(tmp_path: Path) -> None:
    """What is missing or garbled is said at the start."""
    file = tmp_path / "jwks.json"
    with pytest.raises(InvalidInput, match="cannot be read"):
        TrustedKeys.pinned(file)
    file.write_text("{")
    with pytest.raises(InvalidInput, match="not JSON"):
        TrustedKeys.pinned(file)
    file.write_bytes(orjson.dumps({"keys": [to_jwk(PRIVATE.public_key())]}))
    assert TrustedKeys.pinned(file).verify(TOKEN, NOW) == CLAIMS


def test_no_key_id_looks_like_an_option():
    """`gates grant retire -abc…` would be one; of ids in base64url one in 64 begins so."""
    assert not [kid for _, kid in (fresh_key() for _ in range(500)) if kid.startswith("-")]
