"""From a file's bytes to samples: every kind of file that we read, and those that are broken."""

from __future__ import annotations

import asyncio
import itertools
import resource
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import imagecodecs
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
    UPRIGHT,
    WIDE,
    encoded,
    icc_profile,
    noise,
    noise16,
    oriented,
    png,
    png_chunk,
    tiff,
    visible,
    with_checksums,
)
from PIL import Image, PngImagePlugin

from enlarger.errors import UnreadableImage, UnsupportedFormat
from enlarger.geometry.rect import Pixels
from enlarger.picture.chunks import png_chunks
from enlarger.picture.decode import decode, probe
from enlarger.picture.sandbox.pool import Decoders
from enlarger.picture.values import Picture

COLOURS = np.array([[1, 2, 3], [200, 100, 50], [255, 255, 255], [0, 0, 0]], np.uint8)
"""A palette of four."""

INDICES = np.array([[0, 1, 2], [3, 2, 1]], np.uint8)


WHOLE = {
    "png": encoded(noise(40, 30, 3)),
    "palette": encoded(Image.fromarray(noise(40, 30, 3)).quantize(16)),
    "jpeg": encoded(noise(40, 30, 3), "JPEG"),
    "progressive": encoded(noise(40, 30, 3), "JPEG", progressive=True),
    "webp": encoded(noise(40, 30, 3), "WEBP"),
    "bmp": encoded(noise(40, 30, 3), "BMP"),
    "gif": encoded(Image.fromarray(noise(40, 30, 3)).quantize(16), "GIF"),
    "avif": encoded(noise(40, 30, 3), "AVIF"),
    "tiff": encoded(noise(40, 30, 3), "TIFF"),
    "deflated tiff": encoded(noise(40, 30, 3), "TIFF", compression="tiff_adobe_deflate"),
    "16-bit png": png(noise16(40, 30, 3), colour=RGB, depth_bits=16),
    "16-bit tiff": tiff(noise16(40, 30, 3), "rgb"),
    "deflated 16-bit tiff": tiff(noise16(40, 30, 3), "rgb", compression="adobe_deflate"),
}
"""Files that the tests of broken files start from."""


EXACTLY: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "PNG": {},
    "WEBP": {"lossless": True},
    "BMP": {},
    "TIFF": {},
    "GIF": {},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
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


@pytest.mark.parametrize("kind", ["BMP", "WEBP", "TIFF"])
def test_other_lossless_formats_are_read(kind: str) -> None:
    """BMP, WebP and TIFF give the samples that went in."""
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
    clear, white = values == most, 65535 if depth_bits == 16 else 255
    expected = np.dstack([np.where(clear, white, 0), np.where(clear, 0, white)])
    assert np.array_equal(decode(data).samples, expected)


@pytest.mark.parametrize(("colour", "channels"), [(GRAY, 1), (RGB, 3)])
def test_transparent_value_of_16_bits_is_matched_whole(colour: int, channels: int) -> None:
    """A value that differs in its low byte alone is opaque."""
    values = np.array([[0x1234, 0x1235], [0x1334, 0x1234]], np.uint16)
    samples = values[:, :, np.newaxis].repeat(channels, axis=2)
    clear = {b"tRNS": b"\x12\x34" * channels}
    picture = decode(png(samples, colour=colour, depth_bits=16, chunks=clear))
    alpha = np.where(values == 0x1234, 0, 65535)
    assert picture.samples.dtype == np.uint16
    assert np.array_equal(picture.samples, np.dstack([samples, alpha]))


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
def test_16_bit_png_is_exact(colour: int, channels: int) -> None:
    """Every value, and the layout."""
    samples = noise16(5, 7, channels)
    picture = decode(png(samples, colour=colour, depth_bits=16))
    assert picture.samples.dtype == np.uint16
    assert np.array_equal(picture.samples, samples)
    assert picture.depth_bits == 16
    assert picture.notes == ()


def test_depth_is_that_of_the_file() -> None:
    """16 bits that hold no more than 8 would are 16 bits all the same."""
    samples = noise(5, 7, 3).astype(np.uint16) * 257
    assert decode(png(samples, colour=RGB, depth_bits=16)).samples.dtype == np.uint16
    assert decode(encoded(noise(5, 7, 3))).samples.dtype == np.uint8


@pytest.mark.parametrize("depth_bits", [10, 12])
def test_deep_avif_is_reduced_with_a_note(depth_bits: int) -> None:
    """The decoder gives 8 bits, and the header tells what there was."""
    samples = np.full((16, 16, 3), 2 ** (depth_bits - 1), np.uint16)
    data = bytes(imagecodecs.avif_encode(samples, level=90, bitspersample=depth_bits))
    picture = decode(data)
    assert picture.samples.dtype == np.uint8
    assert np.abs(picture.samples.astype(int) - 128).max() <= 1
    assert probe(data).depth_bits == picture.depth_bits == depth_bits
    assert codes(picture) == ["depth_reduced"]


@pytest.mark.parametrize("kind", ["float32", "uint32", "int16", "int8"])
def test_tiff_of_other_numbers_is_refused(kind: str) -> None:
    """Their black and white are anybody's guess; the text says what to do."""
    data = tiff(np.zeros((4, 5, 1), kind), "minisblack")
    for read in (probe, decode):
        with pytest.raises(UnsupportedFormat, match="convert it to 8 or 16 bits"):
            read(data)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("planar", [False, True], ids=["contiguous", "planar"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_is_exact(dtype: type, planar: bool, order: str) -> None:
    """In either byte order, with channels beside one another or one after another."""
    samples: Pixels = noise16(20, 9, 3).astype(dtype)
    data = tiff(samples, "rgb", planar=planar, byteorder=order)
    picture = decode(data)
    assert picture.samples.dtype == dtype
    assert np.array_equal(picture.samples, samples)
    assert picture.notes == ()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_where_white_is_zero_is_inverted(dtype: type) -> None:
    """As fax machines and some scanners write it."""
    samples: Pixels = noise16(6, 5, 1).astype(dtype)
    most = np.iinfo(dtype).max
    assert np.array_equal(decode(tiff(samples, "miniswhite")).samples, most - samples)


@pytest.mark.parametrize("compression", ["lzw", "deflate", "adobe_deflate", "packbits", "zstd"])
def test_compressed_tiff_of_16_bits_is_exact(compression: str) -> None:
    """Whatever without loss programs write."""
    samples = noise16(12, 9, 3)
    assert np.array_equal(decode(tiff(samples, "rgb", compression=compression)).samples, samples)


@pytest.mark.parametrize("compression", [7, 34712, 34887, 48124, 50002, 65535])
def test_tiff_does_not_choose_among_all_codecs(compression: int) -> None:
    """JPEG, JPEG 2000, LERC, JetRAW, JPEG XL, and one that nobody knows: refused from the header."""
    data = bytearray(tiff(noise16(4, 4, 3), "rgb"))
    entry = data.index(struct.pack("<HHI", 259, 3, 1))
    data[entry + 8 : entry + 10] = struct.pack("<H", compression)
    for read in (probe, decode):
        with pytest.raises(UnsupportedFormat, match="compression"):
            read(bytes(data))


def test_premultiplied_alpha_of_a_tiff_is_divided_out() -> None:
    """Colours come back as they were before, within what the multiplication left of them."""
    colour = np.full((1, 3, 3), 40000, np.uint16)
    alpha = np.array([[65535, 32768, 0]], np.uint16)[:, :, np.newaxis]
    stored = np.dstack([(colour.astype(np.uint64) * alpha // 65535).astype(np.uint16), alpha])
    found = decode(tiff(stored, "rgb", extrasamples=["assocalpha"])).samples
    assert np.array_equal(found[:, :, 3:], alpha)
    assert np.abs(found[0, :2, :3].astype(int) - 40000).max() <= 1
    assert found[0, 2, :3].tolist() == [0, 0, 0]


def test_later_pages_of_a_tiff_are_left_out_with_a_note() -> None:
    """As the frames of an animation."""
    pages = [Image.fromarray(noise(4, 5, 3, seed=seed)) for seed in (0, 1)]
    data = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    picture = decode(data)
    assert np.array_equal(picture.samples, noise(4, 5, 3))
    assert codes(picture) == ["first_frame_only"]
    assert probe(data).frames == 2


@pytest.mark.parametrize("resolution", [(300, 300), (72, 144.5)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF"])
def test_resolution_is_read(kind: str, resolution: tuple[float, float]) -> None:
    """Pixels per inch across and down, as exactly as the format states them."""
    found = decode(encoded(noise(4, 5, 3), kind, dpi=resolution)).dpi
    assert found == pytest.approx(resolution, abs=0.51 if kind == "JPEG" else 0.02)


def test_resolution_that_no_file_states_is_none() -> None:
    """Not the 72 that Pillow assumes for a JPEG with EXIF."""
    assert decode(oriented(noise(8, 8, 3), 1, "JPEG")).dpi is None
    assert decode(encoded(noise(8, 8, 3))).dpi is None


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF"])
def test_xmp_is_kept_as_it_stands(kind: str) -> None:
    """Byte for byte, in every format that holds it."""
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
    options: dict[str, Any] = {"xmp": xmp}
    if kind == "PNG":
        options = {"pnginfo": PngImagePlugin.PngInfo()}
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode())
    assert decode(encoded(noise(8, 8, 3), kind, **options)).xmp == xmp


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
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
    assert codes(picture) == turned


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


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "AVIF"])
def test_first_frame_of_an_animation_is_taken_with_a_note(kind: str) -> None:
    """The rest of an animation is left out, and the caller is told how much."""
    first, *others = (Image.new("RGB", (6, 4), colour) for colour in ("red", "lime", "blue"))
    data = encoded(first, kind, save_all=True, append_images=others, **EXACTLY[kind])
    picture = decode(data)
    assert difference(picture.samples[:, :, :3], np.asarray(first)) <= (2 if kind == "AVIF" else 0)
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
        (encoded(noise(3, 5, 3), "AVIF"), "avif", "RGB", 8),
        (encoded(Image.fromarray(noise(3, 5, 3)).quantize(4), "GIF"), "gif", "P", 8),
        (encoded(noise(3, 5, 2), "TIFF"), "tiff", "LA", 8),
        (tiff(noise16(3, 5, 2), "minisblack"), "tiff", "LA", 16),
        (tiff(noise16(3, 5, 4), "rgb"), "tiff", "RGBA", 16),
    ],
)  # fmt: skip
def test_probe_states_what_the_header_says(
    data: bytes, format_: str, mode: str, depth_bits: int
) -> None:
    """Format by content, size, sample layout and depth."""
    header = probe(data)
    assert (header.format, header.mode, header.depth_bits) == (format_, mode, depth_bits)
    assert (header.width_px, header.height_px) == (5, 3)


SEE_THROUGH = {
    **{
        f"{kind} {channels}": encoded(visible(noise(5, 3, channels)), kind)
        for kind, most in {"JPEG": 3, "PNG": 4, "BMP": 3, "TIFF": 4, "WEBP": 4, "AVIF": 4}.items()
        for channels in (1, 2, 3, 4)
        if channels <= most and (channels != 2 or kind in {"PNG", "TIFF"})
    },
    "16-bit gray png": png(noise16(5, 3, 1), colour=GRAY, depth_bits=16),
    "16-bit png": png(noise16(5, 3, 3), colour=RGB, depth_bits=16),
    "16-bit png with alpha": png(noise16(5, 3, 4), colour=RGB_ALPHA, depth_bits=16),
    "16-bit tiff with alpha": tiff(noise16(5, 3, 4), "rgb"),
    "clear colour": png(noise(5, 3, 3), colour=RGB, depth_bits=8, chunks={b"tRNS": bytes(6)}),
    "clear value": png(noise16(5, 3, 1), colour=GRAY, depth_bits=16, chunks={b"tRNS": bytes(2)}),
    "palette": png(INDICES[:, :, np.newaxis], colour=PALETTE, depth_bits=8, chunks={b"PLTE": COLOURS.tobytes()}),
    "palette with alpha": png(
        INDICES[:, :, np.newaxis],
        colour=PALETTE,
        depth_bits=8,
        chunks={b"PLTE": COLOURS.tobytes(), b"tRNS": b"\0"},
    ),
    "gif": encoded(Image.fromarray(noise(5, 3, 3)).quantize(4), "GIF"),
    "gif with a clear colour": encoded(Image.fromarray(noise(5, 3, 3)).quantize(4), "GIF", transparency=1),
}  # fmt: skip


@pytest.mark.parametrize("name", SEE_THROUGH)
def test_probe_states_whether_there_may_be_alpha(name: str) -> None:
    """Just where the decoded picture has the channel, though it may be opaque throughout."""
    data = SEE_THROUGH[name]
    assert probe(data).may_be_transparent is decode(data).has_alpha


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


# Animations


@dataclass(frozen=True, kw_only=True)
class Patch:
    """A frame of an APNG as it is stored: what is drawn where, how, and what becomes of it."""

    samples: Pixels
    left: int = 0
    top: int = 0
    dispose: int = 0
    """0 leaves it, 1 clears its place, 2 puts back what was there (APNG 1.0, fcTL)."""

    over: bool = False
    """Blend it over what is there, instead of replacing that."""

    delay: tuple[int, int] = (1, 10)
    """Seconds, as a fraction."""


def apng(
    patches: Sequence[Patch],
    *,
    size_px: tuple[int, int] = (8, 6),
    colour: int = RGB_ALPHA,
    depth_bits: int = 8,
    plays: int = 0,
    promised: int | None = None,
    default: Pixels | None = None,
    chunks: dict[bytes, bytes] | None = None,
) -> bytes:
    """An APNG of these frames, chunk by chunk; ``default`` is the picture for programs that show no animation.

    ``promised`` is how many frames it says it has.
    """

    def pixels(samples: Pixels) -> bytes:
        single = png(samples, colour=colour, depth_bits=depth_bits)
        return next(data for kind, data in png_chunks(single) if kind == b"IDAT")

    count = len(patches) if promised is None else promised
    head = struct.pack(">IIBBBBB", *size_px, depth_bits, colour, 0, 0, 0)
    parts = [
        (b"IHDR", head),
        *(chunks or {}).items(),
        (b"acTL", struct.pack(">II", count, plays)),
    ]
    if default is not None:
        parts.append((b"IDAT", pixels(default)))
    numbers = itertools.count()
    for patch in patches:
        height, width, _ = patch.samples.shape
        control = struct.pack(
            ">IIIIIHHBB",
            next(numbers),
            width,
            height,
            patch.left,
            patch.top,
            *patch.delay,
            patch.dispose,
            patch.over,
        )
        parts.append((b"fcTL", control))
        content = pixels(patch.samples)
        if patch is patches[0] and default is None:
            parts.append((b"IDAT", content))
        else:
            parts.append((b"fdAT", struct.pack(">I", next(numbers)) + content))
    parts.append((b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts)


def as_rgba(samples: Pixels) -> Pixels:
    """Any channels of 8 bits as RGB and alpha."""
    colour = samples[:, :, :-1] if samples.shape[2] in (2, 4) else samples
    alpha = (
        samples[:, :, -1:] if samples.shape[2] in (2, 4) else np.full_like(colour[:, :, :1], 255)
    )
    return np.concatenate([np.broadcast_to(colour, (*colour.shape[:2], 3)), alpha], axis=2)


def seen_in_apng(patches: Sequence[Patch], size_px: tuple[int, int] = (8, 6)) -> list[Pixels]:
    """Each frame as it is seen, by the rules of APNG 1.0; blended as W3C PNG 12.2 says, in double precision."""
    canvas = np.zeros((size_px[1], size_px[0], 4))
    seen = []
    for patch in patches:
        new = as_rgba(patch.samples).astype(float)
        height, width, _ = new.shape
        place = canvas[patch.top : patch.top + height, patch.left : patch.left + width]
        before = place.copy()
        if patch.over:
            front = new[:, :, 3:] / 255
            back = before[:, :, 3:] / 255 * (1 - front)
            mixed = new[:, :, :3] * front + before[:, :, :3] * back
            new = np.dstack([mixed / np.maximum(front + back, 1e-9), (front + back) * 255])
        place[:] = new
        seen.append(np.rint(canvas).astype(np.uint8))
        # On the first frame there is nothing to put back: the standard has it cleared.
        place[:] = (new, 0, 0 if patch is patches[0] else before)[patch.dispose]
    return seen


def hard(*shape: int, seed: int) -> Pixels:
    """Samples whose alpha is 0 or full."""
    samples = noise(*shape, seed=seed)
    samples[:, :, -1] = np.where(samples[:, :, -1] > 100, 255, 0)
    return samples


def assert_shown(data: bytes, expected: Sequence[Pixels], *, within: int = 0) -> Picture:
    """Every frame is what is seen, whatever colour is under what is clear; gives the picture."""
    picture = decode(data, frames=len(expected))
    assert len(picture.frames) == len(expected)
    for frame, wanted in zip(picture.frames, expected, strict=True):
        found = as_rgba(frame).astype(int)
        assert np.abs(found[:, :, 3] - wanted[:, :, 3]).max() <= within
        difference = np.abs(found - wanted)[wanted[:, :, 3] > 0]
        assert difference.size == 0 or difference.max() <= within
    return picture


def parts(make: Callable[..., Pixels], channels: int, **fields: Any) -> list[Patch]:
    """A whole frame and three parts, which lie over one another."""
    places = [(6, 8, 0, 0), (3, 4, 2, 1), (4, 5, 3, 2), (1, 1, 7, 5)]
    return [
        Patch(samples=make(height, width, channels, seed=seed), left=left, top=top, **fields)
        for seed, (height, width, left, top) in enumerate(places)
    ]


@pytest.mark.parametrize("has_default", [False, True], ids=["", "default"])
@pytest.mark.parametrize("over", [False, True], ids=["source", "over"])
@pytest.mark.parametrize("dispose", [0, 1, 2], ids=["leave", "clear", "put-back"])
@pytest.mark.parametrize("make", [hard, noise], ids=["hard", "soft"])
def test_apng_frames_are_put_together(
    make: Callable[..., Pixels], dispose: int, over: bool, has_default: bool
) -> None:
    """Parts at their place, blended, and cleared or put back after: with clear, full and half alpha."""
    patches = parts(make, 4, dispose=dispose, over=over)
    default = noise(6, 8, 4, seed=9) if has_default else None
    # Half alpha over half alpha is rounded once for each frame that lies there.
    within = 3 if over and make is noise else 0
    assert_shown(apng(patches, default=default), seen_in_apng(patches), within=within)


def test_default_image_shows_through_no_frame() -> None:
    """Frames that are smaller than the picture leave the rest of it clear."""
    patches = parts(hard, 4)[1:]
    assert_shown(apng(patches, default=noise(6, 8, 4, seed=9)), seen_in_apng(patches))


@settings(max_examples=40)
@given(data=st.data(), has_default=st.booleans())
def test_any_apng_of_hard_alpha_is_exact(data: st.DataObject, has_default: bool) -> None:
    """Whatever its frames' places, operations and number."""
    patches = [Patch(samples=hard(6, 8, 4, seed=99))] if not has_default else []
    for seed in range(data.draw(st.integers(1, 5))):
        left, top = data.draw(st.integers(0, 7)), data.draw(st.integers(0, 5))
        width, height = data.draw(st.integers(1, 8 - left)), data.draw(st.integers(1, 6 - top))
        patches.append(
            Patch(
                samples=hard(height, width, 4, seed=seed),
                left=left,
                top=top,
                dispose=data.draw(st.integers(0, 2)),
                over=data.draw(st.booleans()),
            )
        )
    default = noise(6, 8, 4, seed=9) if has_default else None
    if len(patches) > 1:
        assert_shown(apng(patches, default=default), seen_in_apng(patches))


@pytest.mark.parametrize(
    ("colour", "channels"), [(GRAY, 1), (GRAY_ALPHA, 2), (RGB, 3), (RGB_ALPHA, 4)]
)
@pytest.mark.parametrize("dispose", [0, 1, 2], ids=["leave", "clear", "put-back"])
def test_apng_of_each_layout_keeps_it(colour: int, channels: int, dispose: int) -> None:
    """Gray stays gray, opaque stays without alpha; where a place is cleared, something shows through."""
    make = hard if channels in (2, 4) else noise
    patches = parts(make, channels, dispose=dispose)
    picture = assert_shown(apng(patches, colour=colour), seen_in_apng(patches))
    has_alpha = channels in (2, 4) or dispose > 0
    assert picture.samples.shape[2] == (1 if channels <= 2 else 3) + has_alpha


def test_apng_of_a_palette_has_its_colours() -> None:
    """With the alpha of each index, blended."""
    indices = [patch.samples % 4 for patch in parts(noise, 1)]
    table = np.dstack([COLOURS[np.newaxis], [[0, 255, 255, 255]]])[0].astype(np.uint8)
    stored = [
        replace(p, samples=i, over=True) for p, i in zip(parts(noise, 1), indices, strict=True)
    ]
    seen = [replace(p, samples=table[p.samples[:, :, 0]]) for p in stored]
    data = apng(
        stored, colour=PALETTE, chunks={b"PLTE": COLOURS.tobytes(), b"tRNS": bytes([0, 255, 255])}
    )
    assert_shown(data, seen_in_apng(seen))


@pytest.mark.parametrize(("colour", "channels"), [(GRAY, 1), (RGB, 3)])
def test_transparent_value_of_an_apng_becomes_alpha(colour: int, channels: int) -> None:
    """In every frame."""
    stored = [replace(p, samples=p.samples % 2 * 255) for p in parts(noise, channels)]
    clear = [(p.samples == 255).all(axis=2) for p in stored]
    seen = [
        replace(p, samples=np.dstack([p.samples, np.where(is_clear, 0, 255)]).astype(np.uint8))
        for p, is_clear in zip(stored, clear, strict=True)
    ]
    data = apng(stored, colour=colour, chunks={b"tRNS": b"\0\xff" * channels})
    assert_shown(data, seen_in_apng(seen))


@pytest.mark.parametrize(
    ("colour", "channels"), [(GRAY, 1), (GRAY_ALPHA, 2), (RGB, 3), (RGB_ALPHA, 4)]
)
def test_deep_apng_is_reduced_with_a_note(colour: int, channels: int) -> None:
    """To 8 bits, within one code value."""
    patches = parts(noise16, channels)
    rounded = [replace(p, samples=np.rint(p.samples / 257).astype(np.uint8)) for p in patches]
    data = apng(patches, colour=colour, depth_bits=16)
    picture = assert_shown(data, seen_in_apng(rounded), within=1)
    assert picture.is_gray == (channels <= 2)
    assert picture.samples.dtype == np.uint8
    assert codes(picture) == ["depth_reduced"]
    assert picture.depth_bits == 16


def test_deep_apng_is_exact_where_one_frame_is_wanted() -> None:
    """Then it is a picture like any other."""
    patches = parts(noise16, 3)
    picture = decode(apng(patches, colour=RGB, depth_bits=16))
    assert np.array_equal(picture.samples, patches[0].samples)
    assert codes(picture) == ["first_frame_only"]


def test_another_decoder_sees_the_same_apng() -> None:
    """The oracle of these tests is held against one: imagecodecs, where it puts frames together."""
    patches = [
        replace(p, dispose=dispose) for p, dispose in zip(parts(hard, 4), (0, 1, 0, 0), strict=True)
    ]
    data = apng(patches)
    other = imagecodecs.apng_decode(data)
    assert_shown(data, list(other))


def test_default_image_is_no_frame() -> None:
    """It is what is shown where animations are not: with one frame, and only then."""
    default, patches = noise(6, 8, 4, seed=9), parts(hard, 4)
    data = apng(patches, default=default)
    assert probe(data).frames == 4
    still = decode(data, frames=1)
    assert np.array_equal(still.samples, default)
    assert still.motion is None
    assert codes(still) == ["first_frame_only"]
    assert_shown(data, seen_in_apng(patches))


def test_default_image_with_one_frame_is_a_still_picture() -> None:
    """Nothing moves, and nothing is left out that would."""
    default = noise(6, 8, 4, seed=9)
    picture = decode(apng(parts(hard, 4)[:1], default=default), frames=9)
    assert np.array_equal(picture.samples, default)
    assert (picture.motion, picture.notes) == (None, ())


def test_durations_of_an_apng_are_fractions() -> None:
    """As the file states them; a denominator of 0 is 100, and a delay of 0 stays that."""
    delays = [(1, 3), (0, 5), (7, 0), (65535, 1)]
    patches = [Patch(samples=hard(6, 8, 4, seed=n), delay=delay) for n, delay in enumerate(delays)]
    motion = decode(apng(patches, plays=5), frames=4).motion
    assert motion is not None
    assert motion.durations_ms == pytest.approx((1000 / 3, 0, 70, 65_535_000))
    assert motion.plays == 5


@pytest.mark.parametrize("promised", [5, 1000, 0x7FFFFFFF])
def test_apng_of_fewer_frames_than_it_says_is_refused(promised: int) -> None:
    """But for who wants no more than there are."""
    data = apng(parts(hard, 4), promised=promised)
    with pytest.raises(UnreadableImage):
        decode(data, frames=5)
    assert len(decode(data, frames=4).frames) == 4


@pytest.mark.parametrize(
    "patch",
    [
        Patch(samples=noise(7, 8, 4)),
        Patch(samples=noise(6, 9, 4)),
        Patch(samples=noise(6, 8, 4), left=1),
        Patch(samples=noise(1, 1, 4), top=6),
        Patch(samples=noise(1, 1, 4), left=2**31),
    ],
    ids=["higher", "wider", "to-the-right", "below", "far-away"],
)
def test_apng_frame_beyond_the_picture_is_refused(patch: Patch) -> None:
    """Nothing is cut off without a word."""
    with pytest.raises(UnreadableImage):
        decode(apng([*parts(hard, 4)[:1], patch]), frames=2)


def stating(data: bytes, side_px: int) -> bytes:
    """The same PNG, whose header states another size."""
    return with_checksums(bytearray(data[:16] + struct.pack(">II", side_px, side_px) + data[24:]))


@pytest.mark.parametrize(
    ("data", "frames"),
    [
        (stating(encoded(noise(5, 5, 3)), 16_385), 1),
        (stating(encoded(noise(5, 5, 1)), 16_385), 1),
        (stating(png(noise16(5, 5, 3), colour=RGB, depth_bits=16), 11_586), 1),
        (stating(apng(parts(hard, 4)), 8193), 4),
        (tiff(noise16(5, 5, 3), "rgb").replace(b"\5\0\0\0", b"\xff\xff\0\0"), 1),
    ],
    ids=["8 bits", "gray", "16 bits", "animation", "tiff"],
)
def test_header_that_states_too_much_is_refused_undecoded(data: bytes, frames: int) -> None:
    """Pixels, frames, channels and depth together: a gibibyte. This process has no limit of its own."""
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UnreadableImage, match=r"^decoding it takes too much memory$"):
        decode(data, frames=frames)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 64 * 1024


@pytest.mark.parametrize("height_px", [7, 2**24, 2**31 - 1])
def test_size_that_an_apng_frame_states_is_no_reason_to_take_memory(height_px: int) -> None:
    """It is held against the picture's before anything is decoded; its data are a few bytes."""
    data = bytearray(apng(parts(hard, 4)))
    at = data.index(b"fcTL", data.index(b"fcTL") + 1)
    data[at + 12 : at + 16] = struct.pack(">I", height_px)
    with pytest.raises(UnreadableImage) as refused:
        decode(with_checksums(data), frames=2)
    assert "memory" not in str(refused.value)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A frame of a GIF as it is stored: what is drawn where, what is clear in it, and what becomes of it."""

    indices: Pixels
    """0 to 7."""

    left: int = 0
    top: int = 0
    disposal: int = 0
    """0 and 1 leave it, 2 clears its place, 3 puts back what was there (GIF89a, 23)."""

    clear: int | None = None
    palette: Pixels | None = None
    duration_cs: int = 10


GIF_COLOURS = noise(8, 3, seed=50)


def gif(
    blocks: Sequence[Block],
    *,
    size_px: tuple[int, int] = (8, 6),
    palette: Pixels = GIF_COLOURS,
    loop: int | None = None,
) -> bytes:
    """A GIF of these frames, block by block."""
    data: bytes = b"GIF89a" + struct.pack("<HHBBB", *size_px, 0x82, 0, 0) + palette.tobytes()
    if loop is not None:
        data += b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<HB", loop, 0)
    for block in blocks:
        flags = block.disposal << 2 | (block.clear is not None)
        data += b"\x21\xf9\x04" + struct.pack(
            "<BHBB", flags, block.duration_cs, block.clear or 0, 0
        )
        height, width = block.indices.shape
        table = b"" if block.palette is None else block.palette.tobytes()
        place = struct.pack("<HHHHB", block.left, block.top, width, height, 0x82 if table else 0)
        data += b"," + place + table + lzw(block.indices)
    return bytes(data + b";")


def lzw(indices: Pixels) -> bytes:
    """Codes of four bits; the table is emptied before it would need a fifth, so nothing is compressed."""
    values: list[int] = indices.ravel().tolist()
    codes = [code for at in range(0, len(values), 6) for code in (8, *values[at : at + 6])] + [9]
    bits = sum(code << 4 * at for at, code in enumerate(codes))
    content = bits.to_bytes(len(codes) // 2 + 1, "little")
    assert len(content) < 256
    return bytes([3, len(content)]) + content + b"\0"


def seen_in_gif(blocks: Sequence[Block], size_px: tuple[int, int] = (8, 6)) -> list[Pixels]:
    """Each frame as browsers and gif2webp show it: what was never drawn on, or was cleared, is clear."""
    canvas = np.zeros((size_px[1], size_px[0], 4), np.uint8)
    seen = []
    for block in blocks:
        height, width = block.indices.shape
        place = canvas[block.top : block.top + height, block.left : block.left + width]
        before = place.copy()
        colours = (GIF_COLOURS if block.palette is None else block.palette)[block.indices]
        drawn = block.indices != (-1 if block.clear is None else block.clear)
        place[drawn] = as_rgba(colours)[drawn]
        seen.append(canvas.copy())
        if block.disposal >= 2:
            place[:] = 0 if block.disposal == 2 else before
    return seen


def gif_blocks(**fields: Any) -> list[Block]:
    """A whole frame and three parts, which lie over one another."""
    return [
        Block(indices=patch.samples[:, :, 0] % 8, left=patch.left, top=patch.top, **fields)
        for patch in parts(noise, 1)
    ]


@pytest.mark.parametrize("disposal", [0, 1, 2, 3], ids=["none", "leave", "clear", "put-back"])
@pytest.mark.parametrize("clear", [None, 3], ids=["opaque", "clear-index"])
@pytest.mark.parametrize("first", [0, 1], ids=["whole", "first-is-a-part"])
def test_gif_frames_are_put_together(disposal: int, clear: int | None, first: int) -> None:
    """Parts at their place, without their clear index, and cleared or put back after."""
    blocks = gif_blocks(disposal=disposal, clear=clear)[first:]
    assert_shown(gif(blocks), seen_in_gif(blocks))


def test_frames_of_a_gif_may_differ_in_what_becomes_of_them() -> None:
    """Disposal, clear index and palette are each frame's own."""
    ways: list[dict[str, Any]] = [
        {"disposal": 1, "clear": 2},
        {"disposal": 3, "palette": noise(8, 3, seed=51)},
        {"disposal": 2, "clear": 0, "palette": noise(8, 3, seed=52)},
        {},
    ]
    blocks = [replace(block, **way) for block, way in zip(gif_blocks(), ways, strict=True)]
    assert_shown(gif(blocks), seen_in_gif(blocks))


def test_another_decoder_sees_the_same_gif() -> None:
    """The oracle of these tests is held against one: giflib through imagecodecs, on frames without a clear index."""
    blocks = gif_blocks(disposal=1)
    other = imagecodecs.gif_decode(gif(blocks))
    assert all(
        np.array_equal(frame[:, :, :3], wanted[:, :, :3])
        for frame, wanted in zip(other, seen_in_gif(blocks), strict=True)
    )


def test_opaque_gif_has_no_alpha_and_a_gray_one_is_gray() -> None:
    """As a single picture would be."""
    grays = np.arange(8, dtype=np.uint8)[:, np.newaxis].repeat(3, axis=1)
    assert decode(gif(gif_blocks()), frames=4).samples.shape == (6, 8, 3)
    picture = decode(gif(gif_blocks(), palette=grays), frames=4)
    assert picture.samples.shape == (6, 8, 1)
    assert np.array_equal(picture.samples[:, :, 0], gif_blocks()[0].indices)


@pytest.mark.parametrize(
    ("loop", "plays"), [(None, 1), (0, 0), (1, 2), (2, 3), (65535, 65536)]
)  # fmt: skip
def test_gif_says_how_often_it_begins_again(loop: int | None, plays: int) -> None:
    """0 is for ever, and without a word it is played once."""
    motion = decode(gif(gif_blocks(), loop=loop), frames=4).motion
    assert motion is not None
    assert motion.plays == plays


@pytest.mark.parametrize("plays", [0, 1, 2, 65535])
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_others_say_how_often_they_are_played(kind: str, plays: int) -> None:
    """The number itself, and 0 is for ever."""
    motion = decode(animation(kind, loop=plays), frames=3).motion
    assert motion is not None
    assert motion.plays == plays


def test_durations_of_a_gif_are_hundredths() -> None:
    """From none to the longest."""
    blocks = [replace(block, duration_cs=cs) for block, cs in zip(gif_blocks(), (0, 1, 7, 65535), strict=True)]  # fmt: skip
    motion = decode(gif(blocks), frames=4).motion
    assert motion is not None
    assert motion.durations_ms == (0, 10, 70, 655_350)


@pytest.mark.parametrize("block", [Block(indices=noise(7, 8) % 8), Block(indices=noise(6, 9) % 8), Block(indices=noise(6, 8) % 8, left=1)])  # fmt: skip
def test_gif_frame_beyond_the_picture_is_clipped_with_a_note(block: Block) -> None:
    """As ImageMagick and browsers show it; what is on the screen stays where it is."""
    data = gif([*gif_blocks()[:1], block])
    inside = block.indices[:6, : 8 - block.left]
    seen = seen_in_gif([*gif_blocks()[:1], replace(block, indices=inside)])
    assert codes(assert_shown(data, seen)) == ["frames_clipped"]
    assert codes(decode(data)) == ["first_frame_only"]


FIRST_PLACES = {
    "at-the-corner": (0, 0, 3, 4),
    "in-the-midst": (2, 1, 3, 4),
    "sticking-out": (5, 4, 6, 8),
    "outside": (9, 7, 2, 2),
}
"""Left, top, height and width of a first frame on a screen of 8 x 6."""


@pytest.mark.parametrize("clear", [None, 3], ids=["opaque", "clear-index"])
@pytest.mark.parametrize("place", FIRST_PLACES.values(), ids=FIRST_PLACES)
def test_first_frame_of_a_gif_is_the_same_alone_and_among_all(
    place: tuple[int, int, int, int], clear: int | None
) -> None:
    """What it leaves of the screen is clear, and what is beside that is cut off."""
    left, top, height, width = place
    first = Block(indices=noise(height, width) % 8, left=left, top=top, clear=clear)
    data = gif([first, *gif_blocks()[1:]])
    screen = (8, 6)
    still, moving = decode(data), decode(data, frames=4)
    shown = replace(first, indices=first.indices[: max(6 - top, 0), : max(8 - left, 0)])
    expected = seen_in_gif([shown])[0]
    for frame in (still.samples, moving.samples):
        assert np.array_equal(as_rgba(frame)[:, :, 3], expected[:, :, 3])
        visible = expected[:, :, 3] > 0
        assert np.array_equal(as_rgba(frame)[visible], expected[visible])
    assert (still.width_px, still.height_px) == screen
    assert ("frames_clipped" in codes(still)) is (left + width > 8 or top + height > 6)
    assert probe(data).may_be_transparent is still.has_alpha


def test_screen_smaller_than_the_first_frame_grows() -> None:
    """As in browsers: no pixel of a picture is lost to a header that lies."""
    block = Block(indices=noise(6, 8) % 8)
    picture = decode(gif([block], size_px=(5, 0)))
    assert np.array_equal(picture.samples, GIF_COLOURS[block.indices])
    assert codes(picture) == ["damage_ignored"]


def animation(kind: str, *, channels: int = 3, **options: Any) -> bytes:
    """Three frames as Pillow writes them, of 48 x 32 px in areas of one colour, shown for 20, 30 and 40 ms."""
    frames = [Image.fromarray(frame) for frame in moving_blocks(channels)]
    return encoded(
        frames[0],
        kind,
        save_all=True,
        append_images=frames[1:],
        **{"duration": [20, 30, 40], **EXACTLY[kind], **options},
    )


def moving_blocks(channels: int = 3) -> list[Pixels]:
    """``blocks`` in three places; the fourth channel is a ramp."""
    frames = [np.roll(blocks(), 16 * number, axis=1) for number in range(3)]
    ramp = np.arange(48, dtype=np.uint8) * 5
    return [
        frame if channels == 3 else np.dstack([frame, np.broadcast_to(ramp, (32, 48))])
        for frame in frames
    ]


ANIMATED = ["PNG", "WEBP", "GIF", "AVIF"]


@pytest.mark.parametrize(
    ("kind", "channels"), [*((kind, 3) for kind in ANIMATED), ("PNG", 4), ("WEBP", 4), ("AVIF", 4)]
)
def test_every_frame_of_an_animation_is_there(kind: str, channels: int) -> None:
    """With its time, its channels and no note."""
    options = {"exact": True} if kind == "WEBP" else {}
    picture = decode(animation(kind, channels=channels, **options), frames=99)
    wanted = moving_blocks(channels)
    assert picture.samples.shape == wanted[0].shape
    for frame, expected in zip(picture.frames, wanted, strict=True):
        visible = (as_rgba(expected)[:, :, 3] > 0)[:, :, np.newaxis]
        assert difference(frame * visible, expected * visible) <= (3 if kind == "AVIF" else 0)
    assert picture.motion is not None
    assert picture.motion.durations_ms == (20, 30, 40)
    assert picture.notes == ()
    assert picture.format == kind.lower()


@pytest.mark.parametrize("kind", ANIMATED)
def test_so_many_frames_as_wanted_are_taken(kind: str) -> None:
    """The first ones, with a note; with one it is a still picture."""
    data = animation(kind)
    two, one = decode(data, frames=2), decode(data, frames=1)
    assert len(two.frames) == 2
    assert two.motion is not None
    assert two.motion.durations_ms == (20, 30)
    assert [(note.code, note.detail) for note in two.notes] == [
        ("frames_left_out", "the first 2 of 3 were taken")
    ]
    assert one.motion is None
    assert codes(one) == ["first_frame_only"]
    assert difference(one.samples, two.samples) <= (3 if kind == "AVIF" else 0)


@pytest.mark.parametrize("kind", ["PNG", "AVIF"])
def test_gray_animation_stays_gray(kind: str) -> None:
    """One channel, in every frame."""
    frames = [Image.fromarray(frame[:, :, 0]) for frame in moving_blocks()]
    quality = {"quality": 100} if kind == "AVIF" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **quality)
    picture = decode(data, frames=3)
    assert len(picture.frames) == 3
    for frame, expected in zip(picture.frames, frames, strict=True):
        assert difference(frame, np.asarray(expected)[:, :, np.newaxis]) <= 1


@pytest.mark.parametrize("kind", ANIMATED)
def test_animation_that_is_cut_short_is_refused(kind: str) -> None:
    """Wherever it is cut: all its frames, or a refusal of ours."""
    data = animation(kind)
    whole = decode(data, frames=3)
    for length in range(0, len(data), max(1, len(data) // 150)):
        try:
            picture = decode(data[:length], frames=3)
        except (UnreadableImage, UnsupportedFormat):
            continue
        if kind == "GIF" and len(picture.frames) < 3:
            continue  # a GIF does not say how many there are
        assert np.array_equal(picture.frames, whole.frames)


@pytest.mark.parametrize("kind", ANIMATED)
@given(data=st.data())
def test_damaged_animation_is_a_picture_or_a_refusal(kind: str, data: st.DataObject) -> None:
    """No byte that is changed leads to another error, and frames are all of one size."""
    damaged = bytearray(animation(kind))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    content = with_checksums(damaged)
    try:
        header = probe(content)
        assume(max(header.width_px, header.height_px) <= 2048)  # the pipeline refuses those
        picture = decode(content, frames=5)
    except (UnreadableImage, UnsupportedFormat):
        return
    assert len({frame.shape for frame in picture.frames}) == 1
    assert picture.motion is None or len(picture.motion.durations_ms) == len(picture.frames)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_frame_is_turned(kind: str, orientation: int) -> None:
    """The picture stands upright in each, and is told of once."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = animation(kind, exif=exif)
    picture = decode(data, frames=3)
    for frame, expected in zip(picture.frames, moving_blocks(), strict=True):
        assert np.array_equal(frame, UPRIGHT[orientation](expected))
    assert codes(picture) == (["orientation_applied"] if orientation > 1 else [])
    assert (probe(data).width_px, probe(data).height_px) == picture.samples.shape[1::-1]


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "AVIF"])
def test_every_frame_is_converted_to_srgb(kind: str) -> None:
    """As the frame by itself would be; without the wish, the profile stays."""
    data = animation(kind, icc_profile=WIDE)
    picture = decode(data, frames=3, to_srgb=True)
    for frame, stored in zip(picture.frames, moving_blocks(), strict=True):
        still = decode(encoded(stored, "PNG", icc_profile=WIDE), to_srgb=True)
        assert difference(frame, still.samples) <= (6 if kind == "AVIF" else 0)
    assert picture.icc is None
    assert codes(picture) == ["colorspace_converted"]
    assert decode(data, frames=3).icc == WIDE


def test_pages_of_a_tiff_are_no_frames() -> None:
    """However many are wanted."""
    pages = [Image.fromarray(noise(4, 5, 3, seed=seed)) for seed in (0, 1)]
    picture = decode(encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:]), frames=2)
    assert picture.motion is None
    assert codes(picture) == ["first_frame_only"]
