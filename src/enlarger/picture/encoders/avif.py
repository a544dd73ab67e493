"""Boxes of an AVIF that are changed after it is encoded."""

from __future__ import annotations

import re


def without_time_of_day(avif: bytes) -> bytes:
    """Return an animation whose boxes do not state when it was made, so that equal pictures become equal files."""
    boxes = bytearray(avif)
    # The boxes of movie, track and media begin with a version, flags and two times (ISO/IEC 14496-12, 8.2.2, 8.3.2,
    # 8.4.2) of four bytes or eight; all are in the box "moov".
    begin = avif.find(b"moov")
    end = begin - 4 + int.from_bytes(avif[begin - 4 : begin], "big")
    for found in re.finditer(b"mvhd|tkhd|mdhd", avif[begin:end]):
        at = begin + found.end()
        length = 16 if avif[at] == 1 else 8
        boxes[at + 4 : at + 4 + length] = bytes(length)
    return bytes(boxes)
