"""Writes the description of a result's colours in the way of its format, beside a profile or instead of it."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from enlarger.picture import avif, colour, tone
from enlarger.picture.chunks import png_chunk
from enlarger.picture.encoding import Encoding, Statement
from enlarger.picture.values import Picture, Samples

_FULL_RANGE = 1
_RGB_MATRIX = 0
"""Fields of cICP (PNG third edition, 11.3.2.6)."""

_PNG_HEADER_BYTES = 33
"""Signature and IHDR. Chunks about the whole picture follow them."""


def png_chunks_of(statement: Statement | None) -> list[tuple[bytes, bytes]]:
    """Return the PNG chunks that repeat a file's statement of its colours (PNG third edition, 11.3.2)."""
    if statement is None:
        return []
    chunks = []
    if statement.code_points is not None:
        content = bytes([*statement.code_points, _RGB_MATRIX, _FULL_RANGE])
        chunks.append((b"cICP", content))
    if statement.mastering_display is not None:
        chunks.append((b"mDCV", struct.pack(">8H2I", *statement.mastering_display)))
    if statement.light_levels is not None:
        chunks.append((b"cLLI", struct.pack(">2I", *statement.light_levels)))
    if statement.rendering_intent is not None:
        chunks.append((b"sRGB", bytes([statement.rendering_intent])))
    if statement.gamma is not None:
        chunks.append((b"gAMA", struct.pack(">I", statement.gamma)))
    if statement.chromaticities is not None:
        chunks.append((b"cHRM", struct.pack(">8I", *statement.chromaticities)))
    return chunks


def with_png_chunks(png: bytes, chunks: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return a PNG with these chunks directly after its header."""
    written = (png_chunk(kind, content) for kind, content in chunks)
    return b"".join([png[:_PNG_HEADER_BYTES], *written, png[_PNG_HEADER_BYTES:]])


def avif_options(statement: Statement | None) -> dict[str, str]:
    """Return options for the AV1 encoder, so that the header of the pixels agrees with that of the file."""
    if statement is None or statement.code_points is None:
        return {}
    primaries, transfer = statement.code_points
    return {"color-primaries": str(primaries), "transfer-characteristics": str(transfer)}


def marked_avif(data: bytes, statement: Statement | None) -> bytes:
    """Return an AVIF of Pillow's, which claims to be sRGB, with the true description of its samples."""
    if statement is None or statement.code_points is None:
        return data
    return avif.with_code_points(data, statement.code_points)


def as_it_was(
    frames: Sequence[Samples], own: Encoding
) -> tuple[tuple[Samples, ...], bytes, Statement]:
    """Return frames converted from sRGB's curve back to that of their file, with its profile and statement."""
    gray = frames[0].shape[2] <= 2
    seen = own.with_curve_of_srgb().curves
    restored = []
    for frame in frames:
        colours = colour.with_curves(frame[:, :, : 1 if gray else 3], seen, own.curves)
        restored.append(np.concatenate([colours, frame[:, :, colours.shape[2] :]], axis=2))
    return tuple(restored), own.profile(gray=gray), own.statement


def in_colours_of(picture: Picture, rgb: tuple[int, int, int], icc: bytes | None) -> Samples:
    """Return an sRGB colour in the picture's own colours, (1 or 3,), uint16.

    Args:
        picture: the picture with the statement. The colour is not converted with a profile from the file, since
            untrusted profiles are only opened in the decoder process.
        rgb: red, green and blue, 0 to 255.
        icc: the profile of the samples beside which the colour is used.
    """
    statement = picture.stated
    if statement is not None and statement.is_hdr:
        return np.rint(tone.from_srgb(rgb, statement) * 65535).astype(np.uint16)
    if statement is not None and icc is not None:
        return colour.from_srgb(rgb, icc)
    return np.array(rgb, np.uint16) * np.uint16(257)
