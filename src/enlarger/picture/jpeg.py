"""The segments of a JPEG, and whether all of its pixels are in the file (ITU-T T.81, annex B).

Nothing here decodes a pixel. The file is read as libjpeg does it: bytes between segments are skipped, and a segment
is as long as it states.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

SOI, EOI, SOS, COMMENT = 0xD8, 0xD9, 0xDA, 0xFE
_DQT, _DNL, _DRI = 0xDB, 0xDC, 0xDD
APP0, APP1, APP2, APP14 = 0xE0, 0xE1, 0xE2, 0xEE
_DHT, _JPG, _DAC, _DHP, _EXP = 0xC4, 0xC8, 0xCC, 0xDE, 0xDF
FRAMES = frozenset(range(0xC0, 0xD0)) - {_DHT, _JPG, _DAC}
"""Markers of frames (T.81, table B.1), which state the size of the picture and its coding."""

NEEDED = FRAMES | {_DHT, _DAC, _DQT, _DRI, _DNL, _DHP, _EXP, SOS, EOI}
"""Markers of everything that a decoder needs: frames, tables, restart intervals, numbers of lines, scans, and the end."""

_DEEP_BITS = 12
_COMPONENT_COUNTS = (1, 3, 4)
"""Gray, three colours, or four inks."""

_LOSSLESS = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
_HIERARCHICAL = frozenset({0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF, 0xDE})
_PROGRESSIVE, _ARITHMETIC = frozenset({0xC2, 0xCA}), frozenset({0xC9, 0xCA})

_ALONE = frozenset({0x01, SOI, *range(0xD0, 0xD8)})
"""Markers without a segment."""

_NEXT_MARKER = re.compile(rb"\xff+[\x01-\xfe]")
_MARKER_AMONG_PIXELS = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""A marker that ends the pixels of a scan: neither a stuffed byte nor a restart."""

_MOST_SEGMENTS = 65_536
"""The most segments that are read. A profile has up to 255, and a progressive picture about ten."""

_NEVER_TWO_ZEROS = tuple(value for value in range(0x80, 0xFF) if "00" not in f"{value:b}")
_ANY_PIXELS = tuple(range(0xFF))

_LONGEST_UNIT_BYTES = 2160
"""The most bytes of the largest unit, which has ten blocks (T.81, B.2.3), with 27 bits a coefficient."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment. The pixels of a scan belong to its segment."""

    marker: int
    begin: int
    """Where its marker begins, after fill bytes."""

    content: slice
    """The content after the marker and the length."""

    stop: int
    """Where the segment ends, including the pixels of a scan."""


def segments(data: bytes) -> Iterator[Segment]:
    """Yield the segments in their order, the end marker last if it exists."""
    at, is_scanned = 2, False
    for _ in range(_MOST_SEGMENTS):
        found = _NEXT_MARKER.search(data, at)
        if found is None:
            return
        begin, marker = found.end() - 2, data[found.end() - 1]
        at = found.end()
        if marker == SOI and is_scanned:
            return  # another picture begins, and this one has no end marker
        if marker in _ALONE:
            continue
        if marker == EOI:
            yield Segment(marker, begin, slice(at, at), at)
            return
        stop = at + max(int.from_bytes(data[at : at + 2], "big"), 2)
        content = slice(at + 2, stop)
        if marker == SOS:
            is_scanned = True
            end = _MARKER_AMONG_PIXELS.search(data, min(stop, len(data)))
            stop = end.start() if end else max(stop, len(data))
        yield Segment(marker, begin, content, stop)
        at = stop
        if at > len(data):
            return


def end(data: bytes) -> int:
    """Return where a JPEG ends, after its end marker; the length of the file if it has none."""
    ends = (segment.stop for segment in segments(data) if segment.marker == EOI)
    return next(ends, len(data))


def unsupported(frame: Segment, data: bytes) -> str | None:
    """Return which property of the frame no decoder here supports, as text; None if the frame can be read.

    libjpeg-turbo reads sequential and progressive frames of 8 bits, with Huffman and with arithmetic coding. Pillow
    knows the meaning of one, three and four components.
    """
    content = data[frame.content]
    depth_bits = content[0] if content else 0
    if frame.marker in _HIERARCHICAL:
        return "a hierarchical JPEG"
    if frame.marker in _LOSSLESS:
        return "a lossless JPEG"
    if depth_bits == _DEEP_BITS:
        return "a JPEG of 12 bits per sample"
    count = content[5] if len(content) > 5 else 0
    if count not in _COMPONENT_COUNTS and len(content) == 6 + 3 * count:
        return f"a JPEG of {count} components"
    return None


def are_scans_missing(data: bytes, walked: list[Segment]) -> bool:
    """Whether a component, or a part of its coefficients, is in no scan."""
    frame = next((segment for segment in walked if segment.marker in FRAMES), None)
    if frame is None:
        return True
    content = data[frame.content]
    components = {content[at] for at in range(6, len(content) - 2, 3)}
    is_progressive = frame.marker in _PROGRESSIVE
    missing = {(name, at) for name in components for at in range(64 if is_progressive else 1)}
    for segment in walked:
        scan = data[segment.content]
        if segment.marker != SOS or len(scan) < 4 or len(scan) < 4 + 2 * scan[0]:
            continue
        first, last, precision = scan[1 + 2 * scan[0] : 4 + 2 * scan[0]]
        if is_progressive and precision & 15:
            continue  # a later scan has the lower bits
        band = range(first, last + 1) if is_progressive else range(1)
        missing -= {(scan[1 + 2 * at], band_at) for at in range(scan[0]) for band_at in band}
    return bool(missing)


def with_other_pixels(data: bytes, walked: list[Segment]) -> tuple[bytes, ...]:
    """Return the file, which ends among its pixels, with other pixels appended; nothing if that proves nothing.

    A decoder that needs more pixels than the file has reads the appended ones, so the picture changes. A decoder that
    has all of them ignores the rest. libjpeg makes up bits of 0 where pixels are missing, so the first appended
    pixels never have two of them in a row. They may be the end of a block by chance, so there is a second version.
    The appended pixels are longer than one unit, since a part of a unit may lie outside of the picture. Some follow
    each restart marker, since a decoder that waits for a marker skips everything before it.
    """
    if any(segment.marker in _ARITHMETIC for segment in walked):
        return ()  # an arithmetic decoder reads ahead
    restarts = re.findall(rb"\xff[\xd0-\xd7]", data[walked[-1].begin :])
    following = restarts[-1][1] + 1 if restarts else 0
    return tuple(
        data
        + b"".join(
            _pixels(values, number) + bytes([0xFF, 0xD0 | (following + number & 7)])
            for number in range(8)
        )
        + b"\xff\xd9"
        for values in (_NEVER_TWO_ZEROS, _ANY_PIXELS)
    )


def _pixels(values: Sequence[int], number: int) -> bytes:
    """Return pixels that are the same on each call."""
    chosen = hashlib.shake_128(bytes([number])).digest(_LONGEST_UNIT_BYTES)
    return bytes(values[value % len(values)] for value in chosen[number:])
