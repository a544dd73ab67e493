"""Reads the colours that a file states without an ICC profile: in PNG, AVIF, BMP, TIFF and EXIF.

Nothing here decodes a pixel. A statement that cannot be used is noted, and the file's next statement applies.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from enlarger.picture import avif, exif
from enlarger.picture.chunks import png_chunks
from enlarger.picture.encoding import Encoding, Statement, of_code_points, same
from enlarger.picture.profile import (
    D65,
    SRGB_PRIMARIES,
    Curve,
    DegeneratePrimariesError,
    Primaries,
    thinned,
)
from enlarger.picture.values import Note


@dataclass(slots=True, kw_only=True)
class Stated:
    """The statements that were found."""

    first: Encoding | None = None
    """The statement that takes precedence over a profile."""

    second: Encoding | None = None
    """The statement that applies if there is no usable profile."""

    icc: bytes | None = None
    """A profile that Pillow does not find."""

    notes: list[Note] = field(default_factory=list)

    @property
    def needs_depth(self) -> bool:
        """Whether 8 bits are too few for the samples."""
        said = self.second
        return said is not None and (said.hdr is not None or said.is_linear)

    def drop(self, source: str, trouble: str) -> None:
        """Note that a statement cannot be used."""
        self.notes.append(Note("color_statement_dropped", f"{source}: {trouble}"))

    def usable(self, encoding: Encoding) -> Encoding | None:
        """Return the encoding if its primaries describe colours; else None, with a note."""
        try:
            # PQ and HLG have no profile, but primaries.
            replace(encoding, hdr=None).profile(gray=False)
        except DegeneratePrimariesError:
            self.drop(encoding.source, "its primaries are no colours")
            return None
        return encoding


def stated(data: bytes, format_: str, *, exif_block: bytes | None) -> Stated:
    """Return the colours that a file states beside a profile.

    Args:
        data: the file.
        format_: the format, as in ``Header.format``.
        exif_block: the file's EXIF, which applies in JPEG and TIFF.
    """
    found = Stated()
    read = _READERS.get(format_)
    if read is not None:
        try:
            read(data, found)
        except (LookupError, ValueError, struct.error):
            found.drop(format_, "it is damaged")
    if format_ in ("jpeg", "tiff") and found.second is None:
        found.second = _of_exif(exif_block)
    return found


_PNG_KINDS = {b"cICP": 4, b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"mDCV": 24, b"cLLI": 8}
"""Chunks that state colours, and their length in bytes (PNG third edition, 11.3.2)."""

_SRGB_GAMMA, _SRGB_GAMMA_REACH = 45455, 500
"""In 100000ths. Writers of sRGB state this value, since sRGB's curve is not a power function (11.3.2.5).

Values close to it, such as 1 / 2.2222, mean the same.
"""

_MOST_EXPONENT = 10
"""The largest exponent of a curve; its inverse is the smallest. Anything beyond is damage."""


def _of_png(data: bytes, found: Stated) -> None:
    """Read a PNG. Precedence is cICP, a profile, sRGB, gAMA with cHRM (PNG third edition, 4.3)."""
    chunks = _png_statements(data, found)
    if b"cICP" in chunks:
        found.first = _of_cicp(chunks, found)
    if b"sRGB" in chunks:
        intent = chunks[b"sRGB"][0]
        found.second = Encoding(
            source="sRGB", name="sRGB", statement=Statement(rendering_intent=min(intent, 3))
        )
    elif b"gAMA" in chunks or b"cHRM" in chunks:
        found.second = _of_gamma(chunks.get(b"gAMA"), chunks.get(b"cHRM"), found)


def _png_statements(data: bytes, found: Stated) -> dict[bytes, bytes]:
    """Return the first chunk of each type before the pixels.

    A chunk with a wrong checksum, or too few bytes, is ignored; ``bare`` notes it.
    """
    chunks: dict[bytes, bytes] = {}
    end = 8
    for kind, content in png_chunks(data):
        end += 12 + len(content)
        if kind == b"IDAT":
            break
        if kind not in _PNG_KINDS or kind in chunks:
            continue
        if data[end - 4 : end] != struct.pack(">I", zlib.crc32(kind + content)):
            continue
        if len(content) < _PNG_KINDS[kind]:
            continue
        if len(content) > _PNG_KINDS[kind]:
            found.drop(kind.decode(), f"it has {len(content)} bytes")
            continue
        chunks[kind] = content
    return chunks


def without_odd_chunks(png: bytes) -> bytes:
    """Return a PNG without colour chunks of the wrong length, for which Pillow refuses the picture."""
    parts: list[bytes] = []
    begin, at = 0, 8
    for kind, content in png_chunks(png):
        end = at + 12 + len(content)
        if _PNG_KINDS.get(kind, len(content)) != len(content):
            parts.append(png[begin:at])
            begin = end
        at = end
    return b"".join([*parts, png[begin:]]) if parts else png


def _of_cicp(chunks: dict[bytes, bytes], found: Stated) -> Encoding | None:
    primaries, transfer, matrix, is_full = chunks[b"cICP"]
    encoding = of_code_points(primaries, transfer, source="cICP")
    if encoding is None or is_full > 1:
        found.drop("cICP", f"{primaries}, {transfer}, {matrix}, {is_full} is reserved")
        return None
    if matrix:
        found.drop("cICP", f"matrix {matrix}, and a PNG holds RGB")
        return None
    statement = replace(
        encoding.statement,
        mastering_display=_numbers(">8H2I", chunks.get(b"mDCV")),
        light_levels=_numbers(">2I", chunks.get(b"cLLI")),
    )
    return found.usable(replace(encoding, statement=statement, is_narrow=not is_full))


def _numbers(form: str, content: bytes | None) -> tuple[int, ...] | None:
    return None if content is None else struct.unpack(form, content)


def _of_gamma(gama: bytes | None, chrm: bytes | None, found: Stated) -> Encoding | None:
    """Return an encoding from an exponent, or chromaticities, or both; missing values are sRGB's."""
    gamma = None if gama is None else int.from_bytes(gama, "big")
    points = _numbers(">8I", chrm)
    primaries = SRGB_PRIMARIES
    if points is not None:
        x_and_y = [value / 100_000 for value in points]
        primaries = Primaries(*zip(x_and_y[::2], x_and_y[1::2], strict=True))
    curve: Curve = "srgb"
    if gamma is not None and not 100_000 / _MOST_EXPONENT <= gamma <= 100_000 * _MOST_EXPONENT:
        found.drop("gAMA", f"{gamma} is no exponent of a picture")
        gamma = None
    is_srgb = same(primaries, SRGB_PRIMARIES)
    if gamma is not None and not (is_srgb and abs(gamma - _SRGB_GAMMA) <= _SRGB_GAMMA_REACH):
        curve = 100_000 / gamma
    encoding = found.usable(
        Encoding(
            source="cHRM" if gamma is None else "gAMA" if chrm is None else "gAMA and cHRM",
            name=_named(primaries, curve),
            primaries=primaries,
            curves=(curve, curve, curve),
            statement=Statement(gamma=gamma, chromaticities=points),
        )
    )
    if encoding is None and gama is not None:
        return _of_gamma(gama, None, found)
    return encoding if gamma is not None or chrm is not None else None


def _named(primaries: Primaries, curve: Curve) -> str:
    kind = "sRGB" if same(primaries, SRGB_PRIMARIES) else "its own primaries"
    return f"{kind}, gamma {curve:.4g}" if isinstance(curve, int | float) else kind


def _of_avif(data: bytes, found: Stated) -> None:
    """Read an AVIF. A profile takes precedence over nclx (as in libavif's avif.h), and Pillow finds it."""
    points = avif.code_points(data)
    if points is None:
        return
    encoding = of_code_points(*points, source="nclx")
    if encoding is None:
        found.drop("nclx", f"{points[0]}, {points[1]} is reserved")
    elif not encoding.is_srgb(gray=False):  # otherwise it equals the default of an AVIF
        found.second = found.usable(encoding)


_GIF_PROFILE = b"\x21\xff\x0bICCRGBG1012"
"""The extension of a GIF that holds a profile (ICC.1:2022, B.5)."""


def _of_gif(data: bytes, found: Stated) -> None:
    at = data.find(_GIF_PROFILE)
    if at < 0:
        return
    parts, at = [], at + len(_GIF_PROFILE)
    while at < len(data) and data[at]:
        parts.append(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
    found.icc = b"".join(parts) or None


_CALIBRATED, _EMBEDDED, _LINKED = 0, 0x4D424544, 0x4C494E4B
"""Values of bV4CSType (Windows' BITMAPV5HEADER); others are sRGB, or the screen's colours."""

_XYZ_POINT, _GAMMA_POINT = 1 << 30, 1 << 16


def _of_bmp(data: bytes, found: Stated) -> None:
    (header_bytes,) = struct.unpack_from("<I", data, 14)
    if header_bytes not in (108, 124):
        return
    (kind,) = struct.unpack_from("<I", data, 14 + 56)
    if kind == _EMBEDDED and header_bytes == 124:
        at, size = struct.unpack_from("<2I", data, 14 + 112)
        profile = data[14 + at : 14 + at + size]
        if at >= header_bytes and len(profile) == size > 0:
            found.icc = profile
        else:
            found.drop("BMP", "its profile is not in the file")
    elif kind == _LINKED and header_bytes == 124:
        found.drop("BMP", "its profile is in another file")
    elif kind == _CALIBRATED:
        _use_calibration(data, found)


def _use_calibration(data: bytes, found: Stated) -> None:
    """Read end points as X, Y and Z, or as x, y and z of each primary, and an exponent each."""
    ends = struct.unpack_from("<9i", data, 14 + 60)
    stored = struct.unpack_from("<3I", data, 14 + 96)
    if not any(ends) or not any(stored):
        return  # the default of programs that have nothing to state
    points = [
        tuple(value / _XYZ_POINT for value in ends[at : at + 3]) for at in range(0, len(ends), 3)
    ]
    sums = [sum(point) for point in points]
    exponents = [value / _GAMMA_POINT for value in stored]
    if min(sums) <= 0 or not all(
        1 / _MOST_EXPONENT < value < _MOST_EXPONENT for value in exponents
    ):
        found.drop("BMP", "its calibration is none")
        return
    white = D65
    if any(abs(value - 1) > 0.01 for value in sums):
        x, y, z = (sum(axis) for axis in zip(*points, strict=True))
        white = (x / (x + y + z), y / (x + y + z))
    red, green, blue = (
        (point[0] / total, point[1] / total) for point, total in zip(points, sums, strict=True)
    )
    # Some programs state the exponent from samples to light, some its inverse.
    curves = [value if value >= 1 else 1 / value for value in exponents]
    found.second = found.usable(
        Encoding(
            source="BMP",
            name="calibrated RGB",
            primaries=Primaries(white, red, green, blue),
            curves=(curves[0], curves[1], curves[2]),
        )
    )


_PHOTOMETRIC, _TRANSFER_FUNCTION, _WHITE_POINT, _PRIMARY_CHROMATICITIES = 262, 301, 318, 319
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2


def _of_tiff(data: bytes, found: Stated) -> None:
    """Read TransferFunction, WhitePoint and PrimaryChromaticities (TIFF 6.0, section 20); missing values are sRGB's."""
    block = exif.read_or_none(data)
    photometric = block and block.number(_PHOTOMETRIC)
    if block is None or photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB):
        return
    white = block.fractions_of(_WHITE_POINT, 2)
    ends = block.fractions_of(_PRIMARY_CHROMATICITIES, 6)
    table = block.shorts_of(_TRANSFER_FUNCTION)
    if white is None and ends is None and table is None:
        return
    primaries = SRGB_PRIMARIES
    if ends is not None:
        primaries = Primaries(D65, (ends[0], ends[1]), (ends[2], ends[3]), (ends[4], ends[5]))
    if white is not None:
        primaries = primaries._replace(white=(white[0], white[1]))
    curves: tuple[Curve, Curve, Curve] = ("srgb", "srgb", "srgb")
    if table is not None:
        tables = _tables(table, is_reversed=photometric == _WHITE_IS_ZERO)
        if tables is None:
            found.drop("TransferFunction", "it is no curve")
        else:
            curves = tables
    found.second = found.usable(
        Encoding(source="TIFF", name="calibrated RGB", primaries=primaries, curves=curves)
    )


def _tables(stored: tuple[int, ...], *, is_reversed: bool) -> tuple[Curve, Curve, Curve] | None:
    """Return one table for all channels, or one for each, with as many entries as samples have values."""
    length = len(stored)
    if length % 3 == 0:
        parts = [stored[at : at + length // 3] for at in range(0, length, length // 3)]
    else:
        parts = [stored] * 3
    size = len(parts[0])
    if size < 2 or size & (size - 1):
        return None
    tables = [thinned(part[::-1] if is_reversed else part) for part in parts]
    for table in tables:
        rises = all(before <= after for before, after in itertools.pairwise(table))
        if not rises or table[-1] < 0x8000:
            return None
    return tables[0], tables[1], tables[2]


_ADOBE_RGB = Encoding(
    source="EXIF",
    name="Adobe RGB (1998)",
    primaries=Primaries(D65, (0.64, 0.33), (0.21, 0.71), (0.15, 0.06)),
    curves=(563 / 256, 563 / 256, 563 / 256),
)


def _of_exif(exif_block: bytes | None) -> Encoding | None:
    """Return Adobe RGB as cameras state it: by the interoperability index R03 (DCF 2.0, annex A), or a ColorSpace of 2."""
    block = exif.read_or_none(exif_block)
    return _ADOBE_RGB if block is not None and block.states_adobe_rgb else None


_READERS: dict[str, Callable[[bytes, Stated], None]] = {
    "png": _of_png,
    "avif": _of_avif,
    "bmp": _of_bmp,
    "gif": _of_gif,
    "tiff": _of_tiff,
}
