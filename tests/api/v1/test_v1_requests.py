"""The three forms of a ``/v1`` request, and what is wrong with them."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from enlarger.api.v1.requests import Form, options_of, read_form, read_request, stated_size
from enlarger.errors import (
    EnlargerError,
    InvalidOption,
    MalformedJson,
    MalformedMultipart,
    MissingBody,
    MissingInput,
    RequestError,
    UnknownModel,
)
from enlarger.models import Catalogue
from enlarger.options import Options
from enlarger.request import BytesSource, UrlSource

NO_QUERY: MultiDict[str, str] = MultiDict()
PICTURE = b"\x89PNG not really"
BOUNDARY = "b0undary"


@pytest.fixture(scope="module")
def catalogue(model_dir: Path) -> Catalogue:
    """The wheel's models and the made ones."""
    return Catalogue.installed(model_dir)


def part(name: str, value: bytes | str, *, file: str | None = None, type_: str = "") -> bytes:
    """One part of a multipart body."""
    data = value if isinstance(value, bytes) else value.encode()
    filename = f'; filename="{file}"' if file is not None else ""
    kind = f"Content-Type: {type_}\r\n" if type_ else ""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{filename}\r\n{kind}\r\n'
    return head.encode() + data + b"\r\n"


def joined(*parts: bytes) -> bytes:
    """A multipart body."""
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def multipart(*parts: bytes) -> Form:
    """The form of a multipart request."""
    return read_form(f'multipart/form-data; boundary="{BOUNDARY}"', NO_QUERY, joined(*parts))


def faults(error: pytest.ExceptionInfo[InvalidOption]) -> list[tuple[str, str]]:
    """Option and reason of each fault."""
    return [(fault.option, fault.reason) for fault in error.value.faults]


# Forms


@pytest.mark.parametrize(
    "kind", ["application/json", "application/JSON; charset=utf-8", "application/ld+json"]
)
def test_json_object_is_its_fields(kind: str) -> None:
    """Its members are the options, and nothing else is read."""
    form = read_form(kind, NO_QUERY, b'{"scale": 2, "img_url": "u"}')
    assert form == Form({"scale": 2, "img_url": "u"}, None, strict=True)


@pytest.mark.parametrize("kind", ["application/json", f"multipart/form-data; boundary={BOUNDARY}"])
def test_options_do_not_stand_beside_a_form(kind: str) -> None:
    """An option in the query beside a form or JSON is refused, because it could be overlooked."""
    with pytest.raises(InvalidOption) as refusal:
        read_form(kind, MultiDict({"scale": "4"}), b'{"img_url": "u"}')
    assert [(fault.option, fault.reason) for fault in refusal.value.faults] == [
        ("scale", "conflict")
    ]
    assert "body" in str(refusal.value)


FORM_TYPES = ["application/json", f"multipart/form-data; boundary={BOUNDARY}"]


def read_beside(kind: str, query: MultiDict[str, str]) -> Form:
    """A form or JSON with a query beside it."""
    body = b'{"img_url": "u"}' if kind == FORM_TYPES[0] else joined(part("img_url", "u"))
    return read_form(kind, query, body)


DEFAULTS = {
    name: field.default for name, field in Options.model_fields.items() if field.default is not None
}


@pytest.mark.parametrize("kind", FORM_TYPES)
def test_defaults_beside_a_form_mean_nothing(kind: str) -> None:
    """Generated clients send all that the document has, whatever they send with it."""
    query = MultiDict({name: str(value) for name, value in (DEFAULTS | {"inline": False}).items()})
    assert len(query) > 5
    assert read_beside(kind, query).fields == {"img_url": "u"}
    lower = MultiDict({name: text.lower() for name, text in query.items()})
    assert read_beside(kind, lower).fields == {"img_url": "u"}


@pytest.mark.parametrize("kind", FORM_TYPES)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, "other") for name in DEFAULTS),
        *((name, "") for name in Options.model_fields),
        *((name, text) for name in ("scale", "frames", "format") for text in ("null", "None")),
        *(("color_lock", text) for text in ("false", "0")),
        *(("inline", text) for text in ("true", "1", "", "no")),
        ("scale", "2"),  # what it comes to where none is given, and yet no default
        ("webhook", ""),
        ("image_b64", ""),
        ("anything", "at all"),
    ],
)
def test_all_else_beside_a_form_is_refused(kind: str, name: str, value: str) -> None:
    """An option is also refused beside a default, and beside itself."""
    for query in (
        MultiDict({name: value}),
        MultiDict([("fit", "inside"), (name, value), ("inline", "false")]),
        MultiDict([("color_lock", "true"), (name, value), (name, value)]),
    ):
        with pytest.raises(InvalidOption) as refusal:
            read_beside(kind, query)
        assert faults(refusal) == [(name, "conflict")]


@pytest.mark.parametrize("kind", [None, "", "image/png", "application/octet-stream", "text/plain"])
def test_any_other_body_is_the_picture(kind: str | None) -> None:
    """Told by its content, not by its type; options stand in the query."""
    form = read_form(kind, MultiDict({"scale": "3"}), PICTURE)
    assert form == Form({"scale": "3"}, PICTURE, strict=False)


def test_parts_are_picture_and_options() -> None:
    """Texts, as a page's form sends them."""
    form = multipart(part("image", PICTURE, file="a.png", type_="image/png"), part("scale", "4"))
    assert form == Form({"scale": "4"}, PICTURE, strict=False)


@pytest.mark.parametrize("file", [None, ""])
@pytest.mark.parametrize("type_", ["", "image/png", "application/octet-stream", "text/plain"])
@pytest.mark.parametrize("picture", [bytes(range(256)) * 300, b"\r\n--b0undar\r\n\n", b"a"])
def test_picture_without_a_file_name_is_the_picture(
    file: str | None, type_: str, picture: bytes
) -> None:
    """Known by the part's name: clients that send bytes from memory have no file name. It is none of the texts."""
    form = multipart(part("scale", "4"), part("image", picture, file=file, type_=type_))
    assert form == Form({"scale": "4"}, picture, strict=False)


@pytest.mark.parametrize("files", [(None, None), (None, "b.png"), ("a.png", None)])
def test_pictures_are_not_given_twice(files: tuple[str | None, str | None]) -> None:
    """A part with a file name and one without are the same part."""
    with pytest.raises(InvalidOption) as refusal:
        multipart(*(part("image", PICTURE, file=file) for file in files))
    assert faults(refusal) == [("image", "conflict")]


def test_byte_order_mark_of_json_is_none_of_it() -> None:
    """Windows writes one before UTF-8; in a body, and in a part."""
    form = Form({"scale": 2, "img_url": "u"}, None, strict=True)
    body = b'\xef\xbb\xbf{"scale": 2, "img_url": "u"}'
    assert read_form("application/json", NO_QUERY, body) == form
    assert multipart(part("options", body)) == form


@pytest.mark.parametrize("file", [None, "options.json"])
def test_options_may_be_one_part_of_json(file: str | None) -> None:
    """With the types of JSON."""
    options = part("options", '{"scale": 4}', file=file, type_="application/json")
    form = multipart(part("image", PICTURE, file="a.png"), options)
    assert form == Form({"scale": 4}, PICTURE, strict=True)


def test_parts_without_a_picture_may_name_one() -> None:
    """A URL, for instance."""
    assert multipart(part("img_url", "https://a.b/c")).data is None


@pytest.mark.parametrize(
    ("kind", "body", "error"),
    [
        ("application/json", b"", MissingBody),
        ("application/json", b" \n", MissingBody),
        ("application/json", b"\xef\xbb\xbf", MissingBody),
        ("application/json", b"\xef\xbb\xbf\xef\xbb\xbf{}", MalformedJson),
        ("application/json", b"{", MalformedJson),
        ("application/json", b"[]", MalformedJson),
        ("application/json", b'"x"', MalformedJson),
        ("application/json", b"\xff{}", MalformedJson),
        ("application/json", b'{"scale": NaN}', MalformedJson),
        ("application/json", b'{"a":' * 100_000, MalformedJson),
        ("application/json", b'{"a":[' + b"[]," * 20_000 + b"[]]}", MalformedJson),
        ("multipart/form-data", b"", MalformedMultipart),
        ("multipart/form-data; boundary=x", b"nonsense", MalformedMultipart),
        (
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data; na",
            MalformedMultipart,
        ),
        (
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data\r\n\r\n4\r\n--x--\r\n",
            MalformedMultipart,
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; filename="a"\r\n\r\n4\r\n--x--\r\n',
            MalformedMultipart,
        ),
    ],
)
def test_body_that_is_not_what_its_type_says(
    kind: str, body: bytes, error: type[EnlargerError]
) -> None:
    """400, with what is wrong."""
    with pytest.raises(error):
        read_form(kind, NO_QUERY, body)


def test_number_of_parts_is_bounded() -> None:
    """Thousands cost time, and nobody has so many options."""
    with pytest.raises(MalformedMultipart):
        multipart(*(part(f"p{number}", "x") for number in range(5000)))


def test_length_of_texts_is_bounded() -> None:
    """Pictures come in the part ``image``."""
    with pytest.raises(MalformedMultipart):
        multipart(part("scale", "1" * 100_000))
    with pytest.raises(MalformedMultipart):
        multipart(*(part(f"p{number}", "x" * 2_000) for number in range(40)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: read_form("application/json", NO_QUERY, b'{"scale": 2, "scale": 4}'),
        lambda: read_form(None, MultiDict([("scale", "2"), ("scale", "4")]), PICTURE),
        lambda: multipart(part("scale", "2"), part("scale", "4")),
        lambda: multipart(part("image", b"1", file="a"), part("image", b"2", file="b")),
    ],
    ids=["json", "query", "text parts", "pictures"],
)
def test_nothing_is_given_twice(make: Any) -> None:
    """The service cannot know which value is meant."""
    with pytest.raises(InvalidOption) as refusal:
        make()
    assert {reason for _, reason in faults(refusal)} == {"conflict"}


def test_picture_has_its_name() -> None:
    """Another part with a file is a mistake."""
    with pytest.raises(InvalidOption) as refusal:
        multipart(part("photo", PICTURE, file="a.png"))
    assert faults(refusal) == [("photo", "unknown")]


def test_options_stand_in_one_place() -> None:
    """Not in parts of their own and in the part of JSON."""
    with pytest.raises(InvalidOption) as refusal:
        multipart(part("options", "{}"), part("scale", "2"))
    assert faults(refusal) == [("options", "conflict")]


# Requests


def test_request_is_a_job(catalogue: Catalogue) -> None:
    """Options of any size, with metadata kept, as in the shell."""
    form = Form({"img_url": "https://a.b/c", "long_side": 1600, "inline": True}, None, strict=True)
    request = read_request(form, catalogue=catalogue, request_id="r", owner="key:a")
    assert (request.job.source, request.inline) == (UrlSource("https://a.b/c"), True)
    assert (request.job.options.long_side, request.job.options.metadata) == (1600, "keep")
    assert (request.job.request_id, request.job.owner) == ("r", "key:a")


@pytest.mark.parametrize(
    ("text", "inline"), [("true", True), ("1", True), ("FALSE", False), ("0", False)]
)
def test_texts_stand_for_values(catalogue: Catalogue, text: str, *, inline: bool) -> None:
    """In a query and in parts."""
    form = Form({"scale": "2.5", "inline": text}, PICTURE, strict=False)
    request = read_request(form, catalogue=catalogue, request_id="r")
    assert (request.job.source, request.inline) == (BytesSource(PICTURE), inline)
    assert request.job.options.scale == 2.5


def test_all_faults_are_told(catalogue: Catalogue) -> None:
    """All faults are in one response, not one after the other."""
    fields = {
        "scale": 9,
        "quality": "high",
        "sharpen": 1,
        "tta": True,
        "inline": "yes",
        "format": "gif",
        "color_lock": "no",
    }
    with pytest.raises(InvalidOption) as refusal:
        read_request(Form(fields, PICTURE, strict=True), catalogue=catalogue, request_id="r")
    assert sorted(faults(refusal)) == [
        ("color_lock", "type"),
        ("format", "range"),
        ("inline", "type"),
        ("quality", "type"),
        ("scale", "range"),
        ("sharpen", "unknown"),
        ("tta", "unsupported"),
    ]
    assert all(fault.detail for fault in refusal.value.faults)


def test_sizes_that_contradict_each_other(catalogue: Catalogue) -> None:
    """Only one of the sizes can be meant."""
    form = Form({"scale": 2, "width": 100}, PICTURE, strict=True)
    with pytest.raises(InvalidOption) as refusal:
        read_request(form, catalogue=catalogue, request_id="r")
    assert faults(refusal) == [("size", "conflict")]


@pytest.mark.parametrize(
    ("form", "error"),
    [
        (Form({}, None, strict=True), MissingInput),
        (Form({}, b"", strict=False), MissingInput),
        (Form({"img_url": "https://a.b/c"}, PICTURE, strict=False), InvalidOption),
        (Form({"img_url": "https://a.b/c", "image_b64": "eA=="}, None, strict=True), InvalidOption),
        (Form({"model": "nope"}, PICTURE, strict=False), UnknownModel),
        (Form({"img_url": "ftp://a.b/c"}, None, strict=True), RequestError),
    ],
)
def test_there_is_one_picture_and_a_known_model(
    catalogue: Catalogue, form: Form, error: type[EnlargerError]
) -> None:
    """Zero or two pictures are refused, and so is an unknown model."""
    with pytest.raises(error):
        read_request(form, catalogue=catalogue, request_id="r")


# Sizes in place of pictures


def test_size_may_stand_for_a_picture(catalogue: Catalogue) -> None:
    """What is left are options, which ask for no picture."""
    size = {"width": 1600, "height": 1200}
    header, rest = stated_size(Form({"input": size, "scale": 3}, None, strict=True))
    assert header is not None
    assert (header.width_px, header.height_px) == (1600, 1200)
    options, inline = options_of(rest, catalogue=catalogue)
    assert (options.scale, inline) == (3, False)


@pytest.mark.parametrize(
    "form",
    [
        Form({"scale": 2, "img_url": "https://a.b/c"}, None, strict=True),
        Form({"input": "no option of a query"}, PICTURE, strict=False),
    ],
)
def test_form_without_a_size_stays_as_it_is(form: Form) -> None:
    """It has a picture, or lacks one."""
    assert stated_size(form) == (None, form)


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        *(
            (Form({"input": size}, None, strict=True), "type")
            for size in (None, {}, [1, 2], {"width": 1}, {"width": True, "height": 1})
        ),
        (Form({"input": {"width": 0, "height": 1}}, None, strict=True), "type"),
        (
            Form({"input": {"width": 1, "height": 1}, "image_b64": "x"}, None, strict=True),
            "conflict",
        ),
        (Form({"input": {"width": 1, "height": 1}, "img_url": "x"}, None, strict=True), "conflict"),
        (Form({"input": {"width": 1, "height": 1}}, PICTURE, strict=True), "conflict"),
    ],
)
def test_size_that_is_none_or_one_too_many(form: Form, reason: str) -> None:
    """A picture has a size already."""
    with pytest.raises(InvalidOption) as refusal:
        stated_size(form)
    assert faults(refusal) == [("input", reason)]


values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20))


@given(
    kind=st.sampled_from(
        [None, "application/json", "multipart/form-data; boundary=x", "image/png"]
    ),
    body=st.one_of(
        st.binary(max_size=300),
        st.dictionaries(st.text(max_size=10), values, max_size=5).map(
            lambda fields: json.dumps(fields).encode()
        ),
    ),
    query=st.lists(st.tuples(st.text(max_size=10), st.text(max_size=10)), max_size=4),
)
def test_whatever_comes_is_read_or_refused(
    catalogue: Catalogue, kind: str | None, body: bytes, query: list[tuple[str, str]]
) -> None:
    """With an error of the sender's, never with one of ours."""
    with contextlib.suppress(RequestError):
        form = read_form(kind, MultiDict(query), body)
        read_request(form, catalogue=catalogue, request_id="r")
