"""Where a text could send something: accounts, numbers, mail addresses, hosts. Pure.

Rules, each with what it protects from:
1. A text is read in each of its disguises (percent signs, HTML entities, escapes, full-width and
   invisible characters), and what any of them shows counts (an agent that hides an address).
2. What may be a destination counts as one (a missed one is a hole; one too many only asks).
3. Letters that only look like others stay others: a host or a mailbox is compared by its code
   points, never by its looks (homographs).
4. A host is what stands after the last `@` of an authority; what stands in a query is read for
   destinations of its own (`http://known.example@evil.example`, redirects).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from gates.core.disguises import disguises

Kind = Literal["account", "number", "address", "url", "name"]

LONGEST_LEAF = 64  # a value that may be an account written in odd groups
LEAST_DIGITS = 8  # of an account
# Endings of files that are no top-level domains. `.zip`, `.sh`, `.md` and the like are both.
_ENDINGS = """
txt text doc docx odt rtf pdf xls xlsx ods csv tsv ppt pptx odp json jsonl yaml yml toml xml html
htm css js ts png jpg jpeg gif svg bmp webp mp3 mp4 wav avi gz tar tgz bz rar ics eml log ini cfg
conf sql db sqlite ipynb exe dll bin bak tmp
"""
FILES = frozenset(_ENDINGS.split())
_DATE = re.compile(
    r"\b\d{4}-\d{1,2}-\d{1,2}(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?\b"
    r"|\b\d{1,2}[./]\d{1,2}[./]\d{2,4}\b|\b\d{1,2}:\d{2}(?::\d{2})?\b"
)
_UUID = re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.IGNORECASE)
_URL = re.compile(r"[a-z][a-z0-9+.-]{0,30}:[/\\]{2,}([^\s<>\"'`{}|]+)", re.IGNORECASE)
_ADDRESS = re.compile(
    r"(\"[^\"\n]{1,64}\"|[^\s@<>()\[\],;:\"'|]{1,64})@(\[[^\]\s]{1,64}\]|[\w.-]+)"
)
_HOST = re.compile(
    r"(?<!\w)((?:[\w-]{1,63}\.){1,12}(?:xn--[a-z0-9-]{1,59}|[^\W\d_]{2,63})|\d{1,3}(?:\.\d{1,3}){3})"
    r"(?!\w)(\.?(?::\d{1,5})?(?:[/?#][^\s<>\"'`{}|]*)?)",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"([^A-Z]+\.[^A-Z]+)\.[A-Z][^.]*")  # "at www.known.example.They said"
_ACCOUNT = re.compile(
    r"(?<![A-Z0-9])[A-Z]{2}\d{2}(?:[A-Z0-9]{8,32}|(?:[ .-][A-Z0-9]{4}){2,7}(?:[ .-][A-Z0-9]{1,4})?)"
    r"(?![A-Z0-9])",
    re.IGNORECASE,
)
_WALLET = re.compile(
    r"\b(?:0x[0-9a-fA-F]{40}|bc1[a-z0-9]{20,70}|[13][1-9A-HJ-NP-Za-km-z]{25,34})\b"
)
_PHONE = re.compile(
    r"(?<![\w.])(?:(?:\+|00)\d(?:[ ()./-]{0,2}\d){6,18}|\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4})(?!\w)"
)
_DIGITS = re.compile(r"(?<!\d)\d{9,34}(?!\d)")
_SPACED_DIGITS = re.compile(r"(?<!\w)\+?\d(?:[ ()./-]{0,2}\d){6,33}(?!\w)")
_TAIL = ".,;:!?'\")]}*_"


class Destination(NamedTuple):
    """`value` is what two spellings of one destination share, and what people are shown."""

    kind: Kind
    value: str
    host: str = ""
    path: str = ""
    query: str = ""


def destinations(text: str, *, leaf: bool = True, generous: bool = False) -> list[Destination]:
    """All that `text` could point to. `leaf`: it is one value and may be an account by itself.
    `generous`: as people write, with numbers in whatever groups and no blank after a full stop.
    """
    found: dict[Destination, None] = {}
    bare = text.strip()
    texts = [text]
    if leaf and " " not in bare and len(bare.split()) > 1:  # browsers skip tabs and line ends
        texts.append("".join(bare.split()))
    for variant in (shown for one in texts for shown in disguises(one)):
        found |= dict.fromkeys(_found(variant, leaf=leaf, generous=generous))
    return list(found)


def _found(text: str, *, leaf: bool, generous: bool) -> Iterator[Destination]:
    if leaf and len(text) <= LONGEST_LEAF:
        yield from _whole(text)
    rest = _UUID.sub(" ", text)
    queries: list[str] = []
    for match in _URL.finditer(rest):
        url = _url(match[1])
        if url is not None:
            yield url
            queries.append(url.query)
    rest = _URL.sub(" ", rest) + " " + " ".join(queries)
    for match in _ADDRESS.finditer(rest):
        yield _address(match[1], match[2])
    rest = _ADDRESS.sub(" ", rest)
    for match in _HOST.finditer(rest):
        yield from _bare(match[1], match[2])
        if generous and (joined := _SENTENCE.fullmatch(match[1])):
            yield from _bare(joined[1], "")
    rest = _HOST.sub(lambda match: match[0] if _is_file(match[1]) else " ", rest)
    yield from _numbers(rest, generous=generous)


def _bare(host: str, more: str) -> Iterator[Destination]:
    """A host without a scheme; a file's name is none."""
    url = None if _is_file(host) and not more.startswith(":") else _url(host + more)
    if url is not None:
        yield url
        yield from destinations(url.query, leaf=False) if url.query else ()


def _is_file(name: str) -> bool:
    lowered = name.lower()
    return lowered.rsplit(".", 1)[-1] in FILES and not lowered.startswith("www.")


def _url(text: str) -> Destination | None:
    text = text.rstrip(_TAIL).replace("\\", "/")
    authority, mark, rest = _parted(text)
    host = authority.rpartition("@")[2].rstrip(".")
    host = re.sub(r"\.?:(?:80|443)?$", "", host).removesuffix(".")
    host = ".".join(_label(label) for label in host.split("."))
    host = host.removeprefix("www.") if host.count(".") > 1 else host
    if not host:
        return None
    path, _, query = (rest if mark == "/" else f"?{rest}").partition("?")
    if mark == "#":
        path, query = "", ""
    path = path.partition("#")[0]
    path = posixpath.normpath(f"/{path}").lstrip("/") if path else ""
    shown = host + (f"/{path}" if path else "") + (f"?{query}" if query else "")
    return Destination("url", shown, host, path, query)


def _parted(text: str) -> tuple[str, str, str]:
    found = re.search(r"[/?#]", text)
    return (text[: found.start()], found[0], text[found.end() :]) if found else (text, "/", "")


def _label(label: str) -> str:
    """A part of a host as the net spells it. No mapping of letters: a sharp s stays one."""
    lowered = label.lower()
    return lowered if lowered.isascii() else f"xn--{lowered.encode('punycode').decode()}"


def _address(local: str, domain: str) -> Destination:
    box = local.strip('"').lower().lstrip(_TAIL).split("+", 1)[0] or local.lower()
    at = ".".join(_label(label) for label in domain.rstrip("._-").split("."))
    return Destination("address", f"{box}@{at}")


def _numbers(text: str, *, generous: bool) -> Iterator[Destination]:
    for match in _WALLET.finditer(text):
        yield Destination("account", match[0])
    text = _WALLET.sub(" ", text)
    for match in _ACCOUNT.finditer(text):
        yield from _account(match[0])
    text = _DATE.sub(" ", _ACCOUNT.sub(_unless_account, text))
    for pattern in (_PHONE, _SPACED_DIGITS if generous else _DIGITS):
        for match in pattern.finditer(text):
            yield _number(match[0])


def _unless_account(match: re.Match[str]) -> str:
    return " " if next(_account(match[0]), None) else match[0]


def _account(text: str) -> Iterator[Destination]:
    groups = re.split(r"[ .-]", text)
    while len(groups) > 1 and groups[-1].isalpha():  # a word that stands behind it
        groups.pop()
    packed = "".join(groups).upper()
    if sum(one.isdigit() for one in packed) >= LEAST_DIGITS:
        yield Destination("account", packed)


def _number(text: str) -> Destination:
    digits = "".join(one for one in text if one.isdigit())
    return Destination("number", digits.removeprefix("00"))


def _whole(text: str) -> Iterator[Destination]:
    """A value that is nothing but an account or a number, however it is grouped."""
    packed = "".join(one for one in _DATE.sub("", text) if one.isalnum())
    if not packed.isascii() or _UUID.search(text):
        return
    if re.fullmatch(r"[A-Za-z]{2}\d{2}[A-Za-z0-9]{8,32}", packed):
        yield from _account(packed)
    elif re.fullmatch(r"\d{9,34}", packed):
        yield _number(packed)
