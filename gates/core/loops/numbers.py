"""Digests as small numbers: what a run remembers of calls, outcomes and names."""

from __future__ import annotations

from hashlib import blake2b

HEX_DIGEST = 64  # characters of a SHA-256
BITS = 2**61 - 1


def number_of(digest: str) -> int:
    """61 bits of a digest: a run has too few steps for two to meet by accident. Of a text that is
    no digest, of its own digest.
    """
    if len(digest) == HEX_DIGEST:
        try:
            return int(digest, 16) % BITS  # a prime: all of its characters count
        except ValueError:
            pass
    hashed = blake2b(digest.encode("utf-8", "backslashreplace"), digest_size=8).digest()
    return int.from_bytes(hashed, "big") % BITS


def mix(one: int, other: int) -> int:
    """Of two numbers, so that each gives the other back."""
    return one ^ other
