"""The rule of ``ENLARGER_FETCH``: what may be fetched besides public addresses."""

from __future__ import annotations

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.settings_tables import (
    FETCH_CONTRADICTIONS,
    FETCH_UNCLEAR,
)

from enlarger.config import (
    allowed_sources,
    load,
)
from enlarger.errors import ConfigError

pytestmark = pytest.mark.usefixtures("no_settings")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        *((text, "public") for text in ("public", " Public ", "public,public")),
        *(
            (text, "off")
            for word in ("off", "none", "no", "false", "0", "disabled")
            for text in sorted({word, word.upper(), f" {word.title()} "})
        ),
    ],
)
def test_plain_fetch_rules_name_no_source(text: str, rule: str) -> None:
    """They allow all public addresses, or nothing: in any case, and with spaces around them."""
    assert load(fetch=text).fetch.rule == rule
    assert allowed_sources(rule) == ()
    assert load(fetch=text, webhook_secrets=f"whsec_{'A' * 32}").has_webhooks == (rule == "public")


@pytest.mark.parametrize("text", FETCH_UNCLEAR)
def test_fetch_rule_that_may_mean_either_is_refused(text: str) -> None:
    """With what may be meant."""
    with pytest.raises(ConfigError) as refused:
        load(fetch=text)
    assert re.match(
        r"ENLARGER_FETCH: it must be public \(all public addresses\), off \(none\), or a list of .*, not '\w+'$",
        str(refused.value),
    )


@pytest.mark.parametrize("text", FETCH_CONTRADICTIONS)
def test_fetch_rule_that_contradicts_itself_is_refused(text: str) -> None:
    """An operator who wrote "off" must not end up with a server that fetches anything."""
    with pytest.raises(
        ConfigError, match=r"^ENLARGER_FETCH: '\w+' switches fetching off, and must"
    ):
        load(fetch=text)


@pytest.mark.parametrize(
    ("text", "sources"),
    [
        ("public,10.0.0.0/8", ("10.0.0.0/8",)),
        ("minio , PUBLIC", ("minio",)),
        ("never", ("never",)),
        ("off.example,no:80", ("off.example", "no:80")),
        ("bilder.é.example", ("bilder.é.example",)),
        ("my_store-1:9000", ("my_store-1:9000",)),
    ],
)
def test_fetch_rule_of_any_other_word_is_a_host(text: str, sources: tuple[str, ...]) -> None:
    """``public`` among them says what is true of every list."""
    assert allowed_sources(load(fetch=text).fetch.rule) == sources


def test_fetch_rule_lists_hosts_and_networks() -> None:
    """With or without a port, of either family, spaces around the commas."""
    rule = "pictures.lan, minio:9000 ,10.0.0.0/8,fd00::/8, 192.168.1.7"
    assert load(fetch=rule).fetch.rule == rule
    assert allowed_sources(rule) == (
        "pictures.lan",
        "minio:9000",
        "10.0.0.0/8",
        "fd00::/8",
        "192.168.1.7",
    )


@given(address=st.ip_addresses(), bits=st.integers(0, 128))
def test_every_network_is_a_fetch_rule(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, bits: int
) -> None:
    """In the notation of RFC 4632 and RFC 4291."""
    prefix = min(bits, address.max_prefixlen)
    rule = str(ipaddress.ip_network(f"{address}/{prefix}", strict=False))
    assert load(fetch=rule).fetch.rule == rule
