"""Signed links: what holds for every target, key and time."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import SecretStr
from support.places import REFERENCE

from enlarger.api.signing import Link, check, prefix_of, sign
from enlarger.config import SigningKey
from enlarger.errors import SignatureExpired, SignatureInvalid

NOW = 1_795_343_700
SECRET = "sixteen-letters!"
SHOP = SigningKey("shop", SecretStr(SECRET))

printable = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
targets = st.text(printable, min_size=1, max_size=60).map(lambda text: f"/v1/{text}")
kids = st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True)
secrets = st.text(printable, min_size=16, max_size=40)


def signed(target: str, *, expires_at: int = NOW + 60) -> bytes:
    """By the shop's key, as it is sent."""
    return sign(target, kid="shop", secret=SECRET, expires_at=expires_at).encode()


def test_signature_is_that_of_the_contract() -> None:
    """HMAC-SHA256 over all that stands before it, in base64 for URLs without padding; as any language makes it."""
    target = "/v1/upscale?url=https%3A%2F%2Fa.b%2Fcat.jpg&scale=4"
    before = f"{target}&expires={NOW}&kid=shop"
    digest = hmac.new(SECRET.encode(), before.encode(), hashlib.sha256).digest()
    signature = base64.urlsafe_b64encode(digest).decode().removesuffix("=")
    link = sign(target, kid="shop", secret=SECRET, expires_at=NOW)
    assert link == f"{before}&sig={signature}"


def test_link_of_the_reference_is_signed_like_this() -> None:
    """The reference shows it so that implementers in other languages can compare."""
    page = REFERENCE / "http-api.md"
    assert "shop:sixteen-letters!" in page.read_text()
    assert signed("/v1/models", expires_at=NOW).decode() in page.read_text().splitlines()


@given(target=targets, kid=kids, secret=secrets)
def test_signed_link_says_what_was_asked_for(target: str, kid: str, secret: str) -> None:
    """With a query or without, whatever stands in it."""
    link = sign(target, kid=kid, secret=secret, expires_at=NOW + 1).encode()
    assert check(link, [SigningKey(kid, SecretStr(secret))], now=NOW) == Link(target.encode(), kid)


@given(target=targets, data=st.data())
def test_any_other_byte_is_refused(target: str, data: st.DataObject) -> None:
    """The byte may be in the path, the query, the time, the key's name or the signature."""
    link = bytearray(signed(target))
    place = data.draw(st.integers(0, len(link) - 1))
    link[place] = data.draw(st.integers(0, 255).filter(lambda byte: byte != link[place]))
    with pytest.raises(SignatureInvalid):
        check(bytes(link), [SHOP], now=NOW)


@given(target=targets, data=st.data())
def test_longer_and_shorter_links_are_refused(target: str, data: st.DataObject) -> None:
    """A byte more or less, anywhere."""
    link = signed(target)
    place = data.draw(st.integers(0, len(link) - 1))
    more = data.draw(st.binary(min_size=1, max_size=3))
    for changed in (link[:place] + link[place + 1 :], link[:place] + more + link[place:]):
        with pytest.raises(SignatureInvalid):
            check(changed, [SHOP], now=NOW)
    with pytest.raises(SignatureInvalid):
        check(link + more, [SHOP], now=NOW)


@given(target=targets, kid=kids, secret=secrets)
def test_link_of_another_key_is_refused(target: str, kid: str, secret: str) -> None:
    """Neither the name nor the secret is enough."""
    assume((kid, secret) != (SHOP.kid, SECRET))
    link = sign(target, kid=kid, secret=secret, expires_at=NOW + 60).encode()
    with pytest.raises(SignatureInvalid):
        check(link, [SHOP], now=NOW)
    with pytest.raises(SignatureInvalid):
        check(link, [], now=NOW)


@given(names=st.lists(kids, min_size=2, max_size=4), target=targets)
def test_keys_change_without_a_gap(names: list[str], target: str) -> None:
    """All that are set are valid, also several of one name; without its own a link is not."""
    keys = [SigningKey(kid, SecretStr(f"{SECRET}{number}")) for number, kid in enumerate(names)]
    for key in keys:
        secret = key.secret.get_secret_value()
        link = sign(target, kid=key.kid, secret=secret, expires_at=NOW + 60).encode()
        assert check(link, keys, now=NOW).kid == key.kid
        with pytest.raises(SignatureInvalid):
            check(link, [other for other in keys if other is not key], now=NOW)


@given(expires_at=st.integers(0, 10**15 - 1), late_s=st.floats(0, 1e9))
def test_link_ends_at_its_time(expires_at: int, late_s: float) -> None:
    """To the second: just before it is valid, from then on it is not."""
    link = signed("/v1/models", expires_at=expires_at)
    assert check(link, [SHOP], now=expires_at - 1).kid == "shop"
    with pytest.raises(SignatureExpired):
        check(link, [SHOP], now=expires_at + late_s)


def test_forged_link_is_not_told_that_it_is_late() -> None:
    """Its time is not believed either."""
    link = signed("/v1/models", expires_at=NOW - 1).replace(b"models", b"model2")
    with pytest.raises(SignatureInvalid):
        check(link, [SHOP], now=NOW)


@pytest.mark.parametrize(
    "link",
    [
        b"/v1/models",
        b"/v1/models?sig=",
        b"/v1/models?expires=1&kid=shop&sig=" + b"A" * 43,
        b"/v1/models?kid=shop&expires=99999999999&sig=" + b"A" * 43,
        signed("/v1/models") + b"=",
        signed("/v1/models") + b"&scale=4",
        signed("/v1/models").replace(b"expires=", b"expires=+"),
        signed("/v1/models", expires_at=10**15),
        b"",
    ],
)
def test_what_is_no_signed_link_is_refused(link: bytes) -> None:
    """The three stand at its end, in this order and form."""
    with pytest.raises(SignatureInvalid):
        check(link, [SHOP], now=NOW)


@pytest.mark.parametrize(
    ("path", "public_path", "prefix"),
    [
        ("/v1/upscale", "/", ""),
        ("/v1/upscale", "/enlarger", ""),
        ("/enlarger/v1/upscale", "/enlarger", "/enlarger"),
        ("/enlarger/v1/upscale", "/enlarger/", "/enlarger"),
        ("/enlarger/v1/upscale", "/", "/enlarger"),
        ("/api/v1/enlarger/v1/upscale", "/api/v1/enlarger", "/api/v1/enlarger"),
        ("/api/v1/enlarger/v1/upscale", "/", "/api/v1/enlarger"),
        ("/enlarger/upscale", "/enlarger", None),
        ("/files/v1", "/", None),
        ("", "/", None),
    ],
)
def test_what_a_proxy_takes_off_is_not_signed(
    path: str, public_path: str, prefix: str | None
) -> None:
    """Told from the setting, and where that is not known from the routes, all of which begin with ``/v1/``."""
    assert prefix_of(path, public_path) == prefix


def test_link_that_asks_for_a_time_itself_keeps_it() -> None:
    """What was asked for is given on as it was, for its route to refuse."""
    target = "/v1/upscale?expires=1&kid=a&url=u"
    assert check(signed(target), [SHOP], now=NOW).target == target.encode()
