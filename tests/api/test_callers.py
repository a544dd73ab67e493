"""How callers are identified: keys, and addresses behind proxies."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import SecretStr

from enlarger.api.callers import Caller, Callers, caller_of
from enlarger.api.signing import sign
from enlarger.config import ApiKey, SigningKey
from enlarger.errors import SignatureExpired, SignatureInvalid, Unauthorized


def entry(name: str, key: str) -> ApiKey:
    """The setting's entry for a key."""
    return ApiKey(name, hashlib.sha256(key.encode()).hexdigest())


KEYS = (entry("alice", "enl_a"), entry("bob", "enl_b-old"), entry("bob", "enl_b-new"))


def scope(path: str = "/upscale", *, peer: str = "203.0.113.7", **headers: str) -> dict[str, Any]:
    """An HTTP request as ASGI has it."""
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "raw_path": quote(path).encode(),
        "query_string": b"",
        "client": (peer, 1234),
        "headers": [
            (name.replace("_", "-").encode(), value.encode("latin1"))
            for name, value in headers.items()
        ],
    }


def b64(pair: str) -> str:
    """User and password as HTTP basic authentication has them."""
    return base64.b64encode(pair.encode()).decode()


# Keys


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({"authorization": "Bearer enl_a"}, "alice"),
        ({"authorization": "bearer  enl_a "}, "alice"),
        ({"x_api_key": "enl_a"}, "alice"),
        ({"x_api_key": "enl_b-old"}, "bob"),
        ({"x_api_key": "enl_b-new"}, "bob"),
        ({"authorization": "Basic eDp5", "x_api_key": "enl_a"}, "alice"),
        ({"authorization": f"Basic {b64('whoever:enl_a')}"}, "alice"),
        ({"authorization": f"basic  {b64(':enl_b-new')} "}, "bob"),
    ],
)
def test_key_names_its_caller(headers: dict[str, str], name: str) -> None:
    """It may be sent in either header. Two keys can have one name, so that a key can be replaced without a gap."""
    assert Callers(KEYS).identify(scope(**headers)) == Caller(f"key:{name}", has_key=True)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x_api_key": ""},
        {"x_api_key": "enl_"},
        {"x_api_key": "ENL_A"},
        {"x_api_key": "enl_a "},
        {"x_api_key": KEYS[0].sha256},
        {"x_api_key": "alice"},
        {"authorization": "enl_a"},
        {"authorization": "Basic enl_a"},
        {"authorization": "Basic"},
        {"authorization": f"Basic {b64('enl_a')}"},
        {"authorization": f"Basic {b64('enl_a:wrong')}"},
        {"authorization": "Bearer"},
        {"authorization": "Bearer \xff"},
        {"authorization": "Bearer wrong", "x_api_key": "enl_a"},
    ],
)
def test_without_a_known_key_nobody_calls(headers: dict[str, str]) -> None:
    """A caller is refused without a key, with a wrong one, and with the hash that the setting has."""
    with pytest.raises(Unauthorized) as refusal:
        Callers(KEYS).identify(scope(**headers))
    assert "Authorization: Bearer" in str(refusal.value)


@pytest.mark.parametrize(
    ("path", "is_open"),
    [
        ("/health", True),
        ("/livez", True),
        ("/readyz", True),
        ("/files/0123.png", True),
        ("/errors/unauthorized", True),
        ("/upscale", False),
        ("/status", False),
        ("/metrics", False),
        ("/cleanup", False),
        ("/", True),
        ("/docs", True),
        ("/docs/swagger-ui.css", True),
        ("//", False),
        ("/docsify", False),
        ("/files", False),
        ("/health/", False),
        ("/healthy", False),
        ("/HEALTH", False),
    ],
)
def test_what_needs_no_key(path: str, *, is_open: bool) -> None:
    """Probes of orchestrators need no key. Nor do results, because knowing the name of a file is permission to read it."""
    if is_open:
        assert not Callers(KEYS).identify(scope(path)).has_key
    else:
        with pytest.raises(Unauthorized):
            Callers(KEYS).identify(scope(path))


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ({}, "an API key is needed: send it as"),
        ({"x_api_key": ""}, "an API key is needed: send it as"),
        ({"authorization": "Bearer "}, "an API key is needed: send it as"),
        ({"x_api_key": "mistyped"}, "the API key is not known here: "),
        ({"authorization": "Bearer mistyped"}, "the API key is not known here: "),
        ({"authorization": f"Basic {b64('user:mistyped')}"}, "the API key is not known here: "),
    ],
)
def test_wrong_key_reads_otherwise_than_none(headers: dict[str, str], text: str) -> None:
    """The text tells a caller who forgot the header from one who mistyped the key."""
    with pytest.raises(Unauthorized, match=f"^{text}"):
        Callers(KEYS).identify(scope(**headers))


def test_without_keys_everybody_calls() -> None:
    """They are told apart by address, and a key has no effect."""
    caller = Callers(()).identify(scope(x_api_key="enl_a"))
    assert caller == Caller("address:203.0.113.7", has_key=False)


# Addresses

PROXIES = tuple(map(ip_network, ("10.0.0.0/8", "fd00::/8")))


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.7", "", "203.0.113.7"),
        ("203.0.113.7", "198.51.100.1", "203.0.113.7"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "192.0.2.66, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "192.0.2.66, 198.51.100.1, 10.9.9.9", "198.51.100.1"),
        ("10.0.0.1", "10.2.2.2,10.3.3.3", "10.2.2.2"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", " , ", "10.0.0.1"),
        ("fd00::1", "2001:DB8:0::1", "2001:db8::/64"),
        ("10.0.0.1", "[2001:db8::1]", "2001:db8::/64"),
        ("fd00::1", "fe80::1%eth0", "fe80::/64"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("::ffff:203.0.113.7", "", "203.0.113.7"),
        ("10.0.0.1", "198.51.100.1:1001", "198.51.100.1"),
        ("10.0.0.1", "192.0.2.66, 198.51.100.1:1001, 10.0.0.2:443", "198.51.100.1"),
        ("10.0.0.1", "192.0.2.66, 198.51.100.1, [fd00::2]:443", "198.51.100.1"),
        ("10.0.0.1", '192.0.2.66, 198.51.100.1, "[::ffff:10.0.0.2]:443"', "198.51.100.1"),
        ("10.0.0.1", "[2001:db8::1]:443", "2001:db8::/64"),
        ("10.0.0.1", "[::ffff:198.51.100.1]:443", "198.51.100.1"),
        ("fd00::1%eth0", "198.51.100.1", "198.51.100.1"),
    ],
)
def test_address_behind_proxies(peer: str, forwarded: str, address: str) -> None:
    """The caller is the last address that does not belong to a trusted proxy. A client can forge the addresses before it."""
    headers = {"x_forwarded_for": forwarded} if forwarded else {}
    assert Callers((), PROXIES).identify(scope(peer=peer, **headers)).id == f"address:{address}"


@pytest.mark.parametrize("nobody", ["unknown", "_hidden", "unix:", "x" * 100, '"', "1.2.3"])
@pytest.mark.parametrize(
    ("before", "after", "address"),
    [
        ("", "", "10.0.0.1"),
        ("192.0.2.66, ", "", "10.0.0.1"),
        ("", ", 10.0.0.2:443", "10.0.0.2"),
        ("", ", 198.51.100.1", "198.51.100.1"),
    ],
)
def test_callers_whom_a_proxy_does_not_name_are_that_proxy(
    nobody: str, before: str, after: str, address: str
) -> None:
    """They share one limit, whatever name the proxy writes. Otherwise a client could be a new caller with each request."""
    request = scope(peer="10.0.0.1", x_forwarded_for=before + nobody + after)
    assert Callers((), PROXIES).identify(request).id == f"address:{address}"


@pytest.mark.parametrize("proxy_header", ["x-forwarded-for", "forwarded"])
def test_only_the_header_of_the_setting_is_read(proxy_header: str) -> None:
    """The client may have sent the other header itself, because a proxy passes on headers that it does not know."""
    headers = {"x_forwarded_for": "198.51.100.1:80", "forwarded": 'for="198.51.100.2:80"'}
    addresses = {"x-forwarded-for": "198.51.100.1", "forwarded": "198.51.100.2"}
    callers = Callers((), PROXIES, proxy_header=proxy_header)
    caller = callers.identify(scope(peer="10.0.0.1", **headers))
    assert caller.id == f"address:{addresses[proxy_header]}"
    del headers[proxy_header.replace("-", "_")]
    caller = callers.identify(scope(peer="10.0.0.1", **headers))
    assert caller.id == "address:10.0.0.1"


def test_lines_of_one_header_are_one_chain() -> None:
    """Some proxies add a line of their own; what an earlier line left open ends with it."""
    request = scope(peer="10.0.0.1")
    for entry in ('for="192.0.2.66', "for=198.51.100.1", 'for="[fd00::2]:443"'):
        request["headers"].append((b"Forwarded", entry.encode()))
    caller = Callers((), PROXIES, proxy_header="forwarded").identify(request)
    assert caller.id == "address:198.51.100.1"


def test_address_for_the_log_is_whole() -> None:
    """The network of an IPv6 caller is what is limited; the log names the caller itself."""
    request = scope(peer="10.0.0.1", x_forwarded_for="[2001:db8::1]:443")
    callers = Callers((), PROXIES)
    assert callers.address(request) == "2001:db8::1"
    assert callers.identify(request).id == "address:2001:db8::/64"


@given(sent=st.text(st.characters(max_codepoint=255), max_size=60), address=st.ip_addresses())
@pytest.mark.parametrize("proxy_header", ["x-forwarded-for", "forwarded"])
def test_no_caller_chooses_its_address(
    proxy_header: str, sent: str, address: IPv4Address | IPv6Address
) -> None:
    """The proxy appends the real address of the caller to whatever the caller sent."""
    assume(not any(address in network for network in PROXIES))
    node = f"[{address}]:1" if address.version == 6 else f"{address}:1"
    entry = f'for="{node}"' if proxy_header == "forwarded" else node
    name = proxy_header.replace("-", "_")
    callers = Callers((), PROXIES, proxy_header=proxy_header)
    caller = callers.identify(scope(peer="10.0.0.1", **{name: f"{sent}, {entry}"}))
    assert caller == callers.identify(scope(peer=str(address)))


@pytest.mark.parametrize("peer", ["", "unix:", "testclient"])
def test_peer_without_an_address_is_believed_nothing(peer: str) -> None:
    """It is none of our proxies, since these are named by their addresses."""
    caller = Callers((), PROXIES).identify(scope(peer=peer, x_forwarded_for="198.51.100.1"))
    assert caller.id == f"address:{peer or 'unknown'}"


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("203.0.113.7", "203.0.113.8", False),
        ("::ffff:203.0.113.7", "::ffff:203.0.113.8", False),
    ],
)
def test_network_of_ipv6_is_one_caller(one: str, other: str, *, is_same: bool) -> None:
    """A customer has 2^64 addresses at least, and would else have as many limits."""
    ids = {Callers(()).identify(scope(peer=peer)).id for peer in (one, other)}
    assert (len(ids) == 1) == is_same


def test_nobody_is_believed_without_the_setting() -> None:
    """This applies to every peer, however near."""
    caller = Callers(()).identify(scope(peer="127.0.0.1", x_forwarded_for="198.51.100.1"))
    assert caller.id == "address:127.0.0.1"


# Links

SIGNING = (
    SigningKey("shop", SecretStr("sixteen-letters!")),
    SigningKey("blog", SecretStr("and-another-one!")),
)


def linked(
    target: str = "/v1/upscale?url=u",
    *,
    kid: str = "shop",
    method: str = "GET",
    late_s: float = -60,
    **headers: str,
) -> dict[str, Any]:
    """A request by a signed link."""
    secret = {key.kid: key.secret.get_secret_value() for key in SIGNING}[kid]
    expires_at = int(time.time() - late_s)
    signed = sign(target, kid=kid, secret=secret, expires_at=expires_at)
    path, _, query = signed.partition("?")
    sent = {"method": method, "raw_path": path.encode(), "query_string": query.encode()}
    return scope(unquote(path), **headers) | sent


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("keys", [KEYS, ()])
@pytest.mark.parametrize(
    ("target", "query"),
    [
        ("/v1/upscale?url=u", b"url=u"),
        ("/v1/upscale?url=https://a.b/c?sig=d", b"url=https://a.b/c?sig=d"),
        ("/v1/m%C3%B6dels", b""),
    ],
)
def test_signed_link_stands_in_for_a_key(
    keys: Sequence[ApiKey], method: str, target: str, query: bytes
) -> None:
    """This holds even if no keys are set. The application does not see the signature."""
    request = Callers(keys, (), SIGNING).admitted(linked(target, kid="blog", method=method))
    assert caller_of(request) == Caller("link:blog", has_key=True)
    assert request["query_string"] == query


def test_wrong_link_is_refused_whoever_shows_it() -> None:
    """Changed, late, or of a key that is gone: also beside a good key."""
    changed = linked(x_api_key="enl_a")
    changed["query_string"] = changed["query_string"].replace(b"url=u", b"url=v")
    for keys in (KEYS, ()):
        with pytest.raises(SignatureInvalid):
            Callers(keys, (), SIGNING).admitted(changed)
        with pytest.raises(SignatureExpired):
            Callers(keys, (), SIGNING).admitted(linked(late_s=1, x_api_key="enl_a"))
        with pytest.raises(SignatureInvalid):
            Callers(keys, (), SIGNING[1:]).admitted(linked())


@pytest.mark.parametrize(
    ("target", "method"),
    [
        ("/v1/upscale?url=u", "POST"),
        ("/v1/jobs/1", "DELETE"),
        ("/upscale?img_url=u", "GET"),
        ("/metrics", "GET"),
        ("/v1", "GET"),
    ],
)
def test_links_open_nothing_but_gets_under_v1(target: str, method: str) -> None:
    """Elsewhere a key is needed all the same."""
    with pytest.raises(Unauthorized):
        Callers(KEYS, (), SIGNING).admitted(linked(target, method=method))


def test_without_signing_keys_a_link_is_a_request() -> None:
    """The query reaches the application unchanged."""
    request = linked()
    with pytest.raises(Unauthorized):
        Callers(KEYS).admitted(request)
    assert Callers(()).admitted(request)["query_string"] == request["query_string"]


# The gate


async def passed(callers: Callers, request: dict[str, Any]) -> tuple[list[Any], list[str]]:
    """What was sent, and the callers that the application saw."""
    sent: list[Any] = []
    seen: list[str] = []

    async def app(scope: dict[str, Any], _receive: object, _send: object) -> None:
        seen.append(caller_of(scope).id if scope["type"] == "http" else scope["type"])

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    gate = callers.gate(app, lambda _, error: (error.status, [(b"x", b"y")], b"no"))
    await gate(request, receive, send)
    return sent, seen


async def test_known_caller_passes() -> None:
    """The application learns who it is."""
    sent, seen = await passed(Callers(KEYS), scope(x_api_key="enl_a"))
    assert (sent, seen) == ([], ["key:alice"])


async def test_unknown_caller_is_answered_before_its_body() -> None:
    """The connection is closed, so that the body need not be read."""
    sent, seen = await passed(Callers(KEYS), scope())
    assert seen == []
    assert (sent[0]["status"], sent[1]["body"]) == (401, b"no")
    assert {(b"x", b"y"), (b"content-length", b"2"), (b"connection", b"close")} == set(
        sent[0]["headers"]
    )


async def test_unknown_caller_of_a_later_http_closes_no_connection() -> None:
    """HTTP/2 has other requests on it, and forbids the header."""
    sent, _ = await passed(Callers(KEYS), scope() | {"http_version": "2"})
    assert {(b"x", b"y"), (b"content-length", b"2")} == set(sent[0]["headers"])


async def test_other_connections_pass_the_gate() -> None:
    """The server's own start and end have no caller."""
    assert (await passed(Callers(KEYS), {"type": "lifespan"}))[1] == ["lifespan"]
