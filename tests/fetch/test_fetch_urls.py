"""How URLs go out: signed ones arrive as they were signed, whatever they look like and however they are reached."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.sites import Site, page, redirect

from enlarger.errors import SourceUnreachable
from enlarger.fetch.fetcher import Fetcher
from enlarger.fetch.urls import redirected, target_url

PICTURE = b"a picture"

# What people sign: S3 (v2, v4), CloudFront, Google and Azure storage, imgix; and what only looks odd.
TARGETS = [
    "/cat%20%281%29.png?X-Amz-Credential=AK%2F20261129%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Signature=ab",
    "/cat(1)!*'.png?Signature=a%2Bb%2Fc%3D&Expires=1",
    "/cat.png?sig=a+b/c==&se=2026-11-29T00%3A00%3A00Z&sp=r",
    "/cat.png?Policy=eyJ~-_&Key-Pair-Id=K%7E",
    "/a%2fb%2Fc.png",
    "/%e4%bd%a0/%E4%BD%A0.png",
    "/a/../b/./c//d.png",
    "/a;v=1,2/b@c:d&e=f$g.png",
    "/cat.png?",
    "/cat.png??a=b?c",
    "/cat.png?a&b=&=c&&",
    "/100%/50%zz.png?%",
    '/a|b^c`{d}[e].png?x[]=1|2&y="<z>"',
    "/a\\b.png",
    "/?http://example.com/cat.png",
    "//double.png",
]


@pytest.fixture
async def site() -> Any:
    """A web site on this computer."""
    async with Site() as site:
        yield site


def fetcher(site: Site) -> Fetcher:
    """One that may fetch from there."""
    return Fetcher(site.address, limit_bytes=4096)


def targets_of(site: Site) -> list[str]:
    """What was asked for, in order."""
    return [head.split(" ")[1] for head in site.heads]


@pytest.mark.parametrize("target", TARGETS)
async def test_target_goes_out_byte_for_byte(site: Site, target: str) -> None:
    """Decoded, encoded or tidied, it is another URL to what checks its signature."""
    site.answers[target] = page(PICTURE)
    assert await fetcher(site).fetch(site.url(target)) == PICTURE


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("is_relative", [False, True])
async def test_target_of_a_redirect_goes_out_byte_for_byte(
    site: Site, target: str, is_relative: bool
) -> None:
    """A shop redirects to a signed URL of its bucket; the host may be left out, but not before ``//``."""
    is_relative = is_relative and not target.startswith("//")
    site.answers["/buy"] = redirect(target if is_relative else site.url(target))
    site.answers[target] = page(PICTURE)
    assert await fetcher(site).fetch(site.url("/buy")) == PICTURE


@pytest.mark.parametrize("target", TARGETS)
async def test_target_of_a_webhook_goes_out_byte_for_byte(site: Site, target: str) -> None:
    """Receivers put tokens into their URLs."""
    site.answers[target] = page()
    assert await fetcher(site).post(site.url(target), b"{}", {}, timeout_s=5) == 200


@pytest.mark.parametrize(
    ("target", "sent"),
    [
        ("/\u00e9.png?q=\u4f60", "/%C3%A9.png?q=%E4%BD%A0"),
        ("/\u00e9(1)%28%2b.png", "/%C3%A9(1)%28%2b.png"),
        ("/cat.png?a=b#part", "/cat.png?a=b"),
        ("", "/"),
        ("?a=%2b", "/?a=%2b"),
    ],
)
async def test_what_no_url_may_hold_is_quoted_and_the_rest_stays(
    site: Site, target: str, sent: str
) -> None:
    """What is not ASCII, as UTF-8; a fragment stays with the client (RFC 9110, section 7.1)."""
    site.answers[sent] = page(PICTURE)
    assert await fetcher(site).fetch(site.url(target)) == PICTURE


@pytest.mark.parametrize(
    ("location", "sent"),
    [
        ("/my cat (1).png", "/my%20cat%20(1).png"),
        ("/my cat%20%281%29.png?a=b c", "/my%20cat%20%281%29.png?a=b%20c"),
        ("  /cat.png\t", "/cat.png"),
        ("/p\u00e9ch\u00e9/\u4f60.png", "/p%C3%A9ch%C3%A9/%E4%BD%A0.png"),
        ("/cat.png?q=\u00fc&sig=%2B", "/cat.png?q=%C3%BC&sig=%2B"),
        ("sub dir/../cat.png", "/shop/cat.png"),
    ],
)
async def test_redirect_with_spaces_or_raw_utf_8_is_followed(
    site: Site, location: str, sent: str
) -> None:
    """As browsers do: servers send names of files as they are."""
    site.answers["/shop/buy"] = redirect(location)
    site.answers[sent] = page(PICTURE)
    assert await fetcher(site).fetch(site.url("/shop/buy")) == PICTURE


async def test_redirect_in_latin_1_goes_out_as_its_bytes(site: Site) -> None:
    """Bytes that are not UTF-8 are quoted one by one: the server knows what it means by them."""
    site.answers["/buy"] = redirect("/pX.png").replace(b"X", b"\xe9")
    site.answers["/p%E9.png"] = page(PICTURE)
    assert await fetcher(site).fetch(site.url("/buy")) == PICTURE


async def test_redirect_with_a_space_in_its_host_is_refused(site: Site) -> None:
    """There is nothing to quote: no host has one."""
    site.answers["/buy"] = redirect("http://exam ple.com/cat.png")
    with pytest.raises(SourceUnreachable):
        await fetcher(site).fetch(site.url("/buy"))


@given(
    target=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#"))
)
def test_any_visible_ascii_target_stays_as_it_is(target: str) -> None:
    """Path and query alike."""
    assert target_url(f"http://a.local/{target}").raw_path_qs == f"/{target}"


@given(target=st.text(st.characters(exclude_characters="#", exclude_categories=["Cs"])))
def test_any_target_becomes_visible_ascii(target: str) -> None:
    """It fits into a request line, and quoting it again changes nothing."""
    sent = target_url(f"http://a.local/{target}").raw_path_qs
    assert sent.isascii()
    assert all("!" <= sign <= "~" for sign in sent)
    assert target_url(f"http://a.local{sent}").raw_path_qs == sent


# RFC 3986, sections 5.4.1 and 5.4.2, without fragments; those with ``g:h`` and ``http:g`` are no web addresses here.
@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("g", "http://a/b/c/g"),
        ("./g", "http://a/b/c/g"),
        ("g/", "http://a/b/c/g/"),
        ("/g", "http://a/g"),
        ("//g", "http://g"),
        ("?y", "http://a/b/c/d;p?y"),
        ("g?y", "http://a/b/c/g?y"),
        (";x", "http://a/b/c/;x"),
        ("g;x?y", "http://a/b/c/g;x?y"),
        ("", "http://a/b/c/d;p?q"),
        (".", "http://a/b/c/"),
        ("./", "http://a/b/c/"),
        ("..", "http://a/b/"),
        ("../", "http://a/b/"),
        ("../g", "http://a/b/g"),
        ("../..", "http://a/"),
        ("../../g", "http://a/g"),
        ("../../../g", "http://a/g"),
        ("g.", "http://a/b/c/g."),
        ("..g", "http://a/b/c/..g"),
        ("./../g", "http://a/b/g"),
        ("g/./h", "http://a/b/c/g/h"),
        ("g/../h", "http://a/b/c/h"),
        ("g;x=1/../y", "http://a/b/c/y"),
        ("g?y/../x", "http://a/b/c/g?y/../x"),
    ],
)
def test_reference_leads_where_the_standard_says(reference: str, expected: str) -> None:
    """The examples of RFC 3986."""
    assert redirected("http://a/b/c/d;p?q", reference) == expected


def test_reference_from_a_bare_host_leads_below_it() -> None:
    """A path is not glued to the host."""
    assert redirected("http://a", "g") == "http://a/g"
    assert redirected("http://a?q", "g") == "http://a/g"
    assert redirected("http://a?q", "") == "http://a?q"
