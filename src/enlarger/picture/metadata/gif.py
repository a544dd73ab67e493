"""Metadata of a GIF: comments, and XMP in an application block."""

from __future__ import annotations

from enlarger.picture import gif
from enlarger.picture.metadata.found import (
    COMMENT,
    MOST_TEXTS,
    Metadata,
    comment_text,
    look_behind,
    note_unknown,
)
from enlarger.picture.values import Text

_KNOWN_APPLICATIONS = (*gif.LOOPS, b"ICCRGBG1012")
"""Applications whose blocks say how often an animation plays, and in which colours."""


def read_gif(data: bytes, found: Metadata) -> None:
    """Read the metadata of a GIF."""
    unknown: dict[str, None] = {}
    end = len(data)
    for block in gif.blocks(data):
        end = block.stop
        if block.label == gif.COMMENT and len(found.texts) < MOST_TEXTS:
            found.texts.append(Text(COMMENT, comment_text(b"".join(gif.sub_blocks(data, block)))))
        elif block.label == gif.APPLICATION:
            name = next(iter(gif.sub_blocks(data, block)), b"")[:11]
            if name == b"XMP DataXMP":
                found.xmp = found.xmp or _gif_xmp(data, block.stop)
            elif name and name not in _KNOWN_APPLICATIONS:
                unknown[comment_text(name)] = None
    note_unknown(unknown, found)
    rest = data[end:].lstrip(b"\0")
    if rest.startswith(b";"):
        look_behind(rest[1:], found)


def _gif_xmp(data: bytes, end: int) -> bytes | None:
    """Return the packet that ends at an offset. It is followed by a ramp of bytes that leads decoders out of it."""
    begin = data.rfind(b"XMP DataXMP", 0, end) + 11
    stop = data.rfind(b">", begin, max(begin, end - 257))
    return data[begin : stop + 1] if stop > 0 else None
