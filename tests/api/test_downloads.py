"""Parts of files: conditions and ranges as RFC 9110 has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from quart import Quart, Response, request
from werkzeug.datastructures import Headers

from enlarger.api.downloads import Part, part_of, typed_as_accepted

TAG = '"sha256-ab"'
WHOLE = Part(200, 0, 100)


def part(size_bytes: int = 100, /, **headers: str) -> Part:
    """What is answered to these headers."""
    given_ = Headers({name.replace("_", "-"): value for name, value in headers.items()})
    return part_of(given_, etag=TAG, size_bytes=size_bytes)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bytes=0-0", Part(206, 0, 1)),
        ("bytes=0-99", Part(206, 0, 100)),
        ("bytes=5-9", Part(206, 5, 10)),
        ("bytes=90-", Part(206, 90, 100)),
        ("bytes=90-1000", Part(206, 90, 100)),
        ("bytes=-7", Part(206, 93, 100)),
        ("bytes=-100", Part(206, 0, 100)),
        ("bytes=-101", Part(206, 0, 100)),
        ("BYTES=5-9", Part(206, 5, 10)),
        ("bytes=100-", Part(416, 0, 0)),
        ("bytes=100-200", Part(416, 0, 0)),
        ("bytes=-0", WHOLE),
        # What is not understood, or cannot be met as it is, is ignored: section 14.2.
        ("bytes=9-5", WHOLE),
        ("bytes=a-b", WHOLE),
        ("bytes=", WHOLE),
        ("bytes", WHOLE),
        ("", WHOLE),
        ("lines=1-2", WHOLE),
        ("bytes=0-1,5-9", WHOLE),
        ("bytes=1-2-3", WHOLE),
    ],
)
def test_range(text: str, expected: Part) -> None:
    """One range of bytes is answered; one that begins behind the end is refused; all else is ignored."""
    assert part(Range=text) == expected


@given(size_bytes=st.integers(1, 60), start=st.integers(0, 70), end=st.none() | st.integers(0, 70))
def test_range_is_a_slice(size_bytes: int, start: int, end: int | None) -> None:
    """``bytes=a-b`` is ``file[a : b + 1]``, and never empty."""
    file = bytes(range(size_bytes))
    found = part(size_bytes, Range=f"bytes={start}-{'' if end is None else end}")
    expected = file[start:] if end is None else file[start : end + 1]
    if end is not None and end < start:
        assert found == Part(200, 0, size_bytes)
    elif not expected:
        assert found.status == 416
    else:
        assert found.status == 206
        assert file[found.start : found.end] == expected


@given(size_bytes=st.integers(1, 60), last=st.integers(1, 70))
def test_suffix_is_a_slice(size_bytes: int, last: int) -> None:
    """``bytes=-n`` is ``file[-n:]``."""
    file = bytes(range(size_bytes))
    found = part(size_bytes, Range=f"bytes=-{last}")
    assert found.status == 206
    assert file[found.start : found.end] == file[-last:]


@given(text=st.text(max_size=30), also=st.text(max_size=30))
def test_nonsense_is_ignored(text: str, also: str) -> None:
    """Whatever a header says, there is an answer that is within the file."""
    for name in ("Range", "If_Range", "If_None_Match"):
        given_ = {name: text.replace("\n", "").replace("\r", "")}
        found = part(**given_, **({} if name == "Range" else {"Range": "bytes=1-2"}))
        assert found.status in (200, 206, 304, 416)
        assert 0 <= found.start <= found.end <= 100


@pytest.mark.parametrize(
    ("text", "is_known"),
    [
        (TAG, True),
        (f"W/{TAG}", True),
        (f'"other", {TAG}', True),
        ("*", True),
        ('"other"', False),
        ('W/"other"', False),
        ("", False),
    ],
)
def test_what_is_known_is_not_sent(text: str, is_known: bool) -> None:
    """``If-None-Match`` compares weakly, and comes before a range: sections 13.1.2 and 13.2.2."""
    assert part(If_None_Match=text) == (Part(304, 0, 0) if is_known else WHOLE)
    ranged = part(If_None_Match=text, Range="bytes=0-4")
    assert ranged == (Part(304, 0, 0) if is_known else Part(206, 0, 5))


@pytest.mark.parametrize(
    ("text", "is_same"),
    [
        (TAG, True),
        ('"other"', False),
        (f"W/{TAG}", False),
        ("Wed, 21 Oct 2015 07:28:00 GMT", False),
        ("", False),
    ],
)
def test_part_of_another_file_is_not_sent(text: str, is_same: bool) -> None:
    """``If-Range`` compares strongly: a weak tag, or a date, gets all of the file. Section 13.1.5."""
    assert part(If_Range=text, Range="bytes=0-4") == (Part(206, 0, 5) if is_same else WHOLE)


def test_empty_file_has_no_parts() -> None:
    """All of it, or refused."""
    assert part(0) == Part(200, 0, 0)
    assert part(0, Range="bytes=0-") == Part(416, 0, 0)


@pytest.mark.parametrize(
    ("own", "accept", "sent"),
    [
        ("image/png", "", "image/png"),
        ("image/png", "*/*", "image/png"),
        ("image/png", "image/*, application/octet-stream", "image/png"),
        ("image/png", "application/octet-stream", "application/octet-stream"),
        ("image/webp", "image/png, application/octet-stream;q=0.1", "application/octet-stream"),
        ("application/zip", "application/octet-stream", "application/octet-stream"),
        ("image/png", "image/webp", "image/png"),  # which is better than nothing
        ("application/json", "application/octet-stream", "application/json"),
        ("text/html", "application/octet-stream", "text/html"),
    ],
)
async def test_file_has_the_type_that_is_accepted(own: str, accept: str, sent: str) -> None:
    """Its own, unless only that of any bytes is accepted; what is no file keeps its type."""
    app = Quart(__name__)
    async with app.test_request_context("/", headers={"Accept": accept} if accept else {}):
        answer = typed_as_accepted(Response(b"", content_type=own), request.accept_mimetypes)
    assert answer.content_type == sent
    assert ("Accept" in answer.vary) == own.startswith(("image/", "application/zip"))
