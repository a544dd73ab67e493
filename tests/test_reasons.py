"""What is displayed of URLs that hold a secret."""

from __future__ import annotations

import pytest

from enlarger.reasons import without_password


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://host:8000", "http://host:8000"),
        ("http://[::1]:8000/x", "http://[::1]:8000/x"),
        ("nonsense", "nonsense"),
        ("http://me:sesame@host:8000", "http://me:***@host:8000"),
        ("http://:sesame@host", "http://:***@host"),
        ("http://sesame@host", "http://***@host"),
        ("http://me:ses@me@host/x", "http://me:***@host/x"),
        ("http://me:ses/me@host", "http://me:***@host"),
        ("http://me:ses me\n@host", "http://me:***@host"),
        ("http://ses/me@host", "http://***@host"),
        ("me:sesame@host", "me:***@host"),
        ("http:me:sesame@host", "http:***@host"),
    ],
)
def test_passwords_are_hidden(url: str, shown: str) -> None:
    """In a text of any form, which may be mistyped."""
    assert without_password(url) == shown
