"""Damage to a PNG outside its pixels costs no picture, and damage inside is refused."""

from __future__ import annotations

import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image
from support.bare_files import (
    ATTACHED,
    CHUNKS,
    DEEP,
    DEEP_PNG,
    FILLING,
    PNG,
    SAMPLES,
    animated_png,
    assert_whole,
    codes,
    damaged,
    with_chunk,
)
from support.blocks import packed_text, png_with
from support.pictures import (
    WIDE,
    encoded,
    png_chunk,
)

from enlarger.errors import UnreadableImage, UnsupportedFormat
from enlarger.picture.decode import decode, probe


@pytest.mark.parametrize("before", [b"IDAT", b"IEND"], ids=["before", "behind"])
@pytest.mark.parametrize("kind", CHUNKS)
def test_ancillary_chunk_with_a_wrong_checksum_costs_itself_alone(
    kind: bytes, before: bytes
) -> None:
    """At either depth and place; the note says which one."""
    chunk = damaged(png_chunk(kind, CHUNKS[kind]))
    for whole, samples in ((PNG, SAMPLES), (DEEP_PNG, DEEP)):
        data = with_chunk(whole, chunk, before=before)
        assert len(assert_whole(data, samples)) == 1
        assert kind.decode() in decode(data).notes[0].detail


@pytest.mark.parametrize("kind", [b"pHYs", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"tRNS", b"cICP"])
def test_chunk_that_is_too_short_costs_itself_alone(kind: bytes) -> None:
    """Its checksum is right, and there is less in it than it has to hold."""
    for content in (b"", CHUNKS[kind][: len(CHUNKS[kind]) // 3]):
        data = with_chunk(PNG, png_chunk(kind, content))
        assert assert_whole(data, SAMPLES) in (["damage_ignored"], ["icc_dropped"])


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt"])
def test_text_that_is_a_bomb_costs_neither_the_picture_nor_time(kind: bytes) -> None:
    """128 MiB in 600 KB; what is in it is left out with a note."""
    packed = zlib.compress(bytes(128 << 20), 1)
    content = b"a\0" + (b"\0" if kind == b"zTXt" else b"\1\0\0\0") + packed
    began = time.monotonic()
    assert assert_whole(with_chunk(PNG, png_chunk(kind, content)), SAMPLES) == ["text_dropped"]
    assert time.monotonic() - began < 5


def test_long_texts_are_kept_and_cost_no_picture() -> None:
    """Generators of pictures write 1.5 MB of workflow; Pillow refuses what is longer than one."""
    texts = [packed_text(b"workflow", b"x" * 1_500_000), packed_text(b"prompt", b"y" * 3_000_000)]
    data = png_with(*texts)
    picture = decode(data)
    assert [len(text.text) for text in picture.texts] == [1_500_000, 3_000_000]
    assert picture.notes == ()


def profile_of(size_bytes: int) -> bytes:
    """A sound profile that is as long as that."""
    profile = WIDE + bytes(size_bytes - len(WIDE))
    return struct.pack(">I", len(profile)) + profile[4:]


def test_large_profile_is_kept() -> None:
    """Pillow refuses one of more than a megabyte, and the picture with it."""
    profile = profile_of(3 << 20)
    chunk = png_chunk(b"iCCP", b"wide\0\0" + zlib.compress(profile))
    for data in (with_chunk(PNG, chunk), with_chunk(DEEP_PNG, chunk)):
        picture = decode(data)
        assert picture.icc == profile
        assert picture.notes == ()


@pytest.mark.parametrize(
    "content",
    [
        b"wide\0\0" + zlib.compress(profile_of(9 << 20)),
        b"wide\0\0" + zlib.compress(WIDE)[:-9],
        b"wide\0\0" + b"no profile",
        b"wide\0\1" + zlib.compress(WIDE),
        b"\0\0" + zlib.compress(WIDE),
        b"wide without an end",
    ],
    ids=["too large", "cut", "not packed", "packed otherwise", "without a name", "all name"],
)
def test_profile_that_cannot_be_read_costs_itself_alone(content: bytes) -> None:
    """The picture comes without it, and a note says so."""
    data = with_chunk(PNG, png_chunk(b"iCCP", content))
    assert assert_whole(data, SAMPLES) == ["icc_dropped"]
    assert decode(data).icc is None


def test_first_of_several_profiles_counts() -> None:
    """The others are not even unpacked: a file may have thousands."""
    chunks = [b"wide\0\0" + zlib.compress(WIDE), *[b"a\0\0" + zlib.compress(bytes(8 << 20))] * 500]
    began = time.monotonic()
    picture = decode(png_with(*((b"iCCP", chunk) for chunk in chunks)))
    assert picture.icc == WIDE
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "end",
    [b"", b"\0", b"\0\0\0\0IEND", b"\0\0\0\0IEND\0\0\0\0", b"\0\0\x10\0tEXta\0b", b"\0\0\0\1\1\2\3\4" * 2],
    ids=["missing", "a byte", "cut", "wrong checksum", "a cut text", "bytes that mean nothing"],
)  # fmt: skip
@pytest.mark.parametrize("data", [PNG, DEEP_PNG], ids=["8 bits", "16 bits"])
def test_png_without_its_end_is_whole(data: bytes, end: bytes) -> None:
    """It holds no pixels, whatever is in its place."""
    assert "damage_ignored" in assert_whole(data[:-12] + end, decode(data).samples)


@pytest.mark.parametrize("missing", range(1, 17))
@pytest.mark.parametrize("data", [PNG, DEEP_PNG], ids=["8 bits", "16 bits"])
def test_png_that_ends_in_its_last_checksum_is_whole(data: bytes, missing: int) -> None:
    """With the checksum of the last pixels, or a part of it, all that is missing holds none."""
    assert assert_whole(data[:-missing], decode(data).samples) == ["damage_ignored"]


def test_bytes_behind_a_png_cost_no_pixel() -> None:
    """Whatever they look like; what is more than filling is noted."""
    for behind in FILLING:
        assert assert_whole(PNG + behind, SAMPLES) == []
    for behind in ATTACHED:
        assert assert_whole(PNG + behind, SAMPLES) == ["attachment_dropped"]


def test_png_for_iphones_is_not_called_broken() -> None:
    """Its pixels are packed otherwise and in another order."""
    data = with_chunk(PNG, png_chunk(b"CgBI", bytes(4)), before=b"IHDR")
    for read in (probe, decode):
        with pytest.raises(UnsupportedFormat, match="CgBI"):
            read(data)


def with_damage(data: bytes, kind: bytes) -> bytes:
    """A PNG where the first chunk of a kind has a wrong checksum."""
    at = data.index(kind)
    end = at + 4 + int.from_bytes(data[at - 4 : at], "big") + 4
    return data[: at - 4] + damaged(data[at - 4 : end]) + data[end:]


def test_animation_with_a_bad_text_is_whole() -> None:
    """All frames, as without it."""
    data = animated_png()
    for chunk in (png_chunk(b"tEXt", b"a\0b"), png_chunk(b"pHYs", bytes(9))):
        for before in (b"acTL", b"IDAT", b"fcTL", b"fdAT", b"IEND"):
            picture = decode(with_chunk(data, damaged(chunk), before=before), frames=9)
            assert np.array_equal(picture.frames, decode(data, frames=9).frames)


def test_animation_whose_control_is_damaged_is_a_still_picture() -> None:
    """It says how often all are shown. Programs that know no animation see the picture anyway."""
    data = animated_png()
    for read in (1, 9):
        picture = decode(with_damage(data, b"acTL"), frames=read)
        assert np.array_equal(picture.samples, decode(data).samples)
        assert picture.motion is None
        assert codes(picture) == ["damage_ignored"]
    assert probe(with_damage(data, b"acTL")).frames == 1


@pytest.mark.parametrize("stated", [0, 1, 2, 2**31, 2**32 - 1])
def test_animation_that_states_too_few_frames_has_those_that_are_there(
    stated: int,
) -> None:
    """The frames of a whole file can be counted, and a note says so; where more are stated, some are missing."""
    data = animated_png()
    at = data.index(b"acTL")
    control = struct.pack(">I", stated) + data[at + 8 : at + 12]
    given = data[: at - 4] + png_chunk(b"acTL", control) + data[at + 16 :]
    assert probe(given).frames == probe(data).frames == 3
    picture = decode(given, frames=9)
    assert np.array_equal(picture.frames, decode(data, frames=9).frames)
    assert codes(picture) == ["damage_ignored"]


def test_animation_that_is_announced_behind_its_picture_is_none() -> None:
    """As the standard has it; a note says so."""
    data = animated_png()
    at = data.index(b"acTL") - 4
    control = data[at : at + 20]
    behind = data.index(b"IDAT") - 4
    behind += 12 + int.from_bytes(data[behind : behind + 4], "big")
    picture = decode(data[:at] + data[at + 20 : behind] + control + data[behind:], frames=9)
    assert picture.motion is None
    assert codes(picture) == ["damage_ignored"]


def test_palette_that_rgb_does_not_need_costs_nothing() -> None:
    """It is a suggestion for displays, also where its checksum is wrong."""
    plain = encoded(SAMPLES, "PNG")
    at = plain.index(b"IDAT") - 4
    palette = bytearray(png_chunk(b"PLTE", bytes(range(30))))
    palette[-1] ^= 1
    picture = decode(plain[:at] + bytes(palette) + plain[at:])
    assert np.array_equal(picture.samples, SAMPLES)


def test_more_clear_colours_than_a_palette_has_are_left_out() -> None:
    """The picture is opaque then, with a note."""
    page = Image.fromarray(SAMPLES).quantize(8)
    plain = encoded(page, "PNG")
    at = plain.index(b"IDAT") - 4
    picture = decode(plain[:at] + png_chunk(b"tRNS", bytes(300)) + plain[at:])
    assert np.array_equal(picture.samples, decode(plain).samples)
    assert codes(picture) == ["damage_ignored"]


def test_animation_with_a_damaged_frame_is_refused() -> None:
    """Where pixels belong cannot be guessed."""
    with pytest.raises(UnreadableImage, match="fcTL"):
        decode(with_damage(animated_png(), b"fcTL"), frames=9)
