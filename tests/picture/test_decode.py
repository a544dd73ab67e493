"""Each kind of file that is read becomes samples."""

from __future__ import annotations

import struct
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from support.decoding import (
    COLOURS,
    EXACTLY,
    WHOLE,
    blocks,
    codes,
    difference,
)
from support.pictures import (
    GRAY,
    GRAY_ALPHA,
    PALETTE,
    RGB,
    RGB_ALPHA,
    UPRIGHT,
    encoded,
    icc_profile,
    noise,
    noise16,
    oriented,
    png,
    tiff,
    visible,
)

from enlarger.errors import UnsupportedFormat
from enlarger.geometry.rect import Pixels
from enlarger.picture.decode import decode, probe

INDICES = np.array([[0, 1, 2], [3, 2, 1]], np.uint8)


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
