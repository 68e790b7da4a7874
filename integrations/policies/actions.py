"""Which actions there are: those of the registry, and those that flows name in their files."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from gates.core.policy.checking import Known


def known_actions(registry: Iterable[str], folders: Iterable[Path]) -> Known:
    """Complete where the registry is there and all flows could be read."""
    registry = list(registry)
    found = dict.fromkeys(registry, "the registry")
    complete = bool(registry)
    for folder in folders:
        complete = complete and folder.exists()
        for path in [folder] if folder.is_file() else sorted(folder.rglob("*.py")):
            try:
                found |= {
                    name: where for name, where in actions_in(path).items() if name not in found
                }
            except (OSError, SyntaxError, ValueError):  # no flow runs from it either
                complete = False
    return Known(found, complete)


def actions_in(path: Path) -> Mapping[str, str]:
    """The actions that a file's own functions are: `gated("name")`, and `@gated` over one."""
    return {
        name: f"{path}:{line}:{column + 1}"
        for name, line, column in _gated(ast.parse(path.read_text(encoding="utf-8")))
    }


def _gated(tree: ast.Module) -> Iterator[tuple[str, int, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _is_gated(node.func) and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value, first.lineno, first.col_offset
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for decorator in node.decorator_list:
                if _is_gated(decorator):
                    yield node.name, node.lineno, node.col_offset


def _is_gated(node: ast.expr) -> bool:
    return (isinstance(node, ast.Name) and node.id == "gated") or (
        isinstance(node, ast.Attribute) and node.attr == "gated"
    )
