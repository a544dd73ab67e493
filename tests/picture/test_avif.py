"""EXIF in AVIF: found by the boxes of the file, and hidden from a library that refuses damaged ones."""

from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.blocks import canon_exif, exif_block, exif_entry
from support.pictures import encoded, noise

from enlarger.picture.avif import boxes, exif_item, without_metadata
from enlarger.picture.decode import decode, probe

MAKE = exif_block(exif_entry(0x010F, 2, 4, b"Abc\0"))
DATA = encoded(noise(16, 24, 3), "AVIF", exif=MAKE)


def test_block_is_found_and_hidden() -> None:
    """Byte for byte as it was written; a file without it stays as it is."""
    item = exif_item(DATA)
    assert item is not None
    assert item.block == MAKE[6:]
    hidden = without_metadata(DATA)
    assert len(hidden) == len(DATA)
    assert exif_item(hidden) is None
    with Image.open(BytesIO(hidden)) as image:
        assert "exif" not in image.info
    plain = encoded(noise(16, 24, 3), "AVIF")
    assert without_metadata(plain) is plain


def test_maker_note_is_as_it_was_written() -> None:
    """Pillow would write the block anew where the picture is turned."""
    exif = bytearray(canon_exif())
    data = encoded(noise(16, 24, 3), "AVIF", exif=bytes(exif))
    assert decode(data).exif == canon_exif()


def test_orientation_is_that_of_the_picture_not_of_exif() -> None:
    """Its properties say it (ISO/IEC 23008-12, 6.5.10); Pillow writes it there from EXIF."""
    turned = exif_block(exif_entry(0x0112, 3, 1, b"\x06\0"), exif_entry(0x010F, 2, 4, b"Abc\0"))
    data = encoded(noise(16, 24, 3), "AVIF", exif=turned)
    picture = decode(data)
    assert probe(data).width_px == picture.width_px == 16
    assert [(note.code, note.detail) for note in picture.notes] == [
        ("orientation_applied", "AVIF orientation 6")
    ]
    # The block that EXIF says it in: here in place of the maker, and nobody turns by it.
    other = DATA.replace(MAKE[16:28], turned[16:28])
    assert other != DATA
    assert decode(other).width_px == 24


@pytest.mark.parametrize("data", [b"", b"\0\0\0\x08", b"\0\0\0\x01ftyp", b"\0\0\0\x04meta1234"])
def test_boxes_that_are_cut_end(data: bytes) -> None:
    """And hold nothing."""
    assert list(boxes(data, 0, len(data))) == []
    assert without_metadata(data) is data


@given(
    changes=st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=6),
    cut=st.integers(0, 600),
)
def test_damaged_files_raise_nothing(changes: list[tuple[int, int]], cut: int) -> None:
    """Nor does the file change its length."""
    damaged = bytearray(DATA[:cut])
    for position, value in changes:
        if damaged:
            damaged[position % len(damaged)] = value
    assert len(without_metadata(bytes(damaged))) == len(damaged)
