"""Where a request says its picture is: data URLs by the grammar of browsers, and base64 in all its spellings."""

from __future__ import annotations

import base64
from functools import partial
from urllib.parse import quote, quote_from_bytes
from urllib.request import urlopen

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enlarger.api.dialects.dialect import source_named
from enlarger.api.sources import data_of, source_of
from enlarger.errors import EnlargerError, InvalidUrl, UnreadableImage
from enlarger.request import BytesSource, UrlSource

READERS = {
    "img_url": lambda text: source_of(text, None),
    "image_b64": partial(source_of, None),
    "dialects": lambda text: source_named(text, "image"),
}
"""Every way in which a request may carry a data URL."""

every_reader = pytest.mark.parametrize("reader", READERS.values(), ids=READERS)


# As web-platform-tests has them, in fetch/data-urls/resources/data-urls.json and base64.json.
@pytest.mark.parametrize(
    ("url", "data"),
    [
        ("data:,X", b"X"),
        ("DATA:,X", b"X"),
        ("data://test/,X", b"X"),
        ("data:,X#X", b"X"),
        ("data:,%FF", b"\xff"),
        ("data:image/gif,X", b"X"),
        ("data:IMAGE/gif;hi=x,X", b"X"),
        ("data:;charset=,X", b"X"),
        ("data:;base64,WA", b"X"),
        ("data:x;base64,WA", b"X"),
        ("data:;base64;base64,WA", b"X"),
        ("data:;charset=x;base64,WA", b"X"),
        ("data:x;base64;base64,WA", b"X"),
        ("data:; base64,WA", b"X"),
        ("data:;   BASE64   ,WA", b"X"),
        ("data:;base64,W%20A", b"X"),
        ("data:;base64,W%0CA", b"X"),
        ("data:;base64,WA%3D%3D", b"X"),
        ("data:;base64,W A = =", b"X"),
        ("data:;base64;,WA", b"WA"),
        ("data:;base64;x,WA", b"WA"),
        ("data:;base64x,WA", b"WA"),
        ("data:x;base64=x,WA", b"WA"),
        ("data:x;base64;charset=x,WA", b"WA"),
        ("data:;%62ase64,WA", b"WA"),
        ("data:%3Bbase64,WA", b"WA"),
        ("data:base64,WA", b"WA"),
        ("data:text/plain,a%2Cb,c", b"a,b,c"),
        ("data:,%zz%4", b"%zz%4"),
    ],
)
@every_reader
def test_data_url_is_read_as_browsers_read_it(reader: object, url: str, data: bytes) -> None:
    """The vectors of the standard's tests."""
    assert reader(url) == BytesSource(data)  # type: ignore[operator]


@pytest.mark.parametrize(
    "head",
    [
        "data:image/png;name=cat.png;base64,",
        'data:image/png;name="my cat.png";base64,',
        "data:image/png;name=my%20cat%2C%201.png;base64,",
        "data:image/png;charset=utf-8;base64,",
        "data:image/png;charset=utf-8;name=cat.png;base64,",
        "data:image/png ; base64,",
        "data: image/png;base64,",
        " data:image/png;base64,",
        "\ndata:image/png;\n base64,",
        "data:;base64,",
        "data:base64;base64,",
        "data:image/vnd.adobe.photoshop;base64,",
        "data:image/*;base64,",
        "data:null;base64,",
        "data:undefined;base64,",
        f"data:image/png;name={'x' * 300}.png;base64,",
        f"data:image/png;name={'x' * 300_000}.png;base64,",
    ],
    ids=lambda head: f"{head[:40]} {len(head)}",
)
@every_reader
def test_data_url_of_real_clients_is_read(reader: object, head: str) -> None:
    """Form libraries add names, .NET adds a charset, pages without a type write ``null``, people add spaces."""
    assert reader(f"{head}QUJDRA%3D%3D\n") == BytesSource(b"ABCD")  # type: ignore[operator]


@pytest.mark.parametrize("url", ["data:", "data:image/png", "data:image/png;base64", "data:QUJD"])
def test_data_url_without_a_comma_is_refused(url: str) -> None:
    """It is not clear where its data begins. The error has the field's name, or says that the data URL is wrong."""
    with pytest.raises(InvalidUrl, match=r"^Invalid img_url format$"):
        source_of(url, None)
    with pytest.raises(UnreadableImage, match="without a comma"):
        source_of(None, url)


@every_reader
def test_web_address_that_looks_like_data_is_fetched(reader: object) -> None:
    """Only the scheme makes a data URL."""
    url = "http://data:80/data:image/png;base64,WA"
    if reader is READERS["image_b64"]:
        with pytest.raises(UnreadableImage):
            reader(url)  # type: ignore[operator]
    else:
        assert reader(url) == UrlSource(url)  # type: ignore[operator]


SPELLINGS = {
    "standard": lambda text: text,
    "URL-safe": lambda text: text.replace("+", "-").replace("/", "_"),
    "unpadded": lambda text: text.rstrip("="),
    "URL-safe and unpadded": lambda text: text.replace("+", "-").replace("/", "_").rstrip("="),
    "in lines": lambda text: "\r\n".join(text[at : at + 76] for at in range(0, len(text), 76)),
    "percent-encoded": lambda text: quote(text, safe=""),
    "percent-encoded, small": lambda text: quote(text, safe="").replace("%2B", "%2b"),
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("head", ["", "data:image/png;base64,"], ids=["bare", "data URL"])
@given(data=st.binary(min_size=1, max_size=400))
def test_base64_in_any_spelling_gives_back_its_bytes(
    spelling: object, head: str, data: bytes
) -> None:
    """Both alphabets of RFC 4648, with and without padding, wrapped, and as a query or a form may leave it."""
    text = head + spelling(base64.b64encode(data).decode())  # type: ignore[operator]
    assert source_of(None, text) == BytesSource(data)
    assert source_named(text, "image") == BytesSource(data)


@given(data=st.binary(max_size=400), is_base64=st.booleans())
def test_data_url_is_what_the_standard_library_reads(data: bytes, is_base64: bool) -> None:
    """The oracle is urllib, which has a reader of its own."""
    body = base64.b64encode(data).decode() if is_base64 else quote_from_bytes(data)
    url = f"data:image/png{';base64' if is_base64 else ''},{body}"
    with urlopen(url) as answer:
        assert data_of(url) == answer.read() == data


@pytest.mark.parametrize("shift", range(4))
def test_escape_across_a_border_of_blocks_is_one(shift: int) -> None:
    """A long body is decoded in pieces; no escape is cut in two."""
    data = bytes(range(256)) * 700
    url = "data:," + "x" * shift + "".join(f"%{byte:02x}" for byte in data)
    assert data_of(url) == b"x" * shift + data


@given(text=st.text(max_size=30) | st.text("data:;,base64 %=-_#\n", max_size=40))
@every_reader
def test_any_text_is_a_source_or_refused(reader: object, text: str) -> None:
    """No text raises anything but an error of ours."""
    try:
        reader(text)  # type: ignore[operator]
    except EnlargerError:
        return
