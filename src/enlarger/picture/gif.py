"""The blocks of a GIF and its frames as they are stored (GIF89a, 17 to 26).

Some programs leave bytes between blocks, omit the end, or state frames that extend beyond the screen. All viewers
show such files, so they are read here, with a note about what is wrong.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from enlarger.errors import UnreadableImage

_SCREEN_BYTES = 13
_IMAGE, _EXTENSION, _TRAILER = 0x2C, 0x21, 0x3B
CONTROL, COMMENT, APPLICATION = 0xF9, 0xFE, 0xFF
_LABELS = (0x01, CONTROL, COMMENT, APPLICATION)
"""Labels of extensions; the first is plain text."""

LOOPS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
"""Application blocks that state the loop count."""

_BEGINNING = re.compile(rb"[!,;]")
"""First bytes of blocks and of the end."""

_MOST_BLOCKS = 200_000
"""The most blocks that are read. An animation of one hour has fewer."""

_CODE_BITS = tuple(bytes([bits]) for bits in range(1, 12))
"""Initial code lengths of LZW; codes grow to 12 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A frame or an extension."""

    begin: int
    label: int | None
    """The type of an extension; None for a frame."""

    data_at: int
    """Where its sub-blocks begin."""

    stop: int
    """Where the last of its sub-blocks ends."""

    is_whole: bool
    """Whether the file contains all of them, and the byte that ends them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame as it is stored."""

    left: int
    top: int
    width_px: int
    height_px: int
    control: bytes
    """The four bytes before the frame that say how it is shown; zeros if they are missing."""

    stored: bytes
    """Everything after its position and size: flags, its own colours, and its pixels."""

    is_whole: bool
    """Whether the end of the pixels is in the file. Otherwise they may be complete, or not."""

    @property
    def has_clear_index(self) -> bool:
        """Whether one of its colours is transparent."""
        return bool(self.control[0] & 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """Everything in a GIF that concerns pixels."""

    width_px: int
    height_px: int
    """Size of the screen, or of the first frame if the screen is smaller, as in browsers."""

    colours: bytes
    """Flags of the screen, and the colours of frames without their own."""

    frames: tuple[Frame, ...]
    plays: int
    """How often the animation is played; 0 means for ever."""

    damage: tuple[str, ...]
    """Faults of the file that affect no pixel, as readable texts."""

    def is_clipped(self, frame: Frame) -> bool:
        """Whether the frame extends beyond the screen."""
        right, bottom = frame.left + frame.width_px, frame.top + frame.height_px
        return right > self.width_px or bottom > self.height_px

    def is_covered_by(self, frame: Frame) -> bool:
        """Whether the frame covers the whole screen."""
        at_corner = frame.left == frame.top == 0
        return at_corner and frame.width_px >= self.width_px and frame.height_px >= self.height_px


def read(data: bytes) -> Film:
    """Return the frames of a GIF.

    Raises:
        UnreadableImage: the file has no frame, or ends before its first frame does.
        struct.error, IndexError: the file ends in its header.
    """
    width_px, height_px = struct.unpack_from("<HH", data, 6)
    frames: list[Frame] = []
    control, again, at = bytes(4), None, first_block(data)
    damage: dict[str, None] = {}
    for block in blocks(data):
        if block.begin > at:
            damage[f"{_between(data[at : block.begin])} between its blocks"] = None
        at = block.stop
        if block.label is None:
            frames.append(_frame(data, block, control))
            control = bytes(4)
        elif block.label == CONTROL:
            control = data[block.begin + 3 : block.begin + 7].ljust(4, b"\0")
        elif block.label == APPLICATION and again is None:
            again = _again(data, block)
    if not frames:
        raise UnreadableImage("the file is broken or cut short")
    if data[at:].lstrip(b"\0")[:1] != bytes([_TRAILER]):
        damage["its end is missing"] = None
    elif data[at] != _TRAILER:
        damage["zeros before its end"] = None
    first = frames[0]
    if first.width_px > width_px or first.height_px > height_px:
        damage[f"its screen of {width_px}x{height_px} px is smaller than its first frame"] = None
        width_px, height_px = first.width_px, first.height_px
    return Film(
        width_px=width_px,
        height_px=height_px,
        colours=data[10 : first_block(data)],
        frames=tuple(frames),
        # The block states the number of repetitions, and is missing if there are none; gif2webp of libwebp reads it
        # so.
        plays=1 if again is None else again + 1 if again else 0,
        damage=tuple(damage),
    )


def first_block(data: bytes) -> int:
    """Return where the blocks begin, after the colours of the screen."""
    return _SCREEN_BYTES + _table_bytes(data[10])


def blocks(data: bytes) -> Iterator[Block]:
    """Yield the frames and extensions in their order, up to the end of the file. Bytes between them are skipped."""
    at, is_expected = first_block(data), True
    for _ in range(_MOST_BLOCKS):
        found = _BEGINNING.search(data, at)
        if found is None:
            return
        is_expected = is_expected and not data[at : found.start()].strip(b"\0")
        at = found.start()
        if at + 1 == len(data) or data[at] == _TRAILER:
            return
        is_frame = data[at] == _IMAGE
        data_at = at + 2
        if is_frame:
            if at + 11 > len(data):
                return
            data_at = at + 10 + _table_bytes(data[at + 9]) + 1
        # After unknown bytes, a block must look like a valid one.
        if not is_expected and (
            data[data_at - 1 : data_at] not in _CODE_BITS
            if is_frame
            else data[at + 1] not in _LABELS
        ):
            at += 1
            continue
        stop = data_at
        while stop < len(data) and data[stop]:
            stop += 1 + data[stop]
        yield Block(
            begin=at,
            label=None if is_frame else data[at + 1],
            data_at=data_at,
            stop=min(stop + 1, len(data)),
            is_whole=stop < len(data),
        )
        at, is_expected = stop + 1, True


def sub_blocks(data: bytes, block: Block) -> list[bytes]:
    """Return the sub-blocks of a block, as they are stored."""
    parts, at = [], block.data_at
    while at < block.stop and data[at]:
        parts.append(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
    return parts


def still(film: Film, frame: Frame) -> bytes:
    """Return the frame as a GIF of its own, on a screen of its size, with the shared colours and its transparent colour."""
    return b"".join(
        [
            b"GIF89a" + struct.pack("<HH", frame.width_px, frame.height_px) + film.colours,
            b"\x21\xf9\x04" + bytes([frame.control[0] & 1, 0, 0, frame.control[3], 0]),
            b"\x2c" + struct.pack("<4H", 0, 0, frame.width_px, frame.height_px) + frame.stored,
            b"" if frame.is_whole else b"\0",
            b";",
        ]
    )


def _frame(data: bytes, block: Block, control: bytes) -> Frame:
    left, top, width_px, height_px = struct.unpack_from("<4H", data, block.begin + 1)
    stored = data[block.begin + 9 : block.stop]
    if not block.is_whole:
        # A sub-block at the end of the file is shorter than it states. A decoder would read on into what follows.
        parts = (part for part in sub_blocks(data, block) if part)
        stored = b"".join(
            [data[block.begin + 9 : block.data_at], *(bytes([len(part)]) + part for part in parts)]
        )
    return Frame(
        left=left,
        top=top,
        width_px=width_px,
        height_px=height_px,
        control=control,
        stored=stored,
        is_whole=block.is_whole,
    )


def _again(data: bytes, block: Block) -> int | None:
    parts = sub_blocks(data, block)
    if len(parts) < 2 or parts[0] not in LOOPS or len(parts[1]) < 3 or parts[1][0] != 1:
        return None
    return int.from_bytes(parts[1][1:3], "little")


def _between(skipped: bytes) -> str:
    return "bytes that mean nothing" if skipped.strip(b"\0") else "zeros"


def _table_bytes(flags: int) -> int:
    """Return the length of the colour table that the flags state."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0
