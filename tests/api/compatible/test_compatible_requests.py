"""Requests of the compatible contract, as pure functions: body, query, options, and the order of faults."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.compatible_requests import URL, parsed, text_of

from enlarger.api.compatible.errors import error_answer
from enlarger.api.compatible.requests import parse_body, parse_job, parse_query
from enlarger.errors import (
    AnimationUnsupported,
    InvalidOption,
    MalformedJson,
    MissingBody,
    RequestError,
    UnknownModel,
)
from enlarger.models import Catalogue
from enlarger.options import Options
from enlarger.request import UpscaleRequest, UrlSource

JSON = "application/json"


def parsed_or_refused(
    catalogue: Catalogue, fields: dict[str, Any]
) -> UpscaleRequest | RequestError:
    """The job of these fields, or the fault that was found in them."""
    try:
        return parsed(catalogue, **fields)
    except RequestError as error:
        return error


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
    """Windows writes a byte order mark before UTF-8."""
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
    """A body without content is reported as missing."""
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
    """It is refused before it is parsed, because it would take twenty times as much memory as it has bytes."""
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
    """Any other text stays a text, which is not a valid scale."""
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
    """Each option is passed on. Unknown fields and other ways to set the size are ignored."""
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
    """The text names the unknown model and the most similar known ones, and stays short."""
    with pytest.raises(UnknownModel) as caught:
        parsed(catalogue, img_url=URL, model=model)
    assert text_of(caught.value).startswith("Unknown model: ")
    assert re.search("|".join(re.escape(one.id) for one in catalogue), text_of(caught.value))
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


# Animations and the size of the file


def test_animation_is_its_first_frame_unless_asked_otherwise(catalogue: Catalogue) -> None:
    """The default is that of the original service. A request can ask for all frames or for a number of them."""
    assert parsed(catalogue, img_url=URL).options.frames == "first"
    for frames in ("all", "first", 1, 24):
        assert parsed(catalogue, img_url=URL, frames=frames).options.frames == frames


def test_frames_in_a_query_are_a_text(catalogue: Catalogue) -> None:
    """Every value in a query is a text."""
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
    """``max_bytes`` would change the size of the result, which only ``scale`` determines here. Any value of it is ignored."""
    assert parsed(catalogue, img_url=URL, max_bytes=max_bytes).options.max_bytes is None


def test_refusal_of_frames_says_the_limit(catalogue: Catalogue) -> None:
    """The limit is also a number, so that a program can act on it."""
    error = InvalidOption("Invalid frames: too many", limit=500, actual=700)
    body, status, _ = error_answer(error, request_id="r-1")
    assert (status, body["limit"], body["actual"]) == (400, 500, 700)


def test_undecided_animation_is_a_fault_of_the_request() -> None:
    """The error has a code that a program can act on."""
    body, status, _ = error_answer(AnimationUnsupported("say what to do"), request_id="r-1")
    assert (status, body["code"], body["retryable"]) == (400, "animation_unsupported", False)
