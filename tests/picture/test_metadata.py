"""EXIF, XMP, IPTC, texts and resolution on their way from one file to another."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin
from PIL.ExifTags import GPS, IFD, Base
from support.blocks import (
    IPTC,
    canon_exif,
    exif_block,
    exif_entry,
    extension_segments,
    gif_comment,
    gif_with,
    gif_xmp,
    jpeg_with,
    packed_text,
    packet,
    png_with,
    raw_profile,
    resources,
    xmp_segment,
)
from support.photo_exif import MAKER_NOTE, photo_exif
from support.pictures import encoded, noise, noise16, png, tiff, with_checksums
from support.stores import missing

from enlarger import __version__
from enlarger.picture.decode import decode, probe
from enlarger.picture.encode import encode
from enlarger.picture.exif import exif_of_tiff, read
from enlarger.picture.prepare import prepare
from enlarger.picture.sandbox.answering import answer
from enlarger.picture.sandbox.protocol import ask, receive, send, shared_memory
from enlarger.picture.values import Motion, Picture, Text
from enlarger.picture.xmp import guid
from enlarger.pipeline.outcome import preserved

KINDS = ["png", "jpeg", "webp", "avif", "tiff"]

XMP = (
    b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:Description tiff:Orientation='6' dc:title='6'/>"
    b"</x:xmpmeta>"
)


PHOTO = Picture(
    samples=noise(30, 50, 3), exif=photo_exif(), xmp=XMP, dpi=(300.0, 150.0), format="jpeg"
)


def written(picture: Picture, path: Path, kind: str, **options: Any) -> bytes:
    """The file of a picture, prepared with these options."""
    encode(prepare(picture, kind=kind, **options), path, kind=kind)
    return path.read_bytes()


def codes(picture: Picture) -> list[str]:
    """The notes' codes."""
    return [note.code for note in picture.notes]


def test_block_of_these_tests_is_that_of_a_camera() -> None:
    """Pillow finds the thumbnail and the place in it."""
    exif = Image.Exif()
    exif.load(photo_exif())
    assert exif.get_ifd(IFD.IFD1)[0x0202] > 100
    assert exif.get_ifd(IFD.GPSInfo)[GPS.GPSLatitudeRef] == "N"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", KINDS)
def test_kept_exif_speaks_of_the_result(tmp_path: Path, kind: str, order: str) -> None:
    """Upright, of its size, without thumbnail; camera, time, place and maker's note are as they were."""
    picture = replace(PHOTO, exif=photo_exif(order))
    data = written(picture, tmp_path / "picture", kind, metadata="keep")
    with Image.open(BytesIO(data)) as image:
        exif = image.getexif()
        assert exif.get(Base.Orientation, 1) == 1
        assert exif[Base.Make] == "Maker"
        details, place = exif.get_ifd(IFD.Exif), exif.get_ifd(IFD.GPSInfo)
        assert (details[Base.ExifImageWidth], details[Base.ExifImageHeight]) == (50, 30)
        assert details[Base.DateTimeOriginal] == "2020:02:03 04:05:06"
        assert details[Base.ExposureTime] == pytest.approx(0.004)
        assert details[Base.MakerNote] == MAKER_NOTE
        assert place[GPS.GPSLatitude] == (51.0, 2.0, 3.5)
        assert exif.get_ifd(IFD.IFD1) == {}
        assert exif[Base.ImageWidth] == 50
        assert image.size == (50, 30)
    assert encoded(noise(8, 8, 3), "JPEG") not in data


@pytest.mark.parametrize("kind", KINDS)
def test_kept_xmp_is_upright(tmp_path: Path, kind: str) -> None:
    """Nothing else in it is changed."""
    found = decode(written(PHOTO, tmp_path / "picture", kind, metadata="keep"))
    assert found.xmp == XMP.replace(b"Orientation='6'", b"Orientation='1'")


@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff"])
@pytest.mark.parametrize("sixteen", [False, True])
def test_kept_resolution_is_read_back(tmp_path: Path, kind: str, sixteen: bool) -> None:
    """As exactly as the format states it."""
    picture = replace(PHOTO, samples=noise16(30, 50, 3)) if sixteen else PHOTO
    found = decode(written(picture, tmp_path / "picture", kind, metadata="keep"))
    assert found.dpi == pytest.approx((300, 150), abs=0.02)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metadata", ["keep", "strip"])
def test_provenance_is_written_into_exif(tmp_path: Path, kind: str, metadata: str) -> None:
    """As JSON in the user comment, beside what was kept; the software is we."""
    facts = {"model": "m", "factor": 2.5, "locked": True, "name": "\u00e9"}
    data = written(PHOTO, tmp_path / "picture", kind, metadata=metadata, provenance=facts)
    with Image.open(BytesIO(data)) as image:
        exif = image.getexif()
        comment = exif.get_ifd(IFD.Exif)[Base.UserComment]
        assert comment[:8] == b"ASCII\0\0\0"
        assert json.loads(comment[8:]) == facts
        assert exif[Base.Software] == f"enlarger {__version__}"
        assert (exif.get(Base.Make) == "Maker") == (metadata == "keep")


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_exif_is_dropped_with_a_note(tmp_path: Path, kind: str) -> None:
    """It is no reason to refuse the picture; provenance is written all the same."""
    picture = replace(PHOTO, exif=b"Exif\0\0" + photo_exif()[9:])
    assert prepare(picture, kind=kind, metadata="keep").exif is None
    prepared = prepare(picture, kind=kind, metadata="keep", provenance={"a": 1})
    assert codes(prepared) == ["exif_dropped"]
    encode(prepared, tmp_path / "picture", kind=kind)
    with Image.open(tmp_path / "picture") as image:
        assert Base.UserComment in image.getexif().get_ifd(IFD.Exif)


def test_blocks_that_a_jpeg_has_no_room_for_are_dropped_with_a_note(tmp_path: Path) -> None:
    """The length field of a JPEG segment has 16 bits; other formats allow more. The maker's note is the first part of EXIF to be dropped."""
    exif = Image.Exif()
    exif[Base.ImageDescription] = "x" * 70_000
    picture = replace(PHOTO, exif=exif.tobytes(), iptc=bytes(70_000))
    prepared = prepare(picture, kind="jpeg", metadata="keep")
    assert codes(prepared) == ["exif_dropped", "iptc_dropped"]
    encode(prepared, tmp_path / "picture", kind="jpeg")
    assert codes(prepare(picture, kind="png", metadata="keep")) == []
    exif = Image.Exif()
    exif[Base.Make] = "Maker"
    exif.get_ifd(IFD.Exif)[Base.MakerNote] = bytes(66_000)
    prepared = prepare(replace(PHOTO, exif=exif.tobytes()), kind="jpeg", metadata="keep")
    assert codes(prepared) == ["maker_note_dropped"]
    assert b"Maker" in (prepared.exif or b"")


def test_exif_of_a_tiff_is_its_photo_alone() -> None:
    """Camera and place, not strips and sizes; a TIFF without such has none."""
    exif = Image.Exif()
    exif.load(photo_exif())
    data = encoded(noise(4, 5, 3), "TIFF", exif=exif.tobytes())
    found = Image.Exif()
    block, notes = exif_of_tiff(read(data))
    assert block is not None
    assert notes == ()
    found.load(block)
    assert found[Base.Make] == "Maker"
    assert found.get_ifd(IFD.GPSInfo)[GPS.GPSLatitude] == (51.0, 2.0, 3.5)
    assert Base.StripOffsets not in found
    assert exif_of_tiff(read(tiff(noise(4, 5, 3), "rgb", software=False))) == (None, ())


def test_exif_chunk_behind_16_bit_pixels_is_found(tmp_path: Path) -> None:
    """As Pillow finds it in a PNG of 8 bits."""
    data = written(
        replace(PHOTO, samples=noise16(4, 5, 3)), tmp_path / "picture", "png", metadata="keep"
    )
    start = data.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4], "big")
    late = data[:start] + data[end:-12] + data[start:end] + data[-12:]
    exif = decode(late).exif
    assert exif is not None
    assert exif == decode(data).exif


CASE = exif_block(exif_entry(0x010F, 2, 4, b"Abc\0"))
TITLED = packet("dc:title='a title'")


def in_extended_xmp() -> bytes:
    """A JPEG whose title is in the extension of its XMP."""
    extension = packet("dc:title='a title'")
    first = packet(f"xmpNote:HasExtendedXMP='{guid(extension)}'")
    return jpeg_with(xmp_segment(first), *extension_segments(extension))


CARRIERS: dict[str, tuple[str, bytes, Callable[[], bytes]]] = {
    "EXIF of JPEG": ("exif", b"Abc", lambda: jpeg_with((0xE1, CASE))),
    "EXIF of PNG": ("exif", b"Abc", lambda: png_with((b"eXIf", CASE[6:]))),
    "EXIF of 16 bits": (
        "exif",
        b"Abc",
        lambda: png(noise16(4, 5, 3), colour=2, depth_bits=16, chunks={b"eXIf": CASE[6:]}),
    ),
    "EXIF behind pixels": ("exif", b"Abc", lambda: png_with(late=[(b"eXIf", CASE[6:])])),
    "EXIF in a raw profile": ("exif", b"Abc", lambda: png_with(raw_profile(b"exif", CASE))),
    "EXIF of WebP": ("exif", b"Abc", lambda: encoded(noise(8, 8, 3), "WEBP", exif=CASE)),
    "EXIF of AVIF": ("exif", b"Abc", lambda: encoded(noise(8, 8, 3), "AVIF", exif=CASE)),
    "EXIF of TIFF": ("exif", b"Abc", lambda: encoded(noise(8, 8, 3), "TIFF", exif=CASE)),
    "XMP of JPEG": ("xmp", b"a title", lambda: jpeg_with(xmp_segment(TITLED))),
    "XMP of PNG": ("xmp", b"a title", lambda: encoded(noise(8, 8, 3), pnginfo=with_xmp())),
    "XMP of GIF": ("xmp", b"a title", lambda: gif_with(gif_xmp(TITLED))),
    "XMP of WebP": ("xmp", b"a title", lambda: encoded(noise(8, 8, 3), "WEBP", xmp=TITLED)),
    "XMP of AVIF": ("xmp", b"a title", lambda: encoded(noise(8, 8, 3), "AVIF", xmp=TITLED)),
    "XMP of TIFF": (
        "xmp",
        b"a title",
        lambda: tiff(noise(8, 8, 3), "rgb", extratags=[(700, 1, len(TITLED), TITLED, True)]),
    ),
    "extended XMP": ("xmp", b"a title", in_extended_xmp),
    "long XMP": (
        "xmp",
        b"long " * 20_000,
        lambda: encoded(
            noise(8, 8, 3), "WEBP", xmp=packet("", f"<dc:title>{'long ' * 20_000}</dc:title>")
        ),
    ),
    "IPTC of JPEG": (
        "iptc",
        IPTC,
        lambda: jpeg_with((0xED, b"Photoshop 3.0\0" + resources((0x0404, IPTC)))),
    ),
    "IPTC of TIFF": (
        "iptc",
        IPTC,
        lambda: tiff(noise(8, 8, 3), "rgb", extratags=[(33723, 7, len(IPTC), IPTC, True)]),
    ),
    "IPTC in a raw profile": ("iptc", IPTC, lambda: png_with(raw_profile(b"iptc", IPTC))),
    "text": ("text", b"a cat", lambda: png_with((b"tEXt", b"parameters\0a cat"))),
    "packed text": ("text", b"a cat", lambda: png_with(packed_text(b"parameters", b"a cat"))),
    "comment of JPEG": ("text", b"a cat", lambda: jpeg_with((0xFE, b"a cat"))),
    "comment of GIF": ("text", b"a cat", lambda: gif_with(gif_comment(b"a cat"))),
}
"""By what carries it: the kind of metadata, bytes of it, and a file."""


def with_xmp() -> PngImagePlugin.PngInfo:
    """The chunk of a PNG that holds XMP, compressed."""
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", TITLED.decode(), zip=True)
    return info


HELD = {
    "exif": set(KINDS),
    "xmp": set(KINDS),
    "iptc": {"png", "jpeg", "tiff"},
    "text": {"png"},
}
"""Formats that have a place for each kind; JPEG has one for comments besides."""


def of_kind(picture: Picture, kind: str) -> bytes:
    """All that a picture has of a kind of metadata."""
    if kind == "text":
        return "".join(text.text for text in picture.texts).encode()
    found: bytes | None = getattr(picture, kind)
    return found or b""


@pytest.mark.parametrize("metadata", ["keep", "strip"])
@pytest.mark.parametrize("result", KINDS)
@pytest.mark.parametrize("carrier", CARRIERS)
def test_every_kind_of_metadata_is_kept_or_there_is_a_note(
    tmp_path: Path, carrier: str, result: str, metadata: str
) -> None:
    """Kept in every format that has a place for it, if it is to be kept; never both, and never neither."""
    kind, said, make = CARRIERS[carrier]
    picture = decode(make())
    assert said in of_kind(picture, kind)
    assert not [note for note in picture.notes if "dropped" in note.code]
    prepared = prepare(picture, kind=result, metadata=metadata)
    encode(prepared, tmp_path / "picture", kind=result)
    again = decode((tmp_path / "picture").read_bytes())
    is_kept = said in of_kind(again, kind)
    has_place = result in HELD[kind] or (result == "jpeg" and carrier.startswith("comment"))
    assert is_kept == (metadata == "keep" and has_place)
    assert (f"{kind}_dropped" in codes(prepared)) != is_kept
    assert kind in preserved(picture, prepared) or not is_kept


@pytest.mark.parametrize("carrier", CARRIERS)
def test_metadata_crosses_from_the_process_that_decodes(carrier: str) -> None:
    """As it was found there."""
    data = CARRIERS[carrier][2]()
    ours, theirs = socket.socketpair()
    with ours, theirs, ThreadPoolExecutor(1) as threads:
        asked = threads.submit(ask, ours, "decode", data, frames=1)
        message, memory = receive(theirs)
        reply, shared = answer(**message, data=bytes(memory or b""))
        send(theirs, reply, shared_memory(shared))
        found = asked.result()
    here = decode(data)
    assert isinstance(found, Picture)
    for name in ("exif", "xmp", "iptc", "texts", "dpi", "is_whole", "notes"):
        assert getattr(found, name) == getattr(here, name)


@pytest.mark.parametrize("result", ["png", "webp"])
def test_animations_keep_the_same(tmp_path: Path, result: str) -> None:
    """Their files are written by another library."""
    motion = Motion(later=(noise(30, 50, 3, seed=1),), durations_ms=(50, 50), plays=0)
    texts = (Text("Comment", "a cat"), Text("prompt", "\u4e2d", language="zh"))
    picture = replace(PHOTO, motion=motion, texts=texts, iptc=IPTC, xmp=TITLED)
    found = decode(written(picture, tmp_path / "picture", result, metadata="keep"), frames=2)
    assert len(found.frames) == 2
    assert found.xmp == TITLED
    if result == "png":
        assert found.texts == texts
        assert found.iptc == IPTC


def exiftool(path: Path, *options: str) -> dict[str, object]:
    """What exiftool reads of a file, by group and name."""
    program = shutil.which("exiftool")
    if program is None:
        missing("exiftool")
    command = [str(program), "-json", "-G0", *options, str(path)]
    read_out = subprocess.run(command, capture_output=True, check=True, timeout=60)
    (facts,) = json.loads(read_out.stdout)
    assert isinstance(facts, dict)
    return facts


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("more", [{}, {"provenance": {"a": "b" * 300}}], ids=["alone", "moved"])
def test_maker_note_is_readable_for_exiftool(
    tmp_path: Path, kind: str, more: dict[str, Any]
) -> None:
    """In every format, whatever else is in the block."""
    path = tmp_path / f"picture.{kind}"
    written(replace(PHOTO, exif=canon_exif()), path, kind, metadata="keep", **more)
    facts = exiftool(path)
    assert facts["MakerNotes:CanonImageType"] == "NOTE-OK"
    assert facts["EXIF:ExifImageWidth"] == 50
    assert "ExifTool:Warning" not in facts


@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff"])
def test_iptc_and_xmp_are_readable_for_exiftool(tmp_path: Path, kind: str) -> None:
    """Also XMP that a JPEG has to hold in two parts."""
    path = tmp_path / f"picture.{kind}"
    xmp = packet("tiff:ImageWidth='7'", f"<dc:title>{'long ' * 20_000}</dc:title>")
    written(replace(PHOTO, iptc=IPTC, xmp=xmp, exif=None), path, kind, metadata="keep")
    facts = exiftool(path)
    assert facts["IPTC:Caption-Abstract"] == "A caption"
    assert facts["XMP:ImageWidth"] == 50
    assert str(facts["XMP:Title"]).count("long") == 20_000
    assert "ExifTool:Warning" not in facts


def test_texts_are_readable_for_exiftool(tmp_path: Path) -> None:
    """In any script; a comment also in a JPEG."""
    texts = (Text("Comment", "\u00fcber"), Text("Title", "\u4e2d"))
    picture = replace(PHOTO, texts=texts)
    written(picture, tmp_path / "picture.png", "png", metadata="keep")
    facts = exiftool(tmp_path / "picture.png")
    assert (facts["PNG:Comment"], facts["PNG:Title"]) == ("\u00fcber", "\u4e2d")
    written(picture, tmp_path / "picture.jpg", "jpeg", metadata="keep")
    assert exiftool(tmp_path / "picture.jpg")["File:Comment"] == "\u00fcber"


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_untrue_is_left_for_exiftool(tmp_path: Path, kind: str) -> None:
    """Sizes are the result's, and pixels of a panorama are scaled; of a part they are gone, with a note."""
    xmp = packet(
        "tiff:ImageWidth='25' tiff:Orientation='6' exif:PixelXDimension='25' GPano:FullPanoWidthPixels='25' "
        "GPano:ProjectionType='equirectangular'"
    )
    path = tmp_path / f"picture.{kind}"
    picture = replace(PHOTO, xmp=xmp, magnification=(2, 2))
    written(picture, path, kind, metadata="keep")
    facts = exiftool(path, "-n")
    assert facts["XMP:ImageWidth"] == facts["XMP:ExifImageWidth"] == 50
    assert facts["XMP:FullPanoWidthPixels"] == 50
    assert facts["XMP:Orientation"] == 1
    part = replace(picture, is_whole=False)
    assert codes(prepare(part, kind=kind, metadata="keep")) == ["xmp_entries_dropped"]
    written(part, path, kind, metadata="keep")
    facts = exiftool(path, "-n")
    assert facts["XMP:ImageWidth"] == 50
    assert not [name for name in facts if "Pano" in name or "Projection" in name]


def test_picture_that_was_turned_is_not_as_it_was_stored() -> None:
    """So that places in it, which are counted in stored rows, are not scaled."""
    assert decode(jpeg_with((0xE1, CASE))).is_whole
    assert not decode(jpeg_with((0xE1, photo_exif()))).is_whole


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "avif", "tiff"])
def test_damaged_exif_never_costs_the_picture(kind: str) -> None:
    """Whatever is wrong in it, and in whatever format it stands."""
    good = canon_exif()[6:]  # without orientation, or Pillow would write another block into AVIF
    for broken in (b"MM", b"", good[:30], good[:60], good[:8] + b"\xff" * 40 + good[48:]):
        if kind == "tiff":
            tags = [(0x8769, 4, 1, 0xFFFF, True), (0x8825, 4, 1, 8, True)]
            data = tiff(noise(8, 8, 3), "rgb", extratags=tags)
        else:
            data = encoded(noise(8, 8, 3), kind.upper(), exif=b"Exif\0\0" + good)
            assert good in data
            data = with_checksums(data.replace(good, broken.ljust(len(good), b"\xff")))
        assert probe(data).width_px == 8
        assert decode(data).samples.shape == (8, 8, 3)
