"""All places in the source that log something, found in its syntax trees."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from support.places import REPOSITORY

SOURCE = REPOSITORY / "src" / "enlarger"
LEVELS = ("debug", "info", "warning", "error", "exception", "critical")


@dataclass(frozen=True)
class LogCall:
    """One call of a logger."""

    place: str
    """File and line."""

    level: str
    event: str | None
    """None: it is not written there as a plain text."""

    call: ast.Call
    caught: frozenset[str]
    """Names of exceptions that are caught around it."""

    @property
    def fields(self) -> set[str]:
        """Names of what the line has besides its event."""
        return {keyword.arg for keyword in self.call.keywords if keyword.arg is not None}


def log_calls() -> list[LogCall]:
    """Return the calls in the whole package."""
    found: list[LogCall] = []
    for path in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and (level := _level(node)) is not None:
                first = node.args[0] if node.args else None
                event = first.value if isinstance(first, ast.Constant) else None
                place = f"{path.relative_to(SOURCE)}:{node.lineno}"
                found.append(
                    LogCall(
                        place,
                        level,
                        event if isinstance(event, str) else None,
                        node,
                        frozenset(_caught(tree, node)),
                    )
                )
    return found


def _level(call: ast.Call) -> str | None:
    """The level of a call of ``log``, or of a logger that is made for the moment."""
    function = call.func
    if not isinstance(function, ast.Attribute) or function.attr not in LEVELS:
        return None
    named = isinstance(function.value, ast.Name) and function.value.id == "log"
    made = "get_logger" in ast.dump(function.value)
    return function.attr if named or made else None


def _caught(tree: ast.Module, call: ast.Call) -> set[str]:
    """Exceptions by the names that they have around a call, and arguments that hold one."""
    names = {"error"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.name and call in ast.walk(node):
            names.add(node.name)
    return names
