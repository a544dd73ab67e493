"""What decoders get to see of a file: damage where no pixels are costs no picture, and damage where they are does."""

from __future__ import annotations

import contextlib
import shutil
import struct
import subprocess
import time
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from blocks import jpeg_segment, packed_text, packet, png_with
from hypothesis import given, settings
from hypothesis import strategies as st
from mutants import moving
from pictures import RGB, WIDE, encoded, icc_profile, noise, noise16, png, png_chunk, visible
from PIL import Image

from enlarger.errors import UnreadableImage, UnsupportedFormat
from enlarger.geometry.rect import Pixels
from enlarger.picture.bare import bare
from enlarger.picture.chunks import png_chunks
from enlarger.picture.decode import decode, probe
from enlarger.picture.values import Picture

CJPEG, CONVERT = shutil.which("cjpeg"), shutil.which("convert")

SAMPLES = noise(12, 17, 3)
PNG = png(SAMPLES, colour=RGB, depth_bits=8)
DEEP = noise16(12, 17, 3)
DEEP_PNG = png(DEEP, colour=RGB, depth_bits=16)


def codes(picture: Picture) -> list[str]:
    """The notes' codes."""
    return [note.code for note in picture.notes]


def assert_whole(data: bytes, samples: Pixels) -> list[str]:
    """Every pixel is there, and the header says the same; gives the notes' codes."""
    picture, header = decode(data), probe(data)
    assert np.array_equal(picture.samples, samples)
    assert (header.height_px, header.width_px) == samples.shape[:2]
    return codes(picture)


def with_chunk(data: bytes, chunk: bytes, *, before: bytes = b"IDAT") -> bytes:
    """A PNG with one more chunk, as it stands, before the first of a kind."""
    at = data.index(before) - 4
    return data[:at] + chunk + data[at:]


def damaged(chunk: bytes) -> bytes:
    """A chunk whose checksum is wrong."""
    return chunk[:-1] + bytes([chunk[-1] ^ 1])


CHUNKS = {
    b"pHYs": struct.pack(">IIB", 3000, 3000, 1),
    b"gAMA": struct.pack(">I", 45455),
    b"cHRM": struct.pack(">8I", *range(8)),
    b"sRGB": b"\0",
    b"iCCP": b"a\0\0" + zlib.compress(WIDE),
    b"cICP": b"\1\r\0\1",
    b"sBIT": b"\x08\x08\x08",
    b"tRNS": bytes(6),
    b"bKGD": bytes(6),
    b"tIME": bytes(7),
    b"hIST": bytes(4),
    b"tEXt": b"a\0b",
    b"zTXt": b"a\0\0" + zlib.compress(b"b"),
    b"iTXt": b"a\0\0\0\0\0b",
    b"eXIf": b"MM\0*\0\0\0\x08\0\0\0\0\0\0",
    b"prVt": b"private",
}
"""Ancillary chunks by kind."""


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


FILLING, ATTACHED = (
    (b"\0" * 9, b"\xff" * 40),
    (PNG, b"more", b"\0\0\0\4IDAT", b"\0\0\0\4tEXta\0bc1234"),
)
"""What may lie behind the end of a picture: nothing, and something that is not in the result."""


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


def animated_png() -> bytes:
    """Three frames."""
    frames = moving()
    return encoded(frames[0], save_all=True, append_images=frames[1:], duration=40)


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


def test_bytes_between_segments_of_a_jpeg_are_noted() -> None:
    """Bytes that fill up are not."""
    plain = JPEGS["baseline"]
    at = plain.index(b"\xff\xdb")
    for odd, expected in ((b"\xff\xff\xff", []), (b"abc", ["damage_ignored"])):
        picture = decode(plain[:at] + odd + plain[at:])
        assert np.array_equal(picture.samples, decode(plain).samples)
        assert codes(picture) == expected


@pytest.mark.parametrize(
    ("bits", "packed", "says"),
    [(2, 0, "2 bits"), (64, 0, "64 bits"), (24, 4, "holds a JPEG"), (24, 5, "holds a PNG")],
)
def test_bmp_that_nobody_reads_is_not_called_broken(bits: int, packed: int, says: str) -> None:
    """The refusal names what it is."""
    data = bytearray(encoded(noise(5, 6, 3), "BMP"))
    struct.pack_into("<HI", data, 28, bits, packed)
    for ask in (probe, decode):
        with pytest.raises(UnsupportedFormat, match=says):
            ask(bytes(data))


def test_animation_with_a_damaged_frame_is_refused() -> None:
    """Where pixels belong cannot be guessed."""
    with pytest.raises(UnreadableImage, match="fcTL"):
        decode(with_damage(animated_png(), b"fcTL"), frames=9)


JPEGS: dict[str, bytes] = {
    "baseline": encoded(noise(40, 30, 3), "JPEG"),
    "gray": encoded(noise(40, 30, 1), "JPEG"),
    "inks": encoded(Image.fromarray(noise(20, 20, 4), mode="CMYK"), "JPEG"),
    "progressive": encoded(noise(40, 30, 3), "JPEG", progressive=True),
    "optimised": encoded(noise(40, 30, 3), "JPEG", optimize=True, subsampling=0),
    "restarts": encoded(noise(40, 30, 3), "JPEG", restart_marker_blocks=2),
    "flat": encoded(np.full((40, 30, 3), 77, np.uint8), "JPEG"),
    "of best quality": encoded(noise(17, 33, 3), "JPEG", quality=100),
}


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


WEBPS: dict[str, bytes] = {
    "lossy": encoded(noise(21, 20, 3), "WEBP"),
    "lossless": encoded(noise(21, 20, 3), "WEBP", lossless=True),
    "alpha": encoded(visible(noise(21, 20, 4)), "WEBP"),
    "talking": encoded(noise(21, 20, 3), "WEBP", xmp=packet(), icc_profile=WIDE),
}


def stating(data: bytes, length: int) -> bytes:
    """A WebP whose header states another length."""
    return data[:4] + struct.pack("<I", length) + data[8:]


@pytest.mark.parametrize("name", WEBPS)
def test_wrong_length_of_a_riff_is_mended(name: str) -> None:
    """Nothing, too little, too much, or what programs write that did not know it."""
    data = WEBPS[name]
    right = len(data) - 8
    for length in (0, 4, 12, right - 20, right + 8, right + 5000, (1 << 32) - 1, (1 << 32) - 8):
        wrong = stating(data, length)
        picture = decode(wrong)
        assert assert_whole(wrong, decode(data).samples) == ["damage_ignored"]
        assert (picture.icc, picture.xmp) == (decode(data).icc, decode(data).xmp)


def test_unknown_chunk_of_a_webp_costs_no_pixel() -> None:
    """Also where a simple file may have none, before its pixels."""
    chunk = b"ABCD\4\0\0\0wxyz"
    for data in WEBPS.values():
        for made in (data[:12] + chunk + data[12:], data + chunk):
            assert "blocks_dropped" in assert_whole(
                stating(made, len(made) - 8), decode(data).samples
            )


def test_bytes_behind_a_webp_cost_no_pixel() -> None:
    """Whatever they look like; what is more than filling is noted."""
    for data in WEBPS.values():
        for behind in FILLING:
            assert assert_whole(data + behind, decode(data).samples) == []
        for behind in (*ATTACHED, data):
            noted = assert_whole(data + behind, decode(data).samples)
            assert noted == ["attachment_dropped"]


def test_webp_whose_chunks_are_not_padded_is_mended() -> None:
    """An odd length has a byte behind it that fills up (RFC 9649, 2.3); some programs forget it."""
    odd = next(
        data
        for seed in range(50)
        if (data := encoded(noise(9, 9, 3, seed=seed), "WEBP", lossless=True))[16] & 1
    )
    assert assert_whole(stating(odd[:-1], len(odd) - 9), decode(odd).samples) == ["damage_ignored"]
    tail = b"EXIF\3\0\0\0abc"
    made = odd[:-1] + tail
    assert "damage_ignored" in assert_whole(stating(made, len(made) - 8), decode(odd).samples)


def test_webp_that_ends_in_its_metadata_is_whole() -> None:
    """Its pixels stand before."""
    data = WEBPS["talking"]
    cut = data[:-10]
    assert "damage_ignored" in assert_whole(cut, decode(data).samples)


@pytest.mark.parametrize("name", WEBPS)
def test_webp_that_is_cut_among_its_pixels_is_refused(name: str) -> None:
    """Whatever length it states."""
    data = WEBPS[name] if name != "talking" else WEBPS["lossy"]
    for cut in (data[:-40], data[: len(data) // 2]):
        for made in (cut, stating(cut, len(cut) - 8)):
            with pytest.raises(UnreadableImage):
                decode(made)


def test_animation_of_a_webp_may_miss_no_frame() -> None:
    """Cut between two frames, the length that the header states is all that tells."""
    frames = moving()
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    last = data.rindex(b"ANMF")
    with pytest.raises(UnreadableImage):
        decode(data[:last], frames=3)
    for length in (0, len(data), (1 << 32) - 1):
        picture = decode(stating(data, length), frames=3)
        assert np.array_equal(picture.frames, decode(data, frames=3).frames)


AVIF = encoded(noise(16, 24, 3), "AVIF", xmp=packet())


def test_xmp_of_an_avif_that_is_not_there_costs_no_pixel() -> None:
    """Its place is beyond the end of the file; libavif would refuse the picture."""
    at = AVIF.index(packet())
    lost = AVIF.replace(struct.pack(">I", at), struct.pack(">I", 1 << 24))
    assert lost != AVIF
    assert_whole(lost, decode(AVIF).samples)
    assert decode(AVIF).xmp == packet()


def test_bytes_behind_an_avif_are_nothing() -> None:
    """Whatever they look like."""
    for behind in (b"\0" * 9, AVIF, b"\xff" * 40, b"more"):
        assert_whole(AVIF + behind, decode(AVIF).samples)


def bmp(fourth: Pixels, *, states_alpha: bool) -> bytes:
    """A BMP of 32 bits, with or without a mask of its alpha (BITMAPV4HEADER)."""
    pixels = np.dstack([SAMPLES[::-1, :, ::-1], fourth[::-1]]).tobytes()
    height, width, _ = SAMPLES.shape
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + bytes(52)
    head = struct.pack(
        "<IiiHHIIiiII",
        108 if states_alpha else 40,
        *(width, height, 1, 32, 3 if states_alpha else 0, len(pixels), 0, 0, 0, 0),
    ) + (masks if states_alpha else b"")
    offset = 14 + len(head)
    return b"BM" + struct.pack("<IHHI", offset + len(pixels), 0, 0, offset) + head + pixels


@pytest.mark.parametrize("states_alpha", [False, True], ids=["unused", "masked"])
def test_bmp_whose_alpha_is_0_everywhere_is_opaque(states_alpha: bool) -> None:
    """Programs leave the fourth byte empty; nobody means an invisible picture."""
    data = bmp(np.zeros(SAMPLES.shape[:2], np.uint8), states_alpha=states_alpha)
    assert assert_whole(data, SAMPLES) == ["alpha_ignored"]


def test_alpha_of_a_bmp_is_kept() -> None:
    """Where the file states it, and one pixel has some."""
    fourth = np.zeros(SAMPLES.shape[:2], np.uint8)
    fourth[3, 4] = 9
    assert assert_whole(bmp(fourth, states_alpha=True), np.dstack([SAMPLES, fourth])) == []


def test_fourth_byte_of_a_bmp_that_states_no_alpha_is_unused() -> None:
    """As Windows and browsers have it; a note says so, unless it is full anyway."""
    some = noise(*SAMPLES.shape[:2])
    assert assert_whole(bmp(some, states_alpha=False), SAMPLES) == ["alpha_ignored"]
    assert assert_whole(bmp(np.full_like(some, 255), states_alpha=False), SAMPLES) == []


def test_length_that_a_bmp_states_is_not_believed() -> None:
    """Nor what lies behind it."""
    data = encoded(SAMPLES, "BMP")
    for length in (0, 7, len(data) + 999, (1 << 32) - 1):
        assert_whole(data[:2] + struct.pack("<I", length) + data[6:], SAMPLES)
    assert_whole(data + b"more", SAMPLES)


@pytest.mark.parametrize(
    "data",
    [PNG, DEEP_PNG, JPEGS["baseline"], JPEGS["progressive"], *list(WEBPS.values())[:3], encoded(SAMPLES, "BMP"), encoded(SAMPLES, "AVIF")],
)  # fmt: skip
def test_file_in_which_nothing_is_wrong_is_not_copied(data: bytes) -> None:
    """Decoders get the very bytes."""
    found = bare(data)
    assert found.file is data
    assert (found.notes, found.proofs, found.is_cut) == ((), (), False)


def test_jpeg_with_its_end_is_decoded_once() -> None:
    """Proofs cost as much as the picture, so there are none."""
    data = JPEGS["baseline"]
    commented = data[:2] + jpeg_segment(0xFE, b"a comment") + data[2:]
    assert bare(commented).file == data
    assert bare(commented).proofs == ()
    assert len(bare(commented[:-2]).proofs) == 2


HOSTILE: dict[str, bytes] = {
    "chunks of nothing": PNG[:33] + png_chunk(b"tEXt", b"") * 200_000 + PNG[33:],
    "describing chunks": PNG[:33] + damaged(png_chunk(b"pHYs", bytes(9))) * 100_000 + PNG[33:],
    "segments of nothing": JPEGS["baseline"][:2] + b"\xff\xfe\0\2" * 500_000 + JPEGS["baseline"][2:],
    "bytes that fill up": JPEGS["baseline"][:2] + b"\xff" * 7_000_000 + JPEGS["baseline"][2:],
    "half markers": JPEGS["baseline"][:2] + b"\xff\0" * 1_000_000 + JPEGS["baseline"][2:],
    "scans": JPEGS["baseline"][:-2] + b"\xff\xda\0\2" * 500_000 + b"\xff\xd9",
    "restarts": JPEGS["baseline"][:-2] + b"\xff\xd0" * 1_000_000,
    "chunks of a webp": WEBPS["lossy"] + b"ABCD\0\0\0\0" * 250_000,
    "lengths beyond the end": PNG[:33] + b"\xff\xff\xff\xfftEXt" + PNG[33:],
    "segment beyond the end": JPEGS["baseline"][:2] + b"\xff\xe1\xff\xff",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_is_walked_over_once(name: str) -> None:
    """Megabytes of the smallest parts take seconds at most, and nothing else is raised."""
    began = time.monotonic()
    for read in (probe, decode):
        with contextlib.suppress(UnreadableImage, UnsupportedFormat):
            read(HOSTILE[name])
    assert time.monotonic() - began < 20


ORIGINALS: dict[str, bytes] = {
    "png": PNG,
    "deep png": DEEP_PNG,
    "animation": animated_png(),
    "profile": with_chunk(PNG, png_chunk(b"iCCP", b"a\0\0" + zlib.compress(icc_profile(b"RGB ")))),
    **JPEGS,
    **WEBPS,
    "avif": AVIF,
}


@settings(max_examples=400)
@given(
    name=st.sampled_from(sorted(ORIGINALS)),
    changes=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=6),
    cut=st.integers(0, 6000),
)
def test_mended_file_needs_no_mending(name: str, changes: list[tuple[int, int]], cut: int) -> None:
    """Whatever is wrong with a file: what comes out is as it should be, or refused, and never grows by itself."""
    data = bytearray(ORIGINALS[name][:cut])
    for position, value in changes:
        if data:
            data[position % len(data)] = value
    try:
        once = bare(bytes(data))
    except (UnreadableImage, UnsupportedFormat):
        return
    assert len(once.file) <= len(data) + 24
    twice = bare(once.file)
    assert twice.file == once.file


@pytest.mark.skipif(CONVERT is None, reason="needs ImageMagick")
@pytest.mark.parametrize(
    "make",
    [
        lambda: with_chunk(PNG, damaged(png_chunk(b"pHYs", CHUNKS[b"pHYs"]))),
        lambda: with_chunk(PNG, png_chunk(b"iCCP", b"wide\0\0no profile")),
        lambda: JPEGS["restarts"][:-2],
        lambda: JPEGS["progressive"].replace(b"\xff\xc2", b"junk\xff\xc2"),
        lambda: bmp(np.zeros(SAMPLES.shape[:2], np.uint8), states_alpha=False),
    ],
    ids=["checksum", "profile", "no end", "junk", "bmp"],
)
def test_imagemagick_reads_the_same(make: Callable[[], bytes], tmp_path: Path) -> None:
    """It is another decoder's mind on the same file, for the most part."""
    path = tmp_path / "picture"
    path.write_bytes(make())
    read = subprocess.run(
        [str(CONVERT), str(path), "-depth", "8", "ppm:-"], capture_output=True, check=False
    )
    with Image.open(BytesIO(read.stdout)) as image:
        other = np.asarray(image).astype(int)
    assert np.abs(decode(make()).samples - other).max() <= 4  # decoders of JPEG differ by as much


def test_kinds_of_chunks_that_are_kept_are_those_of_pixels() -> None:
    """Text, EXIF, times and private chunks never reach a decoder."""
    data = PNG
    for kind, content in CHUNKS.items():
        data = with_chunk(data, png_chunk(kind, content))
    kept = {kind for kind, _ in png_chunks(bare(data).file)}
    assert kept == {b"IHDR", b"IDAT", b"IEND"} | {
        *(b"pHYs", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"sBIT", b"tRNS")
    }
