"""TIFF files of any layout, for tests."""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import imagecodecs
import numpy as np

from enlarger.geometry.rect import Pixels
from enlarger.picture.decode import decode, probe
from enlarger.picture.values import Picture, to_8_bits

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
