"""The blocks of a GIF and its frames as they are stored (GIF89a, 17 to 26).

Programs that write GIF leave bytes between blocks, forget the end, and state frames that reach beyond the screen.
Everybody shows such files, so they are read here, and what is wrong with them is said.
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
"""Labels of extensions; the first is of plain text."""

LOOPS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
"""Applications whose blocks say how often to begin again."""

_BEGINNING = re.compile(rb"[!,;]")
"""What blocks and the end begin with."""

_MOST_BLOCKS = 200_000
"""So many are looked at: an animation of an hour has fewer."""

_CODE_BITS = tuple(bytes([bits]) for bits in range(1, 12))
"""Lengths of the codes of LZW at first; they grow to 12 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A frame or an extension."""

    begin: int
    label: int | None
    """What kind of extension it is; None for a frame."""

    data_at: int
    """Where its sub-blocks begin."""

    stop: int
    """Where it ends, behind the last of them."""

    is_whole: bool
    """Whether the file has all of them, and the byte that ends them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame as it is stored."""

    left: int
    top: int
    width_px: int
    height_px: int
    control: bytes
    """The four bytes before it that say how it is shown; zeros where there are none."""

    stored: bytes
    """What follows its place: flags, its own colours, and its pixels."""

    is_whole: bool
    """Whether its pixels end in the file. Otherwise they may all be there, or not."""

    @property
    def has_clear_index(self) -> bool:
        """Whether one of its colours is transparent."""
        return bool(self.control[0] & 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """All that a GIF holds of pixels."""

    width_px: int
    height_px: int
    """Size of the screen. It is that of the first frame where the screen is smaller, as browsers have it."""

    colours: bytes
    """Flags of the screen, and the colours that frames without their own have."""

    frames: tuple[Frame, ...]
    plays: int
    """How often it is played; 0 for ever."""

    damage: tuple[str, ...]
    """What is wrong with it and harms no pixel, in words."""

    def is_clipped(self, frame: Frame) -> bool:
        """Whether the frame reaches beyond the screen."""
        right, bottom = frame.left + frame.width_px, frame.top + frame.height_px
        return right > self.width_px or bottom > self.height_px

    def is_covered_by(self, frame: Frame) -> bool:
        """Whether the frame leaves no place of the screen."""
        at_corner = frame.left == frame.top == 0
        return at_corner and frame.width_px >= self.width_px and frame.height_px >= self.height_px


def read(data: bytes) -> Film:
    """The frames of a GIF.

    Raises:
        UnreadableImage: the file has no frame, or ends before its first one does.
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
        # The block says how often to begin again, and is missing where it is not; as gif2webp of libwebp reads it.
        plays=1 if again is None else again + 1 if again else 0,
        damage=tuple(damage),
    )


def first_block(data: bytes) -> int:
    """Where the blocks begin, behind the colours of the screen."""
    return _SCREEN_BYTES + _table_bytes(data[10])


def blocks(data: bytes) -> Iterator[Block]:
    """The frames and extensions in their order, as far as the file has them; bytes between them are skipped."""
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
        # Behind bytes that mean nothing, a block has to look like one.
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
    """What the block holds, in the parts in which it is stored."""
    parts, at = [], block.data_at
    while at < block.stop and data[at]:
        parts.append(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
    return parts


def still(film: Film, frame: Frame) -> bytes:
    """The frame as a picture of its own: on a screen of its size, with the colours of all and what is clear in it."""
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
        # A sub-block that the file ends in is shorter than it says; a decoder would read on into what follows.
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
    """Length of the colour table that the flags speak of."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0
