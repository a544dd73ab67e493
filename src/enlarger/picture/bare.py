"""Reduces a file to the parts that hold or describe its pixels, and repairs its end, before a decoder reads it.

Decoders refuse a whole picture because of a text that is too long, a wrong checksum of a chunk that states the
resolution, a wrong length, or a missing end marker. So each file is written anew from the parts that hold or describe
its pixels. Metadata is read from the original file: see ``metadata``. GIF files are handled in ``gif``.

Files are not trusted. Each is read once from start to end, and a part that reaches beyond the end of the file ends
there. Bytes are copied once, and only if something is left out.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import PngImagePlugin

from enlarger.errors import UnreadableImage, UnsupportedFormat
from enlarger.picture import avif, jpeg
from enlarger.picture.chunks import png_chunk, webp_chunks
from enlarger.picture.values import Note

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_SIGNATURE = b"\xff\xd8\xff"

_FRAMES = frozenset({b"fcTL", b"fdAT"})
"""Chunks of frames: their names mark them as ancillary, but they hold pixels."""

_LEAST_BYTES = {
    b"tRNS": 1,
    b"gAMA": 4,
    b"cHRM": 32,
    b"sRGB": 1,
    b"iCCP": 3,
    b"cICP": 4,
    b"mDCV": 24,
    b"mDCv": 24,
    b"cLLI": 8,
    b"cLLi": 8,
    b"sBIT": 1,
    b"pHYs": 9,
    b"acTL": 8,
    b"fcTL": 26,
    b"bKGD": 1,
    b"hIST": 2,
    b"sPLT": 2,
    b"tIME": 7,
}
"""Chunks that describe pixels and frames, with the minimum length of each (PNG third edition, 11.3)."""

_UNUSED = frozenset({b"bKGD", b"hIST", b"sPLT", b"tIME"})
"""Those chunks among them that do not change the visible picture."""

_COLOUR_TYPE_AT = 25
_CLEAR_VALUE_BYTES = {0: 2, 2: 6}
"""Length of ``tRNS`` by colour type: gray, RGB (11.3.1.1)."""

_MOST_CLEAR_BYTES = 256
"""The longest ``tRNS``: one byte for each colour of a palette."""

_SUGGESTED_PALETTE = (2, 6)
"""Colour types, RGB, whose ``PLTE`` is a suggestion (PNG third edition, 11.2.2)."""

_MOST_PROFILE_BYTES = 8 << 20
"""Maximum size of a decompressed colour profile in a PNG. Large profiles for printing have 3 MiB."""

# Profiles are the only compressed blocks that Pillow still reads, and they have passed the limit above.
PngImagePlugin.MAX_TEXT_CHUNK = _MOST_PROFILE_BYTES

_DESCRIBING_SEGMENTS = (
    (jpeg.APP0, b"JFIF\0", 14),
    (jpeg.APP14, b"Adobe", 12),
)
"""Segments of a JPEG that describe pixels (resolution, and the meaning of components): beginning and minimum length."""

_PROFILE_PREFIX = b"ICC_PROFILE\0"

_PADDING = bytes(16)
"""This many zeros at the end of a JPEG are padding, not pixels: some programs reserve space for a file."""

_WEBP_PIXELS = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"})
_WEBP_HEAD_BYTES = 12
_LEAST_FRAME_BYTES = 32
"""The fewest bytes that a frame of an animation takes: two chunks, and its place."""

_UNSET_LENGTH = (1 << 32) - 256
"""The smallest length that is written by programs that did not know the length when they began."""

_WEBP_ANNOUNCES = 0b1100
"""The VP8X flags for EXIF and XMP (RFC 9649, 2.7.1.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bare:
    """The file that a decoder reads."""

    file: bytes
    notes: tuple[Note, ...] = ()
    """The problems of the rest of the file."""

    proofs: tuple[bytes, ...] = ()
    """The same file with other bytes after its pixels. If one of them decodes to another picture, pixels are missing."""

    is_cut: bool = False
    """Whether pixels are certainly missing, although a decoder makes some up."""


def bare(data: bytes) -> Bare:
    """Return the parts of a file that hold or describe its pixels.

    A file of a format that needs no repair is returned unchanged.

    Raises:
        UnsupportedFormat: no decoder here reads this variant of the format.
        UnreadableImage: the data that says where pixels belong is damaged.
    """
    if data.startswith(_PNG_SIGNATURE):
        return _png(data)
    if data.startswith(_JPEG_SIGNATURE):
        return _jpeg(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp(data)
    if data.startswith(b"BM"):
        _check_bmp(data)
    if data[4:12] in avif.BRANDS:
        return Bare(file=avif.without_metadata(data))
    return Bare(file=data)


_BMP_BITS = (1, 4, 8, 16, 24, 32)
_BMP_PACKED = {4: "JPEG", 5: "PNG"}
"""Formats of files inside a BMP, for printers (MS-WMF, 2.1.1.7)."""


def _check_bmp(data: bytes) -> None:
    """Raise ``UnsupportedFormat`` for a BMP variant that no decoder here reads."""
    if len(data) < 34:
        return
    (header_bytes,) = struct.unpack_from("<I", data, 14)
    is_short = header_bytes == 12  # the variant of OS/2
    bits, packed = struct.unpack_from("<HI", data, 28)
    if is_short:
        bits, packed = struct.unpack_from("<H", data, 24)[0], 0
    if packed in _BMP_PACKED:
        raise UnsupportedFormat(
            f"a BMP that holds a {_BMP_PACKED[packed]} is not read here; send that file itself"
        )
    if bits not in _BMP_BITS and bits in range(1, 65):
        raise UnsupportedFormat(
            f"a BMP of {bits} bits per pixel is not read here; convert it to PNG first"
        )


class _Parts:
    """The parts of a new file in their order. Most are copied from the original."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._parts: list[slice | bytes] = []

    def copy(self, begin: int, stop: int) -> None:
        """Copy the next part from the original."""
        last = self._parts[-1] if self._parts else None
        if isinstance(last, slice) and last.stop == begin:
            self._parts[-1] = slice(last.start, stop)
        else:
            self._parts.append(slice(begin, stop))

    def add(self, new: bytes) -> None:
        """Add new bytes."""
        self._parts.append(new)

    def joined(self) -> bytes:
        """Return the file. It is the original object if nothing was left out."""
        if self._parts == [slice(0, len(self._data))]:
            return self._data
        view = memoryview(self._data)
        return b"".join(view[part] if isinstance(part, slice) else part for part in self._parts)


_PngPlace = tuple[bytes, int, int]
"""Type of a chunk, where it begins, and where the next chunk begins."""

_PNG_END = png_chunk(b"IEND", b"")


def _png(data: bytes) -> Bare:
    places = list(_png_places(data))
    if len(data) > _COLOUR_TYPE_AT and data[_COLOUR_TYPE_AT] in _SUGGESTED_PALETTE:
        places = [place for place in places if place[0] != b"PLTE"]
    troubles = {place: _trouble(data, *place) for place in places if place[0] in _LEAST_BYTES}
    control = _control(places, troubles)
    parts = _Parts(data)
    parts.copy(0, len(_PNG_SIGNATURE))
    notes: dict[Note, None] = {}
    for place in places:
        kind, begin, stop = place
        trouble = troubles.get(place)
        if kind == b"IEND" or (kind in _FRAMES and control is None):
            continue
        if place == control and (odd := _miscount(data, place, places)):
            parts.add(odd[0])
            notes[odd[1]] = None
        elif trouble is None and kind not in _UNUSED and stop <= len(data):
            parts.copy(begin, stop)  # decoders check by themselves whether pixels are damaged
        elif trouble is not None and kind in _FRAMES:
            raise UnreadableImage(f"the file is broken: {trouble.detail}")
        elif trouble is not None:
            notes[trouble] = None
    for trouble in _end_png(data, places, parts, is_animation=control is not None):
        notes[trouble] = None
    return Bare(file=parts.joined(), notes=tuple(notes))


def _control(places: list[_PngPlace], troubles: dict[_PngPlace, Note | None]) -> _PngPlace | None:
    """Return the chunk that makes a PNG an animation; None for a still picture.

    A chunk that is damaged, or comes after the pixels, does not count.
    """
    place = next((place for place in places if place[0] == b"acTL"), None)
    if place is None or troubles[place] is not None:
        return None
    if b"IDAT" in (kind for kind, *_ in places[: places.index(place)]):
        troubles[place] = Note("damage_ignored", "the chunk acTL stands behind the pixels")
        return None
    return place


def _miscount(
    data: bytes, control: _PngPlace, places: list[_PngPlace]
) -> tuple[bytes, Note] | None:
    """Return the chunk with the true number of frames, and a note, if a complete file states a wrong number.

    A wrong number is invalid, or too small.

    If the file states more frames, some are missing.
    """
    _, begin, stop = control
    stated = int.from_bytes(data[begin + 8 : begin + 12], "big")
    frames = sum(kind == b"fcTL" for kind, *_ in places)
    if places[-1][0] != b"IEND" or not frames or frames <= stated < 1 << 31:
        return None
    mended = png_chunk(b"acTL", struct.pack(">I", frames) + data[begin + 12 : stop - 4])
    said = f"the animation says that it has {stated} frames, and has {frames}"
    return mended, Note("damage_ignored", said)


def _png_places(data: bytes) -> Iterator[_PngPlace]:
    """Yield the chunks that decoders need, up to the end or to one that is incomplete.

    Among chunks that describe the whole picture, only the first of each type is used.
    """
    at, seen = len(_PNG_SIGNATURE), set[bytes]()
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"CgBI":
            raise UnsupportedFormat(
                "a PNG that Xcode has changed for iPhones (CgBI) is not read here; send the original"
            )
        if not kind.isalpha():
            return  # a decoder would stop here, too
        stop = at + 12 + length
        is_critical = not kind[0] & 0x20
        if is_critical or kind in _FRAMES:
            yield kind, at, stop
        elif kind in _LEAST_BYTES and kind not in seen:
            seen.add(kind)
            yield kind, at, stop
        if kind == b"IEND":
            return
        at = stop


def _end_png(
    data: bytes, places: list[_PngPlace], parts: _Parts, *, is_animation: bool
) -> Iterator[Note]:
    """Add the end chunk, and note the problems of the file's own end."""
    kind, begin, stop = places[-1] if places else (b"", 0, 0)
    if kind == b"IEND" and data[begin:stop] == _PNG_END:
        parts.copy(begin, stop)
        return
    if kind == b"IEND":
        yield Note("damage_ignored", "the last chunk is damaged")
    else:
        yield Note("damage_ignored", "the end of the file is missing")
    if stop > len(data) and (kind == b"IDAT" or (kind == b"fdAT" and is_animation)):
        # All pixels may be complete, and only the checksum after them missing.
        parts.add(png_chunk(kind, data[begin + 8 : stop - 4]))
    parts.add(_PNG_END)


def _trouble(data: bytes, kind: bytes, begin: int, stop: int) -> Note | None:
    """Return why a chunk of a PNG cannot be used; None if it can."""
    name = kind.decode()
    code = "icc_dropped" if kind == b"iCCP" else "damage_ignored"
    view = memoryview(data)
    if stop > len(data):
        return Note(code, f"the chunk {name} is cut short")
    if zlib.crc32(view[begin + 4 : stop - 4]) != int.from_bytes(view[stop - 4 : stop], "big"):
        return Note(code, f"the chunk {name} has a wrong checksum")
    least = _LEAST_BYTES[kind]
    if kind == b"tRNS" and len(data) > _COLOUR_TYPE_AT:
        least = _CLEAR_VALUE_BYTES.get(data[_COLOUR_TYPE_AT], least)
    if stop - begin - 12 < least:
        return Note(code, f"the chunk {name} is too short")
    if kind == b"tRNS" and stop - begin - 12 > _MOST_CLEAR_BYTES:
        return Note(code, f"the chunk {name} is too long")
    return _profile_trouble(data[begin + 8 : stop - 4]) if kind == b"iCCP" else None


def _profile_trouble(content: bytes) -> Note | None:
    name, _, rest = content.partition(b"\0")
    inflate = zlib.decompressobj()
    try:
        unpacked = inflate.decompress(rest[1:], _MOST_PROFILE_BYTES + 1)
    except zlib.error:
        unpacked = b""
    if len(unpacked) > _MOST_PROFILE_BYTES:
        return Note(
            "icc_dropped", f"the profile has more than {_MOST_PROFILE_BYTES >> 20} MiB unpacked"
        )
    if not name or rest[:1] != b"\0" or not inflate.eof:
        return Note("icc_dropped", "the profile is damaged")
    return None


def _jpeg(data: bytes) -> Bare:
    walked = list(jpeg.segments(data))
    frame = next((segment for segment in walked if segment.marker in jpeg.FRAMES), None)
    reason = jpeg.unsupported(frame, data) if frame else None
    if reason is not None:
        raise UnsupportedFormat(
            f"{reason} is not read here; save the picture as an ordinary JPEG, or as PNG or TIFF"
        )
    profile, trouble = _profile_segments(data, walked)
    notes = [trouble] if trouble else []
    parts = _Parts(data)
    parts.copy(0, 2)
    is_late = frame is not None and any(segment.begin > frame.begin for segment in profile)
    if is_late:  # Pillow expects it before the frame
        for segment in profile:
            parts.add(data[segment.begin : segment.stop])
    ends = [2, *(segment.stop for segment in walked)]
    between = (data[at : segment.begin] for at, segment in zip(ends, walked, strict=False))
    if any(odd.strip(b"\xff") for odd in between):  # more than fill bytes
        notes.append(Note("damage_ignored", "there are bytes between the segments"))
    for segment in walked:
        is_wanted = _holds_pixels(segment, data) or (segment in profile and not is_late)
        if is_wanted and segment.stop <= len(data):
            parts.copy(segment.begin, segment.stop)
    has_scans = any(segment.marker == jpeg.SOS for segment in walked)
    if not has_scans or walked[-1].marker == jpeg.EOI:
        return Bare(file=parts.joined(), notes=tuple(notes))
    file = parts.joined()
    if walked[-1].marker == jpeg.SOS:
        file = file.rstrip(b"\0") if file.endswith(_PADDING) else file
        file = file.rstrip(
            b"\xff"
        )  # part of the end marker; among pixels it would be half of a marker
    return Bare(
        file=file + b"\xff\xd9",
        notes=(*notes, Note("damage_ignored", "the end marker is missing")),
        proofs=jpeg.with_other_pixels(file, walked) if walked[-1].marker == jpeg.SOS else (),
        is_cut=jpeg.are_scans_missing(data, walked),
    )


def _profile_segments(
    data: bytes, walked: list[jpeg.Segment]
) -> tuple[list[jpeg.Segment], Note | None]:
    """Return the segments of the colour profile, each once, or why it cannot be read (ICC.1, B.4: number and count)."""
    found: dict[int, jpeg.Segment] = {}
    counts = set()
    for segment in walked:
        head = data[segment.content][: len(_PROFILE_PREFIX) + 2]
        is_whole = segment.stop <= len(data) and len(head) == len(_PROFILE_PREFIX) + 2
        if segment.marker == jpeg.APP2 and head.startswith(_PROFILE_PREFIX) and is_whole:
            found.setdefault(head[-2], segment)
            counts.add(head[-1])
    if not found:
        return [], None
    first = min(found)  # 1; some programs count from 0
    if len(counts) > 1 or set(found) != set(range(first, first + counts.pop())):
        return [], Note("icc_dropped", "parts of the profile are missing")
    return list(found.values()), None


def _holds_pixels(segment: jpeg.Segment, data: bytes) -> bool:
    if segment.marker in jpeg.NEEDED:
        return True
    length = segment.content.stop - segment.content.start
    return any(
        segment.marker == marker
        and length >= least
        and data.startswith(prefix, segment.content.start)
        for marker, prefix, least in _DESCRIBING_SEGMENTS
    )


def _webp(data: bytes) -> Bare:
    stated = 8 + int.from_bytes(data[4:8], "little")
    parts = _Parts(data)
    parts.copy(0, _WEBP_HEAD_BYTES)
    notes: dict[Note, None] = {}
    is_animation, end = False, _WEBP_HEAD_BYTES
    for kind, begin, stop in webp_chunks(data):
        holds_pixels = kind in _WEBP_PIXELS
        if stop > len(data):
            if holds_pixels:
                return Bare(file=data)  # decoders refuse this file
            notes[Note("damage_ignored", "the end of the file is missing")] = None
            break
        end = stop
        is_animation = is_animation or kind == b"ANMF"
        if not holds_pixels:
            continue
        is_padded = (stop - begin) % 2 == 0
        flags = data[begin + 8 : begin + 9]
        if kind == b"VP8X" and flags and flags[0] & _WEBP_ANNOUNCES:
            parts.add(data[begin : begin + 8] + bytes([flags[0] & ~_WEBP_ANNOUNCES]))
            begin += 9
        parts.copy(begin, stop)
        if not is_padded:
            parts.add(b"\0")
            notes[Note("damage_ignored", "a chunk of an odd length has no byte behind it")] = None
    if is_animation and stated - end >= _LEAST_FRAME_BYTES and stated < _UNSET_LENGTH:
        return Bare(file=data)  # frames may be missing, and nothing else says how many there are
    file = parts.joined()
    if end != stated:
        detail = f"the file states a length of {stated} bytes, and its chunks take {end}"
        notes[Note("damage_ignored", detail)] = None
    if len(file) != stated:
        file = b"".join([b"RIFF", struct.pack("<I", len(file) - 8), memoryview(file)[8:]])
    return Bare(file=file, notes=tuple(notes))
