"""Sources in the compatible contract, as pure functions: URLs and base64."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.compatible_requests import URL, parsed, text_of

from enlarger.errors import (
    InvalidOption,
    InvalidUrl,
    MissingInput,
    UnreadableImage,
)
from enlarger.models import Catalogue
from enlarger.request import BytesSource, UrlSource


@pytest.mark.parametrize(
    "fields",
    [{}, {"img_url": ""}, {"img_url": None}, {"image_b64": ""}, {"img_url": "", "image_b64": None}],
    ids=repr,
)
def test_request_without_a_source_is_refused(
    catalogue: Catalogue, fields: dict[str, object]
) -> None:
    """The source is missing or empty."""
    with pytest.raises(MissingInput, match=r"^img_url is required$"):
        parsed(catalogue, scale=2, **fields)


def test_request_with_two_sources_is_refused(catalogue: Catalogue) -> None:
    """The service does not guess which one was meant."""
    with pytest.raises(InvalidOption, match=r"^Give either img_url or image_b64$"):
        parsed(catalogue, img_url=URL, image_b64="QUJD")


@pytest.mark.parametrize("empty", ["", None])
def test_empty_second_source_is_as_good_as_none(catalogue: Catalogue, empty: str | None) -> None:
    """A form that sends both names fills in one of them."""
    assert parsed(catalogue, img_url=URL, image_b64=empty).source == UrlSource(URL)
    assert parsed(catalogue, img_url=empty, image_b64="QUJD").source == BytesSource(b"ABC")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/cat.jpg",
        "file:///etc/passwd",
        "/cat.jpg",
        "cat.jpg",
        "//example.com/cat.jpg",
        "https://",
        "http:///cat.jpg",
        "https://user@example.com/cat.jpg",
        "https://user:word@example.com/cat.jpg",
        "http://example.com:99999/cat.jpg",
        " ",
        "\ud800",
        "data:",
        "data:image/png",
        "data:image/png;base64",
        7,
        True,
        ["https://example.com/cat.jpg"],
        {"url": URL},
    ],
    ids=lambda url: ascii(url),
)
def test_url_of_wrong_type_or_form_is_refused(catalogue: Catalogue, url: object) -> None:
    """A URL must use http or https, with a host and without a user name, or be a data URL."""
    with pytest.raises(InvalidUrl, match=r"^Invalid img_url format$"):
        parsed(catalogue, img_url=url)


@pytest.mark.parametrize("url", [URL, "HTTP://Example.com", "hTTps://example.com:8443/a?b=c#d"])
def test_url_reaches_the_job_as_it_was_given(catalogue: Catalogue, url: str) -> None:
    """The letter case of the scheme does not matter."""
    assert parsed(catalogue, img_url=url).source == UrlSource(url)


@pytest.mark.parametrize(
    "head",
    [
        "data:image/png;base64,",
        "data:image/jpeg;base64,",
        "data:image/x-ms-bmp;base64,",
        "data:image/svg+xml;charset=utf-8;base64,",
        "DATA:IMAGE/PNG;BASE64,",
        "data:;base64,",
        "data:text/plain;base64,",
        "data:application/octet-stream;base64,",
    ],
)
@pytest.mark.parametrize("field", ["img_url", "image_b64"])
def test_data_url_is_the_bytes_it_carries(catalogue: Catalogue, field: str, head: str) -> None:
    """In either field; its declared type counts for nothing more."""
    assert parsed(catalogue, **{field: f"{head}QUJDRA=="}).source == BytesSource(b"ABCD")


@pytest.mark.parametrize("encoded", [5, True, ["QUJD"], {"b64": "QUJD"}], ids=repr)
def test_base64_of_wrong_type_is_refused(catalogue: Catalogue, encoded: object) -> None:
    """Only a string can be base64."""
    with pytest.raises(InvalidOption, match=r"^Invalid image_b64 format$"):
        parsed(catalogue, image_b64=encoded)


@pytest.mark.parametrize(
    ("encoded", "data"),
    [
        ("QQ==", b"A"),
        ("QQ=", b"A"),
        ("QQ", b"A"),
        ("QUI=", b"AB"),
        ("QUI", b"AB"),
        ("QUJD", b"ABC"),
        ("QU\nJD\r\n", b"ABC"),
        ("\tQ U J D ", b"ABC"),
        ("Q Q = =", b"A"),
        ("+/+/", b"\xfb\xff\xbf"),
    ],
    ids=repr,
)
def test_base64_is_read_with_white_space_and_without_padding(
    catalogue: Catalogue, encoded: str, data: bytes
) -> None:
    """White space is ignored and padding is optional."""
    assert parsed(catalogue, image_b64=encoded).source == BytesSource(data)


@pytest.mark.parametrize(
    "encoded", ["Q", "QUJDR", "QU.*", "QUJ%", "QQ==QQ==", "Q=Q=", "häßlich", "\ud800"], ids=ascii
)
@pytest.mark.parametrize(
    ("field", "head"),
    [
        ("image_b64", ""),
        ("image_b64", "data:image/png;base64,"),
        ("img_url", "data:image/png;base64,"),
    ],
    ids=["bare", "prefixed", "data-url"],
)
def test_bad_base64_is_refused(catalogue: Catalogue, field: str, head: str, encoded: str) -> None:
    """A length that no bytes have, or a sign outside both alphabets."""
    with pytest.raises(UnreadableImage) as caught:
        parsed(catalogue, **{field: head + encoded})
    assert text_of(caught.value) == "Invalid image: not valid base64"


@given(
    data=st.binary(min_size=1, max_size=200),
    every=st.integers(1, 80),
    space=st.sampled_from(["", " ", "\n", "\r\n", "\t"]),
    padded=st.booleans(),
    head=st.sampled_from(["", "data:image/png;base64,"]),
)
def test_base64_gives_back_any_bytes(
    catalogue: Catalogue, data: bytes, every: int, space: str, padded: bool, head: str
) -> None:
    """The original bytes are decoded, however the text is wrapped and padded."""
    text = base64.b64encode(data).decode()
    if not padded:
        text = text.rstrip("=")
    wrapped = space.join(text[start : start + every] for start in range(0, len(text), every))
    assert parsed(catalogue, image_b64=head + wrapped).source == BytesSource(data)
