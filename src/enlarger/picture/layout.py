"""How a TIFF stores its samples: read from its directory, and written anew for the libraries that decode it.

The directory that the libraries read is written here and contains only the sample layout. Nothing else in the file's
own directory reaches a decoder, whether intact or damaged. Values that are missing or doubtful are resolved once, in
the same way as in libtiff.
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from enlarger.errors import UnreadableImage
from enlarger.picture.exif import Block, ByteOrder, Entry

# Values of Compression.
NONE, FAX_RUNS, FAX_3, FAX_4, LZW, OLD_JPEG, JPEG = 1, 2, 3, 4, 5, 6, 7
ADOBE_DEFLATE, FAX_WORDS, PACK_BITS, THUNDER, DEFLATE = 8, 32771, 32773, 32809, 32946
LZMA, ZSTANDARD = 34925, 50000

# Values of PhotometricInterpretation.
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8

_FAX = (FAX_RUNS, FAX_3, FAX_4, FAX_WORDS)
_PREDICTED = (LZW, ADOBE_DEFLATE, DEFLATE, LZMA, ZSTANDARD)
"""Compressions that use Predictor (TIFF 6.0, section 14); others ignore it."""

# Tags of TIFF 6.0, of its technical notes, and of libtiff.
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_FILL_ORDER, _STRIP_OFFSETS, _CHANNELS, _STRIP_ROWS, _STRIP_BYTES = 266, 273, 277, 278, 279
_PLANAR, _PREDICTOR, _COLOUR_MAP = 284, 317, 320
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES = 322, 323, 324, 325
_INK_SET, _EXTRA_SAMPLES, _SAMPLE_FORMAT, _DEPTH = 332, 338, 339, 32997
_LUMA, _SUBSAMPLING, _REFERENCE = 529, 530, 532
_OF_CODECS = (
    *(292, 293, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521),
    *(_LUMA, _SUBSAMPLING, 531, _REFERENCE),
)
"""Tags that are copied for libtiff: fax options, JPEG tables, JPEG of TIFF 6.0, and the construction of YCbCr."""

_NEEDED = frozenset(
    {
        *(_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _STRIP_OFFSETS),
        *(_CHANNELS, _STRIP_ROWS, _PLANAR, _PREDICTOR, _COLOUR_MAP, _TILE_WIDTH, _TILE_HEIGHT),
        *(_TILE_OFFSETS, _INK_SET, _EXTRA_SAMPLES, _SAMPLE_FORMAT, _DEPTH),
        *_OF_CODECS,
    }
)
"""If one of these exists and is damaged, the samples cannot be decoded."""

_SHORT, _LONG = 3, 4
_WHOLE = {1: "B", _SHORT: "H", _LONG: "I", 6: "b", 8: "h", 9: "i", 13: "I"}
_WHOLE |= {16: "Q", 17: "q", 18: "Q"}
_RATIONAL = {5: "I", 10: "i"}
_FLOATING = {11: "f", 12: "d"}
"""Types of numbers (TIFF 6.0, section 2, and BigTIFF), as ``struct`` names them."""

_LONGS = frozenset(
    {
        *(_WIDTH, _HEIGHT, _STRIP_OFFSETS, _STRIP_ROWS, _STRIP_BYTES),
        *(_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES),
    }
)
"""Tags whose values may need 32 bits."""

_HEADER_BYTES = 8
_MOST_SIDE_PX = (1 << 31) - 1

_LUMA_OF_BT_601 = (0.299, 0.587, 0.114)
_FULL_RANGE = (0, 255, 128, 255, 128, 255)
"""The default of a file without a value (TIFF 6.0, section 21, and libtiff's choice of ReferenceBlackWhite)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The storage format of samples."""

    order: ByteOrder
    width_px: int
    height_px: int
    channels: int
    """Samples per pixel: colour, alpha and any others."""

    depths_bits: tuple[int, ...]
    """Bits per sample, by channel."""

    formats: tuple[int, ...] = (1,)
    """SampleFormat, by channel or for all: 1 for unsigned."""

    compression: int = NONE
    photometric: int = BLACK_IS_ZERO
    extra: tuple[int, ...] = ()
    """ExtraSamples as stated. The true number of extra channels may differ."""

    is_planar: bool = False
    """Whether channels are stored one after another, each in segments of its own."""

    fill_order: int = 1
    predictor: int = 1
    ink_set: int = 1
    slices: int = 1
    """ImageDepth: more than one is a volume."""

    tile_px: tuple[int, int] | None = None
    """Width and height of tiles; None for strips."""

    strip_rows: int = _MOST_SIDE_PX
    offsets: tuple[int, ...] = ()
    """Positions of the segments, strips or tiles, in the file."""

    sizes: tuple[int, ...] = ()
    """Size of each segment in bytes; empty if the file does not state it."""

    colour_map: tuple[int, ...] = ()
    """All reds, then greens, then blues, 16 bits each."""

    subsampling: tuple[int, int] = (2, 2)
    """Number of pixels across and down that share one Cb and Cr."""

    luma: tuple[float, ...] = _LUMA_OF_BT_601
    """YCbCrCoefficients: shares of red, green and blue in Y."""

    reference: tuple[float, ...] = _FULL_RANGE
    """ReferenceBlackWhite: codes of black and white for Y, Cb and Cr."""

    of_codecs: Mapping[int, Entry] = field(default_factory=dict)

    @property
    def depth_bits(self) -> int | None:
        """Bits per sample; None if channels differ."""
        return self.depths_bits[0] if len(set(self.depths_bits)) == 1 else None

    @property
    def segment_px(self) -> tuple[int, int]:
        """Width and height of a strip or tile; the last strip may have fewer rows."""
        return self.tile_px or (self.width_px, min(self.strip_rows, self.height_px))

    @property
    def segment_bytes(self) -> int:
        """Size of a complete uncompressed strip or tile in bytes; each row begins with a new byte."""
        width_px, rows = self.segment_px
        return self._row_bytes(width_px) * rows

    def _row_bytes(self, width_px: int) -> int:
        if self.is_planar:
            return math.ceil(width_px * max(self.depths_bits) / 8)
        return math.ceil(width_px * sum(self.depths_bits) / 8)

    def with_whole_segments(self, file_bytes: int) -> Layout:
        """Return the layout with the place of every segment resolved, without surplus segments.

        The size of uncompressed data follows from the picture, since some programs state it wrongly. If no sizes are
        stated, a segment ends where the next begins.

        Raises:
            UnreadableImage: segments are missing, or not completely in the file.
        """
        width_px, rows = self.segment_px
        if not width_px or not rows:
            raise UnreadableImage("the file is broken or cut short")
        down = math.ceil(self.height_px / rows)
        count = math.ceil(self.width_px / width_px) * down
        count *= self.channels if self.is_planar else 1
        if len(self.offsets) < count or 0 < len(self.sizes) < count:
            raise UnreadableImage("the file is broken or cut short")
        offsets, sizes = self.offsets[:count], self.sizes[:count]
        if not sizes:
            follows = sorted({*offsets, file_bytes})
            ends = dict(itertools.pairwise(follows))
            sizes = tuple(max(0, ends.get(offset, 0) - offset) for offset in offsets)
        if self.compression == NONE:
            last_rows = rows if self.tile_px else self.height_px - (down - 1) * rows
            row_bytes = self._row_bytes(width_px)
            whole = [
                row_bytes * (last_rows if at % down == down - 1 and not self.tile_px else rows)
                for at in range(count)
            ]
            # A single wrong size is a common fault of writers, which libtiff also repairs.
            sizes = tuple(whole) if count == 1 else tuple(map(min, sizes, whole))
        for offset, size in zip(offsets, sizes, strict=True):
            # Libraries would leave these pixels black. If a size or an offset is 0, the segment is not in the file.
            if size <= 0 or offset < _HEADER_BYTES or offset + size > file_bytes:
                raise UnreadableImage("the file is broken or cut short")
        return replace(self, offsets=offsets, sizes=sizes)

    def in_units(self) -> Layout:
        """Return the layout of subsampled YCbCr in units: the samples of a unit are its pixels, and Cb and Cr.

        In TIFF 6.0, section 21, units are stored like pixels, each with all its Y, then Cb and Cr.
        """
        across, down = self.subsampling
        channels = across * down + 2
        return replace(
            self,
            width_px=math.ceil(self.width_px / across),
            height_px=math.ceil(self.height_px / down),
            channels=channels,
            depths_bits=(8,) * channels,
            extra=(),
            photometric=BLACK_IS_ZERO,
            tile_px=self.tile_px
            and (math.ceil(self.tile_px[0] / across), math.ceil(self.tile_px[1] / down)),
            strip_rows=math.ceil(self.strip_rows / down),
        )

    def written_for_tifffile(self, data: bytes) -> bytes:
        """Return the file with a directory from which tifffile reads samples as stored, without interpretation."""
        plain = replace(self, photometric=BLACK_IS_ZERO, extra=(), of_codecs={})
        return _with_directory(data, plain.order, plain._entries())

    def written_for_libtiff(self, data: bytes) -> bytes:
        """Return the file with a directory that only says how its samples are stored."""
        entries = self._entries()
        for tag, entry in self.of_codecs.items():
            numbers = whole_numbers(entry, self.order) if entry.type in (16, 18) else None
            entries[tag] = Entry(_LONG, *_packed(self.order, "I", numbers)) if numbers else entry
        if self.colour_map:
            entries[_COLOUR_MAP] = Entry(_SHORT, *_packed(self.order, "H", self.colour_map))
        return _with_directory(data, self.order, entries)

    def _entries(self) -> dict[int, Entry]:
        places = (_TILE_OFFSETS, _TILE_BYTES) if self.tile_px else (_STRIP_OFFSETS, _STRIP_BYTES)
        numbers: dict[int, Sequence[int]] = {
            _WIDTH: (self.width_px,),
            _HEIGHT: (self.height_px,),
            _BITS: self.depths_bits,
            _COMPRESSION: (self.compression,),
            _PHOTOMETRIC: (self.photometric,),
            _FILL_ORDER: (self.fill_order,),
            _CHANNELS: (self.channels,),
            _PLANAR: (2 if self.is_planar else 1,),
            _EXTRA_SAMPLES: self.extra,
            places[0]: self.offsets,
            places[1]: self.sizes,
        }
        if self.predictor != 1 and self.compression in _PREDICTED:
            numbers[_PREDICTOR] = (self.predictor,)
        if self.tile_px:
            numbers[_TILE_WIDTH], numbers[_TILE_HEIGHT] = (self.tile_px[:1], self.tile_px[1:])
        else:
            numbers[_STRIP_ROWS] = (self.segment_px[1],)
        entries = {}
        for tag, values in numbers.items():
            type_, kind = (_LONG, "I") if tag in _LONGS else (_SHORT, "H")
            if values:
                entries[tag] = Entry(type_, *_packed(self.order, kind, values))
        return entries


def layout(block: Block) -> Layout:
    """Return the layout of the samples that a TIFF's directory describes.

    Raises:
        UnreadableImage: the directory has no such description, or a damaged one.
    """
    reader = _Reader(block)
    if any(tag in block.damaged_tags and tag not in block.directory for tag in _NEEDED):
        raise UnreadableImage("the file is broken or cut short")
    width_px, height_px = reader.number(_WIDTH), reader.number(_HEIGHT)
    if width_px is None or height_px is None:
        raise UnreadableImage("the file is broken or cut short")
    compression = reader.number_or(NONE, _COMPRESSION)
    is_old_jpeg = compression == OLD_JPEG
    depths_bits = reader.numbers(_BITS) or ((8,) if is_old_jpeg else (1,))
    photometric = reader.number(_PHOTOMETRIC)
    if is_old_jpeg and photometric in (None, RGB):
        photometric = (
            YCBCR  # libtiff 4.7, tif_dirread.c: such files contain YCbCr whatever they state
        )
    channels = reader.number(_CHANNELS)
    if channels is None:
        channels = 3 if is_old_jpeg and photometric == YCBCR else len(depths_bits)
    extra = reader.numbers(_EXTRA_SAMPLES)
    if photometric is None:
        photometric = _guessed(channels - len(extra), compression)
    tile_px = reader.number(_TILE_WIDTH), reader.number(_TILE_HEIGHT)
    across, down = (*reader.numbers(_SUBSAMPLING), 2, 2)[:2]
    return Layout(
        order=block.order,
        width_px=_side(width_px),
        height_px=_side(height_px),
        channels=channels,
        depths_bits=_by_channel(depths_bits, channels),
        formats=reader.numbers(_SAMPLE_FORMAT)[: max(channels, 1)] or (1,),
        compression=compression,
        photometric=photometric,
        extra=extra,
        is_planar=reader.number_or(1, _PLANAR) == 2 and channels > 1,
        fill_order=reader.number_or(1, _FILL_ORDER),
        predictor=reader.number_or(1, _PREDICTOR) if compression in _PREDICTED else 1,
        ink_set=reader.number_or(1, _INK_SET),
        slices=reader.number_or(1, _DEPTH),
        tile_px=(_side(tile_px[0]), _side(tile_px[1])) if tile_px[0] and tile_px[1] else None,
        strip_rows=min(reader.number_or(0, _STRIP_ROWS) or _MOST_SIDE_PX, _MOST_SIDE_PX),
        offsets=reader.numbers(_TILE_OFFSETS) or reader.numbers(_STRIP_OFFSETS),
        sizes=reader.numbers(_TILE_BYTES) or reader.numbers(_STRIP_BYTES),
        colour_map=reader.numbers(_COLOUR_MAP),
        subsampling=(across, down),
        luma=reader.ratios(_LUMA, 3) or _LUMA_OF_BT_601,
        reference=reader.ratios(_REFERENCE, 6) or _FULL_RANGE,
        of_codecs={
            tag: entry
            for tag, entry in block.directory.items()
            if tag in _OF_CODECS and isinstance(entry, Entry)
        },
    )


def whole_numbers(entry: Entry, order: ByteOrder) -> tuple[int, ...]:
    """Return the entry's values; an empty tuple if they are not whole numbers."""
    kind = _WHOLE.get(entry.type)
    return struct.unpack(f"{order}{entry.count}{kind}", entry.data) if kind else ()


def ratios(entry: Entry, order: ByteOrder) -> tuple[float, ...]:
    """Return the entry's values; an empty tuple if one of them is not a finite number."""
    whole = whole_numbers(entry, order)
    if whole:
        return whole
    if entry.type in _FLOATING:
        found = struct.unpack(f"{order}{entry.count}{_FLOATING[entry.type]}", entry.data)
        return found if all(map(math.isfinite, found)) else ()
    if entry.type not in _RATIONAL:
        return ()
    parts = struct.unpack(f"{order}{2 * entry.count}{_RATIONAL[entry.type]}", entry.data)
    if 0 in parts[1::2]:
        return ()
    return tuple(above / below for above, below in zip(parts[::2], parts[1::2], strict=True))


@dataclass(frozen=True, slots=True)
class _Reader:
    """The values of a directory by tag."""

    block: Block

    def numbers(self, tag: int) -> tuple[int, ...]:
        """Return whole, non-negative numbers; an empty tuple if the tag is missing.

        Raises:
            UnreadableImage: the tag exists and holds something else.
        """
        entry = self.block.directory.get(tag)
        if entry is None:
            return ()
        found = whole_numbers(entry, self.block.order) if isinstance(entry, Entry) else ()
        if tag in (_STRIP_BYTES, _TILE_BYTES) and (not found or min(found) < 0):
            return ()  # the values follow from other tags
        if isinstance(entry, Entry) and entry.count and (not found or min(found) < 0):
            raise UnreadableImage("the file is broken or cut short")
        return found

    def number(self, tag: int) -> int | None:
        """Return the first whole number of a tag; None if the tag is missing."""
        found = self.numbers(tag)
        return found[0] if found else None

    def number_or(self, default: int, tag: int) -> int:
        """Return the first whole number of a tag, or the default if the tag is missing."""
        found = self.numbers(tag)
        return found[0] if found else default

    def ratios(self, tag: int, count: int) -> tuple[float, ...]:
        """Return this many finite numbers, or none."""
        entry = self.block.directory.get(tag)
        found = ratios(entry, self.block.order) if isinstance(entry, Entry) else ()
        return found if len(found) == count else ()


def _guessed(colours: int, compression: int) -> int:
    """Return the photometric interpretation of a file that states none, guessed as in libtiff (tif_getimage.c)."""
    if colours >= 3:
        return RGB
    return WHITE_IS_ZERO if compression in _FAX else BLACK_IS_ZERO


def _side(stated: int) -> int:
    if stated > _MOST_SIDE_PX:
        raise UnreadableImage("the file is broken or cut short")
    return stated


def _by_channel(depths_bits: tuple[int, ...], channels: int) -> tuple[int, ...]:
    """Return one depth for each channel. A file may state one for all, or more than it has channels."""
    if channels > len(depths_bits) and len(set(depths_bits)) == 1:
        return depths_bits[:1] * min(channels, 64)
    return depths_bits[: max(channels, 1)]


def _packed(order: ByteOrder, kind: str, values: Sequence[int]) -> tuple[int, bytes]:
    return len(values), struct.pack(f"{order}{len(values)}{kind}", *values)


def _with_directory(data: bytes, order: ByteOrder, entries: Mapping[int, Entry]) -> bytes:
    """Return the file as a TIFF with 32-bit offsets, and these entries as its only directory, at its end."""
    begin = len(data) + len(data) % 2
    behind = begin + 2 + 12 * len(entries) + 4
    table, values = [], []
    for tag, entry in sorted(entries.items()):
        stored = entry.data.ljust(4, b"\0")
        if len(stored) > 4:
            stored += bytes(len(stored) % 2)
            values.append(stored)
            place, behind = behind, behind + len(stored)
            stored = struct.pack(f"{order}I", place)
        table.append(struct.pack(f"{order}HHI", tag, entry.type, entry.count) + stored)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", begin)
    padding = bytes(len(data) % 2)
    count = struct.pack(f"{order}H", len(entries))
    return b"".join(
        [head, memoryview(data)[_HEADER_BYTES:], padding, count, *table, bytes(4), *values]
    )
