"""Damage to a JPEG outside its pixels costs no picture, and damage inside is refused."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.bare_files import (
    CJPEG,
    JPEGS,
    assert_whole,
    codes,
)
from support.blocks import jpeg_segment
from support.pictures import (
    WIDE,
    encoded,
    noise,
)

from enlarger.errors import UnreadableImage, UnsupportedFormat
from enlarger.picture.decode import decode, probe


def test_bytes_between_segments_of_a_jpeg_are_noted() -> None:
    """Bytes that fill up are not."""
    plain = JPEGS["baseline"]
    at = plain.index(b"\xff\xdb")
    for odd, expected in ((b"\xff\xff\xff", []), (b"abc", ["damage_ignored"])):
        picture = decode(plain[:at] + odd + plain[at:])
        assert np.array_equal(picture.samples, decode(plain).samples)
        assert codes(picture) == expected


@pytest.mark.parametrize("fill", [b"", b"\xff", b"\xff" * 9, bytes(5000)], ids=["cut", "half", "filled", "room"])  # fmt: skip
@pytest.mark.parametrize("name", JPEGS)
def test_jpeg_without_its_end_is_whole(name: str, fill: bytes) -> None:
    """Every pixel as it was, and a note; also behind half of the marker, and before room that was reserved."""
    if name == "flat" and len(fill) > 9:
        pytest.skip("its pixels end in zeros, which nothing tells from room")
    whole = decode(JPEGS[name])
    noted = assert_whole(JPEGS[name][:-2] + fill, whole.samples)
    assert noted == ["damage_ignored", *codes(whole)]


@settings(max_examples=200)
@given(name=st.sampled_from(sorted(JPEGS)), missing=st.integers(3, 2000), room=st.booleans())
def test_jpeg_that_is_cut_among_its_pixels_is_refused(name: str, missing: int, room: bool) -> None:
    """A picture only where the bytes that are missing tell nothing: a step of two is what cannot be told at the end."""
    whole = JPEGS[name]
    cut = whole[: max(len(whole) - missing, 4)] + bytes(4000) * room
    try:
        picture = decode(cut)
    except UnreadableImage:
        return
    difference = picture.samples.astype(int) - decode(whole).samples
    assert np.abs(difference).max() <= 2


@pytest.mark.parametrize("name", JPEGS)
def test_half_of_a_jpeg_with_room_behind_is_refused(name: str) -> None:
    """As a download leaves it that reserved its room; before, it was told by the missing end alone."""
    data = JPEGS[name]
    for part in (2, 4):
        with pytest.raises(UnreadableImage, match="cut short"):
            decode(data[: len(data) - len(data) // (2 * part)] + bytes(100_000))


def test_progressive_jpeg_that_misses_scans_is_refused() -> None:
    """It ends between two scans, and shows a coarser picture that no decoder complains about."""
    data = JPEGS["progressive"]
    last = data.rindex(b"\xff\xda")
    before = max(data.rfind(b"\xff\xc4", 0, last), data.rfind(b"\xff\xda", 0, last))
    for cut in (data[:last], data[:before]):
        with pytest.raises(UnreadableImage, match="cut short"):
            decode(cut)


@pytest.mark.parametrize(
    "between",
    [
        b"\xff" * 30,
        b"some bytes",
        b"\0\xff\0\0",
        jpeg_segment(0xE5, b"x" * 60000),
        b"\xff\xe5\0\0",
        b"\xff\xe7\0\1",
        jpeg_segment(0xE0, b"JFIF\0"),
        jpeg_segment(0xEE, b"Adobe"),
        jpeg_segment(0xED, b"Photoshop 3.0\x008BIM\x03\xed\0\0\0\0\0\x04abcd"),
        jpeg_segment(0xE2, b"MPF\0MM\0*" + b"\xff" * 40),
        jpeg_segment(0xE2, b"ICC_PROFILE\0"),
        jpeg_segment(0xE1, b"Exif\0\0MM\0*" + b"\xff" * 40),
        jpeg_segment(0xFE, b""),
        b"\xff\x01\xff\xd3",
    ],
    ids=[
        *("fill bytes", "junk", "a stuffed byte", "unknown", "no length", "a length of 1"),
        *("short JFIF", "short Adobe", "short Photoshop", "bad MPF", "short profile", "bad EXIF"),
        *("empty comment", "markers without segments"),
    ],
)
def test_what_stands_between_segments_costs_no_pixel(between: bytes) -> None:
    """Skipped as libjpeg does, or left out."""
    data = JPEGS["baseline"]
    whole = decode(data).samples
    # A file that does not begin with a marker behind the first one is no JPEG to anybody.
    first = [2] if between.startswith(b"\xff") else []
    for at in (*first, data.index(b"\xff\xc0"), data.index(b"\xff\xda")):
        assert_whole(data[:at] + between + data[at:], whole)


@pytest.mark.parametrize(
    ("marker", "depth_bits", "reason"),
    [
        (0xC1, 12, "12 bits"),
        (0xC2, 12, "12 bits"),
        (0xC3, 8, "lossless"),
        (0xC3, 16, "lossless"),
        (0xC5, 8, "hierarchical"),
        (0xC6, 8, "hierarchical"),
        (0xC7, 8, "hierarchical"),
        (0xCB, 8, "lossless"),
        (0xCD, 8, "hierarchical"),
        (0xCF, 8, "hierarchical"),
    ],
)
def test_jpeg_of_another_kind_is_unsupported_with_its_reason(
    marker: int, depth_bits: int, reason: str
) -> None:
    """It is whole, so it is not called broken; the text says what to do."""
    data = bytearray(JPEGS["baseline"])
    at = data.index(b"\xff\xc0")
    data[at + 1], data[at + 4] = marker, depth_bits
    for read in (probe, decode):
        with pytest.raises(UnsupportedFormat, match=f"{reason}.*save the picture as"):
            read(bytes(data))


def test_jpeg_of_two_components_is_unsupported_with_its_reason() -> None:
    """No decoder here knows which colours they are."""
    data = JPEGS["gray"].replace(b"\xff\xc0\0\x0b\x08", b"\xff\xc0\0\x0e\x08")
    at = data.index(b"\xff\xc0")
    data = data[: at + 9] + b"\2" + data[at + 10 : at + 13] + b"\2\x11\0" + data[at + 13 :]
    with pytest.raises(UnsupportedFormat, match="2 components"):
        decode(data)


def profile_segments(*numbers: tuple[int, int], profile: bytes = WIDE) -> bytes:
    """A profile in as many segments as each says, of which these numbers are there."""
    parts = b""
    for number, count in numbers:
        step = -(-len(profile) // count)
        content = profile[step * (number - 1) : step * number]
        parts += jpeg_segment(0xE2, b"ICC_PROFILE\0" + bytes([number, count]) + content)
    return parts


@pytest.mark.parametrize(
    "numbers",
    [[(1, 1)], [(1, 3), (2, 3), (3, 3)], [(3, 3), (1, 3), (2, 3)], [(1, 1), (1, 1)], [(1, 2), (2, 2), (1, 2), (2, 2)]],
    ids=["one", "three", "in another order", "twice", "two twice"],
)  # fmt: skip
@pytest.mark.parametrize("before", [b"\xff\xdb", b"\xff\xda"], ids=["first", "behind the frame"])
def test_profile_of_a_jpeg_is_found(numbers: list[tuple[int, int]], before: bytes) -> None:
    """In any order, at any place, and if it is there more than once."""
    data = JPEGS["baseline"]
    at = data.index(before)
    made = data[:at] + profile_segments(*numbers) + data[at:]
    assert assert_whole(made, decode(data).samples) == []
    assert decode(made).icc == WIDE


@pytest.mark.parametrize("numbers", [[(1, 2)], [(2, 2)], [(1, 3), (3, 3)], [(1, 2), (2, 3)]])
def test_profile_of_a_jpeg_that_misses_parts_is_dropped_with_a_note(
    numbers: list[tuple[int, int]],
) -> None:
    """What is left of it means nothing."""
    data = JPEGS["baseline"]
    made = data[:2] + profile_segments(*numbers) + data[2:]
    assert assert_whole(made, decode(data).samples) == ["icc_dropped"]


@pytest.mark.skipif(CJPEG is None, reason="needs cjpeg of libjpeg-turbo")
@pytest.mark.parametrize("way", [[], ["-progressive"]])
def test_arithmetic_jpeg_is_read(way: list[str]) -> None:
    """libjpeg-turbo reads both kinds; the pixels are those of the same picture in Huffman codes."""
    ppm = encoded(noise(20, 30, 3), "PPM")
    made = [
        subprocess.run(
            [str(CJPEG), *way, *coding], input=ppm, capture_output=True, check=True
        ).stdout
        for coding in (["-arithmetic"], [])
    ]
    assert_whole(made[0], decode(made[1]).samples)
