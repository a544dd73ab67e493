"""Makes ICC profiles: for colours that a file states without one, and for gray that has become RGB.

They are matrix profiles of version 4 (ICC.1:2022, 8.3 and 10.6 to 10.31). Equal colours produce equal bytes.
LittleCMS could make profiles, too, but writes the time of day into them.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]

Curve = float | Literal["srgb"] | tuple[int, ...]
"""Maps a sample to light, both 0 to 1: an exponent, the curve of sRGB, or an evenly spaced table of light in 65535ths."""


class Primaries(NamedTuple):
    """CIE 1931 x and y of white and of each primary."""

    white: tuple[float, float]
    red: tuple[float, float]
    green: tuple[float, float]
    blue: tuple[float, float]


D65 = (0.3127, 0.3290)
SRGB_PRIMARIES = Primaries(D65, (0.64, 0.33), (0.30, 0.60), (0.15, 0.06))

_D50 = np.array([0.9642, 1.0, 0.8249])
"""The white of profiles (ICC.1:2022, 7.2.16)."""

_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
"""The matrix from XYZ to the cone responses that chromatic adaptation uses (ICC.1:2022, annex E)."""

_SRGB_PARAMETERS = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
"""IEC 61966-2-1, as a parametric curve of type 3: exponent, then a, b, c and d."""

_LEAST_AREA = 1e-4
"""Twice the minimum area of the triangle of primaries. A smaller one shows no colours; that of sRGB has 0.22."""

_LONGEST_CURVE = 4096
"""The most entries of a table. LittleCMS interpolates between them."""


class DegeneratePrimariesError(Exception):
    """The primaries lie on a line, or white lies outside their triangle."""


def to_xyz(primaries: Primaries) -> Matrix:
    """Return the matrix from linear RGB to XYZ, in which white has Y = 1 (SMPTE RP 177).

    Raises:
        DegeneratePrimariesError: no such matrix exists.
    """
    columns = np.array([[x, y, 1 - x - y] for x, y in primaries[1:]], np.float64).T
    x, y = primaries.white
    if not np.isfinite(columns).all() or not 0.01 <= y <= 1 or not 0 <= x <= 1 - y:
        raise DegeneratePrimariesError
    # The rows add up to 1, so the determinant is twice the area of the triangle.
    if np.abs(columns).max() > 4 or abs(np.linalg.det(columns)) < _LEAST_AREA:
        raise DegeneratePrimariesError
    gains = np.linalg.solve(columns, np.array([x / y, 1, (1 - x - y) / y]))
    if gains.min() <= 0:
        raise DegeneratePrimariesError
    return np.asarray(columns * gains)


def rgb_profile(primaries: Primaries, curves: Sequence[Curve], name: str) -> bytes:
    """Return the RGB profile with these primaries and a curve for each of them.

    Raises:
        DegeneratePrimariesError: the primaries describe no colours.
    """
    matrix = to_xyz(primaries)
    adaptation = _adaptation(matrix.sum(axis=1))
    columns = np.rint((adaptation @ matrix) * 65536)
    # White must be exact. The rounding error is added to green, which is the largest.
    columns[:, 1] += np.rint(_D50 * 65536) - columns.sum(axis=1)
    tags = {
        b"chad": b"sf32" + bytes(4) + struct.pack(">9i", *_fixed(adaptation)),
        **{
            kind: _xyz(column / 65536)
            for kind, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns.T, strict=True)
        },
        **{
            kind: _curve(curve)
            for kind, curve in zip((b"rTRC", b"gTRC", b"bTRC"), curves, strict=True)
        },
    }
    return _profile(b"RGB ", tags, name)


def gray_profile(curve: Curve, name: str) -> bytes:
    """Return the gray profile with this curve."""
    return _profile(b"GRAY", {b"kTRC": _curve(curve)}, name)


def is_for_gray(icc: bytes) -> bool:
    """Whether a profile is for gray."""
    return icc[16:20] == b"GRAY"


def rgb_of_gray(icc: bytes) -> bytes | None:
    """Return the RGB profile whose equal channels look as gray does through ``icc``; None if that is impossible.

    Args:
        icc: a profile for gray, which may be damaged.
    """
    # A gray profile scales white by its curve. One whose curve leads to Lab (9.3) has no RGB equivalent.
    if icc[16:24] != b"GRAYXYZ " or len(icc) < 132:
        return None
    count = int.from_bytes(icc[128:132], "big")
    tags = {}
    for at in range(132, min(132 + 12 * min(count, 100), len(icc) - 11), 12):
        kind, begin, size = struct.unpack_from(">4sII", icc, at)
        tags[kind] = icc[begin : begin + size]
    curve = tags.get(b"kTRC", b"")
    if any(kind.startswith(b"A2B") for kind in tags) or curve[:4] not in (b"curv", b"para"):
        return None
    primaries = rgb_profile(SRGB_PRIMARIES, ["srgb"] * 3, "Gray")
    plain = {
        kind: primaries[begin : begin + size]
        for kind, begin, size in (
            struct.unpack_from(">4sII", primaries, 132 + 12 * number)
            for number in range(int.from_bytes(primaries[128:132], "big"))
        )
    }
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    return _profile(b"RGB ", {**plain, **curves}, "Gray")


def thinned(table: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shorter table, as evenly spaced as possible, with the first and the last entry."""
    count = min(len(table), _LONGEST_CURVE)
    return tuple(table[int(at)] for at in np.linspace(0, len(table) - 1, count))


def _adaptation(white: Matrix) -> Matrix:
    """Return the matrix that adapts a white to D50."""
    cones = (_BRADFORD @ _D50) / (_BRADFORD @ white)
    return np.asarray(np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD)


def _curve(curve: Curve) -> bytes:
    if curve == "srgb":
        return b"para" + bytes(4) + struct.pack(">HH5i", 3, 0, *_fixed(_SRGB_PARAMETERS))
    if isinstance(curve, tuple):
        values = thinned(curve)
        return b"curv" + bytes(4) + struct.pack(f">I{len(values)}H", len(values), *values)
    return b"para" + bytes(4) + struct.pack(">HHi", 0, 0, *_fixed([float(curve)]))


def _fixed(values: Sequence[float] | Matrix) -> list[int]:
    """Return fixed-point numbers with 16 fractional bits (ICC.1:2022, 4.6)."""
    return [int(value) for value in np.rint(np.ravel(values) * 65536)]


def _xyz(values: Sequence[float] | Matrix) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *_fixed(values))


def _text(text: str) -> bytes:
    content = text.encode("utf-16-be")
    return b"mluc" + bytes(4) + struct.pack(">2I4s2I", 1, 12, b"enUS", len(content), 28) + content


def _profile(space: bytes, tags: dict[bytes, bytes], name: str) -> bytes:
    """Return the header, directory and tags of a profile (ICC.1:2022, 7)."""
    tags = {
        **tags,
        b"desc": _text(name),
        b"cprt": _text("No copyright, use freely"),
        b"wtpt": _xyz(_D50),
    }
    places: dict[bytes, int] = {}
    content = b""
    begin = 132 + 12 * len(tags)
    listed = struct.pack(">I", len(tags))
    for kind, tag in tags.items():
        if tag not in places:  # equal tags are stored once
            places[tag] = begin + len(content)
            content += tag + bytes(-len(tag) % 4)
        listed += struct.pack(">4s2I", kind, places[tag], len(tag))
    header = struct.pack(
        ">I4xI4s4s4s6H4s28x3i48x",
        begin + len(content),
        0x04300000,
        b"mntr",
        space,
        b"XYZ ",
        *(2026, 1, 1, 0, 0, 0),
        b"acsp",
        *_fixed(_D50),
    )
    return header + listed + content
