"""From a file's bytes to samples: every kind of file that we read, and those that are broken."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pictures import (
    GRAY,
    GRAY_ALPHA,
    PALETTE,
    RGB,
    RGB_ALPHA,
    encoded,
    icc_profile,
    noise,
    oriented,
    png,
    with_checksums,
)
from PIL import Image

from enlarger.errors import UnreadableImage, UnsupportedFormat
from enlarger.picture import Picture
from enlarger.picture.decode import decode, probe
from enlarger.picture.workers import Decoders
from enlarger.wire import Pixels

COLOURS = np.array([[1, 2, 3], [200, 100, 50], [255, 255, 255], [0, 0, 0]], np.uint8)
"""A palette of four."""

INDICES = np.array([[0, 1, 2], [3, 2, 1]], np.uint8)

# What the file says upright, from what it stores (EXIF 2.32, 4.6.4 A): the value names the side of the
# scene where the first row and the first column lie.
UPRIGHT = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: np.rot90(stored, 1),
}


WHOLE = {
    "png": encoded(noise(40, 30, 3)),
    "palette": encoded(Image.fromarray(noise(40, 30, 3)).quantize(16)),
    "jpeg": encoded(noise(40, 30, 3), "JPEG"),
    "progressive": encoded(noise(40, 30, 3), "JPEG", progressive=True),
    "webp": encoded(noise(40, 30, 3), "WEBP"),
    "bmp": encoded(noise(40, 30, 3), "BMP"),
}
"""Files that the tests of broken files start from."""


EXACTLY: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "PNG": {},
    "WEBP": {"lossless": True},
    "BMP": {},
}
"""How to write each format with as little loss as it can."""


def codes(picture: Picture) -> list[str]:
    """The notes' codes."""
    return [note.code for note in picture.notes]


def blocks() -> Pixels:
    """Six areas of 16 x 16 in six colours, which survive JPEG: 32 x 48, RGB."""
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 0, 0], [255] * 3])
    return colours.reshape(2, 3, 3).repeat(16, axis=0).repeat(16, axis=1).astype(np.uint8)


def difference(one: Pixels, other: Pixels) -> int:
    """The largest, in code values."""
    assert one.shape == other.shape
    return int(np.abs(one.astype(int) - other.astype(int)).max())


@pytest.mark.parametrize("channels", [1, 2, 3, 4], ids=["gray", "gray-alpha", "rgb", "rgba"])
def test_png_layouts_are_kept(channels: int) -> None:
    """Gray stays gray, alpha stays, and no sample changes."""
    samples = noise(5, 7, channels)
    picture = decode(encoded(samples))
    assert np.array_equal(picture.samples, samples)
    assert picture.samples.dtype == np.uint8
    assert picture.depth_bits == 8
    assert picture.notes == ()


@pytest.mark.parametrize("kind", ["BMP", "WEBP"])
def test_other_lossless_formats_are_read(kind: str) -> None:
    """BMP and WebP give the samples that went in."""
    samples = noise(6, 5, 3)
    data = encoded(samples, kind, **EXACTLY[kind])
    assert np.array_equal(decode(data).samples, samples)
    assert probe(data).format == kind.lower()


def test_webp_keeps_its_alpha() -> None:
    """Colour and transparency of a WebP."""
    samples = noise(6, 5, 4)
    data = encoded(samples, "WEBP", lossless=True, exact=True)
    assert np.array_equal(decode(data).samples, samples)


def test_jpeg_is_read_in_rgb_order() -> None:
    """Red, green and blue areas of a JPEG come out as such."""
    picture = decode(encoded(blocks(), "JPEG", **EXACTLY["JPEG"]))
    assert difference(picture.samples, blocks()) <= 3


def test_gray_jpeg_stays_gray() -> None:
    """A JPEG of one component has one channel."""
    samples = np.full((9, 8, 1), 77, np.uint8)
    assert np.array_equal(decode(encoded(samples, "JPEG")).samples, samples)


def test_one_bit_becomes_gray() -> None:
    """Black is 0 and white is 255."""
    bits = noise(3, 11, 1) & 1
    picture = decode(png(bits, colour=GRAY, depth_bits=1))
    assert np.array_equal(picture.samples, bits * 255)


@pytest.mark.parametrize("depth_bits", [2, 4])
def test_few_bits_of_gray_span_the_whole_range(depth_bits: int) -> None:
    """The largest value of the file is white."""
    most = 2**depth_bits - 1
    values = noise(3, 9, 1) & most
    picture = decode(png(values, colour=GRAY, depth_bits=depth_bits))
    assert np.array_equal(picture.samples, values * (255 // most))


@pytest.mark.parametrize("depth_bits", [2, 4, 8])
def test_palette_becomes_rgb(depth_bits: int) -> None:
    """Each index is its colour."""
    data = png(
        INDICES[:, :, np.newaxis],
        colour=PALETTE,
        depth_bits=depth_bits,
        chunks={b"PLTE": COLOURS.tobytes()},
    )
    assert np.array_equal(decode(data).samples, COLOURS[INDICES])


@pytest.mark.parametrize("alphas", [[0], [0, 128], [255, 254, 1, 0]])
def test_palette_with_transparency_becomes_rgba(alphas: list[int]) -> None:
    """Each index has its alpha; those that the file does not name are opaque. Colours stay, even unseen."""
    data = png(
        INDICES[:, :, np.newaxis],
        colour=PALETTE,
        depth_bits=8,
        chunks={b"PLTE": COLOURS.tobytes(), b"tRNS": bytes(alphas)},
    )
    alpha = np.array(alphas + [255] * (4 - len(alphas)), np.uint8)
    expected = np.dstack([COLOURS[INDICES], alpha[INDICES]])
    assert np.array_equal(decode(data).samples, expected)


def test_transparent_colour_of_an_rgb_png_becomes_alpha() -> None:
    """Pixels of the colour that ``tRNS`` names are clear, all others opaque."""
    samples = COLOURS[INDICES]
    data = png(samples, colour=RGB, depth_bits=8, chunks={b"tRNS": bytes([0, 200, 0, 100, 0, 50])})
    alpha = np.where(INDICES == 1, 0, 255).astype(np.uint8)
    assert np.array_equal(decode(data).samples, np.dstack([samples, alpha]))


@pytest.mark.parametrize("depth_bits", [1, 2, 4, 8, 16])
def test_transparent_value_of_a_gray_png_becomes_alpha(depth_bits: int) -> None:
    """Pixels of the value that ``tRNS`` names are clear, whatever the file's depth; gray stays gray."""
    most = 2**depth_bits - 1
    values = np.array([[0, most, 0], [most, most, 0]], np.uint16)[:, :, np.newaxis]
    data = png(
        values,
        colour=GRAY,
        depth_bits=depth_bits,
        chunks={b"tRNS": most.to_bytes(2, "big")},
    )
    clear = values == most
    expected = np.dstack([np.where(clear, 255, 0), np.where(clear, 0, 255)]).astype(np.uint8)
    assert np.array_equal(decode(data).samples, expected)


def test_cmyk_jpeg_becomes_rgb_with_a_note() -> None:
    """Inks are subtracted from white, and the caller is told."""
    data = encoded(Image.new("CMYK", (8, 8), (200, 20, 0, 50)), "JPEG", quality=95)
    picture = decode(data)
    expected = [(255 - ink) * (255 - 50) / 255 for ink in (200, 20, 0)]
    assert np.abs(picture.samples.astype(float) - expected).max() <= 4
    assert codes(picture) == ["colorspace_converted"]


@pytest.mark.parametrize(
    ("colour", "channels"), [(GRAY, 1), (GRAY_ALPHA, 2), (RGB, 3), (RGB_ALPHA, 4)]
)
def test_16_bit_png_is_reduced_to_8_with_a_note(colour: int, channels: int) -> None:
    """White stays white, black black, and what lies between is within one code value; the layout stays."""
    values = np.array([0, 65535, 257, 128 * 257, 0x1234, 0xFEDC, 0x80FF, 0x7F80], np.uint16)
    samples = values.reshape(2, 4, 1).repeat(channels, axis=2)
    picture = decode(png(samples, colour=colour, depth_bits=16))
    assert difference(picture.samples, np.rint(samples / 257)) <= 1
    assert picture.samples[0, 0, 0] == 0
    assert picture.samples[0, 1, 0] == 255
    assert picture.samples.dtype == np.uint8
    assert picture.depth_bits == 16
    assert codes(picture) == ["depth_reduced"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation: int, kind: str) -> None:
    """The picture stands upright, ``probe`` states its size as seen, and the caller is told."""
    data = oriented(blocks(), orientation, kind, **EXACTLY[kind])
    picture = decode(data)
    expected = UPRIGHT[orientation](blocks())
    assert difference(picture.samples, expected) <= 3
    header = probe(data)
    assert (header.height_px, header.width_px) == expected.shape[:2]
    turned = ["orientation_applied"] if orientation > 1 else []
    assert codes(picture) == [*turned, "exif_dropped"]


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_orientation_that_means_nothing_is_ignored(orientation: int) -> None:
    """The picture stays as stored."""
    samples = noise(4, 6, 3)
    picture = decode(oriented(samples, orientation, "PNG"))
    assert np.array_equal(picture.samples, samples)
    assert "orientation_applied" not in codes(picture)


@pytest.mark.parametrize(
    ("channels", "space"), [(1, b"GRAY"), (2, b"GRAY"), (3, b"RGB "), (4, b"RGB ")]
)
def test_fitting_colour_profile_is_kept(channels: int, space: bytes) -> None:
    """The profile of the samples' own colour space goes with them, byte for byte."""
    profile = icc_profile(space)
    picture = decode(encoded(noise(4, 4, channels), icc_profile=profile))
    assert picture.icc == profile
    assert picture.notes == ()


@pytest.mark.parametrize(
    ("image", "kind", "space"),
    [
        (Image.new("CMYK", (8, 8)), "JPEG", b"CMYK"),
        (Image.new("L", (8, 8)), "PNG", b"RGB "),
        (Image.new("RGB", (8, 8)), "PNG", b"GRAY"),
    ],
    ids=["cmyk", "gray-with-rgb", "rgb-with-gray"],
)
def test_profile_of_another_colour_space_is_dropped_with_a_note(
    image: Image.Image, kind: str, space: bytes
) -> None:
    """A profile that does not fit the samples would make any viewer show them wrongly."""
    picture = decode(encoded(image, kind, icc_profile=icc_profile(space)))
    assert picture.icc is None
    assert "icc_dropped" in codes(picture)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_first_frame_of_an_animation_is_taken_with_a_note(kind: str) -> None:
    """The rest of an animation is left out, and the caller is told how much."""
    first, *others = (Image.new("RGB", (6, 4), colour) for colour in ("red", "lime", "blue"))
    data = encoded(first, kind, save_all=True, append_images=others, **EXACTLY[kind])
    picture = decode(data)
    assert np.array_equal(picture.samples[:, :, :3], np.asarray(first))
    assert codes(picture) == ["first_frame_only"]
    assert "3" in picture.notes[0].detail
    assert probe(data).frames == 3


@pytest.mark.parametrize(
    ("data", "format_", "mode", "depth_bits"),
    [
        (encoded(noise(3, 5, 3)), "png", "RGB", 8),
        (encoded(noise(3, 5, 3), "JPEG"), "jpeg", "RGB", 8),
        (encoded(Image.new("CMYK", (5, 3)), "JPEG"), "jpeg", "CMYK", 8),
        (encoded(noise(3, 5, 3), "MPO", save_all=True, append_images=[Image.new("L", (5, 3))]), "jpeg", "RGB", 8),
        (encoded(noise(3, 5, 3), "BMP"), "bmp", "RGB", 8),
        (encoded(noise(3, 5, 4), "WEBP"), "webp", "RGBA", 8),
        (png(noise(3, 5, 1), colour=GRAY, depth_bits=16), "png", "I;16", 16),
        (png(noise(3, 5, 3), colour=RGB, depth_bits=16), "png", "RGB", 16),
    ],
)  # fmt: skip
def test_probe_states_what_the_header_says(
    data: bytes, format_: str, mode: str, depth_bits: int
) -> None:
    """Format by content, size, sample layout and depth."""
    header = probe(data)
    assert (header.format, header.mode, header.depth_bits) == (format_, mode, depth_bits)
    assert (header.width_px, header.height_px) == (5, 3)


@pytest.mark.parametrize("kind", ["png", "palette", "jpeg", "progressive", "bmp"])
def test_probe_needs_the_header_alone(kind: str) -> None:
    """Size is known, and can be held against the limits, without a look at the pixels: here they are missing."""
    header = probe(WHOLE[kind][: len(WHOLE[kind]) // 2])
    assert (header.width_px, header.height_px) == (30, 40)


@pytest.mark.parametrize("orientation", [1, 6])
def test_exif_behind_the_pixels_counts_for_both_or_for_neither(orientation: int) -> None:
    """``probe`` and ``decode`` agree on the size of a PNG whose EXIF chunk comes last."""
    data = oriented(noise(4, 6, 3), orientation, "PNG")
    at = data.index(b"eXIf") - 4
    length = 12 + int.from_bytes(data[at : at + 4], "big")
    end = len(data) - 12  # of the chunks before IEND
    late = data[:at] + data[at + length : end] + data[at : at + length] + data[end:]
    header, picture = probe(late), decode(late)
    assert (header.width_px, header.height_px) == (picture.width_px, picture.height_px)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"<html><body>404 Not Found</body></html>",
        b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n",
        encoded(noise(4, 4, 3), "TIFF"),
        encoded(noise(4, 4, 3), "PPM"),
        encoded(noise(16, 16, 4), "ICO"),
    ],
    ids=["empty", "byte", "html", "gif", "eps", "tiff", "ppm", "ico"],
)
def test_what_is_none_of_our_formats_is_refused(data: bytes) -> None:
    """Text, nothing, and formats that Pillow would read but we do not."""
    for read in (probe, decode):
        with pytest.raises(UnsupportedFormat, match="png, jpeg, webp, bmp"):
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
