"""Files that are broken, cut short or not pictures never decode to a wrong picture."""

from __future__ import annotations

import asyncio
import struct

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.decoding import (
    WHOLE,
)
from support.pictures import (
    GRAY,
    encoded,
    noise,
    png,
    with_checksums,
)

from enlarger.errors import UnreadableImage, UnsupportedFormat
from enlarger.picture.decode import decode, probe
from enlarger.picture.sandbox.pool import Decoders


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"<html><body>404 Not Found</body></html>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n",
        encoded(noise(4, 4, 3), "PPM"),
        encoded(noise(16, 16, 4), "ICO"),
    ],
    ids=["empty", "byte", "html", "eps", "ppm", "ico"],
)
def test_what_is_none_of_our_formats_is_refused(data: bytes) -> None:
    """Text, nothing, and formats that Pillow would read but we do not."""
    for read in (probe, decode):
        with pytest.raises(UnsupportedFormat, match="png, jpeg, webp, bmp, tiff, gif, avif"):
            read(data)


@given(kind=st.sampled_from(sorted(WHOLE)), part=st.floats(0, 1, exclude_max=True))
def test_file_cut_short_is_refused(kind: str, part: float) -> None:
    """Wherever a download ended: a refusal, or the whole picture where only trailing bytes are missing."""
    whole = WHOLE[kind]
    cut = whole[: int(part * len(whole))]
    try:
        picture = decode(cut)
    except (UnreadableImage, UnsupportedFormat):
        return
    assert np.array_equal(picture.samples, decode(whole).samples)


@pytest.mark.parametrize("kind", sorted(WHOLE))
def test_file_cut_in_half_is_called_broken(kind: str) -> None:
    """The format is known, so the caller learns that the file is the trouble, not its kind."""
    with pytest.raises(UnreadableImage, match="cut short"):
        decode(WHOLE[kind][: len(WHOLE[kind]) // 2])


@settings(max_examples=300)
@given(
    kind=st.sampled_from(sorted(WHOLE)),
    changes=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=8),
    checksums=st.booleans(),
)
def test_damaged_bytes_raise_nothing_but_our_errors(
    kind: str, changes: list[tuple[int, int]], checksums: bool
) -> None:
    """Whatever is wrong inside a file, a picture comes out or one of two refusals."""
    damaged = bytearray(WHOLE[kind])
    for position, value in changes:
        damaged[position % len(damaged)] = value
    data = with_checksums(damaged) if checksums else bytes(damaged)
    try:
        header = probe(data)
        assume(max(header.width_px, header.height_px) <= 2048)  # the pipeline refuses those
        picture = decode(data)
    except (UnreadableImage, UnsupportedFormat):
        return
    assert picture.samples.ndim == 3
    assert (picture.height_px, picture.width_px) == (header.height_px, header.width_px)


def test_header_without_pixels_is_refused() -> None:
    """Zero rows or columns are no picture."""
    with pytest.raises(UnreadableImage):
        decode(png(np.zeros((1, 0, 1)), colour=GRAY, depth_bits=8))


@pytest.mark.parametrize("junk", [b"", b"\x01"], ids=["", "junk"])
@pytest.mark.parametrize("disposal", [2, 3])
def test_first_frame_of_a_gif_is_not_filled_whatever_it_says(disposal: int, junk: bytes) -> None:
    """A few bytes that speak of 60000 x 30000 took 1.7 GB, before the header could be held against a limit."""

    def gif(width_px: int, height_px: int) -> bytes:
        control = b"\x21\xf9\x04" + bytes([disposal << 2 | 1, 0, 0, 0, 0])
        frame = b"\x2c" + struct.pack("<4HB", 0, 0, width_px, height_px, 0) + b"\x02\x02\x4c\x01\0;"
        screen = struct.pack("<HHBBB", 8, 8, 0x80, 0, 0) + bytes(6)
        return b"GIF89a" + screen + control + junk + frame

    with pytest.raises(UnreadableImage, match="too much memory"):
        probe(gif(60000, 30000))
    header = probe(gif(8192, 8192))
    assert (header.width_px, header.height_px) == (8192, 8192)


async def test_files_that_broke_decoders_break_nothing(bad_inputs: dict[str, bytes]) -> None:
    """What crashed, flooded or hung other decoders: each a picture or a refusal, in bounded time."""
    answered: dict[str, str] = {}

    async def ask(name: str, data: bytes) -> None:
        try:
            header = await decoders.probe(data)
            if max(header.width_px, header.height_px) > 2048:
                answered[name] = "too large"
                return
            picture = await decoders.decode(data)
            answered[name] = f"{picture.width_px}x{picture.height_px}"
        except (UnreadableImage, UnsupportedFormat) as error:
            answered[name] = error.code

    async with Decoders(2, timeout_s=20) as decoders, asyncio.TaskGroup() as group:
        for name, data in bad_inputs.items():
            group.create_task(ask(name, data))
    assert answered.keys() == bad_inputs.keys()
    assert len(answered) > 50
