"""EXIF blocks: what is read of damaged ones, and what is true of a result."""

from __future__ import annotations

import struct
from io import BytesIO

import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.ExifTags import IFD, Base
from PIL.TiffImagePlugin import IFDRational
from support.blocks import canon_exif, exif_block, exif_entry
from support.photo_exif import photo_exif
from support.pictures import noise

from enlarger.picture.exif import (
    ByteOrder,
    DamagedExifError,
    Shown,
    byte_order,
    exif_for,
    exif_of_tiff,
    read,
    read_or_none,
    with_exif,
)

SHOWN = Shown(width_px=50, height_px=30)
MAKE = exif_entry(0x010F, 2, 4, b"Abc\0")


def rewritten(block: bytes, shown: Shown = SHOWN) -> tuple[Image.Exif, list[str]]:
    """The block of a result as Pillow reads it, and what the notes say."""
    made, notes = exif_for(block, shown)
    exif = Image.Exif()
    exif.load(made)
    return exif, [f"{note.code}: {note.detail}" for note in notes]


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        (exif_entry(0x9999, 0, 1, b"abcd"), "0x9999"),
        (exif_entry(0x0131, 2, 20, struct.pack("<I", 9999)), "Software (0x0131)"),
        (exif_entry(0x0131, 2, 0xFFFFFFFF, struct.pack("<I", 8)), "Software (0x0131)"),
        (MAKE, "Make (0x010F)"),
        (exif_entry(0x8825, 4, 1, struct.pack("<I", 9999)), "GPSInfo (0x8825)"),
        (exif_entry(0x8825, 2, 1, b"N\0"), "GPSInfo (0x8825)"),
        (exif_entry(0x8769, 4, 1, struct.pack("<I", 8)), "ExifOffset (0x8769)"),
    ],
    ids=["type", "offset", "count", "twice", "directory", "type of pointer", "itself"],
)
@pytest.mark.parametrize("comes_first", [False, True])
def test_damaged_entry_costs_that_entry_alone(entry: bytes, name: str, comes_first: bool) -> None:
    """The others are kept, and a note names the one that is left out."""
    good = [exif_entry(0x0112, 3, 1, b"\x06\0"), MAKE]
    exif, notes = rewritten(exif_block(*([entry, *good] if comes_first else [*good, entry])))
    assert exif[Base.Make] == "Abc"
    assert exif[Base.Orientation] == 1
    assert notes == [f"exif_entries_dropped: damaged: {name}"]


def test_directory_that_is_cut_keeps_the_entries_that_are_there() -> None:
    """Its count says more."""
    block = bytearray(exif_block(MAKE))
    block[14] = 3
    exif, notes = rewritten(bytes(block[:-4]))
    assert exif[Base.Make] == "Abc"
    assert notes == ["exif_entries_dropped: damaged: 2 entries behind the end"]


@pytest.mark.parametrize("next_offset", [9999, 6])
def test_damaged_thumbnail_is_named(next_offset: int) -> None:
    """A whole one is left out without a note, since results never have the old thumbnail."""
    _, notes = rewritten(exif_block(MAKE, next_offset=next_offset))
    assert notes
    assert "thumbnail" in notes[0]
    assert rewritten(photo_exif())[1] == []


def test_many_damaged_entries_are_counted() -> None:
    """A note has a bounded length."""
    _, (note,) = rewritten(exif_block(*(exif_entry(tag, 0, 0, b"") for tag in range(100))))
    assert note.endswith("and 92 more")


def test_types_that_came_later_are_kept() -> None:
    """UTF-8 is a type of EXIF 3.0."""
    made, notes = exif_for(exif_block(exif_entry(0x013B, 129, 4, b"\xc3\xa9\0\0")), SHOWN)
    assert b"\xc3\xa9" in made
    assert notes == ()


@pytest.mark.parametrize("size", [(48, 32), (192, 128)])
def test_maker_note_stays_where_it_was(size: tuple[int, int]) -> None:
    """Its offsets are counted from the start of the block, so that everything else is written around it."""
    before = canon_exif()
    made, notes = exif_for(
        before, Shown(width_px=size[0], height_px=size[1]), provenance={"a": "b" * 300}
    )
    assert notes == ()
    assert made.index(b"NOTE-OK") == before.index(b"NOTE-OK") - 6


def test_maker_note_far_from_the_start_is_dropped() -> None:
    """Its place would make a large block of zeros."""
    padding = bytes(300_000)
    note_at = 8 + 2 + 12 + 4 + 2 + 12 + 4 + len(padding)
    details = struct.pack("<HHHII", 1, 0x927C, 7, 10, note_at) + bytes(4)
    pointer = exif_entry(0x8769, 4, 1, struct.pack("<I", 8 + 2 + 12 + 4))
    block = exif_block(pointer, behind=details + padding + b"0123456789")
    made, notes = exif_for(block, SHOWN)
    assert [note.code for note in notes] == ["maker_note_dropped"]
    assert len(made) < 200
    kept, lost = exif_of_tiff(read(block))
    assert [note.code for note in lost] == ["maker_note_dropped"]
    assert len(kept or b"") < 200


def with_places() -> bytes:
    """A block that speaks of a place in the picture, and of pixels on the sensor."""
    exif = Image.Exif()
    details = exif.get_ifd(IFD.Exif)
    details[0x9214] = (10, 20, 5)
    details[0xA214] = (10, 20)
    details[0xA20E] = IFDRational(1000, 1)
    details[0xA20F] = IFDRational(500, 1)
    return exif.tobytes()


def test_places_and_densities_are_scaled() -> None:
    """By width and height of the result."""
    shown = Shown(width_px=80, height_px=60, magnification=(4, 2))
    exif, notes = rewritten(with_places(), shown)
    details = exif.get_ifd(IFD.Exif)
    assert details[0x9214] == (40, 40, 15)
    assert details[0xA214] == (40, 40)
    assert (details[0xA20E], details[0xA20F]) == (4000, 1000)
    assert notes == []


@pytest.mark.parametrize(
    "shown",
    [
        Shown(width_px=8, height_px=6, magnification=(2, 2), is_whole=False),
        Shown(width_px=8, height_px=6, is_whole=False),
        Shown(width_px=80000, height_px=6, magnification=(8000, 1)),
    ],
    ids=["part", "turned", "no room"],
)
def test_places_that_are_none_in_the_result_are_removed(shown: Shown) -> None:
    """With a note that names them."""
    exif, notes = rewritten(with_places(), shown)
    details = exif.get_ifd(IFD.Exif)
    assert 0x9214 not in details
    assert 0xA214 not in details
    (note,) = notes
    assert note.startswith("exif_entries_dropped: places in another picture: ")
    assert "0x9214" in note
    assert "0xA214" in note


def test_comment_that_provenance_replaces_is_named() -> None:
    """A generator of pictures may have kept its prompt there."""
    exif = Image.Exif()
    exif.get_ifd(IFD.Exif)[Base.UserComment] = b"ASCII\0\0\0a prompt"
    _, notes = exif_for(exif.tobytes(), SHOWN, provenance={"a": 1})
    assert [note.code for note in notes] == ["exif_entries_dropped"]


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_of_every_kind_of_tiff_is_read(order: ByteOrder, bigtiff: bool) -> None:
    """Both byte orders, with offsets of 32 and of 64 bits."""
    file = BytesIO()
    tifffile.imwrite(
        file,
        noise(4, 5, 3),
        byteorder=order,
        bigtiff=bigtiff,
        photometric="rgb",
        metadata=None,
        software=False,
        extratags=[(0x010F, 2, 0, "A maker", True), (33550, 12, 3, (1.0, 1.0, 0.0), True)],
    )
    block, notes = exif_of_tiff(read(file.getvalue()))
    assert block is not None
    exif = Image.Exif()
    exif.load(block)
    assert exif[Base.Make] == "A maker"
    assert [(note.code, "33550" in note.detail or "0x830E" in note.detail) for note in notes] == [
        ("blocks_dropped", True)
    ]


@settings(max_examples=300)
@given(
    changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=8),
    cut=st.integers(0, 2000),
)
def test_damaged_blocks_raise_nothing_else(changes: list[tuple[int, int]], cut: int) -> None:
    """Whatever is wrong in a block, one of bounded size comes out that is whole, or the one error."""
    damaged = bytearray(photo_exif()[:cut])
    for position, value in changes:
        if damaged:
            damaged[position % len(damaged)] = value
    try:
        block, _ = exif_for(bytes(damaged), SHOWN)
    except DamagedExifError:
        assert read_or_none(bytes(damaged)) is None
        return
    assert len(block) < 20 * 2000
    again, notes = exif_for(block, SHOWN)
    assert again == block
    assert notes == ()


def test_entries_that_share_their_bytes_are_damage() -> None:
    """Hundreds of them would make hundreds of times the block."""
    entries = [exif_entry(tag, 7, 3000, struct.pack("<I", 8)) for tag in range(1000, 1400)]
    block, notes = exif_for(exif_block(*entries), SHOWN)
    assert len(block) < 6000
    assert [note.code for note in notes] == ["exif_entries_dropped"]


@pytest.mark.parametrize("block", [b"", b"II*\0", b"II*\0\xff\xff\0\0", b"XX*\0\x08\0\0\0\0\0"])
def test_block_without_a_directory_is_damaged(block: bytes) -> None:
    """There is nothing to keep."""
    with pytest.raises(DamagedExifError):
        read(block)
    assert read_or_none(block) is None


def test_byte_order_is_that_of_the_header() -> None:
    """With or without prefix."""
    assert byte_order(photo_exif(">")) == ">"
    assert byte_order(b"II*\0") == "<"


def test_tiff_whose_samples_are_not_in_strips_takes_no_block() -> None:
    """We write none."""
    with pytest.raises(DamagedExifError):
        with_exif(photo_exif()[6:], photo_exif())
