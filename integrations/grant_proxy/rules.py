"""The rules file of the proxy: which request means which action. Every mistake with its place.

version: 1
reads: [GET, HEAD]                    # pass without a grant; these two by default
headers: [X-Request-Id]               # of writes; what is not named does not reach the API
writes:
- action: crm.customer.update
method: PUT
path: /customers/{customer:int}   # {name} is a text, {name:int} a whole number
body: rest                        # all other arguments as a JSON object; or: none
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

import yaml

from gates.core.yaml_file import Fields, YamlFile

METHOD = re.compile(r"[A-Z]{3,16}")
FIELD = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(?::(\w+))?\}")
LITERAL = re.compile(r"[A-Za-z0-9._~-]+")
HEADER = re.compile(r"[A-Za-z0-9-]+")
WRITING = ("POST", "PUT", "PATCH", "DELETE")
ALWAYS_DROPPED = ("host", "cookie", "gates-grant", "idempotency-key", "content-type")

Kind = Literal["text", "int"]
Body = Literal["rest", "none"]


@dataclass(frozen=True)
class Part:
    """One step of a path: a word as it stands, or an argument."""

    text: str
    kind: Kind | None = None


@dataclass(frozen=True)
class Write:
    action: str
    method: str
    path: tuple[Part, ...]
    body: Body


@dataclass(frozen=True)
class Rules:
    reads: frozenset[str]
    headers: frozenset[str]
    writes: tuple[Write, ...]


def load_rules(text: str, name: str) -> Rules:
    """Raises InvalidPolicy with file, line, column and the cure of every mistake."""
    file = YamlFile(text, name)
    top = Fields(file, file.root(), "the rules", ("version", "reads", "headers", "writes"))
    top.require("version", "writes")
    if top.text("version") not in (None, "1"):
        file.note(top.values["version"], "the version is not known: write 1")
    reads = _reads(file, top)
    headers = _headers(file, top)
    writes = [_write(file, node, reads) for node in top.items("writes")]
    file.check()
    return Rules(reads, headers, tuple(one for one in writes if one is not None))


def _reads(file: YamlFile, top: Fields) -> frozenset[str]:
    if "reads" not in top:
        return frozenset({"GET", "HEAD"})
    for method, node in top.texts("reads"):
        if not METHOD.fullmatch(method) or method in WRITING:
            file.note(node, f"{method!r} does not only read: leave it out of `reads`")
    return frozenset(method for method, _ in top.texts("reads"))


def _headers(file: YamlFile, top: Fields) -> frozenset[str]:
    for header, node in top.texts("headers"):
        if not HEADER.fullmatch(header):
            file.note(node, f"{header!r} is not the name of a header")
        elif header.lower() in ALWAYS_DROPPED:
            file.note(node, f"{header!r} is set by the proxy itself: leave it out")
    return frozenset(header.lower() for header, _ in top.texts("headers"))


def _write(file: YamlFile, node: yaml.Node, reads: frozenset[str]) -> Write | None:
    fields = Fields(file, node, "a write", ("action", "method", "path", "body"))
    fields.require("action", "method", "path")
    action, method, path = (fields.text(key) for key in ("action", "method", "path"))
    body = fields.text("body") or "rest"
    if body not in get_args(Body):
        file.note(fields.values["body"], f"body {body!r} is not known: write rest or none")
    if method is not None and not METHOD.fullmatch(method):
        file.note(fields.values["method"], f"{method!r} is not an HTTP method in capitals")
    if method in reads:
        file.note(fields.values["method"], f"{method} passes as a read: take it out of `reads`")
    parts = _path(file, fields.values["path"], path) if path is not None else ()
    if action is None or method is None:
        return None
    return Write(action, method, parts, "none" if body == "none" else "rest")


def _path(file: YamlFile, node: yaml.Node, path: str) -> tuple[Part, ...]:
    if not path.startswith("/"):
        file.note(node, f"path {path!r} does not begin with /")
        return ()
    parts: list[Part] = []
    for step in path[1:].split("/"):
        found = FIELD.fullmatch(step)
        if found is not None and found[2] in (None, "text", "int"):
            kind: Kind = "int" if found[2] == "int" else "text"
            if any(part.kind and part.text == found[1] for part in parts):
                file.note(node, f"{{{found[1]}}} stands twice in the path: keep one of them")
            parts.append(Part(found[1], kind))
        elif LITERAL.fullmatch(step) and step not in (".", ".."):
            parts.append(Part(step))
        else:
            file.note(node, f"{step!r} in the path is neither a plain word nor {{name}}")
    return tuple(parts)
