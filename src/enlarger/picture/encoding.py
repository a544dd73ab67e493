"""The meaning of samples whose file has no profile: primaries and curves, by number or by name.

The numbers are those of ITU-T H.273 (colour primaries, table 2, and transfer characteristics, table 3), which cICP of
PNG and nclx of AVIF share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from enlarger.picture import profile
from enlarger.picture.profile import D65, SRGB_PRIMARIES, Curve, Primaries

Hdr = Literal["pq", "hlg"]
"""The curves of BT.2100, which extend beyond the white of a display. Profiles cannot describe how to handle that."""

SRGB_CODE, PQ_CODE, HLG_CODE = 13, 16, 18
"""Transfer characteristics."""

UNSPECIFIED_CODE = 2

_C = (0.310, 0.316)
_SMPTE_C = Primaries(D65, (0.630, 0.340), (0.310, 0.595), (0.155, 0.070))
BT2020_PRIMARIES = Primaries(D65, (0.708, 0.292), (0.170, 0.797), (0.131, 0.046))
_P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))

PRIMARIES = {
    1: ("BT.709", SRGB_PRIMARIES),
    UNSPECIFIED_CODE: ("unspecified", SRGB_PRIMARIES),
    4: ("BT.470 M", Primaries(_C, (0.67, 0.33), (0.21, 0.71), (0.14, 0.08))),
    5: ("BT.470 B/G", Primaries(D65, (0.64, 0.33), (0.29, 0.60), (0.15, 0.06))),
    6: ("BT.601", _SMPTE_C),
    7: ("SMPTE 240M", _SMPTE_C),
    8: ("film", Primaries(_C, (0.681, 0.319), (0.243, 0.692), (0.145, 0.049))),
    9: ("BT.2020", BT2020_PRIMARIES),
    10: ("XYZ", Primaries((1 / 3, 1 / 3), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0))),
    11: ("DCI-P3", Primaries((0.314, 0.351), *_P3)),
    12: ("Display P3", Primaries(D65, *_P3)),
    22: ("EBU 3213", Primaries(D65, (0.630, 0.340), (0.295, 0.605), (0.155, 0.077))),
}
"""Primaries by code. The other codes are reserved."""

# Video of BT.709 and related standards is treated as sRGB, as in browsers. These standards define how a camera
# encodes light, and leave the result to the display. A picture that only states BT.709 is plain sRGB everywhere.
TRANSFERS: dict[int, tuple[str, Curve | Hdr]] = {
    **dict.fromkeys((1, 6, 7, 11, 12, 14, 15), ("BT.709", "srgb")),
    UNSPECIFIED_CODE: ("unspecified", "srgb"),
    4: ("gamma 2.2", 2.2),
    5: ("gamma 2.8", 2.8),
    8: ("linear", 1.0),
    SRGB_CODE: ("sRGB", "srgb"),
    PQ_CODE: ("PQ", "pq"),
    17: ("gamma 2.6", 2.6),
    HLG_CODE: ("HLG", "hlg"),
}
"""Curves by code. The logarithmic ones, 9 and 10, are not used in practice, and the others are reserved."""

_NEAR = 0.0011
"""Maximum difference between chromaticities that mean the same. Rounding in files makes up to 0.001."""

_LEAST_EXPONENT = 1.5
"""A curve with a smaller exponent counts as linear light.

In 8 bits it has too few dark steps: the first step is 13 of sRGB's. Networks have only seen photos in sRGB, and make
worse pictures of it (docs/decisions/0023).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A file's statement of its colours without a profile, in the numbers of its format, to be repeated in the result.

    ``Picture.icc`` describes the same colours, except for PQ and HLG. If all fields are None, it was another kind of
    statement, which only the profile repeats.
    """

    code_points: tuple[int, int] | None = None
    """Colour primaries and transfer characteristics of H.273, as in cICP of PNG and nclx of AVIF."""

    gamma: int | None = None
    """The value of gAMA in PNG: the exponent from light to samples, in 100000ths."""

    chromaticities: tuple[int, ...] | None = None
    """The values of cHRM in PNG: x and y of white, red, green and blue, in 100000ths."""

    rendering_intent: int | None = None
    """The value of sRGB in PNG, which marks samples as sRGB."""

    mastering_display: tuple[int, ...] | None = None
    light_levels: tuple[int, ...] | None = None
    """The values of mDCV and cLLI in PNG, beside cICP."""

    peak_nits: float = 0.0
    """The brightest light of PQ or HLG, apart from specks, in candela per square metre, as measured in the samples."""

    @property
    def is_hdr(self) -> bool:
        """Whether samples are PQ or HLG (transfer characteristics 16 and 18)."""
        return self.code_points is not None and self.code_points[1] in (16, 18)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """The relation between samples and colours."""

    source: str
    """The chunk or field that states it, such as ``cICP``, for notes."""

    name: str
    """A readable name, such as ``BT.2020, PQ``."""

    primaries: Primaries = SRGB_PRIMARIES
    curves: tuple[Curve, Curve, Curve] = ("srgb", "srgb", "srgb")
    """Curves of red, green and blue; unused if ``hdr`` is set."""

    hdr: Hdr | None = None
    is_narrow: bool = False
    """Whether black and white are those of video: 16 and 235 in 8 bits (BT.2100, table 9)."""

    statement: Statement = field(default_factory=Statement)
    """The statement to write into a result of the same kind of format."""

    def is_srgb(self, *, gray: bool) -> bool:
        """Whether samples may stay as they are and be called sRGB."""
        return (
            self.hdr is None
            and set(self.curves) == {"srgb"}
            and (gray or same(self.primaries, SRGB_PRIMARIES))
        )

    @property
    def is_linear(self) -> bool:
        """Whether samples are linear light, or nearly so."""
        middle = 0.5**_LEAST_EXPONENT
        return self.hdr is None and any(
            float(light_of(curve, 0.5)) > middle for curve in self.curves
        )

    def with_curve_of_srgb(self) -> Encoding:
        """The same primaries with the curve of sRGB."""
        points = self.statement.code_points
        return replace(
            self,
            name=f"the primaries of {self.name}",
            curves=("srgb", "srgb", "srgb"),
            hdr=None,
            statement=Statement(
                code_points=points and (points[0], SRGB_CODE),
                chromaticities=self.statement.chromaticities,
            ),
        )

    def profile(self, *, gray: bool) -> bytes:
        """Return the profile that describes the same colours. PQ and HLG have none.

        Raises:
            DegeneratePrimariesError: the primaries describe no colours.
        """
        if gray:
            return profile.gray_profile(self.curves[1], self.name)
        return profile.rgb_profile(self.primaries, self.curves, self.name)


def light_of(curve: Curve, coded: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return light, 0 to 1, of samples, 0 to 1."""
    coded = np.asarray(coded, np.float64)
    if curve == "srgb":
        return np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    if isinstance(curve, tuple):
        return np.asarray(np.interp(coded, np.linspace(0, 1, len(curve)), np.array(curve) / 65535))
    return np.asarray(coded ** float(curve), np.float64)


def coded_of(curve: Curve, light: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return samples, 0 to 1, of light, 0 to 1: the inverse of ``light_of``."""
    light = np.asarray(light, np.float64)
    if curve == "srgb":
        return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    if isinstance(curve, tuple):
        return np.asarray(np.interp(light, np.array(curve) / 65535, np.linspace(0, 1, len(curve))))
    return np.asarray(light ** (1 / float(curve)), np.float64)


def statement_of(fields: Mapping[str, Any]) -> Statement:
    """Return a statement from the fields of ``dataclasses.asdict``, with lists of JSON in place of tuples."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
    }
    return Statement(**values)


def encoding_of(fields: Mapping[str, Any]) -> Encoding:
    """Return an encoding from the fields of ``dataclasses.asdict``, with lists of JSON in place of tuples."""
    curves = [tuple(curve) if isinstance(curve, list) else curve for curve in fields["curves"]]
    values = {
        **fields,
        "primaries": Primaries(*(tuple(point) for point in fields["primaries"])),
        "curves": tuple(curves),
        "statement": statement_of(fields["statement"]),
    }
    return Encoding(**values)


def of_code_points(primaries: int, transfer: int, *, source: str) -> Encoding | None:
    """Return the encoding that two code points of H.273 mean; None if one of them is reserved or unknown here."""
    if primaries not in PRIMARIES or transfer not in TRANSFERS:
        return None
    name, chromaticities = PRIMARIES[primaries]
    curve_name, curve = TRANSFERS[transfer]
    statement = Statement(code_points=(primaries, transfer))
    if curve == "pq" or curve == "hlg":
        return Encoding(
            source=source,
            name=f"{name}, {curve_name}",
            primaries=chromaticities,
            hdr=curve,
            statement=statement,
        )
    return Encoding(
        source=source,
        name=f"{name}, {curve_name}",
        primaries=chromaticities,
        curves=(curve, curve, curve),
        statement=statement,
    )


def same(one: Primaries, other: Primaries) -> bool:
    """Whether two sets of primaries are meant to be the same."""
    return all(
        abs(a - b) < _NEAR
        for first, second in zip(one, other, strict=True)
        for a, b in zip(first, second, strict=True)
    )
