"""ICC profiles made here, as LittleCMS reads them."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms
from support.pictures import (
    ADOBE_PRIMARIES,
    D65,
    GRAY_GAMMA,
    GRAY_PROFILE,
    SRGB_PRIMARIES,
    WIDE_GAMMA,
    icc_profile,
    srgb_of_wide,
)

from enlarger.geometry.rect import Pixels
from enlarger.picture import profile
from enlarger.picture.profile import (
    Curve,
    DegeneratePrimariesError,
    Primaries,
    gray_profile,
    rgb_of_gray,
    rgb_profile,
    to_xyz,
)

ADOBE = Primaries(D65, *ADOBE_PRIMARIES)
RAMP = np.arange(256, dtype=np.uint8)
GRAYS = np.repeat(RAMP.reshape(1, 256, 1), 3, axis=2)


def in_srgb(samples: Pixels, icc: bytes) -> Pixels:
    """(H, W, C) of a profile in sRGB, (H, W, 3), as LittleCMS converts it."""
    image = Image.fromarray(samples[:, :, 0] if samples.shape[2] == 1 else samples)
    made = ImageCms.profileToProfile(
        image,
        ImageCms.ImageCmsProfile(BytesIO(icc)),
        ImageCms.createProfile("sRGB"),
        outputMode="RGB",
        flags=ImageCms.Flags.NOOPTIMIZE,  # its shortcuts are 10 of 255 off for gray of linear light
    )
    return np.array(made).astype(int)


def test_profile_leads_to_the_colours_of_its_primaries_and_curve() -> None:
    """LittleCMS and the arithmetic of the primaries agree to one code value."""
    samples = np.random.default_rng(0).integers(60, 200, (16, 16, 3)).astype(np.uint8)
    made = in_srgb(samples, rgb_profile(ADOBE, [WIDE_GAMMA] * 3, "wide"))
    assert np.abs(made - 255 * srgb_of_wide(samples / 255)).max() <= 1


def test_profile_of_srgb_changes_nothing() -> None:
    """The primaries and the curve of sRGB lead to the same samples."""
    icc = rgb_profile(Primaries(D65, *SRGB_PRIMARIES), ["srgb"] * 3, "sRGB")
    samples = np.random.default_rng(1).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    assert np.abs(in_srgb(samples, icc) - samples).max() <= 1


@pytest.mark.parametrize("length", [2, 16, 256, 65536])
def test_table_is_a_curve(length: int) -> None:
    """A table of light leads where its exponent does, however long it is."""
    table = tuple(int(value) for value in np.rint(np.linspace(0, 1, length) * 65535))
    linear = in_srgb(GRAYS, rgb_profile(ADOBE, [1.0] * 3, "linear"))
    assert np.abs(in_srgb(GRAYS, rgb_profile(ADOBE, [table] * 3, "table")) - linear).max() <= 1


@pytest.mark.parametrize("curve", [1.0, 1.8, 2.6, "srgb"])
@pytest.mark.parametrize(
    "primaries",
    [
        ADOBE,
        Primaries((0.310, 0.316), (0.67, 0.33), (0.21, 0.71), (0.14, 0.08)),
        Primaries((1 / 3, 1 / 3), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)),
    ],
)
def test_gray_of_rgb_is_the_gray_of_gray(primaries: Primaries, curve: Curve) -> None:
    """White is white whichever it is, and equal channels are neutral: their curve alone makes them lighter or darker."""
    made = in_srgb(GRAYS, rgb_profile(primaries, [curve] * 3, "RGB"))
    gray = in_srgb(GRAYS[:, :, :1], gray_profile(curve, "gray"))
    assert np.abs(made - gray).max() <= 1
    assert made[0, 255].tolist() == [255, 255, 255]


def test_same_colours_have_the_same_bytes() -> None:
    """No time of day, so that results stay the same."""
    assert rgb_profile(ADOBE, [2.2] * 3, "a") == rgb_profile(ADOBE, [2.2] * 3, "a")


@pytest.mark.parametrize(
    "primaries",
    [
        Primaries(D65, (0.64, 0.33), (0.64, 0.33), (0.15, 0.06)),
        Primaries(D65, (0.2, 0.2), (0.3, 0.3), (0.4, 0.4)),
        Primaries((0.9, 0.05), *SRGB_PRIMARIES),
        Primaries((0.3, 0.0), *SRGB_PRIMARIES),
        Primaries(D65, (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)),
        Primaries(D65, (42949.0, 42949.0), (0.3, 0.6), (0.15, 0.06)),
        Primaries(D65, (float("nan"), 0.3), (0.3, 0.6), (0.15, 0.06)),
    ],
)
def test_primaries_that_are_no_colours_are_refused(primaries: Primaries) -> None:
    """Equal ones, such as lie on a line, and a white outside of them."""
    with pytest.raises(DegeneratePrimariesError):
        to_xyz(primaries)


@given(st.lists(st.floats(0, 4.3), min_size=8, max_size=8))
def test_any_primaries_make_a_profile_or_none(numbers: list[float]) -> None:
    """Whatever the numbers are: a profile that LittleCMS opens, or the refusal."""
    pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
    try:
        icc = rgb_profile(Primaries(*pairs), [2.2] * 3, "any")
    except DegeneratePrimariesError:
        return
    ImageCms.ImageCmsProfile(BytesIO(icc))


@pytest.mark.parametrize("gray", [GRAY_PROFILE, gray_profile(GRAY_GAMMA, "gray")])
def test_profile_for_gray_becomes_one_for_rgb(gray: bytes) -> None:
    """Three equal channels look as gray did."""
    rgb = rgb_of_gray(gray)
    assert rgb is not None
    assert np.abs(in_srgb(GRAYS, rgb) - in_srgb(GRAYS[:, :, :1], gray)).max() <= 1


@pytest.mark.parametrize(
    "icc", [b"", icc_profile(b"GRAY"), icc_profile(b"RGB "), GRAY_PROFILE[:140]]
)
def test_profile_without_a_curve_for_gray_becomes_none(icc: bytes) -> None:
    """There is nothing to take over."""
    assert rgb_of_gray(icc) is None


@given(st.data())
def test_damaged_profile_for_gray_raises_nothing(data: st.DataObject) -> None:
    """Strangers' bytes, in the process that serves all."""
    damaged = bytearray(GRAY_PROFILE)
    for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=20)):
        damaged[at] = data.draw(st.integers(0, 255))
    profile.rgb_of_gray(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]))
