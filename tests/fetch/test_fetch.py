"""Downloads: what each kind of source comes to, and which are out of reach."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.fetchers import PICTURE, UNREACHABLE, fetcher
from support.sites import Site, page, redirect

from enlarger.errors import (
    EnlargerError,
    InvalidUrl,
    SourceFailed,
    SourceRefused,
    SourceUnreachable,
)


@pytest.fixture
async def site() -> Any:
    """A web site on this computer."""
    async with Site({"/cat.png": page(PICTURE)}) as site:
        yield site


# Downloads


async def test_download_is_the_bytes_of_the_source(site: Site) -> None:
    """A host that the setting names, on its port."""
    assert await fetcher(site.address).fetch(site.url("/cat.png")) == PICTURE


async def test_download_is_not_bound_to_a_declared_length(site: Site) -> None:
    """A chunked body, and one that ends with the connection."""
    chunks = b"".join(b"400\r\n" + PICTURE[:1024] + b"\r\n" for _ in range(2))
    site.answers["/chunked"] = (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    )
    site.answers["/open"] = b"HTTP/1.0 200 OK\r\n\r\n" + PICTURE
    source = fetcher(site.address)
    assert await source.fetch(site.url("/chunked")) == PICTURE[:1024] * 2
    assert await source.fetch(site.url("/open")) == PICTURE


async def test_request_says_no_more_than_it_must(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No proxy, cookies or credentials, and no encoding but identity."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:1")
    site.answers["/first"] = page(
        status=302, location="/cat.png", set_cookie="session=1; Path=/", connection="close"
    )
    source = fetcher(site.address)
    await source.fetch(site.url("/first"))
    await source.fetch(site.url("/cat.png"))
    assert len(site.heads) == 3
    for head in site.heads:
        names = {line.partition(":")[0].lower() for line in head.split("\r\n")[1:] if line}
        assert names == {"host", "accept", "accept-encoding", "user-agent", "connection"}
        assert "Accept-Encoding: identity" in head


@pytest.mark.parametrize(
    ("status", "cls"),
    [
        (202, SourceRefused),
        (204, SourceRefused),
        (300, SourceRefused),
        (304, SourceRefused),
        (401, SourceRefused),
        (404, SourceRefused),
        (429, SourceRefused),
        (500, SourceFailed),
        (503, SourceFailed),
    ],
)
async def test_status_without_a_whole_picture_is_refused_with_its_number(
    site: Site, status: int, cls: type[EnlargerError]
) -> None:
    """From 500 up the source failed; below, it refused."""
    site.answers["/cat.png"] = page(status=status)
    with pytest.raises(cls, match=f"^the source answered with the HTTP status {status}$"):
        await fetcher(site.address).fetch(site.url("/cat.png"))


@pytest.mark.parametrize("status", [200, 201, 203])
async def test_status_with_a_whole_picture_is_taken(site: Site, status: int) -> None:
    """RFC 9110: it was made just now (201), or a proxy has changed the answer (203); the body is the picture."""
    site.answers["/cat.png"] = page(PICTURE, status=status)
    assert await fetcher(site.address).fetch(site.url("/cat.png")) == PICTURE


async def test_part_of_a_picture_is_refused_with_its_reason(site: Site) -> None:
    """206: nobody asked for a part, and a part may decode as a whole picture."""
    site.answers["/cat.png"] = page(PICTURE, status=206, content_range="bytes 0-2047/9000")
    with pytest.raises(SourceRefused, match=r"HTTP status 206: the source sent a part"):
        await fetcher(site.address).fetch(site.url("/cat.png"))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_followed(site: Site, status: int) -> None:
    """Each kind, relative to where it was met."""
    site.answers["/old/cat.png"] = redirect("../cat.png", status)
    assert await fetcher(site.address).fetch(site.url("/old/cat.png")) == PICTURE


async def test_redirect_without_a_place_is_refused(site: Site) -> None:
    """There is nothing to follow, and no picture."""
    site.answers["/cat.png"] = page(status=302)
    with pytest.raises(SourceRefused, match=r"HTTP status 302$"):
        await fetcher(site.address).fetch(site.url("/cat.png"))


def chain(site: Site, redirects: int) -> str:
    """Lay that many redirects before the picture; the URL to begin with."""
    for number in range(redirects):
        following = "/cat.png" if number == redirects - 1 else f"/{number + 1}"
        site.answers[f"/{number}"] = redirect(site.url(following))
    return site.url("/0")


async def test_three_redirects_are_followed(site: Site) -> None:
    """As many as the contract allows."""
    assert await fetcher(site.address).fetch(chain(site, 3)) == PICTURE
    assert site.connections == 4


async def test_fourth_redirect_is_not_followed(site: Site) -> None:
    """Four requests are made, and the picture is not among them."""
    with pytest.raises(SourceUnreachable, match=UNREACHABLE):
        await fetcher(site.address).fetch(chain(site, 4))
    assert site.connections == 4
    assert not any("/cat.png" in head for head in site.heads)


@pytest.mark.parametrize(
    "location",
    [
        "ftp://example.com/cat.png",
        "file:///etc/passwd",
        "http://user@127.0.0.1/",
        "http://",
        "http://[::1/",
        "data:image/png;base64,QUJD",
    ],
)
async def test_redirect_to_no_web_address_is_refused(site: Site, location: str) -> None:
    """Every hop is under the rules of the first."""
    site.answers["/cat.png"] = redirect(location)
    with pytest.raises(SourceUnreachable, match=UNREACHABLE):
        await fetcher(site.address).fetch(site.url("/cat.png"))


async def test_redirect_to_a_port_that_is_not_listed_reaches_nothing(site: Site) -> None:
    """Trust in one address is none in its neighbours."""
    async with Site({"/": page(PICTURE)}) as other:
        site.answers["/cat.png"] = redirect(other.url("/"))
        with pytest.raises(SourceUnreachable, match=UNREACHABLE):
            await fetcher(site.address).fetch(site.url("/cat.png"))
        assert other.connections == 0


# Out of reach


async def test_connection_refused_is_unreachable(site: Site) -> None:
    """Nobody listens there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host, port = free.getsockname()
        with pytest.raises(SourceUnreachable, match=UNREACHABLE):
            await fetcher(f"{host}:{port}").fetch(f"http://{host}:{port}/cat.png")


async def test_tls_refused_is_unreachable(site: Site) -> None:
    """A server that speaks no TLS."""
    with pytest.raises(SourceUnreachable, match=UNREACHABLE):
        await fetcher(site.address).fetch(f"https://{site.address}/cat.png")


@pytest.mark.parametrize("said", [b"", b"220 mail.example ESMTP\r\n", b"HTTP/1.1 two OK\r\n\r\n"])
async def test_server_that_speaks_no_http_is_unreachable(site: Site, said: bytes) -> None:
    """It hangs up, or talks of something else."""
    site.answers["/cat.png"] = said
    with pytest.raises(SourceUnreachable, match=UNREACHABLE):
        await fetcher(site.address).fetch(site.url("/cat.png"))


async def test_switched_off_fetching_reaches_nothing(site: Site) -> None:
    """``ENLARGER_FETCH=off``; what is no URL is still called so."""
    source = fetcher("off")
    with pytest.raises(SourceUnreachable, match=UNREACHABLE):
        await source.fetch(site.url("/cat.png"))
    with pytest.raises(InvalidUrl):
        await source.fetch("ftp://example.com/cat.png")
    assert site.connections == 0


async def test_loopback_is_out_of_reach_by_default(site: Site) -> None:
    """A local server never hears of a stranger's URL."""
    with pytest.raises(SourceUnreachable, match=UNREACHABLE):
        await fetcher("public").fetch(site.url("/cat.png"))
    assert site.connections == 0


async def test_refusal_does_not_tell_what_is_there(site: Site) -> None:
    """A forbidden host that listens, one that does not, and a name that nobody knows: one answer, at once."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        silent = f"http://127.0.0.1:{free.getsockname()[1]}/"
        source = fetcher(f":{site.port},:{free.getsockname()[1]}")
        reasons = []
        for url in (site.url("/cat.png"), silent, "http://nowhere.invalid/"):
            with capture_logs() as logs, pytest.raises(SourceUnreachable, match=UNREACHABLE):
                await source.fetch(url)
            reasons.append(logs[0]["reason"])
    assert site.connections == 0
    assert ["address 127.0.0.1" in reason for reason in reasons] == [True, True, False]


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "2130706433",
        "0.0.0.0",  # noqa: S104 - asked for, not bound
        "localhost",
        "169.254.169.254",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
        "[fe80::1]",
    ],
)
async def test_local_host_is_refused_however_it_is_spelt(host: str) -> None:
    """The operator's log says that the address was the reason; the caller reads what all read."""
    with capture_logs() as logs, pytest.raises(SourceUnreachable, match=UNREACHABLE):
        await fetcher("public").fetch(f"http://{host}/cat.png")
    (entry,) = logs
    assert entry["event"] == "source_unreachable"
    assert "address" in entry["reason"] or "resolves to" in entry["reason"]


@pytest.mark.parametrize(
    ("rule", "url", "reason"),
    [
        ("public", "http://example.com:28000/", "port 28000 is not allowed by ENLARGER_FETCH"),
        ("public", "http://10.0.0.7/", "address 10.0.0.7 is not allowed by ENLARGER_FETCH"),
        ("off", "http://example.com/", "ENLARGER_FETCH switches fetching off"),
    ],
)
async def test_log_says_in_words_what_is_not_allowed(rule: str, url: str, reason: str) -> None:
    """And by which setting."""
    with capture_logs() as logs, pytest.raises(SourceUnreachable, match=UNREACHABLE):
        await fetcher(rule).fetch(url)
    assert [entry["reason"] for entry in logs] == [reason]


async def test_log_says_in_words_why_a_connection_failed() -> None:
    """As the system says it, for a fetched picture and for a webhook."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        source = fetcher("127.0.0.1")
        with capture_logs() as logs:
            with pytest.raises(SourceUnreachable):
                await source.fetch(url)
            with pytest.raises(SourceUnreachable):
                await source.post(url, b"", {}, timeout_s=5)
    assert [entry["reason"] for entry in logs] == ["Connection refused"] * 2


# Names


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A directory of names in place of the DNS: each has a list of addresses and ports per question."""
    known: dict[str, Any] = {}
    real = socket.getaddrinfo

    def look_up(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if host not in known:
            return real(host, port, *args, **options)
        answers = known[host]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in answer]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


async def test_name_in_a_named_network_is_reached(site: Site, names: dict[str, Any]) -> None:
    """The addresses of a name count, not its spelling."""
    names["pictures.example"] = [[("127.0.0.1", site.port)]]
    data = await fetcher("127.0.0.0/8").fetch("http://pictures.example/cat.png")
    assert data == PICTURE


async def test_name_of_a_forbidden_address_reaches_nothing(
    site: Site, names: dict[str, Any]
) -> None:
    """A public name may well point at a private host."""
    names["evil.example"] = [[("127.0.0.1", site.port)]]
    with pytest.raises(SourceUnreachable, match=UNREACHABLE):
        await fetcher("public").fetch("http://evil.example/cat.png")
    assert site.connections == 0


@pytest.mark.parametrize("order", [1, -1])
async def test_name_with_one_forbidden_address_reaches_nothing(
    names: dict[str, Any], order: int
) -> None:
    """Not even the allowed one: which comes first is the attacker's choice."""
    async with Site(host="127.0.0.2") as allowed, Site(host="127.0.0.1") as forbidden:
        both = [(site.host, site.port) for site in (allowed, forbidden)]
        names["mixed.example"] = [both[::order]]
        with pytest.raises(SourceUnreachable, match=UNREACHABLE):
            await fetcher("127.0.0.2/32").fetch("http://mixed.example/cat.png")
        assert (allowed.connections, forbidden.connections) == (0, 0)


async def test_name_whose_address_changes_reaches_nothing_forbidden(
    names: dict[str, Any],
) -> None:
    """Each hop asks again and checks again."""
    async with Site(host="127.0.0.2") as allowed, Site(host="127.0.0.1") as forbidden:
        names["moves.example"] = [
            [(allowed.host, allowed.port)],
            [(forbidden.host, forbidden.port)],
        ]
        allowed.answers["/cat.png"] = redirect("/cat.png")
        with pytest.raises(SourceUnreachable, match=UNREACHABLE):
            await fetcher("127.0.0.2/32").fetch("http://moves.example/cat.png")
        assert (allowed.connections, forbidden.connections) == (1, 0)


async def test_redirect_to_a_forbidden_address_reaches_nothing(
    site: Site, names: dict[str, Any]
) -> None:
    """A trusted host cannot lend its trust."""
    async with Site({"/": page(PICTURE)}) as other:
        names["inside.example"] = [[("127.0.0.1", other.port)]]
        site.answers["/cat.png"] = redirect("http://inside.example/")
        with pytest.raises(SourceUnreachable, match=UNREACHABLE):
            await fetcher(site.address).fetch(site.url("/cat.png"))
        assert (site.connections, other.connections) == (1, 0)


@pytest.mark.parametrize(
    "error",
    [socket.gaierror(socket.EAI_NONAME, "unknown"), UnicodeError("label too long")],
    ids=repr,
)
async def test_name_that_nobody_knows_is_unreachable(
    names: dict[str, Any], error: Exception
) -> None:
    """It reads as any other source out of reach."""
    names["nowhere.example"] = [error]
    with pytest.raises(SourceUnreachable, match=UNREACHABLE):
        await fetcher("public").fetch("http://nowhere.example/cat.png")
