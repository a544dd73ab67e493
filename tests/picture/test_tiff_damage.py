"""What is not read of a TIFF and why, and damage: only damaged pixels cost the picture."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.pictures import SRGB, cmyk_profile, encoded, noise
from support.tiffs import (
    ADOBE_DEFLATE,
    BLACK_IS_ZERO,
    CMYK,
    COLOURS,
    JPEG,
    LAB,
    LONG,
    LZW,
    NONE,
    PACK,
    PALETTE,
    PREMULTIPLIED,
    RATIONAL,
    RGB,
    SHORT,
    STRAIGHT,
    WHITE_IS_ZERO,
    assert_twins,
    codes,
    in_16_bits,
    shown,
    stored_as,
    with_entry,
    ycbcr,
)

from enlarger.errors import UnreadableImage, UnsupportedFormat
from enlarger.picture.decode import decode, probe

# What is not read, and why


REFUSED: dict[str, tuple[bytes, str]] = {
    "WebP": (stored_as(noise(4, 4, 3), RGB, t259=50001), "WebP compression"),
    "JPEG 2000": (stored_as(noise(4, 4, 3), RGB, t259=34712), "JPEG 2000 compression"),
    "LERC": (stored_as(noise(4, 4, 1), BLACK_IS_ZERO, t259=34887), "LERC compression"),
    "JPEG XL": (stored_as(noise(4, 4, 3), RGB, t259=50002), "JPEG XL compression"),
    "unknown": (stored_as(noise(4, 4, 3), RGB, t259=60000), r"unknown \(60000\) compression"),
    "JPEG of CMYK and alpha": (
        stored_as(noise(4, 4, 5), CMYK, extra=[STRAIGHT], t259=JPEG),
        "5 channels of cmyk in JPEG compression",
    ),
    "LogLuv": (stored_as(noise(4, 4, 3), 32845), "LogLuv"),
    "ICC Lab": (stored_as(noise(4, 4, 3), 9), "ICC Lab"),
    "unknown colours": (stored_as(noise(4, 4, 3), 77), "this kind of colour"),
    "inks": (stored_as(noise(4, 4, 4), CMYK, t332=2), "inks other than CMYK"),
    "volume": (stored_as(noise(4, 4, 1), BLACK_IS_ZERO, t32997=2), "volumes"),
    "channels": (stored_as(noise(4, 4, 9), RGB, extra=[0] * 6), "9 channels"),
    "12 bits": (stored_as(noise(4, 4, 1), BLACK_IS_ZERO, t258=12), "12 bits"),
    "floating point": (stored_as(noise(4, 4, 1), BLACK_IS_ZERO, t339=3), "floating point"),
    "predictor": (stored_as(noise(4, 4, 3), RGB, compression=LZW, t317=3), "predictor 3"),
    "palette of 16 bits": (
        stored_as(noise(4, 4, 1), PALETTE, t258=16, t320=[0] * 3),
        "16 bits per sample",
    ),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_cannot_be_read_is_not_called_broken(name: str) -> None:
    """The reason is named, and what to do; where the header tells, before a pixel is decoded."""
    data, reason = REFUSED[name]
    with pytest.raises(UnsupportedFormat, match=f"{reason}.* is not read here; "):
        decode(data)


# Damage


LAYOUTS = {
    "8 bits": noise(12, 13, 3),
    "16 bits": in_16_bits(noise(12, 13, 3), RGB),
}

DAMAGED: dict[str, tuple[tuple[int, int, int, bytes | int], str]] = {
    "description beyond the end": ((270, 2, 40, 1 << 30), "exif_entries_dropped"),
    "description of type 0": ((270, 0, 40, 8), "exif_entries_dropped"),
    "EXIF nowhere": ((34665, LONG, 1, 0x7FFFFFFF), "exif_entries_dropped"),
    "EXIF of text": ((34665, 2, 9, 8), "exif_entries_dropped"),
    "GPS nowhere": ((34853, LONG, 1, 0xFFFFFFF0), "exif_entries_dropped"),
    "profile beyond the end": ((34675, 7, 500, 1 << 24), "icc_dropped"),
    "profile of any size": ((34675, 7, 0xFFFFFFFF, 8), "icc_dropped"),
    "profile of zeros": ((34675, 7, 500, bytes(500)), "icc_dropped"),
    "profile of unknown type": ((34675, 99, 500, 8), "icc_dropped"),
    "XMP beyond the end": ((700, 1, 500, 1 << 24), "xmp_dropped"),
    "IPTC beyond the end": ((33723, 7, 500, 1 << 24), "iptc_dropped"),
    "unknown tag beyond the end": ((60001, 4, 9999, 1 << 24), "damage_ignored"),
    "resolution beyond the end": ((282, RATIONAL, 1, 1 << 24), "damage_ignored"),
    "page number of unknown type": ((297, 77, 1, 0), "damage_ignored"),
    "orientation of unknown type": ((274, 77, 1, 3), "damage_ignored"),
    "ImageJ, whose readers trust it": ((50839, 1, 400, 1 << 24), "damage_ignored"),
}


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
@pytest.mark.parametrize("name", sorted(DAMAGED))
def test_damage_outside_the_pixels_costs_a_note(name: str, layout: str) -> None:
    """The picture is whole, whatever an entry that holds no pixels says; the note names what is lost."""
    entry, code = DAMAGED[name]
    samples = LAYOUTS[layout]
    depth_bits = samples.itemsize * 8
    picture = shown(with_entry(stored_as(samples, RGB, depth_bits=depth_bits), *entry))
    assert np.array_equal(picture.samples, samples)
    assert codes(picture) == [code]


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_damaged_entry_leaves_the_others(layout: str) -> None:
    """The profile, the resolution and the camera's maker stay when another entry is damaged."""
    samples = LAYOUTS[layout]
    data = stored_as(samples, RGB, depth_bits=samples.itemsize * 8, t34675=SRGB)
    data = with_entry(data, 271, 2, 6, b"Maker\0")
    for tag in (282, 283):
        data = with_entry(data, tag, RATIONAL, 1, struct.pack("<II", 300, 1))
    picture = shown(with_entry(data, 34665, LONG, 1, 0x7FFFFFFF))
    assert (picture.icc, picture.dpi) == (SRGB, (300, 300))
    assert b"Maker" in (picture.exif or b"")
    assert codes(picture) == ["exif_entries_dropped"]


def packed_by_all() -> dict[str, bytes]:
    """A picture through each decoder."""
    smooth = Image.fromarray(np.tile(np.arange(0, 240, 8).astype(np.uint8), (20, 1)))
    bits = smooth.convert("1")
    return {
        "8 bits": stored_as(noise(12, 13, 3), RGB),
        "16 bits": stored_as(in_16_bits(noise(12, 13, 3), RGB), RGB, depth_bits=16),
        "fax": encoded(bits, "TIFF", compression="group4"),
        "jpeg": encoded(smooth.convert("RGB"), "TIFF", compression="jpeg"),
        "ycbcr": ycbcr(noise(20, 30, 3), (2, 2), None, LZW),
    }


@pytest.mark.parametrize("name", sorted(packed_by_all()))
def test_untidy_directory_costs_nothing(name: str) -> None:
    """Entries in any order, a page that leads nowhere, bytes behind the end: whichever library decodes."""
    data = packed_by_all()[name]
    expected = decode(data).samples
    (at,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, at)
    end = at + 2 + 12 * entries
    rows = [data[place : place + 12] for place in range(at + 2, end, 12)]
    unsorted = data[: at + 2] + b"".join(reversed(rows)) + data[end:]
    assert np.array_equal(shown(unsorted).samples, expected)
    assert codes(shown(unsorted)) == []
    assert np.array_equal(shown(data + noise(777).tobytes()).samples, expected)
    nowhere = data[:end] + struct.pack("<I", 0x7FFFFFF0) + data[end + 4 :]
    picture = shown(nowhere)
    assert np.array_equal(picture.samples, expected)
    assert codes(picture) == ["damage_ignored"]


def test_directory_that_states_too_many_entries_is_read_as_far_as_it_goes() -> None:
    """What there is of it says how the pixels are stored."""
    samples = noise(12, 13, 3)
    data = bytearray(with_entry(stored_as(samples, RGB), 305, 2, 4, b"abc\0"))
    (at,) = struct.unpack_from("<I", data, 4)
    struct.pack_into("<H", data, at, 500)
    picture = shown(bytes(data))
    assert np.array_equal(picture.samples, samples)
    assert "damage_ignored" in codes(picture)


def test_sizes_of_strips_that_are_missing_or_wrong_follow_from_the_picture() -> None:
    """Where the pixels are not compressed, or each strip ends where the next begins."""
    samples = noise(12, 13, 3)
    for strip_rows, compression in ((12, NONE), (5, NONE), (5, LZW), (12, ADOBE_DEFLATE)):
        data = stored_as(samples, RGB, strip_rows=strip_rows, compression=compression)
        at = data.index(struct.pack("<HH", 279, LONG))
        missing = data[:at] + struct.pack("<H", 280) + data[at + 2 :]
        assert np.array_equal(decode(missing).samples, samples)
    data = stored_as(samples, RGB, strip_rows=12)
    entry = struct.pack("<HHII", 279, LONG, 1, 12 * 13 * 3)
    for wrong in (0, 5, 99999):
        untrue = data.replace(entry, struct.pack("<HHII", 279, LONG, 1, wrong))
        assert untrue != data
        assert np.array_equal(decode(untrue).samples, samples)


@pytest.mark.parametrize("compression", sorted(PACK))
@pytest.mark.parametrize("tile", [None, (16, 16)], ids=["strips", "tiles"])
def test_damaged_pixels_are_never_a_picture(compression: int, tile: tuple[int, int] | None) -> None:
    """Segments that are cut short, missing or too few: broken, and no black in the place of the picture."""
    how: dict[str, Any] = {"compression": compression, "tile": tile}
    data = stored_as(noise(40, 20, 3), RGB, **how)
    with pytest.raises(UnreadableImage):
        decode(data[:-9])
    # Fewer offsets than a picture of these sides has segments.
    with pytest.raises(UnreadableImage):
        decode(stored_as(noise(40, 20, 3), RGB, **how, t257=400))
    for tag in (324, 325) if tile else (273, 279):
        (numbers,) = struct.unpack_from("<I", data, data.index(struct.pack("<HH", tag, LONG)) + 8)
        with pytest.raises(UnreadableImage):
            decode(data[:numbers] + bytes(4) + data[numbers + 4 :])


@pytest.mark.parametrize("tag", [256, 257, 258, 259, 262, 273, 277])
def test_damaged_entry_that_pixels_need_is_a_broken_file(tag: int) -> None:
    """Nothing is guessed where the file says something that cannot be read."""
    data = stored_as(noise(12, 13, 3), RGB)
    at = next(at for at in range(10, 200, 12) if struct.unpack_from("<H", data, at) == (tag,))
    broken = data[: at + 2] + struct.pack("<H", 77) + data[at + 4 :]
    for ask in (probe, decode):
        with pytest.raises(UnreadableImage):
            ask(broken)


def test_photometric_interpretation_that_is_missing_is_guessed() -> None:
    """As libtiff does: gray whose black is 0, RGB, and white paper for fax."""
    for samples in (noise(5, 6, 1), noise(5, 6, 3)):
        data = stored_as(samples, BLACK_IS_ZERO)
        at = data.index(struct.pack("<HHI", 262, SHORT, 1))
        missing = data[:at] + struct.pack("<H", 263) + data[at + 2 :]
        assert np.array_equal(decode(missing).samples, samples)


def test_tile_larger_than_memory_is_refused_before_it_is_made() -> None:
    """A tile may be larger than its picture, and then only so much larger."""
    data = stored_as(noise(4, 4, 3), RGB, tile=(64, 64), compression=ADOBE_DEFLATE, t322=60_000)
    with pytest.raises(UnreadableImage):
        decode(data)
    data = stored_as(
        noise(4, 4, 3), RGB, tile=(64, 64), compression=ADOBE_DEFLATE, t322=60_000, t323=60_000
    )
    with pytest.raises(UnreadableImage, match="memory"):
        decode(data)


@pytest.mark.parametrize("photometric", [CMYK, LAB])
def test_profile_leads_8_and_16_bits_to_the_same_colours(photometric: int) -> None:
    """With alpha beside them, and in planes."""
    samples = noise(9, 11, COLOURS[photometric] + 1)
    entries = {"t34675": cmyk_profile()} if photometric == CMYK else {}
    for planar in (False, True):
        assert_twins(photometric, samples, (STRAIGHT,), planar=planar, **entries)


SEEDS = [
    *packed_by_all().values(),
    stored_as(noise(9, 8, 5), CMYK, extra=[STRAIGHT], planar=True, compression=LZW, predictor=True),
    stored_as(noise(9, 8, 1) >> 4, PALETTE, depth_bits=4, t320=[257] * 48, big=True, order=">"),
    stored_as(noise(9, 8, 2), WHITE_IS_ZERO, extra=[PREMULTIPLIED], tile=(16, 16)),
]


@settings(max_examples=400)
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6),
    part=st.floats(0.3, 1),
)
def test_damaged_files_raise_nothing_but_our_errors(
    seed: bytes, changes: list[tuple[int, int]], part: float
) -> None:
    """Whatever the directory says, a picture comes out or one of two refusals, and both questions agree."""
    damaged = bytearray(seed[: int(len(seed) * part)])
    for position, value in changes:
        damaged[position % len(damaged)] = value
    data = bytes(damaged)
    try:
        header = probe(data)
        if header.width_px * header.height_px > 1 << 20:
            return
        picture = decode(data)
    except (UnreadableImage, UnsupportedFormat):
        return
    assert (picture.height_px, picture.width_px) == (header.height_px, header.width_px)
