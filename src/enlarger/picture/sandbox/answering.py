"""Answers of a decoder process. Only that process imports this module, which imports all decoders."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np

from enlarger.errors import EnlargerError
from enlarger.picture.content import content_of
from enlarger.picture.decode import decode, probe


def answer(
    question: str, data: bytes, *, to_srgb: bool = False, frames: int = 1, kind: str | None = None
) -> tuple[dict[str, Any], bytes | memoryview]:
    """Return the message and the shared bytes that answer a question."""
    try:
        if question == "probe":
            return {"header": asdict(probe(data))}, b""
        if question == "look":
            return {"content": content_of(data)}, b""
        picture = decode(data, to_srgb=to_srgb, frames=frames, kind=kind)
    except EnlargerError as error:
        return {"error": error.code, "text": str(error)}, b""
    texts = json.dumps([asdict(text) for text in picture.texts]).encode()
    blocks = [
        block or b"" for block in (picture.icc, picture.exif, picture.xmp, picture.iptc, texts)
    ]
    message = {
        "shape": [len(picture.frames), *picture.samples.shape],
        "dtype": picture.samples.dtype.name,
        "block_bytes": [len(block) for block in blocks],
        "durations_ms": picture.motion.durations_ms if picture.motion else [],
        "plays": picture.motion.plays if picture.motion else 0,
        "format": picture.format,
        "stated": picture.stated and asdict(picture.stated),
        "own": picture.own and asdict(picture.own),
        "dpi": picture.dpi,
        "depth_bits": picture.depth_bits,
        "is_whole": picture.is_whole,
        "notes": [asdict(note) for note in picture.notes],
    }
    samples = [np.ascontiguousarray(frame).data for frame in picture.frames]
    return message, memoryview(b"".join([*samples, *blocks]))
