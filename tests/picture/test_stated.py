"""Colours that a file states without a profile: read, and held against one another."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.colours import (
    CALIBRATED,
    EMBEDDED,
    GAMMA_18,
    ICCP,
    LINKED,
    P3_ENDS,
    P3_POINTS,
    P3_TAG,
    SAMPLES,
    SRGB_CHUNK,
    SRGB_KIND,
    SRGB_POINTS,
    WHITE,
    avif,
    bmp,
    chrm,
    cicp,
    codes,
    gama,
    linear_table,
    photo,
    png_with,
)
from support.pictures import GRAY, WIDE, encoded, noise, noise16, srgb_curve, tiff

from enlarger.picture.decode import decode
from enlarger.picture.encoding import PRIMARIES, Statement
from enlarger.picture.stated import stated
from enlarger.picture.values import Picture


def own(picture: Picture) -> Statement | None:
    """What the file said of its linear light."""
    return None if picture.own is None else picture.own.statement


LENGTHS = {b"cICP": 4, b"gAMA": 4, b"cHRM": 32, b"sRGB": 1}
"""Bytes of chunks that state colours (PNG third edition, 11.3.2)."""


@pytest.mark.parametrize(
    ("chunks", "statement"),
    [
        ([gama(55_556)], Statement(gamma=55_556)),
        ([chrm(*P3_POINTS)], Statement(chromaticities=P3_POINTS)),
        (
            [gama(45_455), chrm(*P3_POINTS)],
            Statement(gamma=45_455, chromaticities=P3_POINTS),
        ),
        ([cicp(12, 13)], Statement(code_points=(12, 13))),
        ([cicp(9, 14)], Statement(code_points=(9, 14))),
    ],
)
def test_png_states_colours_that_a_profile_can_say(
    chunks: list[dict[bytes, bytes]], statement: Statement
) -> None:
    """The samples stay, a profile says what they are, and what the file said is kept beside it, without a note."""
    picture = decode(png_with(*chunks))
    assert picture.stated == statement
    assert picture.icc is not None
    assert np.array_equal(picture.samples, SAMPLES)
    assert picture.notes == ()


@pytest.mark.parametrize("samples", [SAMPLES, noise16(6, 8, 3)])
@pytest.mark.parametrize(
    ("chunks", "statement"),
    [
        ([gama(100_000)], Statement(gamma=100_000)),
        ([gama(80_000), chrm(*P3_POINTS)], Statement(gamma=80_000, chromaticities=P3_POINTS)),
        ([cicp(1, 8)], Statement(code_points=(1, 8))),
        ([cicp(12, 8)], Statement(code_points=(12, 8))),
    ],
)
def test_linear_light_is_computed_with_the_curve_of_srgb(
    chunks: list[dict[bytes, bytes]], statement: Statement, samples: Any
) -> None:
    """Networks know nothing else; what the file said is kept for the result."""
    picture = decode(png_with(*chunks, samples=samples))
    assert picture.samples.dtype == samples.dtype
    assert picture.own is not None
    assert picture.own.statement == statement
    most = np.iinfo(samples.dtype).max
    exponent = 1 / 0.8 if statement.gamma == 80_000 else 1.0
    expected = np.rint(srgb_curve((samples / most) ** exponent) * most)
    assert np.abs(picture.samples.astype(float) - expected).max() <= 1
    is_p3 = len(chunks) > 1 or (statement.code_points or (0,))[0] == 12
    assert (picture.icc is not None) == is_p3
    assert picture.notes == ()


@pytest.mark.parametrize(
    "chunks",
    [
        [SRGB_CHUNK],
        [SRGB_CHUNK, gama(45_455), chrm(*SRGB_POINTS)],
        [gama(45_455)],
        [gama(45_000)],
        [gama(45_455), chrm(*SRGB_POINTS)],
        [chrm(31269, 32899, 63999, 33001, 30000, 60000, 15000, 5999)],
        [cicp(1, 13)],
        [cicp(1, 1)],
        [cicp(2, 2)],
    ],
)
def test_plain_srgb_has_no_profile_and_no_note(chunks: list[dict[bytes, bytes]]) -> None:
    """However it is said, samples are sRGB, with and without the wish to convert."""
    for to_srgb in (False, True):
        picture = decode(png_with(*chunks), to_srgb=to_srgb)
        assert picture.icc is None
        assert picture.notes == ()
        assert np.array_equal(picture.samples, SAMPLES)


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_of_a_png_is_stated_without_a_profile(transfer: int) -> None:
    """PQ and HLG stay as they are, and their peak is known."""
    samples = noise16(6, 8, 3)
    picture = decode(png_with(cicp(9, transfer), samples=samples))
    assert picture.stated is not None
    assert picture.stated.code_points == (9, transfer)
    assert picture.stated.is_hdr
    assert picture.stated.peak_nits > 203
    assert picture.icc is None
    assert np.array_equal(picture.samples, samples)
    assert picture.notes == ()


def test_precedence_is_that_of_png() -> None:
    """First cICP, then a profile, then sRGB, then gAMA and cHRM (PNG third edition, 4.3)."""
    all_of_them = [cicp(12, 13), {b"iCCP": ICCP}, SRGB_CHUNK, gama(100_000), chrm(*P3_POINTS)]
    picture = decode(png_with(*all_of_them))
    assert picture.stated == Statement(code_points=(12, 13))
    assert picture.icc not in (None, WIDE)
    assert codes(picture) == ["icc_dropped"]
    picture = decode(png_with(*all_of_them[1:]))
    assert (picture.icc, picture.stated, picture.notes) == (WIDE, None, ())
    picture = decode(png_with(*all_of_them[2:]))
    assert (picture.icc, picture.stated) == (None, Statement(rendering_intent=0))
    picture = decode(png_with(*all_of_them[3:]))
    assert own(picture) == Statement(gamma=100_000, chromaticities=P3_POINTS)


def test_profile_that_cannot_be_used_leaves_the_next_statement() -> None:
    """A damaged profile costs a note, and gAMA holds."""
    broken = b"name\0\0" + zlib.compress(b"no profile" * 20)
    picture = decode(png_with({b"iCCP": broken}, gama(100_000)))
    assert codes(picture) == ["icc_dropped"]
    assert own(picture) == Statement(gamma=100_000)


HOSTILE = [
    [gama(0)],
    [gama(1)],
    [gama(2**32 - 1)],
    [chrm(*[0] * 8)],
    [chrm(*[2**32 - 1] * 8)],
    [chrm(31270, 0, *P3_POINTS[2:])],
    [chrm(31270, 32900, 64000, 33000, 64000, 33000, 64000, 33000)],
    [chrm(90000, 5000, *P3_POINTS[2:])],
    [cicp(0, 13)],
    [cicp(3, 13)],
    [cicp(255, 255)],
    [cicp(12, 0)],
    [cicp(12, 9)],
    [cicp(12, 13, matrix=9)],
    [cicp(12, 13, full=7)],
    [{b"cICP": b"\x0c"}],
    [{b"cICP": bytes(400)}],
    [{b"gAMA": b""}],
    [{b"cHRM": bytes(31)}],
]


@pytest.mark.parametrize("chunks", HOSTILE)
@pytest.mark.parametrize("to_srgb", [False, True])
def test_statement_that_cannot_be_used_costs_a_note(
    chunks: list[dict[bytes, bytes]], *, to_srgb: bool
) -> None:
    """And never the picture, which is taken for sRGB."""
    picture = decode(png_with(*chunks), to_srgb=to_srgb)
    # What has too few bytes is damage, and the chunk is left out for it.
    is_short = any(len(value) < LENGTHS[name] for one in chunks for name, value in one.items())
    assert codes(picture) == ["damage_ignored" if is_short else "color_statement_dropped"]
    assert picture.icc is None
    assert np.array_equal(picture.samples, SAMPLES)


def test_reserved_code_points_leave_the_next_statement() -> None:
    """A cICP that cannot be used does not hide gAMA, and cHRM that is none does not, either."""
    picture = decode(png_with(cicp(77, 13), gama(100_000)))
    assert own(picture) == Statement(gamma=100_000)
    picture = decode(png_with(chrm(*[0] * 8), gama(100_000)))
    assert own(picture) == Statement(gamma=100_000)
    assert codes(picture) == ["color_statement_dropped"]


@given(
    st.dictionaries(
        st.sampled_from([b"cICP", b"gAMA", b"cHRM", b"sRGB", b"mDCV", b"cLLI"]),
        st.binary(max_size=40),
        max_size=4,
    )
)
def test_any_chunks_leave_the_picture(chunks: dict[bytes, bytes]) -> None:
    """Whatever bytes they hold, nothing is raised but by decoders of pixels, which are not asked here."""
    found = stated(png_with(chunks), "png", exif_block=None)
    assert all(note.code == "color_statement_dropped" for note in found.notes)


def test_chunk_behind_the_pixels_or_damaged_says_nothing() -> None:
    """Its place is before them (PNG third edition, 5.6), and its checksum has to be right."""
    data = png_with()
    late = struct.pack(">I", 4) + b"gAMA" + struct.pack(">I", 100_000)
    late += struct.pack(">I", zlib.crc32(late[4:]))
    end = data.rindex(b"IEND") - 4
    assert own(decode(data[:end] + late + data[end:])) is None
    damaged = bytearray(png_with(gama(100_000)))
    damaged[damaged.index(b"gAMA") + 8] ^= 1
    assert stated(bytes(damaged), "png", exif_block=None).second is None


def test_first_of_two_chunks_holds() -> None:
    """A second one is a fault of the file."""
    data = png_with(gama(100_000))
    second = struct.pack(">I", 4) + b"gAMA" + struct.pack(">I", 50_000)
    second += struct.pack(">I", zlib.crc32(second[4:]))
    at = data.index(b"IDAT") - 4
    assert own(decode(data[:at] + second + data[at:])) == Statement(gamma=100_000)


def test_narrow_range_becomes_full() -> None:
    """16 is black and 235 white (BT.2100, table 9); what lies outside is cut off, with a note."""
    samples = np.array([[[16] * 3, [235] * 3, [126] * 3, [0] * 3, [255] * 3]], np.uint8)
    picture = decode(png_with(cicp(1, 13, full=0), samples=samples))
    assert picture.samples[0, :, 0].tolist() == [0, 255, 128, 0, 255]
    assert codes(picture) == ["colorspace_converted"]
    deep = decode(png_with(cicp(1, 13, full=0), samples=samples.astype(np.uint16) * 256))
    assert deep.samples[0, :2, 0].tolist() == [0, 65535]


def test_hdr_metadata_of_a_png_is_kept() -> None:
    """The mastering display and the light levels stay true of an enlarged picture."""
    mastering = (35400, 14600, 8500, 39850, 6550, 2300, 15635, 16450, 10_000_000, 50)
    chunks = {b"mDCV": struct.pack(">8H2I", *mastering), b"cLLI": struct.pack(">2I", 9, 5)}
    picture = decode(png_with(cicp(9, 16), chunks, samples=noise16(6, 8, 3)))
    assert picture.stated is not None
    assert picture.stated.mastering_display == mastering
    assert picture.stated.light_levels == (9, 5)


def test_gray_has_a_profile_for_gray() -> None:
    """Primaries say nothing of it."""
    gray = noise(6, 8, 1)
    picture = decode(png_with(gama(55_556), chrm(*P3_POINTS), samples=gray, colour=GRAY))
    assert picture.icc is not None
    assert picture.icc[16:20] == b"GRAY"
    assert decode(png_with(cicp(12, 13), samples=gray, colour=GRAY)).icc is None


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("points", [(12, 13), (9, 16), (9, 18), (9, 14), (11, 17)])
def test_avif_states_colours(points: tuple[int, int], frames: int) -> None:
    """By nclx, of a still and of an animation."""
    more: dict[str, Any] = {}
    if frames > 1:
        later = [Image.fromarray(noise(16, 16, 3, seed=seed)) for seed in range(1, frames)]
        more = {"save_all": True, "append_images": later, "duration": 100}
    picture = decode(avif(*points, **more), frames=frames)
    assert len(picture.frames) == frames
    assert picture.stated is not None
    assert picture.stated.code_points == points
    assert (picture.icc is None) == (points[1] in (16, 18))
    assert picture.notes == ()


@pytest.mark.parametrize("points", [(1, 13), (1, 1), (2, 2), (1, 6)])
def test_avif_of_srgb_states_nothing_else(points: tuple[int, int]) -> None:
    """BT.709, as video has it, is shown as sRGB is."""
    picture = decode(avif(*points))
    assert (picture.icc, picture.stated, picture.notes) == (None, None, ())


def test_profile_of_an_avif_holds_before_its_nclx() -> None:
    """As libavif has it: with a profile, code points are for the conversion from YUV alone."""
    data = encoded(Image.fromarray(noise(16, 16, 3)), "AVIF", icc_profile=WIDE)
    at = data.index(b"nclx") + 4
    picture = decode(data[:at] + struct.pack(">2H", 9, 16) + data[at + 4 :])
    assert (picture.icc, picture.stated) == (WIDE, None)


@pytest.mark.parametrize("points", [(0, 13), (3, 13), (12, 0), (12, 400), (65535, 65535)])
def test_reserved_code_points_of_an_avif_cost_a_note(points: tuple[int, int]) -> None:
    """And never the picture."""
    picture = decode(avif(*points))
    assert picture.stated is None
    assert codes(picture) == ["color_statement_dropped"]


@given(st.data())
def test_damaged_boxes_raise_nothing(data: st.DataObject) -> None:
    """Whatever the boxes say of colours and places."""
    damaged = bytearray(AVIF)
    for at in data.draw(st.lists(st.integers(8, 300), max_size=8)):
        damaged[at] = data.draw(st.integers(0, 255))
    stated(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]), "avif", exif_block=None)


AVIF = avif(12, 13)


def test_profile_inside_a_gif_is_found() -> None:
    """The extension ICCRGBG1012, in blocks of up to 255 bytes."""
    plain = encoded(Image.fromarray(SAMPLES), "GIF")
    blocks = [WIDE[at : at + 255] for at in range(0, len(WIDE), 255)]
    extension = b"\x21\xff\x0bICCRGBG1012"
    extension += b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"
    at = 13 + 3 * 2 ** ((plain[10] & 7) + 1)
    picture = decode(plain[:at] + extension + plain[at:])
    assert picture.icc == WIDE
    assert picture.notes == ()


def test_profile_inside_a_bmp_is_found() -> None:
    """PROFILE_EMBEDDED of BITMAPV5HEADER."""
    picture = decode(bmp(EMBEDDED, profile=WIDE))
    assert (picture.icc, picture.stated, picture.notes) == (WIDE, None, ())
    assert np.array_equal(picture.samples, SAMPLES)


@pytest.mark.parametrize("size", [108, 124])
@pytest.mark.parametrize("gammas", [GAMMA_18, (round(65536 / 1.8),) * 3])
def test_calibration_of_a_bmp_is_read(size: int, gammas: tuple[int, ...]) -> None:
    """End points and exponents, which some writers state as the inverse."""
    picture = decode(bmp(CALIBRATED, ends=P3_ENDS, gammas=gammas, size=size))
    assert picture.stated == Statement()
    shown = decode(bmp(CALIBRATED, ends=P3_ENDS, gammas=gammas, size=size), to_srgb=True)
    by_chunks = decode(png_with(gama(55_556), chrm(*P3_POINTS)), to_srgb=True)
    assert np.abs(shown.samples.astype(int) - by_chunks.samples).max() <= 1


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (bmp(CALIBRATED), []),
        (bmp(CALIBRATED, size=108), []),
        (bmp(SRGB_KIND), []),
        (bmp(SRGB_KIND, ends=P3_ENDS, gammas=GAMMA_18), []),
        (bmp(LINKED, profile=b"c:\\profile.icm\0"), ["color_statement_dropped"]),
        (bmp(EMBEDDED), ["color_statement_dropped"]),
        (bmp(EMBEDDED, profile=b"no profile" * 20), ["icc_dropped"]),
        (bmp(CALIBRATED, ends=(1,) * 9, gammas=(0, 0, 1)), ["color_statement_dropped"]),
        (bmp(CALIBRATED, ends=(-(2**31),) * 9, gammas=GAMMA_18), ["color_statement_dropped"]),
        (bmp(CALIBRATED, ends=(2**29,) * 9, gammas=GAMMA_18), ["color_statement_dropped"]),
    ],
)
def test_other_bmps_are_srgb(data: bytes, expected: list[str]) -> None:
    """With a note where they say what cannot be used."""
    picture = decode(data, to_srgb=True)
    assert codes(picture) == expected
    assert np.array_equal(picture.samples, SAMPLES)


@pytest.mark.parametrize("samples", [SAMPLES, noise16(6, 8, 3)])
def test_tags_of_a_tiff_state_colours(samples: Any) -> None:
    """WhitePoint and PrimaryChromaticities with sRGB's curve, or with that of TransferFunction."""
    bits = samples.itemsize * 8
    data = tiff(samples, "rgb", extratags=[WHITE, P3_TAG])
    picture = decode(data)
    assert picture.stated == Statement()
    assert np.array_equal(picture.samples, samples)
    by_chunks = decode(png_with(cicp(12, 13), samples=samples), to_srgb=True)
    shown = decode(data, to_srgb=True)
    assert np.abs(shown.samples.astype(int) - by_chunks.samples).max() <= samples.itemsize * 4
    linear = decode(png_with(gama(100_000), samples=samples), to_srgb=True)
    for channels in (1, 3):
        shown = decode(tiff(samples, "rgb", extratags=[linear_table(bits, channels)]), to_srgb=True)
        assert np.abs(shown.samples.astype(int) - linear.samples).max() <= 257 ** (bits // 16)


def test_gray_tiff_has_a_curve_in_its_own_direction() -> None:
    """Where white is zero, the table begins with white, too."""
    gray = noise(6, 8, 1)
    linear = decode(png_with(gama(100_000), samples=gray, colour=GRAY), to_srgb=True).samples
    tag, type_, count, table, once = linear_table(8)
    black_is_zero = tiff(gray, "minisblack", extratags=[(tag, type_, count, table, once)])
    white_is_zero = tiff(
        255 - gray, "miniswhite", extratags=[(tag, type_, count, table[::-1], once)]
    )
    for data in (black_is_zero, white_is_zero):
        assert np.abs(decode(data, to_srgb=True).samples.astype(int) - linear).max() <= 1


@pytest.mark.parametrize(
    "tags",
    [
        [(318, "2I", 2, (3127, 0, 3290, 10000), True)],
        [(319, "2I", 6, (0, 1) * 6, True)],
        [(301, "H", 256, [0] * 256, True)],
        [(301, "H", 7, [1, 2, 3, 4, 5, 6, 7], True)],
    ],
)
def test_tags_that_cannot_be_used_leave_srgb(tags: list[Any]) -> None:
    """And never cost the picture."""
    picture = decode(tiff(SAMPLES, "rgb", extratags=tags), to_srgb=True)
    assert np.array_equal(picture.samples, SAMPLES)


def test_tiff_of_srgb_has_no_profile() -> None:
    """ImageMagick states the primaries of sRGB in each TIFF."""
    srgb = (319, "2I", 6, tuple(v for n in SRGB_POINTS[2:] for v in (n, 100_000)), True)
    picture = decode(tiff(SAMPLES, "rgb", extratags=[WHITE, srgb]))
    assert (picture.icc, picture.notes) == (None, ())


@pytest.mark.parametrize(
    ("colour_space", "index", "is_adobe"),
    [
        (65535, "R03", True),
        (2, None, True),
        (1, "R98", False),
        (65535, None, False),
        (65535, "R98", False),
        (1, "R03", False),
    ],
)
def test_camera_states_adobe_rgb(colour_space: int, index: str | None, *, is_adobe: bool) -> None:
    """By R03 (DCF 2.0), or a ColorSpace of 2; what a program says of sRGB afterwards holds before an old R03."""
    picture = decode(photo(colour_space, index))
    assert (picture.icc is not None) == is_adobe
    assert picture.stated == (Statement() if is_adobe else None)
    if is_adobe:
        with_profile = decode(photo(colour_space, index, icc_profile=WIDE), to_srgb=True)
        shown = decode(photo(colour_space, index), to_srgb=True)
        assert np.abs(shown.samples.astype(int) - with_profile.samples).max() <= 1


def test_exif_of_other_formats_states_no_colours() -> None:
    """A PNG or WebP that says nothing is sRGB by its standard."""
    for kind in ("PNG", "WEBP"):
        assert decode(photo(65535, "R03", kind, lossless=True)).stated is None


def test_primaries_are_those_of_the_standards() -> None:
    """A sample of H.273, table 2."""
    assert PRIMARIES[9][1].red == (0.708, 0.292)
    assert PRIMARIES[12][1].green == (0.265, 0.690)
    assert PRIMARIES[11][1].white == (0.314, 0.351)
