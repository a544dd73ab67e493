"""The blocks of a GIF as programs write them, and not only as the standard has them."""

from __future__ import annotations

import itertools
import struct
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.pictures import encoded, noise

from enlarger.errors import UnreadableImage, UnsupportedFormat
from enlarger.geometry.rect import Pixels
from enlarger.picture import gif
from enlarger.picture.decode import decode, probe

FRAMES = [Image.fromarray(noise(12, 16, 3, seed=seed)).quantize(8) for seed in range(3)]
DATA = encoded(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:], duration=40, loop=3)
WHOLE = decode(DATA, frames=9)


def codes(data: bytes) -> list[str]:
    """The notes' codes of all frames."""
    return [note.code for note in decode(data, frames=9).notes]


def shown(samples: Pixels) -> Pixels:
    """RGB and alpha of samples with any channels."""
    height, width, channels = samples.shape
    rgba = np.full((height, width, 4), 255, np.uint8)
    colours = channels - 1 if channels in (2, 4) else channels
    rgba[:, :, :3] = samples[:, :, :colours]
    if channels in (2, 4):
        rgba[:, :, 3] = samples[:, :, -1]
    return rgba


def pieces(data: bytes = DATA) -> list[bytes]:
    """Header, blocks and end."""
    cuts = [0, *(block.begin for block in gif.blocks(data)), len(data) - 1, len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(cuts)]


def test_blocks_are_those_of_the_standard() -> None:
    """How often it is played, and each frame behind its control (GIF89a, appendix A)."""
    labels = [block.label for block in gif.blocks(DATA)]
    assert labels == [gif.APPLICATION, *[gif.CONTROL, None] * 3]
    assert all(block.is_whole for block in gif.blocks(DATA))
    film = gif.read(DATA)
    assert (film.width_px, film.height_px, len(film.frames), film.plays) == (16, 12, 3, 4)
    assert film.damage == ()


@pytest.mark.parametrize(
    "between", [b"\0", b"\0" * 300, b"\x01\x02\x03", b"\0\x07\0", b"no, and no!"]
)
def test_bytes_between_blocks_are_skipped_with_a_note(between: bytes) -> None:
    """Before each of them, and before the end; `frames=first` and `frames=all` take the same way."""
    parts = pieces()
    for at in range(1, len(parts)):
        data = b"".join([*parts[:at], between, *parts[at:]])
        assert np.array_equal(decode(data, frames=9).frames, WHOLE.frames)
        assert np.array_equal(decode(data).samples, WHOLE.samples)
        assert codes(data) == ["damage_ignored"]
        assert probe(data).frames == 3


@pytest.mark.parametrize("end", [b"", b"\0", b"\0\0\0", b"!", b"!\xfe", b"!\xfe\x05ab", b",", b",\0\0\0"])  # fmt: skip
def test_gif_without_its_end_has_all_its_frames(end: bytes) -> None:
    """Whatever a program was writing when it ended."""
    data = DATA[:-1] + end
    assert np.array_equal(decode(data, frames=9).frames, WHOLE.frames)
    assert codes(data) == ["damage_ignored"]


def test_bytes_behind_the_end_cost_no_frame() -> None:
    """Whatever they look like; what is more than filling is noted."""
    for behind, noted in (
        (b"\0", []),
        (DATA, ["attachment_dropped"]),
        (b",,", ["attachment_dropped"]),
    ):
        assert np.array_equal(decode(DATA + behind, frames=9).frames, WHOLE.frames)
        assert codes(DATA + behind) == noted


def test_frame_that_is_cut_is_left_out_with_a_note() -> None:
    """Those before it are whole, and shown. Its pixels tell whether it is cut, not the byte that ends them."""
    parts = pieces()
    begin = len(b"".join(parts[:-2]))
    counts = set()
    for cut in range(begin + 1, len(DATA) - 1):
        picture, header = decode(DATA[:cut], frames=9), probe(DATA[:cut])
        assert header.frames == len(picture.frames)
        assert "damage_ignored" in [note.code for note in picture.notes]
        for frame, expected in zip(picture.frames, WHOLE.frames, strict=False):
            assert np.array_equal(frame, expected)
        counts.add(len(picture.frames))
    assert counts == {2, 3}


def test_only_frame_that_is_cut_is_broken() -> None:
    """There is nothing else to show."""
    data = encoded(FRAMES[0], "GIF")
    with pytest.raises(UnreadableImage, match="cut short"):
        decode(data[: len(data) // 2])


def test_damaged_frame_in_the_midst_is_broken() -> None:
    """Pixels are missing, and what follows lies over them."""
    second = list(gif.blocks(DATA))[4]
    data = DATA[: second.data_at] + b"\0" + DATA[second.stop :]
    with pytest.raises(UnreadableImage):
        decode(data, frames=9)
    assert np.array_equal(decode(data).samples, WHOLE.samples)


@pytest.mark.parametrize("place", [(0, 0, 0, 5), (0, 0, 5, 0), (3, 3, 0, 0)])
def test_frame_of_no_size_draws_nothing(place: tuple[int, int, int, int]) -> None:
    """What was there before stays, for as long as it says."""
    second = list(gif.blocks(DATA))[4]
    data = DATA[: second.begin + 1] + struct.pack("<4H", *place) + DATA[second.begin + 9 :]
    picture = decode(data, frames=9)
    assert np.array_equal(picture.frames[1], picture.frames[0])
    assert len(picture.frames) == 3


def test_plays_are_those_of_the_first_block_that_says_so() -> None:
    """By both names; a block that is cut says nothing."""
    loops = pieces()[1]
    for name, again, plays in ((b"NETSCAPE2.0", 5, 6), (b"ANIMEXTS1.0", 0, 0)):
        block = b"!\xff\x0b" + name + b"\x03\x01" + struct.pack("<HB", again, 0)
        assert gif.read(DATA.replace(loops, block)).plays == plays
    assert gif.read(DATA.replace(loops, b"!\xff\x0bNETSCAPE2.0\x02\x01\x05\0")).plays == 1
    assert gif.read(DATA.replace(loops, b"")).plays == 1


@pytest.mark.parametrize(
    "data",
    [
        pieces()[0] + b"\x01" * 7_000_000 + b";",
        pieces()[0] + b"!\xfe\0" * 2_300_000 + b",",
        pieces()[0] + b"\x01," * 3_500_000 + b";",
        pieces()[0] + (b"," + struct.pack("<4HB", 0, 0, 1, 1, 0) + b"\x02\0") * 500_000,
        pieces()[0] + (b"," + struct.pack("<4HB", 0, 0, 65535, 65535, 0) + b"\x02\0") * 2000,
    ],
    ids=["junk", "extensions", "commas", "frames of nothing", "frames of any size"],
)  # fmt: skip
def test_hostile_gif_is_walked_over_once(data: bytes) -> None:
    """Seconds at most, and nothing but a refusal of ours."""
    began = time.monotonic()
    with pytest.raises((UnreadableImage, UnsupportedFormat)):
        decode(data, frames=200)
    assert time.monotonic() - began < 20


@settings(max_examples=300)
@given(
    changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=6),
    cut=st.integers(13, 2000),
)
def test_any_gif_is_walked_over_forwards(changes: list[tuple[int, int]], cut: int) -> None:
    """Blocks never overlap nor reach beyond the file, and the header says what decoding gives."""
    damaged = bytearray(DATA[:cut])
    for position, value in changes:
        damaged[position % len(damaged)] = value
    data = b"GIF89a" + bytes(damaged[6:])
    end = gif.first_block(data)
    for block in gif.blocks(data):
        assert end <= block.begin < block.stop <= len(data)
        assert sum(map(len, gif.sub_blocks(data, block))) <= block.stop - block.begin
        end = block.stop
    try:
        header = probe(data)
        if max(header.width_px, header.height_px) > 2048:
            return
        picture = decode(data, frames=header.frames)
    except UnreadableImage:
        return
    assert (picture.width_px, picture.height_px) == (header.width_px, header.height_px)
    assert len(picture.frames) == header.frames
    # Gray and alpha are those of all frames, so the first one alone may have fewer channels.
    alone, among = (shown(samples) for samples in (decode(data).samples, picture.samples))
    assert np.array_equal(alone, among)
