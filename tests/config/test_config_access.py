"""Settings of access: origins of pages, and trusted proxies."""

from __future__ import annotations

import ipaddress

import pytest

from enlarger.config import (
    load,
)

pytestmark = pytest.mark.usefixtures("no_settings")


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("*", ("*",)),
        ("", ()),
        ("https://a.example/", ("https://a.example",)),
        ("HTTPS://A.Example:443", ("https://a.example",)),
        (
            "http://a.example:80,http://a.example:8080",
            ("http://a.example", "http://a.example:8080"),
        ),
        ("https://pictures.é.example", ("https://pictures.xn--9ca.example",)),
        ("http://[2001:DB8::1]:3000", ("http://[2001:db8::1]:3000",)),
    ],
)
def test_origins_are_as_browsers_write_them(
    monkeypatch: pytest.MonkeyPatch, text: str, origins: tuple[str, ...]
) -> None:
    """However the operator does: what is compared is text."""
    monkeypatch.setenv("ENLARGER_CORS_ORIGINS", text)
    assert load().access.cors_origins == origins


@pytest.mark.parametrize("text", ["::ffff:10.0.0.0/104", "::ffff:a00:0/104"])
def test_trusted_proxies_that_are_mapped_into_ipv6_are_those_of_ipv4(text: str) -> None:
    """As their addresses are, wherever they come from."""
    assert load(trusted_proxies=text).access.trusted_proxies == (
        ipaddress.ip_network("10.0.0.0/8"),
    )
