"""TIFF: 8 and 16 bits of one layout are the same picture."""

from __future__ import annotations

import itertools
import struct
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.pictures import encoded, noise
from support.tiffs import (
    ADOBE_DEFLATE,
    BLACK_IS_ZERO,
    CMYK,
    COLOURS,
    LAB,
    LONG,
    LZW,
    NONE,
    OLD_JPEG,
    PACK,
    PACK_BITS,
    PALETTE,
    PREMULTIPLIED,
    RATIONAL,
    RGB,
    STRAIGHT,
    UNSPECIFIED,
    WHITE_IS_ZERO,
    ZSTANDARD,
    Value,
    assert_twins,
    codes,
    shown,
    stored_as,
    tiff,
    with_entry,
    ycbcr,
)

from enlarger.geometry.rect import Pixels
from enlarger.picture.decode import decode
from enlarger.picture.values import Note

EXTRAS = [
    (),
    (UNSPECIFIED,),
    (PREMULTIPLIED,),
    (STRAIGHT,),
    (999,),
    (UNSPECIFIED, UNSPECIFIED),
    (UNSPECIFIED, STRAIGHT),
    (STRAIGHT, UNSPECIFIED),
    (STRAIGHT, STRAIGHT),
    (PREMULTIPLIED, UNSPECIFIED, UNSPECIFIED),
]

DEEP = [WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, CMYK, LAB]
"""Colours that are read in 8 and in 16 bits."""


@pytest.mark.parametrize("planar", [False, True], ids=["contiguous", "planar"])
@pytest.mark.parametrize("extra", EXTRAS, ids=str)
@pytest.mark.parametrize("photometric", DEEP)
def test_8_and_16_bits_of_a_layout_are_one_picture(
    photometric: int, extra: tuple[int, ...], planar: bool
) -> None:
    """Whatever the kind of colour and what else is in the file."""
    samples = noise(9, 11, COLOURS[photometric] + len(extra), seed=len(extra))
    if PREMULTIPLIED in extra:
        alpha = COLOURS[photometric]
        samples[:, :, :alpha] = samples[:, :, :alpha] // 255 * samples[:, :, alpha:][:, :, :1]
    assert_twins(photometric, samples, extra, planar=planar)


@settings(max_examples=150)
@given(
    photometric=st.sampled_from(DEEP),
    extra=st.sampled_from([(), (STRAIGHT,), (UNSPECIFIED, STRAIGHT)]),
    compression=st.sampled_from(sorted(PACK)),
    planar=st.booleans(),
    predictor=st.booleans(),
    tile=st.sampled_from([None, (16, 16), (32, 16)]),
    strip_rows=st.integers(1, 40),
    order=st.sampled_from("<>"),
    big=st.booleans(),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_8_and_16_bits_are_one_picture_however_they_are_packed(
    photometric: int,
    extra: tuple[int, ...],
    compression: int,
    predictor: bool,
    size: tuple[int, int],
    **how: Any,
) -> None:
    """Strips and tiles, byte orders, BigTIFF, planes, compressions with and without predictor."""
    samples = noise(*size, COLOURS[photometric] + len(extra))
    is_predicted = predictor and compression not in (NONE, PACK_BITS)
    how |= {"compression": compression, "predictor": is_predicted}
    assert_twins(photometric, samples, extra, **how)


@pytest.mark.parametrize("depth_bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO, RGB])
@pytest.mark.parametrize("extra", [(), (STRAIGHT,), (UNSPECIFIED,)], ids=str)
@pytest.mark.parametrize("planar", [False, True], ids=["contiguous", "planar"])
@pytest.mark.parametrize("tile", [None, (16, 16)], ids=["strips", "tiles"])
def test_samples_of_every_depth_are_exact(
    depth_bits: int,
    photometric: int,
    extra: tuple[int, ...],
    planar: bool,
    tile: tuple[int, int] | None,
) -> None:
    """Fewer than 8 bits are spread over 8: white is 255; alpha, too; what is neither is left out with a note."""
    colours, most = COLOURS[photometric], 2**depth_bits - 1
    kind = np.uint16 if depth_bits == 16 else np.uint8
    random = np.random.default_rng(depth_bits)
    samples: Pixels = random.integers(0, most + 1, (19, 21, colours + len(extra))).astype(kind)
    picture = shown(
        stored_as(
            samples, photometric, depth_bits=depth_bits, extra=extra, planar=planar, tile=tile
        )
    )
    expected = samples.astype(np.uint32)
    if photometric == WHITE_IS_ZERO:
        expected[:, :, 0] = most - expected[:, :, 0]
    kept = expected[:, :, : colours + (STRAIGHT in extra)]
    assert picture.samples.dtype == kind
    assert np.array_equal(picture.samples, kept * max(1, 255 // most))
    assert codes(picture) == (["blocks_dropped"] if UNSPECIFIED in extra else [])


@pytest.mark.parametrize("depth_bits", [1, 2, 4, 8])
@pytest.mark.parametrize("extra", [(), (STRAIGHT,), (UNSPECIFIED,)], ids=str)
@pytest.mark.parametrize("order", ["<", ">"])
def test_palette_is_looked_up(depth_bits: int, extra: tuple[int, ...], order: str) -> None:
    """In every depth, with alpha and without."""
    count = 2**depth_bits
    palette = noise(3, count, seed=1).astype(int)
    samples = np.random.default_rng(0).integers(0, count, (7, 10, 1 + len(extra))).astype(np.uint8)
    how: dict[str, Any] = {"depth_bits": depth_bits, "extra": extra, "order": order}
    picture = shown(stored_as(samples, PALETTE, t320=(palette * 257).ravel().tolist(), **how))
    assert np.array_equal(picture.colour, palette.T[samples[:, :, 0]])
    if STRAIGHT in extra:
        alpha = samples[:, :, 1].astype(int) * (255 // (count - 1))
        assert np.array_equal(picture.samples[:, :, 3], alpha)
    # As some programs write it, against the specification: in 8 bits.
    assert np.array_equal(
        decode(stored_as(samples, PALETTE, t320=palette.ravel().tolist(), **how)).samples,
        picture.samples,
    )


def test_alpha_is_what_the_file_says() -> None:
    """Associated alpha is divided out, unspecified samples are none, and who says nothing means alpha."""
    samples = np.array([[[100, 50, 25, 100], [0, 0, 0, 0], [255, 128, 1, 255]]], np.uint8)
    found = decode(stored_as(samples, RGB, extra=[PREMULTIPLIED])).samples
    assert found.tolist() == [[[255, 128, 64, 100], [0, 0, 0, 0], [255, 128, 1, 255]]]
    for extra in ([STRAIGHT], [999], []):
        assert np.array_equal(decode(stored_as(samples, RGB, extra=extra)).samples, samples)
    picture = decode(stored_as(samples, RGB, extra=[UNSPECIFIED]))
    assert np.array_equal(picture.samples, samples[:, :, :3])
    assert picture.notes == (Note("blocks_dropped", "1 extra channel, neither colour nor alpha"),)


def test_alpha_that_lab_was_multiplied_by_is_divided_out() -> None:
    """Its a* and b* have signs."""
    lab = np.array([[[120, 20, 256 - 20], [60, 256 - 100, 100], [0, 0, 0]]], np.uint8)
    halved = np.array([[[60, 10, 256 - 10, 128], [60, 156, 100, 255], [0, 0, 0, 0]]], np.uint8)
    assert_twins(LAB, halved, (PREMULTIPLIED,))
    found = decode(stored_as(halved, LAB, extra=[PREMULTIPLIED])).colour
    expected = decode(stored_as(lab, LAB)).samples
    assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("depth_bits", [1, 4, 8, 16])
def test_reversed_bits_are_read(depth_bits: int) -> None:
    """FillOrder 2, as fax machines have it."""
    kind = np.uint16 if depth_bits == 16 else np.uint8
    samples = np.random.default_rng(3).integers(0, 2**depth_bits, (6, 9, 1)).astype(kind)
    plain, turned = (
        decode(stored_as(samples, BLACK_IS_ZERO, depth_bits=depth_bits, fill_order=order)).samples
        for order in (1, 2)
    )
    assert np.array_equal(plain, turned)


@pytest.mark.parametrize("compression", [NONE, PACK_BITS])
def test_predictor_counts_only_where_it_belongs(compression: int) -> None:
    """LZW, deflate and their kin have a predictor; others ignore the tag, as libtiff does."""
    samples = noise(8, 9, 3)
    data = stored_as(samples, RGB, compression=compression, t317=2)
    assert np.array_equal(decode(data).samples, samples)


@pytest.mark.parametrize("compression", [NONE, LZW, ADOBE_DEFLATE, PACK_BITS, ZSTANDARD])
@pytest.mark.parametrize("tile", [None, (16, 32)], ids=["strips", "tiles"])
@pytest.mark.parametrize("shared", list(itertools.product((1, 2, 4), (1, 2, 4))), ids=str)
def test_subsampled_ycbcr_is_read(
    shared: tuple[int, int], tile: tuple[int, int] | None, compression: int
) -> None:
    """Gray is exact; a colour that is the same everywhere is that of ITU-R BT.601."""
    gray = noise(37, 45, 1)
    data = ycbcr(np.dstack([gray, np.full((37, 45, 2), 128, np.uint8)]), shared, tile, compression)
    assert np.array_equal(shown(data).samples, gray.repeat(3, axis=2))
    flat = np.full((37, 45, 3), (130, 90, 160), np.uint8)
    y, cb, cr = 130, 90 - 128, 160 - 128
    expected = [y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb]
    found = shown(ycbcr(flat, shared, tile, compression)).samples
    assert np.abs(found - np.array(expected)).max() <= 0.51


def test_ycbcr_has_the_colours_of_its_pixels() -> None:
    """Each Cb and Cr belongs to its own block; reference levels and coefficients count."""
    blocks = noise(6, 5, 3).repeat(2, axis=0).repeat(2, axis=1)
    plain = decode(ycbcr(blocks, (1, 1), None, NONE)).samples
    assert np.array_equal(decode(ycbcr(blocks, (2, 2), None, NONE)).samples, plain)
    levels = struct.pack("<12I", 16, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1)
    gray = np.full((4, 4, 3), (16, 128, 128), np.uint8)
    gray[2:, :, 0] = 235
    data = ycbcr(gray, (2, 2), None, NONE)
    data = with_entry(data, 532, RATIONAL, 6, levels)
    assert decode(data).samples[:, 0, 0].tolist() == [0, 0, 255, 255]


@pytest.mark.parametrize("entries", [{}, {258: [8, 8, 8], 277: 3}, {262: 2}], ids=str)
def test_jpeg_of_the_old_style_is_read(entries: dict[int, Value]) -> None:
    """As TIFF 6.0 had it, with tags missing as often in such files."""
    photo = np.linspace(0, 255, 40 * 48 * 3).reshape(40, 48, 3).astype(np.uint8)
    jpeg = encoded(photo, "JPEG", quality=95, subsampling=0)
    layout: dict[int, Value] = {256: 48, 257: 40, 259: OLD_JPEG, 512: 1, 513: 0, 514: len(jpeg)}
    data = tiff({**layout, 278: 40, **entries}, [jpeg])
    at = struct.pack("<HHI", 513, LONG, 1)
    data = data.replace(at + bytes(4), at + struct.pack("<I", len(data) - len(jpeg)))
    picture = shown(data)
    expected = np.asarray(Image.open(BytesIO(jpeg)).convert("RGB"))
    assert np.abs(picture.samples.astype(int) - expected).max() <= 2
