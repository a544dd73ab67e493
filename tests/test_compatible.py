"""The compatible contract as pure functions: what requests mean, and what answers and errors look like."""

from __future__ import annotations

import base64
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enlarger import config
from enlarger.api.compatible.answers import answer
from enlarger.api.compatible.errors import error_answer
from enlarger.api.compatible.requests import parse_body, parse_job, parse_query
from enlarger.api.compatible.texts import sentence
from enlarger.errors import (
    AnimationUnsupported,
    BadTile,
    BodyTooLarge,
    Busy,
    DeadlineExceeded,
    DeadlineTooShort,
    DownloadTooLarge,
    Draining,
    EngineFailed,
    EngineLost,
    EnlargerError,
    FileTooLarge,
    ImageTooLarge,
    InvalidOption,
    InvalidUrl,
    MalformedJson,
    MissingBody,
    MissingInput,
    ModelNotHere,
    NoEngineReady,
    OutOfMemory,
    OutputTooLarge,
    QueueFull,
    RequestError,
    SourceFailed,
    SourceRefused,
    SourceTimeout,
    SourceUnreachable,
    Starting,
    StorageFull,
    TileTooLarge,
    UnknownModel,
    UnreadableImage,
    UnsupportedFormat,
    WeightsError,
    WrongOutput,
)
from enlarger.models import Catalogue
from enlarger.options import Options
from enlarger.picture.values import Header, Note
from enlarger.pipeline.outcome import Outcome, Ran
from enlarger.request import BytesSource, UpscaleRequest, UrlSource
from enlarger.storage import StoredResult

JSON = "application/json"
URL = "https://example.com/cat.jpg"
TOKEN = "5d0c7e1f9b2a4c6388e1f0a7d4b39c52"


@pytest.fixture(scope="module")
def catalogue(model_dir: Path) -> Catalogue:
    """The wheel's models and the made ones."""
    return Catalogue.installed(model_dir)


def parsed(catalogue: Catalogue, **fields: Any) -> UpscaleRequest:
    """The job of these fields."""
    return parse_job(fields, catalogue=catalogue, request_id="r-1")[0]


def parsed_or_refused(
    catalogue: Catalogue, fields: dict[str, Any]
) -> UpscaleRequest | RequestError:
    """The job of these fields, or the fault that was found in them."""
    try:
        return parsed(catalogue, **fields)
    except RequestError as error:
        return error


def text_of(error: EnlargerError) -> str:
    """What the caller reads."""
    return str(error_answer(error, request_id="r-1")[0]["error"])


# The body


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        " application/json ;charset=utf-8",
        "application/vnd.api+json",
        "application/problem+JSON;x=y",
    ],
)
def test_json_media_types_are_read(content_type: str) -> None:
    """``application/json`` and ``application/*+json``, in any letter case and with parameters."""
    assert parse_body(content_type, b'{"scale": 4, "x": "\xc3\xa4"}') == {"scale": 4, "x": "ä"}


def test_byte_order_mark_is_none_of_the_json() -> None:
    """Windows writes one before UTF-8."""
    assert parse_body(JSON, b'\xef\xbb\xbf{"scale": 4}') == {"scale": 4}


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "text/json",
        "application/jsonp",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=json",
        "image/svg+json",
        "text/plain; application/json",
    ],
)
@pytest.mark.parametrize("body", [b'{"scale": 4}', b"no json"])
def test_other_media_types_are_no_json(content_type: str | None, body: bytes) -> None:
    """Another content type is the same as no body, whatever the body holds."""
    with pytest.raises(MissingBody, match=r"^No JSON data provided$"):
        parse_body(content_type, body)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b'""', b"0", b"false", b" { } \n"])
def test_empty_value_is_no_body(body: bytes) -> None:
    """A body that holds nothing is complained about as missing."""
    with pytest.raises(MissingBody, match=r"^No JSON data provided$"):
        parse_body(JSON, body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"scale": 2',
        b"{'scale': 2}",
        b'{"scale": 2} {}',
        b"scale=2",
        b'{"x": "\xff"}',
        '{"scale": 2}'.encode("utf-16"),
        b"[" * 100_000,
        b'{"scale": ' + b"1" * 10_000 + b"}",
        b'["img_url"]',
        b'"img_url"',
        b"7",
        b"true",
    ],
    ids=lambda body: repr(body[:16]),
)
def test_body_that_is_no_json_object_is_malformed(body: bytes) -> None:
    """Not JSON, not UTF-8, or not an object."""
    with pytest.raises(MalformedJson, match=r"^Malformed JSON$"):
        parse_body(JSON, body)


@pytest.mark.parametrize("part", [b"[]", b"{}", b"0"])
def test_json_of_thousands_of_parts_is_malformed(part: bytes) -> None:
    """Before it is read: in memory it would be twenty times as long as on the wire."""
    body = b'{"a": [' + b",".join([part] * 20_000) + b"]}"
    with pytest.raises(MalformedJson):
        parse_body(JSON, body)


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_does_not_have_are_malformed(word: str) -> None:
    """RFC 8259, section 6: infinity and NaN are not permitted."""
    with pytest.raises(MalformedJson):
        parse_body(JSON, f'{{"scale": {word}}}'.encode())


@given(body=st.binary(max_size=60))
def test_any_body_is_an_object_or_a_fault_of_the_sender(body: bytes) -> None:
    """No bytes make anything but a JSON object or a refusal."""
    with suppress(MissingBody, MalformedJson):
        fields = parse_body(JSON, body)
        assert json.loads(body) == fields
        assert fields


# The query


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ({"img_url": URL}, {"img_url": URL}),
        ({"scale": "2"}, {"scale": 2}),
        ({"scale": "4"}, {"scale": 4}),
        ({"scale": "2.0"}, {"scale": "2.0"}),
        ({"scale": "3"}, {"scale": "3"}),
        ({"scale": ""}, {"scale": ""}),
        ({"inline": "false"}, {"inline": False}),
        ({"inline": "True"}, {"inline": True}),
        ({"inline": "perhaps"}, {"inline": "perhaps"}),
        ({"model": "nearest", "image_b64": "QUJD"}, {"model": "nearest", "image_b64": "QUJD"}),
    ],
)
def test_query_stands_for_an_object(query: dict[str, str], fields: dict[str, Any]) -> None:
    """Names are those of the body; ``scale`` is the text 2 or 4, and ``inline`` is true or false."""
    assert parse_query(query) == fields
    assert [type(value) for value in parse_query(query).values()] == [
        type(value) for value in fields.values()
    ]


@pytest.mark.parametrize("scale", ["2.0", "3", "", " 2", "two"])
def test_other_scale_in_a_query_is_refused(catalogue: Catalogue, scale: str) -> None:
    """What is not the text 2 or 4 stays a text, which no scale may be."""
    with pytest.raises(InvalidOption, match=r"^Scale must be 2 or 4$"):
        parsed(catalogue, **parse_query({"img_url": URL, "scale": scale}))


# The options


@pytest.mark.parametrize(("scale", "wanted"), [(2, 2), (4, 4), (2.0, 2), (4.0, 4)])
def test_scale_is_a_number_equal_to_2_or_4(catalogue: Catalogue, scale: float, wanted: int) -> None:
    """2.0 is 2."""
    job = parsed(catalogue, img_url=URL, scale=scale)
    assert job.options.size_px(30, 20) == (30 * wanted, 20 * wanted)


@pytest.mark.parametrize(
    "scale",
    ["2", "4", True, False, None, 0, 1, 3, 8, -2, 2.5, 1e400, float("nan"), [2], {"x": 2}, ""],
    ids=repr,
)
def test_any_other_scale_is_refused(catalogue: Catalogue, scale: object) -> None:
    """A text, a boolean, null or another number is no scale."""
    with pytest.raises(InvalidOption, match=r"^Scale must be 2 or 4$"):
        parsed(catalogue, img_url=URL, scale=scale)


def test_fields_have_defaults(catalogue: Catalogue) -> None:
    """Twice the size, by any model and in any precision, with base64 in the answer."""
    job, inline = parse_job({"img_url": URL}, catalogue=catalogue, request_id="r-7")
    options = Options(scale=2, model="auto", precision="auto", metadata="strip", frames="first")
    assert job == UpscaleRequest(source=UrlSource(URL), options=options, request_id="r-7")
    assert inline is True


def test_options_reach_the_job(catalogue: Catalogue) -> None:
    """Each option is taken over; unknown fields, and other ways to set the size, are ignored."""
    fields = {
        "img_url": URL,
        "scale": 4,
        "model": "nearest",
        "precision": "f32",
        "inline": False,
        "colour": "blue",
        "width": 7,
        "region": [1, 2, 3, 4],
        "format": "webp",
        "quality": 80,
        "background": "#0a0b0c",
        "metadata": "keep",
        "color": "srgb",
        "color_lock": False,
        "provenance": True,
        "frames": 12,
        "max_bytes": 1000,
    }
    job, inline = parse_job(fields, catalogue=catalogue, request_id="r-7")
    options = Options(
        scale=4,
        model="nearest",
        precision="f32",
        region=(1, 2, 3, 4),
        format="webp",
        quality=80,
        background="#0a0b0c",
        metadata="keep",
        color="srgb",
        color_lock=False,
        provenance=True,
        frames=12,
    )
    assert job == UpscaleRequest(source=UrlSource(URL), options=options, request_id="r-7")
    assert inline is False


@pytest.mark.parametrize("model", ["nope", "", "Nearest", "../nearest", "x" * 5000])
def test_unknown_model_is_refused(catalogue: Catalogue, model: str) -> None:
    """The text names the fault and what there is, and stays short."""
    with pytest.raises(UnknownModel) as caught:
        parsed(catalogue, img_url=URL, model=model)
    assert text_of(caught.value).startswith("Unknown model: ")
    assert "tiny-rrdb" in text_of(caught.value)
    assert len(text_of(caught.value)) < 400


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", None),
        ("model", 4),
        ("model", ["nearest"]),
        ("precision", "f64"),
        ("precision", None),
        ("precision", ["f32"]),
        ("inline", "true"),
        ("inline", 1),
        ("inline", None),
        ("region", "1,2,3"),
        ("region", [1, 2, 3, "x"]),
        ("format", "bmp"),
        ("format", 7),
        ("quality", 0),
        ("quality", 101),
        ("quality", "80"),
        ("background", "red"),
        ("metadata", "all"),
        ("metadata", None),
        ("color", "cmyk"),
        ("color_lock", 1),
        ("color_lock", "yes"),
        ("provenance", None),
    ],
)
def test_bad_value_of_an_option_is_refused_by_its_name(
    catalogue: Catalogue, name: str, value: object
) -> None:
    """The text says which option, and what it may be."""
    with pytest.raises(InvalidOption, match=f"^Invalid {name}: it must be "):
        parsed(catalogue, img_url=URL, **{name: value})


# The source


@pytest.mark.parametrize(
    "fields",
    [{}, {"img_url": ""}, {"img_url": None}, {"image_b64": ""}, {"img_url": "", "image_b64": None}],
    ids=repr,
)
def test_request_without_a_source_is_refused(
    catalogue: Catalogue, fields: dict[str, object]
) -> None:
    """None at all, or an empty one."""
    with pytest.raises(MissingInput, match=r"^img_url is required$"):
        parsed(catalogue, scale=2, **fields)


def test_request_with_two_sources_is_refused(catalogue: Catalogue) -> None:
    """Which one was meant is not for us to guess."""
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
    """Only http and https with a host and no user name, or a data URL."""
    with pytest.raises(InvalidUrl, match=r"^Invalid img_url format$"):
        parsed(catalogue, img_url=url)


@pytest.mark.parametrize("url", [URL, "HTTP://Example.com", "hTTps://example.com:8443/a?b=c#d"])
def test_url_reaches_the_job_as_it_was_given(catalogue: Catalogue, url: str) -> None:
    """Letter case of the scheme plays no part."""
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
    """However it is wrapped and padded, what was encoded comes out."""
    text = base64.b64encode(data).decode()
    if not padded:
        text = text.rstrip("=")
    wrapped = space.join(text[start : start + every] for start in range(0, len(text), every))
    assert parsed(catalogue, image_b64=head + wrapped).source == BytesSource(data)


# The order of the table

SOURCES = {"img_url", "image_b64"}

Fault = tuple[dict[str, Any], str, str]
"""The fields of a request with one fault, the code, and the beginning of the text."""

FAULTS: list[Fault] = [
    ({"scale": 3}, "invalid_option", "Scale must be 2 or 4"),
    ({"model": "nope"}, "unknown_model", "Unknown model: "),
    ({"precision": "f64"}, "invalid_option", "Invalid precision: "),
    ({}, "missing_input", "img_url is required"),
    ({"img_url": "ftp://x", "image_b64": 7}, "invalid_option", "Give either img_url or image_b64"),
    ({"img_url": "ftp://x"}, "invalid_url", "Invalid img_url format"),
    ({"image_b64": 7}, "invalid_option", "Invalid image_b64 format"),
    ({"image_b64": "?"}, "unreadable_image", "Invalid image: not valid base64"),
]
"""In the order of the table."""


def pairs() -> Iterator[tuple[Fault, Fault]]:
    """Two faults that one request can have, the higher one first."""
    for first, second in itertools.combinations(FAULTS, 2):
        both_are_sources = SOURCES & first[0].keys() and SOURCES & second[0].keys()
        if first[0] and not both_are_sources:
            yield first, second


@pytest.mark.parametrize(("first", "second"), list(pairs()), ids=lambda fault: fault[2])
def test_first_fault_of_the_table_is_the_one_reported(
    catalogue: Catalogue,
    first: Fault,
    second: Fault,
) -> None:
    """A request with two faults is refused for the one that stands higher."""
    with pytest.raises(RequestError) as caught:
        parsed(catalogue, **first[0], **second[0])
    body, status, _ = error_answer(caught.value, request_id="r-1")
    assert (status, body["code"]) == (400, first[1])
    assert body["error"].startswith(first[2])


@given(
    fields=st.dictionaries(
        st.sampled_from(["img_url", "image_b64", "scale", "model", "precision", "inline"]),
        st.none()
        | st.booleans()
        | st.sampled_from(
            [2, 4, 2.0, "nearest", "auto", "f32", URL, "QUJD", "data:image/png;base64,QUJD"]
        )
        | st.integers()
        | st.floats()
        | st.text(max_size=20)
        | st.lists(st.integers(), max_size=2),
    )
)
def test_any_fields_are_a_job_or_a_fault_of_the_sender(
    catalogue: Catalogue, fields: dict[str, Any]
) -> None:
    """No value of any field raises anything else, and each refusal can be sent as JSON."""
    made = parsed_or_refused(catalogue, fields)
    if isinstance(made, UpscaleRequest):
        assert made.options.scale in (2, 4)
    else:
        body, status, headers = error_answer(made, request_id="r-1")
        assert (status, headers) == (400, {})
        assert json.loads(json.dumps(body))["code"] == made.code


# Errors as answers


SIZE = {"original_size": {"width": 90, "height": 80}, "scale": 4}

TABLE: list[tuple[EnlargerError, int, dict[str, Any]]] = [
    (
        BodyTooLarge("Request body too large (max: 10835288)", limit=10835288),
        400,
        {
            "error": "Request body too large (max: 10835288)",
            "code": "file_too_large",
            "limit": 10835288,
        },
    ),
    (
        MissingBody("No JSON data provided"),
        400,
        {"error": "No JSON data provided", "code": "missing_body"},
    ),
    (MalformedJson("Malformed JSON"), 400, {"error": "Malformed JSON", "code": "malformed_json"}),
    (
        InvalidOption("Scale must be 2 or 4"),
        400,
        {"error": "Scale must be 2 or 4", "code": "invalid_option"},
    ),
    (
        UnknownModel("'x' is not installed"),
        400,
        {"error": "Unknown model: 'x' is not installed", "code": "unknown_model"},
    ),
    (
        MissingInput("img_url is required"),
        400,
        {"error": "img_url is required", "code": "missing_input"},
    ),
    (
        InvalidUrl("Invalid img_url format"),
        400,
        {"error": "Invalid img_url format", "code": "invalid_url"},
    ),
    (
        UnreadableImage("not valid base64"),
        400,
        {"error": "Invalid image: not valid base64", "code": "unreadable_image"},
    ),
    (
        FileTooLarge("Image too large: 9 bytes (max: 8)", limit=8, actual=9),
        400,
        {
            "error": "Invalid image: Image too large: 9 bytes (max: 8)",
            "code": "file_too_large",
            "limit": 8,
            "actual": 9,
        },
    ),
    (
        SourceUnreachable("could not reach the source"),
        400,
        {
            "error": "Failed to download image: could not reach the source",
            "code": "source_unreachable",
        },
    ),
    (
        SourceTimeout("Timeout downloading image"),
        400,
        {"error": "Timeout downloading image", "code": "source_timeout", "retryable": True},
    ),
    (
        SourceRefused("HTTP 404: Failed to download image"),
        400,
        {
            "error": "Failed to download image: HTTP 404: Failed to download image",
            "code": "source_refused",
        },
    ),
    (
        SourceFailed("HTTP 500: Failed to download image"),
        400,
        {
            "error": "Failed to download image: HTTP 500: Failed to download image",
            "code": "source_failed",
            "retryable": True,
        },
    ),
    (
        DownloadTooLarge("Image too large: 9 bytes (max: 8)", limit=8, actual=9),
        400,
        {
            "error": "Failed to download image: Image too large: 9 bytes (max: 8)",
            "code": "file_too_large",
            "limit": 8,
            "actual": 9,
        },
    ),
    (
        UnsupportedFormat("not a picture"),
        400,
        {"error": "Invalid image: not a picture", "code": "unsupported_format"},
    ),
    (
        ImageTooLarge("Image dimensions too large: 4000x3000 (max: 2048)", limit=2048, actual=4000),
        400,
        {
            "error": "Invalid image: Image dimensions too large: 4000x3000 (max: 2048)",
            "code": "image_too_large",
            "limit": 2048,
            "actual": 4000,
        },
    ),
    (
        OutputTooLarge(
            "Upscaled image would be too large: ~345600 bytes",
            limit=100_000,
            actual=115_200,
            facts={"input_px": (90, 80), "scale": 4},
        ),
        400,
        {
            "error": "Upscaled image would be too large: ~345600 bytes",
            "code": "output_too_large",
            "limit": 100_000,
            "actual": 115_200,
            **SIZE,
        },
    ),
    (
        DeadlineExceeded("the deadline passed while the tile waited"),
        504,
        {"error": "Upscaling failed: deadline exceeded", "code": "deadline_exceeded"},
    ),
    (
        DeadlineTooShort("deadline exceeded before it began: use a quicker model"),
        504,
        {
            "error": "Upscaling failed: deadline exceeded before it began: use a quicker model",
            "code": "deadline_exceeded",
        },
    ),
    (
        EngineFailed("the runtime failed"),
        500,
        {
            "error": "Upscaling failed: the runtime failed",
            "code": "engine_failed",
            "retryable": True,
        },
    ),
    (
        EngineLost("it went away"),
        500,
        {"error": "Upscaling failed: it went away", "code": "engine_lost", "retryable": True},
    ),
    (
        WrongOutput("it is constant"),
        500,
        {"error": "Upscaling failed: it is constant", "code": "wrong_output", "retryable": True},
    ),
    (
        StorageFull("no room for the result"),
        500,
        {"error": "Upscaling failed: no room for the result", "code": "storage_full"},
    ),
]
"""The rows that need no ``Retry-After``: an error, its status, and its body."""


@pytest.mark.parametrize(("error", "status", "body"), TABLE, ids=lambda row: type(row).__name__)
def test_error_has_the_body_and_status_of_the_table(
    error: EnlargerError, status: int, body: dict[str, Any]
) -> None:
    """Text, code, whether to repeat, and the numbers where there are any; nothing else."""
    wanted = {"retryable": False, "request_id": "r-1", **body}
    assert error_answer(error, request_id="r-1") == (wanted, status, {})


def test_fields_of_an_error_have_their_order() -> None:
    """That of the page of errors: people read the sentence first."""
    error = FileTooLarge("too large", limit=1, actual=2)
    body, _, _ = error_answer(error, request_id="r-1")
    assert list(body) == ["error", "code", "retryable", "request_id", "limit", "actual"]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (FileTooLarge("9 bytes", limit=8, actual=9), "Image too large: 9 bytes (max: 8)"),
        (DownloadTooLarge("9 bytes", limit=8, actual=9), "Image too large: 9 bytes (max: 8)"),
        (BodyTooLarge("the body", limit=8, actual=9), "the body"),
        (
            ImageTooLarge("big", limit=8, actual=9, facts={"width_px": 9, "height_px": 5}),
            "Image dimensions too large: 9x5 (max: 8)",
        ),
        (ImageTooLarge("big", limit=8, actual=9), "big"),
        (
            OutputTooLarge(
                "big", limit=1, actual=9, facts={"rgb_bytes": 27, "hint": " in 3 frames"}
            ),
            "Upscaled image would be too large: ~27 bytes in 3 frames",
        ),
        (SourceTimeout("slow"), "Timeout downloading image"),
        (
            SourceRefused("no", facts={"source_status": 404, "reason": ""}),
            "HTTP 404: Failed to download image",
        ),
        (
            SourceFailed("no", facts={"source_status": 503, "reason": ""}),
            "HTTP 503: Failed to download image",
        ),
        (SourceRefused("no"), "no"),
        (EngineFailed("the runtime failed"), "the runtime failed"),
    ],
)
def test_sentences_are_those_of_the_original_service(error: EnlargerError, text: str) -> None:
    """They are made of the facts of an error; one without those facts says its own text."""
    assert sentence(error) == text


@pytest.mark.parametrize(
    ("cls", "code"),
    [
        (NoEngineReady, "no_engine_ready"),
        (QueueFull, "queue_full"),
        (Draining, "draining"),
        (OutOfMemory, "out_of_memory"),
    ],
)
@pytest.mark.parametrize(
    ("retry_after_s", "header"),
    [(None, "1"), (0.0, "1"), (0.2, "1"), (7.0, "7"), (7.1, "8"), (120.0, "120"), (9e9, "120")],
)
def test_capacity_error_says_when_to_come_back(
    cls: type[EnlargerError], code: str, retry_after_s: float | None, header: str
) -> None:
    """503 has ``Retry-After`` in whole seconds, rounded up, from 1 to 120."""
    body, status, headers = error_answer(
        cls("not now", retry_after_s=retry_after_s), request_id="r-1"
    )
    assert body == {
        "error": "Upscaling failed: not now",
        "code": code,
        "retryable": True,
        "request_id": "r-1",
    }
    assert (status, headers) == (503, {"Retry-After": header})


@pytest.mark.parametrize(
    "error",
    [
        BadTile("Tile-Shape does not fit"),
        ModelNotHere("nearest is not here"),
        TileTooLarge("600 px", limit=512),
        Busy("2 of 2 seats taken"),
        Starting("not yet"),
        WeightsError("nearest.bin is damaged"),
        EnlargerError("what is this"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_error_that_the_table_does_not_know_is_internal(error: EnlargerError) -> None:
    """What passes between gateway and model servers is no business of the caller."""
    body, status, headers = error_answer(error, request_id="r-1")
    assert body == {
        "error": "Internal server error",
        "code": "internal_error",
        "retryable": False,
        "request_id": "r-1",
    }
    assert (status, headers) == (500, {})


# The answer


def outcome(*, took_s: float = 1.0, notes: tuple[Note, ...] = ()) -> Outcome:
    """A 4 x 3 picture made 8 x 6 by two servers."""
    return Outcome(
        ran=Ran(
            model="realesrgan-x4plus",
            model_sha256="5a" * 32,
            engine="openvino",
            precision="bf16",
            tiles=12,
            tiles_by_server=Counter({"server-0": 7, "server-1": 5}),
            retried=1,
            repeated=Counter(constant=2),
            reused=3,
            color_delta=1.2345,
        ),
        width_px=8,
        scale=2.0,
        height_px=6,
        notes=notes,
        kept=("alpha", "icc"),
        stored=StoredResult(TOKEN, ".png", 0.0, 999, "ab" * 32),
        header=Header(format="jpeg", width_px=4, height_px=3, mode="RGB", depth_bits=8, frames=1),
        input_bytes=51234,
        took_s=took_s,
    )


def answered(
    result: Outcome, *, scale: int = 2, left_s: float = 300.0, **settings: Any
) -> dict[str, Any]:
    """The answer under these settings."""
    return dict(
        answer(
            result,
            scale=scale,
            settings=config.load(**settings).server,
            request_id="r-1",
            left_s=left_s,
        )
    )


def test_answer_has_the_fields_of_the_contract_in_their_order() -> None:
    """All fields of A.1 with their values; base64 comes later."""
    made = answered(outcome(notes=(Note("orientation_applied", "EXIF orientation 6"),)))
    expires_at = made.pop("expires_at")
    assert json.dumps(made) == json.dumps(
        {
            "success": True,
            "file_path": f"uploads/upscaled_{TOKEN}.png",
            "base64": None,
            "original_size": {"width": 4, "height": 3, "bytes": 51234},
            "upscaled_size": {"width": 8, "height": 6, "scale": 2},
            "processing_time": 1.0,
            "url": f"/files/{TOKEN}.png",
            "model": "realesrgan-x4plus",
            "engine": "openvino",
            "precision": "bf16",
            "tiles": {
                "total": 12,
                "servers": 2,
                "retried": 1,
                "repeated": {"constant": 2},
                "reused": 3,
            },
            "kept": ["alpha", "icc"],
            "notes": [{"code": "orientation_applied", "detail": "EXIF orientation 6"}],
            "cache": "miss",
            "color_delta": 1.23,
            "model_sha256": "5a" * 32,
            "request_id": "r-1",
        }
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", expires_at)


def test_first_six_fields_come_first() -> None:
    """Those of the original service, then the extras."""
    assert list(answered(outcome()))[:6] == [
        "success",
        "file_path",
        "base64",
        "original_size",
        "upscaled_size",
        "processing_time",
    ]


@pytest.mark.parametrize(
    ("took_s", "shown"), [(44.6149, 44.61), (0.004, 0.0), (0.005001, 0.01), (3.0, 3.0)]
)
def test_processing_time_has_two_decimals(took_s: float, shown: float) -> None:
    """Seconds, rounded."""
    assert answered(outcome(took_s=took_s))["processing_time"] == shown


@pytest.mark.parametrize("left_s", [0.0, 12.0, 300.0, 86400.0])
def test_expiry_is_so_far_ahead_as_the_file_lives(left_s: float) -> None:
    """In UTC, to the second."""
    before = datetime.now(UTC).timestamp()
    made = answered(outcome(), left_s=left_s)
    after = datetime.now(UTC).timestamp()
    expires_s = datetime.fromisoformat(made["expires_at"]).timestamp()
    assert before + left_s - 1 <= expires_s <= after + left_s


@pytest.mark.parametrize(
    ("public_url", "prefix"),
    [
        (None, ""),
        ("https://cdn.example.com", "https://cdn.example.com"),
        ("https://cdn.example.com/", "https://cdn.example.com"),
        ("https://example.com/a/b/", "https://example.com/a/b"),
    ],
)
def test_url_has_the_public_prefix(public_url: str | None, prefix: str) -> None:
    """A path, unless the operator named what stands before it."""
    assert answered(outcome(), public_url=public_url)["url"] == f"{prefix}/files/{TOKEN}.png"


@pytest.mark.parametrize(
    ("folder", "shown"),
    [
        ("uploads", "uploads"),
        ("./uploads/", "uploads"),
        ("/srv/enlarger/results", "results"),
        ("a/b", "b"),
        ("a/../c", "c"),
    ],
)
def test_file_path_is_relative_to_the_parent_of_the_folder(folder: str, shown: str) -> None:
    """Also where the folder is set as an absolute path: the answer shows no more than its name."""
    made = answered(outcome(), upload_folder=Path(folder))
    assert made["file_path"] == f"{shown}/upscaled_{TOKEN}.png"


def test_file_path_is_the_url_of_an_object() -> None:
    """Where results are in a bucket."""
    for place in ("s3://bucket/prefix", "s3://bucket/prefix/"):
        made = answered(outcome(), upload_folder=place)
        assert made["file_path"] == f"s3://bucket/prefix/upscaled_{TOKEN}.png"


def test_file_path_has_the_name_of_the_folder_where_that_is_a_link(tmp_path: Path) -> None:
    """Seen from the parent of ``UPLOAD_FOLDER`` the file is where the answer says."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "uploads").symlink_to(tmp_path / "disk")
    made = answered(outcome(), upload_folder=tmp_path / "elsewhere" / "uploads")
    assert made["file_path"] == f"uploads/upscaled_{TOKEN}.png"


def test_file_path_names_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dot is no name."""
    (tmp_path / "results").mkdir()
    monkeypatch.chdir(tmp_path / "results")
    assert answered(outcome(), upload_folder=Path())["file_path"] == (
        f"results/upscaled_{TOKEN}.png"
    )


# Animations and the size of the file


def test_animation_is_its_first_frame_unless_asked_otherwise(catalogue: Catalogue) -> None:
    """As the original service had it; all or some are to be had."""
    assert parsed(catalogue, img_url=URL).options.frames == "first"
    for frames in ("all", "first", 1, 24):
        assert parsed(catalogue, img_url=URL, frames=frames).options.frames == frames


def test_frames_in_a_query_are_a_text(catalogue: Catalogue) -> None:
    """Like all there is in one."""
    for text, meant in (("all", "all"), ("first", "first"), ("24", 24)):
        fields = parse_query({"img_url": URL, "frames": text})
        job, _ = parse_job(fields, catalogue=catalogue, request_id="r-1", strict=False)
        assert job.options.frames == meant


@pytest.mark.parametrize(
    "frames", [0, -1, 2.5, True, False, "none", "", "0", [], {}, 10**6], ids=repr
)
def test_other_frames_are_a_bad_option(catalogue: Catalogue, frames: object) -> None:
    """400, with the option's name and what is allowed."""
    with pytest.raises(InvalidOption) as caught:
        parsed(catalogue, img_url=URL, frames=frames)
    body, status, _ = error_answer(caught.value, request_id="r-1")
    assert (status, body["code"]) == (400, "invalid_option")
    assert body["error"].startswith("Invalid frames: it must be all, first or a number of frames")


@pytest.mark.parametrize("max_bytes", [1, 50_000, 0, "many", None], ids=repr)
def test_size_of_the_file_is_not_set_here(catalogue: Catalogue, max_bytes: object) -> None:
    """It would change the size of the result, which is ``scale`` alone; good or bad, it is ignored."""
    assert parsed(catalogue, img_url=URL, max_bytes=max_bytes).options.max_bytes is None


def test_refusal_of_frames_says_the_limit(catalogue: Catalogue) -> None:
    """In numbers as well, for a program to act on."""
    error = InvalidOption("Invalid frames: too many", limit=500, actual=700)
    body, status, _ = error_answer(error, request_id="r-1")
    assert (status, body["limit"], body["actual"]) == (400, 500, 700)


def test_undecided_animation_is_a_fault_of_the_request() -> None:
    """Its code is one to act on."""
    body, status, _ = error_answer(AnimationUnsupported("say what to do"), request_id="r-1")
    assert (status, body["code"], body["retryable"]) == (400, "animation_unsupported", False)
