"""EXIF, XMP and resolution on their way from one file to another."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import encoded, noise, noise16, tiff
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

from enlarger import __version__
from enlarger.picture.decode import decode
from enlarger.picture.encode import encode, prepare
from enlarger.picture.metadata import DamagedExifError, exif_for, exif_of_tiff, upright_xmp
from enlarger.picture.values import Picture

KINDS = ["png", "jpeg", "webp", "avif", "tiff"]

XMP = (
    b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:Description tiff:Orientation='6' dc:title='6'/>"
    b"</x:xmpmeta>"
)

MAKER_NOTE = bytes(range(256)) * 2


def photo_exif(order: str = "<") -> bytes:
    """What a camera writes: orientation, camera, time, place, maker's note, size, and a thumbnail."""
    exif = Image.Exif()
    exif.endian = order
    exif[Base.Orientation] = 6
    exif[Base.Make] = "Maker"
    exif[Base.ImageWidth] = 40
    exif[Base.XResolution] = 300.0
    details = exif.get_ifd(IFD.Exif)
    details[Base.DateTimeOriginal] = "2020:02:03 04:05:06"
    details[Base.ExifImageWidth] = 40
    details[Base.ExifImageHeight] = 30
    details[Base.ExposureTime] = 0.004
    details[Base.MakerNote] = MAKER_NOTE
    place = exif.get_ifd(IFD.GPSInfo)
    place[GPS.GPSLatitudeRef] = "N"
    place[GPS.GPSLatitude] = (51.0, 2.0, 3.5)
    block = bytearray(exif.tobytes())
    # The directory of a thumbnail, linked behind the first as a camera does it.
    (entries,) = struct.unpack_from(f"{order}H", block, 6 + 8)
    struct.pack_into(f"{order}I", block, 6 + 8 + 2 + 12 * entries, len(block) - 6)
    thumbnail = encoded(noise(8, 8, 3), "JPEG")
    at = len(block) - 6 + 2 + 2 * 12 + 4
    block += struct.pack(f"{order}H", 2)
    block += struct.pack(f"{order}HHII", 0x0201, 4, 1, at)
    block += struct.pack(f"{order}HHII", 0x0202, 4, 1, len(thumbnail))
    return bytes(block + bytes(4) + thumbnail)


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


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"<tiff:Orientation>8</tiff:Orientation>", b"<tiff:Orientation>1</tiff:Orientation>"),
        (b'tiff:Orientation = "3"', b'tiff:Orientation = "1"'),
        (b"exif:Orientation='3'", b"exif:Orientation='3'"),
        (b"\xff\xfe\0", b"\xff\xfe\0"),
    ],
)
def test_orientation_in_xmp_is_found_as_attribute_and_as_element(
    before: bytes, after: bytes
) -> None:
    """And nothing but that."""
    assert upright_xmp(before) == after


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
    picture = replace(PHOTO, exif=photo_exif()[:100])
    assert prepare(picture, kind=kind, metadata="keep").exif is None
    prepared = prepare(picture, kind=kind, metadata="keep", provenance={"a": 1})
    assert codes(prepared) == ["exif_dropped"]
    encode(prepared, tmp_path / "picture", kind=kind)
    with Image.open(tmp_path / "picture") as image:
        assert Base.UserComment in image.getexif().get_ifd(IFD.Exif)


def test_blocks_that_a_jpeg_has_no_room_for_are_dropped_with_a_note(tmp_path: Path) -> None:
    """A segment has 16 bits for its length; other formats have more."""
    exif = Image.Exif()
    exif[Base.ImageDescription] = "x" * 70_000
    picture = replace(PHOTO, exif=exif.tobytes(), xmp=XMP + bytes(70_000))
    prepared = prepare(picture, kind="jpeg", metadata="keep")
    assert codes(prepared) == ["exif_dropped", "xmp_dropped"]
    encode(prepared, tmp_path / "picture", kind="jpeg")
    assert codes(prepare(picture, kind="webp", metadata="keep")) == []


def test_xmp_that_is_no_utf8_is_not_put_into_a_png() -> None:
    """PNG asks for UTF-8 (third edition, 11.3.3.4)."""
    picture = replace(PHOTO, xmp=b"\xff\xfe<\0")
    assert codes(prepare(picture, kind="png", metadata="keep")) == ["xmp_dropped"]


def test_exif_of_a_tiff_is_its_photo_alone() -> None:
    """Camera and place, not strips and sizes; a TIFF without such has none."""
    exif = Image.Exif()
    exif.load(photo_exif())
    data = encoded(noise(4, 5, 3), "TIFF", exif=exif.tobytes())
    found = Image.Exif()
    block = exif_of_tiff(data)
    assert block is not None
    found.load(block)
    assert found[Base.Make] == "Maker"
    assert found.get_ifd(IFD.GPSInfo)[GPS.GPSLatitude] == (51.0, 2.0, 3.5)
    assert Base.StripOffsets not in found
    assert exif_of_tiff(tiff(noise(4, 5, 3), "rgb", software=False)) is None


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


@settings(max_examples=300)
@given(
    changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=8),
    cut=st.integers(0, 2000),
)
def test_damaged_exif_raises_nothing_else(changes: list[tuple[int, int]], cut: int) -> None:
    """Whatever is wrong in a block, a block of bounded size comes out, or the one error."""
    damaged = bytearray(photo_exif()[:cut])
    for position, value in changes:
        if damaged:
            damaged[position % len(damaged)] = value
    try:
        block = exif_for(bytes(damaged), width_px=1, height_px=1)
    except DamagedExifError:
        return
    assert len(block) < 20 * 2000


def test_entries_that_share_their_bytes_are_damage() -> None:
    """A thousand of them would make a thousand times the block of it."""
    entries = b"".join(struct.pack("<HHII", tag, 7, 5000, 8) for tag in range(1000, 1400))
    block = b"II*\0" + struct.pack("<IH", 8, 400) + entries + bytes(4)
    with pytest.raises(DamagedExifError):
        exif_for(block, width_px=1, height_px=1)


def test_directory_that_contains_itself_is_damage() -> None:
    """Reading it would never end."""
    block = b"II*\0" + struct.pack("<IHHHII", 8, 1, 0x8769, 4, 1, 8) + bytes(4)
    with pytest.raises(DamagedExifError):
        exif_for(block, width_px=1, height_px=1)
