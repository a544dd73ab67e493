"""TIFF: 8 and 16 bits of one layout are the same picture, and only damaged pixels cost it."""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import SRGB, cmyk_profile, encoded, noise
from PIL import Image

from enlarger.errors import UnreadableImage, UnsupportedFormat
from enlarger.geometry.rect import Pixels
from enlarger.picture.decode import decode, probe
from enlarger.picture.values import Note, Picture, to_8_bits

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3, LAB: 3}
NONE, LZW, OLD_JPEG, JPEG, ADOBE_DEFLATE, PACK_BITS, DEFLATE = 1, 5, 6, 7, 8, 32773, 32946
LZMA, ZSTANDARD = 34925, 50000
UNSPECIFIED, PREMULTIPLIED, STRAIGHT = 0, 1, 2

PACK: dict[int, Callable[[bytes], bytes]] = {
    NONE: lambda data: data,
    LZW: lambda data: bytes(imagecodecs.lzw_encode(data)),
    ADOBE_DEFLATE: zlib.compress,
    DEFLATE: zlib.compress,
    PACK_BITS: lambda data: bytes(imagecodecs.packbits_encode(data)),
    LZMA: lambda data: bytes(imagecodecs.lzma_encode(data)),
    ZSTANDARD: lambda data: bytes(imagecodecs.zstd_encode(data)),
}

SHORT, LONG, RATIONAL, LONG_8 = 3, 4, 5, 16
TYPES = {1: "B", 2: "c", SHORT: "H", LONG: "I", 7: "B", LONG_8: "Q"}
LONG_TAGS = (256, 257, 273, 278, 279, 322, 323, 324, 325, 513, 514)

Value = int | bytes | Sequence[int]


def tiff(
    entries: Mapping[int, Value],
    segments: Sequence[bytes],
    *,
    order: str = "<",
    big: bool = False,
    following: int = 0,
    reverse: bool = False,
) -> bytes:
    """A TIFF of these entries by tag, as its specification has it; segments stand where 273 or 324 says.

    Bytes are of type UNDEFINED, numbers SHORT or, for sizes and offsets, LONG.
    """
    offset, count, entry_bytes, head = ("Q", "Q", 20, 16) if big else ("I", "H", 12, 8)
    place = struct.calcsize(offset)
    places = 324 if 322 in entries else 273
    all_entries = {places: [0] * len(segments), **entries}
    all_entries[places + 1 if places == 324 else 279] = list(map(len, segments))
    begin = head + struct.calcsize(count) + entry_bytes * len(all_entries) + place
    packed: dict[int, tuple[int, int, bytes]] = {}
    for tag, value in all_entries.items():
        if isinstance(value, bytes):
            packed[tag] = (7, len(value), value)
            continue
        numbers = [value] if isinstance(value, int) else list(value)
        type_ = (LONG_8 if big else LONG) if tag in LONG_TAGS else SHORT
        packed[tag] = (
            type_,
            len(numbers),
            struct.pack(f"{order}{len(numbers)}{TYPES[type_]}", *numbers),
        )
    values_bytes = sum(
        len(data) + len(data) % 2 for *_, data in packed.values() if len(data) > place
    )
    at, offsets = begin + values_bytes, []
    for segment in segments:
        offsets.append(at)
        at += len(segment)
    type_, length, _ = packed[places]
    packed[places] = (type_, length, struct.pack(f"{order}{length}{TYPES[type_]}", *offsets))
    table, values = b"", b""
    for tag, (type_, length, data) in sorted(packed.items(), reverse=reverse):
        if len(data) > place:
            stored = struct.pack(order + offset, begin + len(values))
            values += data + bytes(len(data) % 2)
        else:
            stored = data.ljust(place, b"\0")
        table += struct.pack(f"{order}HH{offset}", tag, type_, length) + stored
    mark = b"II" if order == "<" else b"MM"
    start = struct.pack(f"{order}HHHQ", 43, 8, 0, 16) if big else struct.pack(f"{order}HI", 42, 8)
    directory = (
        struct.pack(order + count, len(packed)) + table + struct.pack(order + offset, following)
    )
    return b"".join([mark, start, directory, values, *segments])


def rows_of(values: Pixels, depth_bits: int, order: str) -> bytes:
    """Samples (rows, columns, channels) as bytes; each row begins with a byte."""
    rows = values.reshape(len(values), -1)
    if depth_bits == 16:
        return rows.astype(f"{order}u2").tobytes()
    bits = np.unpackbits(rows.astype(np.uint8)[:, :, np.newaxis], axis=2)[:, :, 8 - depth_bits :]
    return np.packbits(bits.reshape(len(rows), -1), axis=1).tobytes()


def stored_as(
    samples: Pixels,
    photometric: int,
    *,
    depth_bits: int = 8,
    extra: Sequence[int] = (),
    compression: int = NONE,
    planar: bool = False,
    predictor: bool = False,
    tile: tuple[int, int] | None = None,
    strip_rows: int = 5,
    order: str = "<",
    big: bool = False,
    fill_order: int = 1,
    **entries: Any,
) -> bytes:
    """A TIFF of samples (H, W, C); ``entries`` are further ones, as ``t320=...``."""
    height, width, channels = samples.shape
    planes = [samples[:, :, at : at + 1] for at in range(channels)] if planar else [samples]
    across, down = tile or (width, strip_rows)
    segments = []
    for plane, top, left in itertools.product(
        planes, range(0, height, down), range(0, width, across)
    ):
        part = plane[top : top + down, left : left + across]
        if tile:
            part = np.pad(part, ((0, down - len(part)), (0, across - part.shape[1]), (0, 0)))
        if predictor:
            part = np.diff(part, axis=1, prepend=part.dtype.type(0))  # modulo its type
        segment = PACK[compression](_reversed(rows_of(part, depth_bits, order), fill_order == 3))
        segments.append(_reversed(segment, fill_order == 2))
    layout: dict[int, Value] = {
        256: width,
        257: height,
        258: [depth_bits] * channels,
        259: compression,
        262: photometric,
        266: fill_order,
        277: channels,
        284: 2 if planar else 1,
        317: 2 if predictor else 1,
        **({338: extra} if extra else {}),
        **({322: across, 323: down} if tile else {278: strip_rows}),
        **{int(name[1:]): value for name, value in entries.items()},
    }
    return tiff(layout, segments, order=order, big=big)


def _reversed(data: bytes, is_reversed: bool) -> bytes:
    if not is_reversed:
        return data
    bits = np.unpackbits(np.frombuffer(data, np.uint8)).reshape(-1, 8)
    return np.packbits(bits[:, ::-1], axis=1).tobytes()


def in_16_bits(samples: Pixels, photometric: int) -> Pixels:
    """The same values in 16 bits; a* and b* of Lab count in 256ths (TIFF 6.0, section 23)."""
    wide = samples.astype(np.uint16) * 257
    if photometric == LAB:
        wide[:, :, 1:3] = samples[:, :, 1:3].astype(np.uint16) * 256
    return wide


def codes(picture: Picture) -> list[str]:
    """The notes' codes."""
    return [note.code for note in picture.notes]


def shown(data: bytes) -> Picture:
    """The decoded picture, which ``probe`` has announced."""
    header, picture = probe(data), decode(data)
    assert (header.width_px, header.height_px) == (picture.width_px, picture.height_px)
    assert header.depth_bits == picture.depth_bits
    assert header.may_be_transparent is picture.has_alpha
    return picture


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

OFF_BY = {CMYK: 1, LAB: 2}
"""Code values by which conversions in 8 and in 16 bits may differ; profiles' arithmetic is less exact in 8."""


def assert_twins(photometric: int, samples: Pixels, extra: Sequence[int], **how: Any) -> None:
    """8 and 16 bits of a layout come back as one picture, with the same notes."""
    shallow = shown(stored_as(samples, photometric, extra=extra, **how))
    deep = shown(
        stored_as(in_16_bits(samples, photometric), photometric, depth_bits=16, extra=extra, **how)
    )
    assert shallow.samples.dtype == np.uint8
    assert deep.samples.dtype == np.uint16
    assert shallow.samples.shape == deep.samples.shape
    assert shallow.notes == deep.notes
    off_by = max(OFF_BY.get(photometric, 0), int(PREMULTIPLIED in extra))
    difference = np.abs(shallow.samples.astype(int) - to_8_bits(deep.samples))
    assert difference.max() <= off_by


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


def ycbcr(
    samples: Pixels, shared: tuple[int, int], tile: tuple[int, int] | None, compression: int
) -> bytes:
    """A TIFF of (H, W, 3) whose Cb and Cr are the first of each block (TIFF 6.0, section 21)."""
    height, width, _ = samples.shape
    across, down = shared
    segment = tile or (width, 16)
    segments = []
    for top, left in itertools.product(range(0, height, segment[1]), range(0, width, segment[0])):
        part = samples[top : top + segment[1], left : left + segment[0]]
        rows, columns = (segment[1], segment[0]) if tile else part.shape[:2]
        rows, columns = -(-rows // down) * down, -(-columns // across) * across
        part = np.pad(part, ((0, rows - len(part)), (0, columns - part.shape[1]), (0, 0)), "edge")
        units = part[:, :, 0].reshape(rows // down, down, columns // across, across)
        luma = units.transpose(0, 2, 1, 3).reshape(rows // down, columns // across, -1)
        whole = np.concatenate([luma, part[::down, ::across, 1:]], axis=2)
        segments.append(PACK[compression](whole.tobytes()))
    layout: dict[int, Value] = {
        256: width,
        257: height,
        258: [8] * 3,
        259: compression,
        262: YCBCR,
        277: 3,
        530: shared,
        **({322: segment[0], 323: segment[1]} if tile else {278: 16}),
    }
    return tiff(layout, segments)


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


# What is not read, and why


REFUSED: dict[str, tuple[bytes, str]] = {
    "WebP": (stored_as(noise(4, 4, 3), RGB, t259=50001), "WebP compression"),
    "JPEG 2000": (stored_as(noise(4, 4, 3), RGB, t259=34712), "JPEG 2000 compression"),
    "LERC": (stored_as(noise(4, 4, 1), BLACK_IS_ZERO, t259=34887), "LERC compression"),
    "JPEG XL": (stored_as(noise(4, 4, 3), RGB, t259=50002), "JPEG XL compression"),
    "unknown": (stored_as(noise(4, 4, 3), RGB, t259=60000), r"unknown \(60000\) compression"),
    "JPEG of CMYK and alpha": (
        stored_as(noise(4, 4, 5), CMYK, extra=[STRAIGHT], t259=JPEG),
        "5 channels of cmyk in JPEG compression",
    ),
    "LogLuv": (stored_as(noise(4, 4, 3), 32845), "LogLuv"),
    "ICC Lab": (stored_as(noise(4, 4, 3), 9), "ICC Lab"),
    "unknown colours": (stored_as(noise(4, 4, 3), 77), "this kind of colour"),
    "inks": (stored_as(noise(4, 4, 4), CMYK, t332=2), "inks other than CMYK"),
    "volume": (stored_as(noise(4, 4, 1), BLACK_IS_ZERO, t32997=2), "volumes"),
    "channels": (stored_as(noise(4, 4, 9), RGB, extra=[0] * 6), "9 channels"),
    "12 bits": (stored_as(noise(4, 4, 1), BLACK_IS_ZERO, t258=12), "12 bits"),
    "floating point": (stored_as(noise(4, 4, 1), BLACK_IS_ZERO, t339=3), "floating point"),
    "predictor": (stored_as(noise(4, 4, 3), RGB, compression=LZW, t317=3), "predictor 3"),
    "palette of 16 bits": (
        stored_as(noise(4, 4, 1), PALETTE, t258=16, t320=[0] * 3),
        "16 bits per sample",
    ),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_cannot_be_read_is_not_called_broken(name: str) -> None:
    """The reason is named, and what to do; where the header tells, before a pixel is decoded."""
    data, reason = REFUSED[name]
    with pytest.raises(UnsupportedFormat, match=f"{reason}.* is not read here; "):
        decode(data)


# Damage


def with_entry(data: bytes, tag: int, type_: int, count: int, value: bytes | int) -> bytes:
    """The same little-endian file with one more entry: its value, or where it is said to stand."""
    (at,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, at)
    table = data[at + 2 : at + 2 + 12 * entries]
    data += bytes(len(data) % 2)
    if isinstance(value, bytes):
        place = len(data)
        data += value + bytes(len(value) % 2)
    else:
        place = value
    one = struct.pack("<HHII", tag, type_, count, place)
    rows = sorted([*(table[at : at + 12] for at in range(0, len(table), 12)), one])
    rows.sort(key=lambda row: struct.unpack_from("<H", row))
    directory = struct.pack("<H", entries + 1) + b"".join(rows) + bytes(4)
    return data[:4] + struct.pack("<I", len(data)) + data[8:] + directory


LAYOUTS = {
    "8 bits": noise(12, 13, 3),
    "16 bits": in_16_bits(noise(12, 13, 3), RGB),
}

DAMAGED: dict[str, tuple[tuple[int, int, int, bytes | int], str]] = {
    "description beyond the end": ((270, 2, 40, 1 << 30), "exif_entries_dropped"),
    "description of type 0": ((270, 0, 40, 8), "exif_entries_dropped"),
    "EXIF nowhere": ((34665, LONG, 1, 0x7FFFFFFF), "exif_entries_dropped"),
    "EXIF of text": ((34665, 2, 9, 8), "exif_entries_dropped"),
    "GPS nowhere": ((34853, LONG, 1, 0xFFFFFFF0), "exif_entries_dropped"),
    "profile beyond the end": ((34675, 7, 500, 1 << 24), "icc_dropped"),
    "profile of any size": ((34675, 7, 0xFFFFFFFF, 8), "icc_dropped"),
    "profile of zeros": ((34675, 7, 500, bytes(500)), "icc_dropped"),
    "profile of unknown type": ((34675, 99, 500, 8), "icc_dropped"),
    "XMP beyond the end": ((700, 1, 500, 1 << 24), "xmp_dropped"),
    "IPTC beyond the end": ((33723, 7, 500, 1 << 24), "iptc_dropped"),
    "unknown tag beyond the end": ((60001, 4, 9999, 1 << 24), "damage_ignored"),
    "resolution beyond the end": ((282, RATIONAL, 1, 1 << 24), "damage_ignored"),
    "page number of unknown type": ((297, 77, 1, 0), "damage_ignored"),
    "orientation of unknown type": ((274, 77, 1, 3), "damage_ignored"),
    "ImageJ, whose readers trust it": ((50839, 1, 400, 1 << 24), "damage_ignored"),
}


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
@pytest.mark.parametrize("name", sorted(DAMAGED))
def test_damage_outside_the_pixels_costs_a_note(name: str, layout: str) -> None:
    """The picture is whole, whatever an entry that holds no pixels says; the note names what is lost."""
    entry, code = DAMAGED[name]
    samples = LAYOUTS[layout]
    depth_bits = samples.itemsize * 8
    picture = shown(with_entry(stored_as(samples, RGB, depth_bits=depth_bits), *entry))
    assert np.array_equal(picture.samples, samples)
    assert codes(picture) == [code]


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_damaged_entry_leaves_the_others(layout: str) -> None:
    """The profile, the resolution and the camera's maker stay when another entry is damaged."""
    samples = LAYOUTS[layout]
    data = stored_as(samples, RGB, depth_bits=samples.itemsize * 8, t34675=SRGB)
    data = with_entry(data, 271, 2, 6, b"Maker\0")
    for tag in (282, 283):
        data = with_entry(data, tag, RATIONAL, 1, struct.pack("<II", 300, 1))
    picture = shown(with_entry(data, 34665, LONG, 1, 0x7FFFFFFF))
    assert (picture.icc, picture.dpi) == (SRGB, (300, 300))
    assert b"Maker" in (picture.exif or b"")
    assert codes(picture) == ["exif_entries_dropped"]


def packed_by_all() -> dict[str, bytes]:
    """A picture through each decoder."""
    smooth = Image.fromarray(np.tile(np.arange(0, 240, 8).astype(np.uint8), (20, 1)))
    bits = smooth.convert("1")
    return {
        "8 bits": stored_as(noise(12, 13, 3), RGB),
        "16 bits": stored_as(in_16_bits(noise(12, 13, 3), RGB), RGB, depth_bits=16),
        "fax": encoded(bits, "TIFF", compression="group4"),
        "jpeg": encoded(smooth.convert("RGB"), "TIFF", compression="jpeg"),
        "ycbcr": ycbcr(noise(20, 30, 3), (2, 2), None, LZW),
    }


@pytest.mark.parametrize("name", sorted(packed_by_all()))
def test_untidy_directory_costs_nothing(name: str) -> None:
    """Entries in any order, a page that leads nowhere, bytes behind the end: whichever library decodes."""
    data = packed_by_all()[name]
    expected = decode(data).samples
    (at,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, at)
    end = at + 2 + 12 * entries
    rows = [data[place : place + 12] for place in range(at + 2, end, 12)]
    unsorted = data[: at + 2] + b"".join(reversed(rows)) + data[end:]
    assert np.array_equal(shown(unsorted).samples, expected)
    assert codes(shown(unsorted)) == []
    assert np.array_equal(shown(data + noise(777).tobytes()).samples, expected)
    nowhere = data[:end] + struct.pack("<I", 0x7FFFFFF0) + data[end + 4 :]
    picture = shown(nowhere)
    assert np.array_equal(picture.samples, expected)
    assert codes(picture) == ["damage_ignored"]


def test_directory_that_states_too_many_entries_is_read_as_far_as_it_goes() -> None:
    """What there is of it says how the pixels are stored."""
    samples = noise(12, 13, 3)
    data = bytearray(with_entry(stored_as(samples, RGB), 305, 2, 4, b"abc\0"))
    (at,) = struct.unpack_from("<I", data, 4)
    struct.pack_into("<H", data, at, 500)
    picture = shown(bytes(data))
    assert np.array_equal(picture.samples, samples)
    assert "damage_ignored" in codes(picture)


def test_sizes_of_strips_that_are_missing_or_wrong_follow_from_the_picture() -> None:
    """Where the pixels are not compressed, or each strip ends where the next begins."""
    samples = noise(12, 13, 3)
    for strip_rows, compression in ((12, NONE), (5, NONE), (5, LZW), (12, ADOBE_DEFLATE)):
        data = stored_as(samples, RGB, strip_rows=strip_rows, compression=compression)
        at = data.index(struct.pack("<HH", 279, LONG))
        missing = data[:at] + struct.pack("<H", 280) + data[at + 2 :]
        assert np.array_equal(decode(missing).samples, samples)
    data = stored_as(samples, RGB, strip_rows=12)
    entry = struct.pack("<HHII", 279, LONG, 1, 12 * 13 * 3)
    for wrong in (0, 5, 99999):
        untrue = data.replace(entry, struct.pack("<HHII", 279, LONG, 1, wrong))
        assert untrue != data
        assert np.array_equal(decode(untrue).samples, samples)


@pytest.mark.parametrize("compression", sorted(PACK))
@pytest.mark.parametrize("tile", [None, (16, 16)], ids=["strips", "tiles"])
def test_damaged_pixels_are_never_a_picture(compression: int, tile: tuple[int, int] | None) -> None:
    """Segments that are cut short, missing or too few: broken, and no black in the place of the picture."""
    how: dict[str, Any] = {"compression": compression, "tile": tile}
    data = stored_as(noise(40, 20, 3), RGB, **how)
    with pytest.raises(UnreadableImage):
        decode(data[:-9])
    # Fewer offsets than a picture of these sides has segments.
    with pytest.raises(UnreadableImage):
        decode(stored_as(noise(40, 20, 3), RGB, **how, t257=400))
    for tag in (324, 325) if tile else (273, 279):
        (numbers,) = struct.unpack_from("<I", data, data.index(struct.pack("<HH", tag, LONG)) + 8)
        with pytest.raises(UnreadableImage):
            decode(data[:numbers] + bytes(4) + data[numbers + 4 :])


@pytest.mark.parametrize("tag", [256, 257, 258, 259, 262, 273, 277])
def test_damaged_entry_that_pixels_need_is_a_broken_file(tag: int) -> None:
    """Nothing is guessed where the file says something that cannot be read."""
    data = stored_as(noise(12, 13, 3), RGB)
    at = next(at for at in range(10, 200, 12) if struct.unpack_from("<H", data, at) == (tag,))
    broken = data[: at + 2] + struct.pack("<H", 77) + data[at + 4 :]
    for ask in (probe, decode):
        with pytest.raises(UnreadableImage):
            ask(broken)


def test_photometric_interpretation_that_is_missing_is_guessed() -> None:
    """As libtiff does: gray whose black is 0, RGB, and white paper for fax."""
    for samples in (noise(5, 6, 1), noise(5, 6, 3)):
        data = stored_as(samples, BLACK_IS_ZERO)
        at = data.index(struct.pack("<HHI", 262, SHORT, 1))
        missing = data[:at] + struct.pack("<H", 263) + data[at + 2 :]
        assert np.array_equal(decode(missing).samples, samples)


def test_tile_larger_than_memory_is_refused_before_it_is_made() -> None:
    """A tile may be larger than its picture, and then only so much larger."""
    data = stored_as(noise(4, 4, 3), RGB, tile=(64, 64), compression=ADOBE_DEFLATE, t322=60_000)
    with pytest.raises(UnreadableImage):
        decode(data)
    data = stored_as(
        noise(4, 4, 3), RGB, tile=(64, 64), compression=ADOBE_DEFLATE, t322=60_000, t323=60_000
    )
    with pytest.raises(UnreadableImage, match="memory"):
        decode(data)


@pytest.mark.parametrize("photometric", [CMYK, LAB])
def test_profile_leads_8_and_16_bits_to_the_same_colours(photometric: int) -> None:
    """With alpha beside them, and in planes."""
    samples = noise(9, 11, COLOURS[photometric] + 1)
    entries = {"t34675": cmyk_profile()} if photometric == CMYK else {}
    for planar in (False, True):
        assert_twins(photometric, samples, (STRAIGHT,), planar=planar, **entries)


SEEDS = [
    *packed_by_all().values(),
    stored_as(noise(9, 8, 5), CMYK, extra=[STRAIGHT], planar=True, compression=LZW, predictor=True),
    stored_as(noise(9, 8, 1) >> 4, PALETTE, depth_bits=4, t320=[257] * 48, big=True, order=">"),
    stored_as(noise(9, 8, 2), WHITE_IS_ZERO, extra=[PREMULTIPLIED], tile=(16, 16)),
]


@settings(max_examples=400)
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6),
    part=st.floats(0.3, 1),
)
def test_damaged_files_raise_nothing_but_our_errors(
    seed: bytes, changes: list[tuple[int, int]], part: float
) -> None:
    """Whatever the directory says, a picture comes out or one of two refusals, and both questions agree."""
    damaged = bytearray(seed[: int(len(seed) * part)])
    for position, value in changes:
        damaged[position % len(damaged)] = value
    data = bytes(damaged)
    try:
        header = probe(data)
        if header.width_px * header.height_px > 1 << 20:
            return
        picture = decode(data)
    except (UnreadableImage, UnsupportedFormat):
        return
    assert (picture.height_px, picture.width_px) == (header.height_px, header.width_px)
