"""PQ and HLG to sRGB, against the numbers of the standards."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enlarger.picture.encoding import Statement
from enlarger.picture.tone import (
    WHITE_NITS,
    compressed,
    from_srgb,
    hlg_to_scene,
    nits_to_pq,
    peak_nits,
    pq_to_nits,
    scene_to_hlg,
    to_srgb,
)

PQ, HLG = Statement(code_points=(9, 16)), Statement(code_points=(9, 18))


@pytest.mark.parametrize(
    ("nits", "coded"),
    # SMPTE ST 2084 in 10 bits of narrow range, as BT.2408, table 1, rounds it: 58 %, and 1000 and 10000 as known.
    [(0, 0.0), (100, 0.5081), (203, 0.5807), (1000, 0.7518), (4000, 0.9026), (10000, 1.0)],
)
def test_pq_is_that_of_the_standard(nits: float, coded: float) -> None:
    """Light and samples belong together as SMPTE ST 2084 has them."""
    assert float(nits_to_pq(nits)) == pytest.approx(coded, abs=5e-5)
    assert float(pq_to_nits(nits_to_pq(nits))) == pytest.approx(nits, abs=1e-6)


@pytest.mark.parametrize(("scene", "coded"), [(0, 0), (1 / 12, 0.5), (0.2650, 0.75), (1, 1)])
def test_hlg_is_that_of_the_standard(scene: float, coded: float) -> None:
    """Light of the scene and samples belong together as BT.2100, table 5, has them."""
    assert float(hlg_to_scene(coded)) == pytest.approx(scene, abs=1e-4)
    assert float(scene_to_hlg(scene)) == pytest.approx(coded, abs=1e-4)


def gray(value: float, dtype: type = np.uint16) -> np.ndarray:
    """One pixel of equal channels, 0 to 1."""
    return np.full((1, 1, 3), round(value * np.iinfo(dtype).max), dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("statement", "hdr", "coded"), [(PQ, "pq", nits_to_pq(203)), (HLG, "hlg", 0.75)]
)
def test_white_of_bt_2408_is_white(
    statement: Statement, hdr: str, coded: float, dtype: type
) -> None:
    """203 candela per square metre, in PQ at 58 % and in HLG at 75 %, are the white of sRGB if nothing is brighter."""
    samples = gray(float(coded), dtype)
    assert peak_nits(samples, None, hdr) == pytest.approx(WHITE_NITS, rel=0.02)
    made = to_srgb(samples, statement)
    assert made.dtype == dtype
    assert np.abs(made / np.iinfo(dtype).max * 255 - 255).max() <= 1


def test_what_is_not_brighter_than_white_is_exact() -> None:
    """Light of BT.2020 in PQ comes out as sRGB by arithmetic: EOTF, primaries, curve."""
    light = np.array([[[40.0, 90.0, 60.0], [120.0, 100.0, 80.0], [1.0, 1.0, 1.0]]])
    samples = np.rint(nits_to_pq(light) * 65535).astype(np.uint16)
    # From BT.2020 to BT.709: BT.2087, annex 2 (inverse of its matrix).
    matrix = np.array(
        [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
    )
    linear = (light / WHITE_NITS @ matrix.T).clip(0, 1)
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(to_srgb(samples, PQ) / 65535 - expected).max() < 0.25 / 255


@pytest.mark.parametrize("peak", [250.0, 1000.0, 4000.0, 10000.0])
def test_brighter_light_is_compressed_in_order(peak: float) -> None:
    """The peak is white, dark is as it was, and nothing changes its order."""
    nits = np.linspace(0, peak, 2000)
    made = compressed(nits, peak)
    assert made[-1] == pytest.approx(WHITE_NITS, rel=1e-6)
    assert (np.diff(made) > 0).all()
    assert (made <= nits + 1e-6).all()
    assert made[nits < 10] == pytest.approx(nits[nits < 10], rel=1e-6)


def test_highlights_keep_their_hue_and_their_order() -> None:
    """A picture with light of 1000 candela: none of it is cut off, and gray stays neutral."""
    steps = np.linspace(100, 1000, 10)
    samples = np.rint(nits_to_pq(steps) * 65535).astype(np.uint16)
    samples = np.repeat(samples.reshape(1, -1, 1), 3, axis=2)
    statement = Statement(code_points=(9, 16), peak_nits=1000.0)
    made = to_srgb(samples, statement)[0].astype(int)
    assert (np.diff(made[:, 0]) > 0).all()
    assert np.ptp(made, axis=1).max() <= 2
    assert made[-1, 0] == pytest.approx(65535, abs=20)


def test_specks_and_clear_pixels_are_no_peak() -> None:
    """One pixel in ten thousand, and what nobody sees, would make all others dark."""
    samples = np.full((100, 100, 3), round(0.5 * 65535), np.uint16)
    samples[0, 0] = 65535
    alpha = np.full((100, 100), 255, np.uint8)
    samples[50:], alpha[50:] = 60000, 0
    assert peak_nits(samples, alpha, "pq") == pytest.approx(float(pq_to_nits(0.5)), rel=1e-3)
    assert peak_nits(samples, np.zeros_like(alpha), "pq") == 0


@pytest.mark.parametrize("statement", [PQ, HLG])
@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_colour_of_srgb_finds_back(statement: Statement, rgb: tuple[int, int, int]) -> None:
    """What a background becomes among samples of PQ or HLG is that colour again when they are shown."""
    samples = np.rint(from_srgb(rgb, statement) * 65535).astype(np.uint16).reshape(1, 1, 3)
    shown = to_srgb(samples, statement) / 257
    assert np.abs(shown - rgb).max() <= 1


@pytest.mark.parametrize("statement", [PQ, HLG])
def test_gray_is_as_equal_channels_are(statement: Statement) -> None:
    """One channel and three give the same."""
    ramp = np.linspace(0, 65535, 300).astype(np.uint16).reshape(1, -1, 1)
    three = to_srgb(np.repeat(ramp, 3, axis=2), statement)
    one = to_srgb(ramp, statement)
    assert np.abs(three.astype(int) - one).max() <= 2


def test_other_colours_are_refused() -> None:
    """Only PQ and HLG are brighter than white."""
    with pytest.raises(ValueError, match="PQ and HLG"):
        to_srgb(gray(0.5), Statement(code_points=(12, 13)))
