"""The targets of fuzzing: functions that read untrusted bytes. Each accepts any bytes and raises only the promised errors."""

from __future__ import annotations

import contextlib
import json
import resource
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.mutants import originals
from support.pictures import with_checksums
from werkzeug.datastructures import MultiDict

from enlarger.api.compatible.errors import error_answer
from enlarger.api.compatible.requests import parse_body, parse_job, parse_query
from enlarger.api.v1.problems import problem_of
from enlarger.api.v1.requests import Form, read_form, read_request
from enlarger.errors import EnlargerError
from enlarger.models import Catalogue
from enlarger.options import Options
from enlarger.picture import chunks, exif, tiff, xmp
from enlarger.picture.bare import bare
from enlarger.picture.decode import decode, probe
from enlarger.picture.metadata import read_metadata
from enlarger.picture.values import FORMATS

BAD_INPUTS = Path(__file__).parents[2] / "shared" / "data" / "bad-inputs"
"""Files that once broke decoders. They are not part of the repository."""

MOST_BYTES = 8192
"""The largest input: enough for every kind of fault, and quick."""

_MOST_SIDE_PX = 2048
"""The service refuses larger pictures by their header."""

_MOST_PX = 1 << 22
"""The most pixels of all frames that are decoded."""

_MEMORY_BYTES = 4 << 30
"""Address space, the same as that of a decoder process."""

_CATALOGUE = Catalogue.installed(Path("/nowhere"))


@dataclass(frozen=True, kw_only=True)
class Target:
    """A function to fuzz."""

    check: Callable[[bytes], None]
    """Returns for every input. An exception is a finding."""

    seeds: Mapping[str, bytes] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    """Words that inputs are built from, in addition to the seeds."""

    are_pictures: bool = False
    """Whether inputs are damaged in the way of pictures, part by part."""


def limit_memory() -> None:
    """Give this process as much memory as a decoder process."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))


def _check_decoder(data: bytes) -> None:
    """Check ``probe`` and ``decode``: the result is a picture of the size in the header, or a refusal."""
    with contextlib.suppress(EnlargerError):
        data = with_checksums(data)
        assert bare(bare(data).file).file == bare(data).file
        header = probe(data)
        sides_px = (header.width_px, header.height_px)
        if max(sides_px) > _MOST_SIDE_PX:
            return
        frames = min(header.frames, 1 + _MOST_PX // (sides_px[0] * sides_px[1]))
        for wanted in {1, frames if header.is_animation else 1}:
            picture = decode(data, frames=wanted, to_srgb=len(data) % 2 == 0)
            assert (picture.width_px, picture.height_px) == sides_px
            assert len(picture.frames) <= wanted
            assert len({frame.shape for frame in picture.frames}) == 1
            assert picture.dpi is None or min(picture.dpi) > 0


def _check_tiff(data: bytes) -> None:
    """Check ``probe`` and ``decode`` with a file that begins as a TIFF, whatever follows."""
    _check_decoder(data if data.startswith(tiff.PREFIXES) else tiff.PREFIXES[0] + data[4:])


def _check_metadata(data: bytes) -> None:
    """Check that written metadata is read again. Damage leads to the right error or a note, and nothing else."""
    shown = exif.Shown(width_px=30, height_px=20, magnification=(2, 2))
    with contextlib.suppress(exif.DamagedExifError):
        block, _ = exif.exif_for(data, shown, provenance={"model": "a"})
        assert exif.exif_for(block, exif.Shown(width_px=30, height_px=20))[0] == block
        copied, _ = exif.exif_of_tiff(exif.read(data))
        assert copied is None or exif.exif_of_tiff(exif.read(copied)) == (copied, ())
        exif.with_exif(data, copied or data)
    with contextlib.suppress(xmp.DamagedXmpError):
        said, _ = xmp.without_announcements(data)
        made, _ = xmp.xmp_for(said, width_px=30, height_px=20, is_whole=False)
        assert xmp.xmp_for(made, width_px=30, height_px=20, is_whole=False) == (made, ())
    for format_ in FORMATS:
        read_metadata(data, format_, exif=data, xmp=data).orientation()
    assert sum(12 + len(content) for _, content in chunks.png_chunks(data)) <= len(data) + 12


def _check_body(data: bytes) -> None:
    """Check a JSON body on both routes, and a body of parts: the result is a request, or a refusal that can be sent."""
    with _refusals():
        parse_job(parse_body("application/json", data), catalogue=_CATALOGUE, request_id="r-1")
    for content_type in ("application/json", "multipart/form-data; boundary=b"):
        with _refusals():
            form = read_form(content_type, MultiDict(), data)
            read_request(form, catalogue=_CATALOGUE, request_id="r-1")


def _check_options(data: bytes) -> None:
    """Check a line for each option: a byte selects the option, and the rest is its value as JSON, or else as text."""
    fields: dict[str, Any] = {}
    for line in data.split(b"\n"):
        text = line[1:].decode("utf-8", "replace")
        name = _NAMES[line[0] % len(_NAMES)] if line else text
        try:
            fields[name] = json.loads(text)
        except (ValueError, RecursionError):
            fields[name] = text
    query = {name: str(value)[:100] for name, value in fields.items()}
    for values, strict in ((fields, True), (parse_query(query), False)):
        with _refusals():
            job, _ = parse_job(values, catalogue=_CATALOGUE, request_id="r-1", strict=strict)
            job.options.size_px(30, 20)
        with _refusals():
            form = Form(values, None, strict=strict)
            options = read_request(form, catalogue=_CATALOGUE, request_id="r-1").job.options
            options.size_px(30, 20)


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except EnlargerError as error:
        _check_answers(error)


def _check_answers(error: EnlargerError) -> None:
    """Check that an error can be sent on both routes as the caller's fault, and is not much longer than its subject."""
    for answer in (error_answer, problem_of):
        body, status, _ = answer(error, request_id="r-1")
        assert 400 <= status < 500
        assert len(json.dumps(body)) < 20 * MOST_BYTES


def _bad_inputs() -> dict[str, bytes]:
    if not BAD_INPUTS.is_dir():
        return {}
    files = (path for path in BAD_INPUTS.iterdir() if path.suffix != ".md")
    return {path.name: path.read_bytes() for path in files if path.stat().st_size <= MOST_BYTES}


def _blocks() -> dict[str, bytes]:
    """Return EXIF blocks and TIFFs, little-endian and big-endian."""
    found = {name: data for name, data in originals().items() if name.startswith("tiff")}
    for name in ("jpeg talking", "webp talking"):
        exif = decode(originals()[name]).exif
        assert exif is not None
        found[name] = exif
    return found


_REQUESTS: dict[str, dict[str, Any]] = {
    "url": {"img_url": "https://example.com/cat.png", "scale": 4, "model": "auto"},
    "data": {"img_url": "data:image/png;base64,iVBORw0KGgo=", "inline": False},
    "base64": {"image_b64": "iVBORw0KGgo=", "format": "webp", "quality": 80, "frames": "all"},
    "options": {
        "image_b64": "AA==",
        "region": "0,0,4,4",
        "background": "#ffffff",
        "metadata": "keep",
        "provenance": True,
        "color_lock": False,
        "color": "srgb",
        "precision": "f32",
        "frames": 3,
    },
    "lists": {"image_b64": "AA==", "region": [0, 0, 4, 4], "max_bytes": 1000, "width": 30},
}

_NAMES = sorted({*Options.model_fields, "img_url", "image_b64", "inline"})

TARGETS: dict[str, Target] = {
    "decoder": Target(
        check=_check_decoder, seeds={**originals(), **_bad_inputs()}, are_pictures=True
    ),
    "tiff": Target(
        check=_check_tiff,
        seeds={
            name: data
            for name, data in {**originals(), **_bad_inputs()}.items()
            if data.startswith(tiff.PREFIXES)
        },
        are_pictures=True,
    ),
    "metadata": Target(check=_check_metadata, seeds=_blocks(), are_pictures=True),
    "body": Target(
        check=_check_body,
        seeds={
            **{name: json.dumps(fields).encode() for name, fields in _REQUESTS.items()},
            "form": b"".join(
                [
                    b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nAA\r\n',
                    b'--b\r\nContent-Disposition: form-data; name="scale"\r\n\r\n4\r\n--b--\r\n',
                ]
            ),
        },
        words=tuple(f'"{name}":' for name in _NAMES),
    ),
    "options": Target(
        check=_check_options,
        seeds={
            name: b"\n".join(
                bytes([_NAMES.index(option)]) + json.dumps(value).encode()
                for option, value in fields.items()
            )
            for name, fields in _REQUESTS.items()
        },
        words=("1e999", "-1", "null", "true", "[[", "{}", "\\ud800", "0,0,4,4", "http://", "data:"),
    ),
}
