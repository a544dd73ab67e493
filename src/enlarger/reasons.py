"""Why something failed, in words for the log."""

from __future__ import annotations

import os
import re

_LONGEST_REASON = 300

_PYTHON_VALUES = (
    (re.compile(r":?\s*<\w+.*>$"), ""),
    (re.compile(r"\[Errno -?\d+\] "), ""),
    (re.compile(r"\('([^']*)', (\d+)(?:, \d+)*\)"), r"\1 port \2"),
)
"""What libraries put into their texts for programmers, and what it reads as in words."""


def reason_of(error: BaseException) -> str:
    """Why something failed, in words for the log: one line, never empty, without class names and Python values."""
    text = _words(error)
    for pattern, words in _PYTHON_VALUES:
        text = pattern.sub(words, text)
    lines = text.strip().splitlines()
    text = lines[0].strip().rstrip(":") if lines else ""
    return (text or _class_in_words(error))[:_LONGEST_REASON]


def without_password(url: str) -> str:
    """Return a URL for display, without its password. A user name without a password may be a token, and is hidden too.

    The text may be of any form: all from the first colon, or the slashes, to the last @ counts as a secret.
    """
    hidden = re.sub(r":(?!//).*@", ":***@", url, flags=re.DOTALL)
    return re.sub(r"//[^:]+@", "//***@", hidden)


def _words(error: BaseException) -> str:
    """The best text that an error has, perhaps none. Errors of libraries are told by what they have."""
    if isinstance(error, BaseExceptionGroup):
        return _words(error.exceptions[0])
    # aiohttp and SQLAlchemy carry the error of what they are built on.
    inner = getattr(error, "os_error", None) or getattr(error, "orig", None)
    if isinstance(inner, BaseException) and inner is not error:
        return reason_of(inner)
    if isinstance(error, OSError):
        return _words_of_system(error)
    if isinstance(error, KeyError) and error.args:
        return f"'{error.args[0]}' is missing"
    if hasattr(error, "url") and hasattr(error, "description"):
        return (
            error.description or "the URL is not valid"
        )  # its text is the URL, with whatever is secret in it
    message = getattr(error, "message", None)
    return message if isinstance(message, str) else str(error)


def _words_of_system(error: OSError) -> str:
    if getattr(error, "verify_message", None):
        return f"the certificate is not valid: {error.verify_message}"  # type: ignore[attr-defined]
    if getattr(error, "library", None) and getattr(error, "reason", None):
        return f"TLS failed: {error.reason.replace('_', ' ').lower()}"  # type: ignore[attr-defined]
    if error.errno is None:
        return str(error) or ("it took too long" if isinstance(error, TimeoutError) else "")
    # asyncio's texts show addresses as Python does. Numbers of name look-ups are not the system's.
    text = os.strerror(error.errno) if error.errno > 0 else error.strerror or ""
    return f"{text}: '{error.filename}'" if isinstance(error.filename, str) else text


def _class_in_words(error: BaseException) -> str:
    name = type(error).__name__.strip("_")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower()
