"""Converts PQ and HLG (ITU-R BT.2100) to sRGB, whose white is that of a display, so that brighter light must be darkened.

White is at 203 candela per square metre, the level of graphics white of BT.2408, 5.1. A picture without brighter
light is not changed. Otherwise the brightest of red, green and blue of each pixel goes through the curve of BT.2390,
5.4.1 (a Hermite spline in PQ, as in BT.2408, annex 5), from the picture's own peak to that white. The other two are
scaled by the same factor, so that hues stay. Colours outside the primaries of sRGB are clipped, as with profiles.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from enlarger.picture import profile
from enlarger.picture.encoding import Encoding, Statement, of_code_points
from enlarger.picture.profile import SRGB_PRIMARIES
from enlarger.picture.values import Samples

Floats = npt.NDArray[np.float64]

WHITE_NITS = 203.0
"""Diffuse white, in candela per square metre (BT.2408, table 1); HLG has it at 0.75."""

_PQ_NITS = 10_000.0
_HLG_NITS, _HLG_SYSTEM_GAMMA = 1000.0, 1.2
"""The display for which HLG's exponent is 1.2 (BT.2100, table 5)."""

# Constants of SMPTE ST 2084 and BT.2100, table 4.
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32

# Constants of ARIB STD-B67 and BT.2100, table 5.
_A, _B, _C = 0.17883277, 0.28466892, 0.55991073

_BAND_PX = 1 << 18
"""Number of pixels that are processed at once, which takes 20 MB."""

_SPECKS = 0.001
"""Share of pixels that may be brighter than the peak: single ones would make all others dark."""


def pq_to_nits(coded: npt.ArrayLike) -> Floats:
    """Convert samples of PQ, 0 to 1, to light (SMPTE ST 2084, 5.2)."""
    power = np.asarray(coded, np.float64) ** (1 / _M2)
    return np.asarray(
        _PQ_NITS * (np.maximum(power - _C1, 0) / (_C2 - _C3 * power)) ** (1 / _M1), np.float64
    )


def nits_to_pq(nits: npt.ArrayLike) -> Floats:
    """Convert light to samples of PQ, 0 to 1 (SMPTE ST 2084, 5.3)."""
    power = (np.asarray(nits, np.float64).clip(0) / _PQ_NITS) ** _M1
    return np.asarray(((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2, np.float64)


def hlg_to_scene(coded: npt.ArrayLike) -> Floats:
    """Convert samples of HLG, 0 to 1, to light of the scene, 0 to 1 (BT.2100, table 5: inverse OETF)."""
    coded = np.asarray(coded, np.float64)
    return np.where(coded <= 0.5, coded**2 / 3, (np.exp((coded - _C) / _A) + _B) / 12)


def scene_to_hlg(light: npt.ArrayLike) -> Floats:
    """Convert light of the scene, 0 to 1, to samples of HLG, 0 to 1 (BT.2100, table 5: OETF)."""
    light = np.asarray(light, np.float64).clip(0, 1)
    logarithm = _A * np.log(np.maximum(12 * light - _B, 1e-9)) + _C
    return np.where(light <= 1 / 12, np.sqrt(3 * light), logarithm)


def peak_nits(colour: Samples, alpha: Samples | None, hdr: str) -> float:
    """Return the brightest light of the visible pixels, except for specks.

    Args:
        colour: (H, W, 1 or 3), uint8 or uint16.
        alpha: (H, W).
        hdr: ``pq`` or ``hlg``.
    """
    most = np.iinfo(colour.dtype).max
    counts = np.zeros(most + 1, np.int64)
    for rows in _bands(colour):
        brightest = colour[rows].max(axis=2)
        seen = brightest.ravel() if alpha is None else brightest[alpha[rows] > 0]
        counts += np.bincount(seen, minlength=most + 1)
    # The peak is the first value that all pixels except the specks do not exceed.
    enough = counts.sum() * (1 - _SPECKS)
    code = int(np.searchsorted(counts.cumsum(), enough))
    return float(_gray_nits(np.array(min(code, most) / most), hdr))


def to_srgb(colour: Samples, statement: Statement) -> Samples:
    """Return samples in sRGB, of the same shape and type.

    Args:
        colour: (H, W, 1 or 3), uint8 or uint16.
        statement: a statement of PQ or HLG, with the peak of the picture.
    """
    encoding = _encoding(statement)
    most = int(np.iinfo(colour.dtype).max)
    matrix = profile.to_xyz(encoding.primaries)
    to_display = np.linalg.inv(profile.to_xyz(SRGB_PRIMARIES)) @ matrix
    # White is 1, even if the primaries have another white than sRGB.
    to_display /= to_display.sum(axis=1, keepdims=True)
    codes = np.arange(most + 1) / most
    light_of = (pq_to_nits(codes) if encoding.hdr == "pq" else hlg_to_scene(codes)).astype(
        np.float32
    )
    darker = _Darker(statement.peak_nits)
    made = np.empty_like(colour)
    for rows in _bands(colour):
        light = light_of[colour[rows]]
        if encoding.hdr == "hlg":
            seen = light @ matrix[1].astype(np.float32) if light.shape[2] == 3 else light[:, :, 0]
            light *= (_HLG_NITS * seen ** np.float32(_HLG_SYSTEM_GAMMA - 1))[:, :, np.newaxis]
        light *= darker.factor(light.max(axis=2))[:, :, np.newaxis]
        if light.shape[2] == 3:
            light = light @ to_display.T.astype(np.float32)
        made[rows] = np.rint(_srgb_of_light(light.clip(0, 1)) * most)
    return made


def from_srgb(rgb: tuple[int, int, int], statement: Statement) -> Floats:
    """Return an sRGB colour, 0 to 255, in PQ or HLG, 0 to 1, with white at 203 candela per square metre."""
    encoding = _encoding(statement)
    coded = np.array(rgb) / 255
    light = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    matrix = profile.to_xyz(encoding.primaries)
    to_theirs = np.linalg.inv(matrix) @ profile.to_xyz(SRGB_PRIMARIES)
    nits = WHITE_NITS * (to_theirs / to_theirs.sum(axis=1, keepdims=True) @ light).clip(0)
    if encoding.hdr == "pq":
        return nits_to_pq(nits)
    seen = max(float(matrix[1] @ nits) / _HLG_NITS, 1e-9)
    return scene_to_hlg(nits / _HLG_NITS * seen ** (1 / _HLG_SYSTEM_GAMMA - 1))


class _Darker:
    """The factors for light that make white 1 and limit the peak to the same."""

    _STEPS = 4096

    def __init__(self, peak: float) -> None:
        self._factors: npt.NDArray[np.float32] | None = None
        if peak <= WHITE_NITS:
            return
        # Steps are even in the square root of light, which makes them fine in the dark.
        self._step = np.sqrt(_PQ_NITS) / self._STEPS
        nits = (np.arange(self._STEPS + 1) * self._step) ** 2
        made = compressed(nits, peak)
        made[1:] /= nits[1:]
        made[0] = made[1]
        self._factors = (made / WHITE_NITS).astype(np.float32)

    def factor(self, nits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the factor by the brightest of a pixel's red, green and blue, (H, W)."""
        if self._factors is None:
            return np.full_like(nits, 1 / WHITE_NITS)
        at = np.sqrt(nits.clip(0, _PQ_NITS)) / np.float32(self._step)
        before = at.astype(np.int32).clip(0, self._STEPS - 1)
        share = at - before
        return np.asarray(
            self._factors[before] * (1 - share) + self._factors[before + 1] * share, np.float32
        )


def compressed(nits: npt.ArrayLike, peak: float) -> Floats:
    """Map light from 0 to ``peak``, which exceeds white, to light from 0 to white (BT.2390, 5.4.1, for a black of 0)."""
    top = float(nits_to_pq(peak))
    most = float(nits_to_pq(WHITE_NITS)) / top
    knee = 1.5 * most - 0.5
    coded = (nits_to_pq(nits) / top).clip(0, 1)
    t = ((coded - knee) / (1 - knee)).clip(0)
    spline = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1 - knee)
        + (-2 * t**3 + 3 * t**2) * most
    )
    return pq_to_nits(np.where(coded < knee, coded, spline) * top)


def _gray_nits(coded: Floats, hdr: str) -> Floats:
    """Return the light of samples with equal red, green and blue."""
    if hdr == "pq":
        return pq_to_nits(coded)
    return np.asarray(_HLG_NITS * hlg_to_scene(coded) ** _HLG_SYSTEM_GAMMA)


def _srgb_of_light(light: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Convert linear light to sRGB (IEC 61966-2-1)."""
    curved = np.float32(1.055) * light ** np.float32(1 / 2.4) - np.float32(0.055)
    return np.where(light <= 0.0031308, light * np.float32(12.92), curved)


def _encoding(statement: Statement) -> Encoding:
    points = statement.code_points
    encoding = points and of_code_points(*points, source="")
    if not encoding or encoding.hdr is None:
        raise ValueError("only PQ and HLG are brighter than white")
    return encoding


def _bands(colour: Samples) -> Iterator[slice]:
    """Yield slices of a few rows each."""
    height = max(1, _BAND_PX // max(1, colour.shape[1]))
    return (slice(top, top + height) for top in range(0, len(colour), height))
