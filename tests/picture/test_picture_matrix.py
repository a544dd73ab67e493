"""Every kind of picture in every format: read, prepared, written, and read back by another decoder.

What a file should be read as is never asked of our decoder. It is computed from the samples that went in or, where a
format is lossy, by a second decoder. The tables omit only what a format cannot hold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from support.pictures import (
    GRAY,
    GRAY_ALPHA,
    GRAY_GAMMA,
    GRAY_PROFILE,
    PALETTE,
    RGB,
    RGB_ALPHA,
    SRGB,
    UPRIGHT,
    WIDE,
    cmyk_profile,
    encoded,
    lab_of_inks,
    png,
    png_samples,
    srgb_curve,
    srgb_of_lab,
    srgb_of_wide,
    tiff,
)

from enlarger.geometry.rect import Pixels
from enlarger.picture.decode import decode, probe
from enlarger.picture.encode import encode
from enlarger.picture.prepare import prepare
from enlarger.picture.profile import rgb_of_gray
from enlarger.picture.values import Picture

HEIGHT, WIDTH = 16, 24

CHANNELS = {"gray": 1, "gray-alpha": 2, "rgb": 3, "rgba": 4, "cmyk": 4, "lab": 3}
"""Stored, by mode."""

PROFILES = {
    "none": None,
    "srgb": SRGB,
    "wide": WIDE,
    "gray": GRAY_PROFILE,
    "cmyk": cmyk_profile(),
}

FITTING = {
    "gray": ["none", "gray"],
    "gray-alpha": ["none", "gray"],
    "one-bit": ["none", "gray"],
    "rgb": ["none", "srgb", "wide"],
    "rgba": ["none", "srgb", "wide"],
    "palette": ["none", "srgb", "wide"],
    "palette-alpha": ["none", "srgb", "wide"],
    "cmyk": ["none", "cmyk"],
    "lab": ["none"],
}
"""Profiles that belong to a mode."""

SHALLOW = ("one-bit", "palette", "palette-alpha")

HELD = {
    "png": ("gray", "gray-alpha", "rgb", "rgba", *SHALLOW),
    "tiff": ("gray", "gray-alpha", "rgb", "rgba", "one-bit", "palette", "cmyk", "lab"),
    "jpeg": ("gray", "rgb", "cmyk"),
    "webp": ("rgb", "rgba"),
    "avif": ("gray", "rgb", "rgba"),
    "bmp": ("gray", "rgb", "one-bit", "palette"),
    "gif": ("palette", "palette-alpha"),
}
"""Modes that a format holds."""

BARE = ("bmp", "gif")
"""Formats without profile and orientation."""

COLOURS = np.array([[250, 2, 3], [200, 100, 50], [255, 255, 255], [0, 0, 0]], np.uint8)
ALPHAS = np.array([255, 0, 255, 255], np.uint8)


@dataclass(frozen=True)
class Case:
    format: str
    mode: str
    depth_bits: int = 8
    profile: str = "none"
    orientation: int = 1

    def __str__(self) -> str:
        return f"{self.format}-{self.mode}-{self.depth_bits}-{self.profile}-{self.orientation}"


def cases() -> list[Case]:
    """All that files can be."""
    found = []
    for format_, modes in HELD.items():
        deep = (8, 16) if format_ in ("png", "tiff") else (8,)
        for mode, depth_bits in product(modes, deep):
            if depth_bits == 16 and mode in SHALLOW:
                continue
            if format_ in BARE:
                found.append(Case(format_, mode))
                continue
            for profile, orientation in product(FITTING[mode], range(1, 9)):
                found.append(Case(format_, mode, depth_bits, profile, orientation))
    return found


CASES = cases()


def stored_samples(case: Case) -> Pixels:
    """What goes into the file: soft, so that lossy formats keep it, with black and white at two corners."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    if case.mode == "one-bit":
        return np.asarray((x // 3 + y // 5) % 2, np.uint8)[:, :, np.newaxis]
    if case.mode.startswith("palette"):
        return np.asarray((x // 4 + y // 4) % 4, np.uint8)[:, :, np.newaxis]
    if case.mode == "cmyk":  # each ink is there or not, in areas of 4 x 8
        areas = (x // 8 + y // 4 * 3) % 16
        samples = np.stack([areas >> ink & 1 for ink in range(4)], axis=2) * 65535
    elif case.mode == "lab":
        samples = np.stack([x * 2849, y * 1000 + 25000, x * 800 + 24000], axis=2)
        samples[0, 0], samples[-1, -1] = (0, 32768, 32768), (65535, 32768, 32768)
        samples[:, :, 1:] ^= 32768  # signed in the file
    else:
        planes = [x * 2849, y * 4369, 65535 - x * 1500, 65535 - y * 3000]
        if case.mode in ("gray", "gray-alpha"):
            planes = [planes[0], planes[3]]
        samples = np.stack(planes[: CHANNELS[case.mode]], axis=2)
        colours = 1 if case.mode.startswith("gray") else 3
        samples[0, 0, :colours], samples[-1, -1, :colours] = 0, 65535
    return samples.astype(np.uint16) if case.depth_bits == 16 else (samples >> 8).astype(np.uint8)


def file_of(case: Case) -> bytes:
    """A file of the case, made without our code."""
    samples, icc = stored_samples(case), PROFILES[case.profile]
    if case.format == "png":
        return png_file(case, samples, icc)
    if case.format == "tiff":
        return tiff_file(case, samples, icc)
    modes = {"gray": "L", "rgb": "RGB", "rgba": "RGBA", "cmyk": "CMYK"}
    if case.mode == "one-bit":
        image = Image.fromarray(samples[:, :, 0] * 255).convert("1")
    elif case.mode in modes:
        image = Image.frombytes(modes[case.mode], (WIDTH, HEIGHT), samples.tobytes())
    else:
        image = Image.frombytes("P", (WIDTH, HEIGHT), samples.tobytes())
        image.putpalette(COLOURS.tobytes())
    by_format: dict[str, dict[str, Any]] = {
        "jpeg": {"quality": 95, "subsampling": 0},
        "webp": {"lossless": True, "exact": True},
        "avif": {"quality": 95, "speed": 10},
        "gif": {"optimize": False} | ({"transparency": 1} if "alpha" in case.mode else {}),
        "bmp": {},
    }
    options = by_format[case.format]
    if case.format not in BARE:
        exif = Image.Exif()
        exif[0x0112] = case.orientation
        options |= {"exif": exif, "icc_profile": icc}
    return encoded(image, case.format.upper(), **options)


def png_file(case: Case, samples: Pixels, icc: bytes | None) -> bytes:
    """Chunk by chunk."""
    colours = {"gray": GRAY, "one-bit": GRAY, "gray-alpha": GRAY_ALPHA, "rgb": RGB}
    colour = colours.get(case.mode, RGB_ALPHA if case.mode == "rgba" else PALETTE)
    chunks = {}
    if icc is not None:
        chunks[b"iCCP"] = b"p\0\0" + imagecodecs.zlib_encode(icc)
    if colour == PALETTE:
        chunks[b"PLTE"] = COLOURS.tobytes()
    if case.mode == "palette-alpha":
        chunks[b"tRNS"] = ALPHAS.tobytes()
    exif = Image.Exif()
    exif[0x0112] = case.orientation
    chunks[b"eXIf"] = exif.tobytes().removeprefix(b"Exif\0\0")
    depth_bits = {"one-bit": 1}.get(case.mode, 2 if colour == PALETTE else case.depth_bits)
    return png(samples, colour=colour, depth_bits=depth_bits, chunks=chunks)


def tiff_file(case: Case, samples: Pixels, icc: bytes | None) -> bytes:
    """By tifffile."""
    photometric = {
        "gray": "minisblack",
        "gray-alpha": "minisblack",
        "one-bit": "minisblack",
        "palette": "palette",
        "cmyk": "separated",
        "lab": "cielab",
    }.get(case.mode, "rgb")
    options: dict[str, Any] = {}
    if case.mode == "one-bit":
        samples = samples.astype(bool)
    if case.mode == "palette":
        options["colormap"] = np.zeros((3, 256), np.uint16)
        options["colormap"][:, :4] = COLOURS.T.astype(np.uint16) * 257
    return tiff(
        samples,
        photometric,
        iccprofile=icc,
        extratags=[(274, "H", 1, case.orientation, True)],
        **options,
    )


def read_as(case: Case, data: bytes) -> Pixels:
    """What another decoder makes of the file, or what went in where nothing was lost; not yet turned."""
    stored = stored_samples(case)
    if case.format == "jpeg" and case.mode != "cmyk":
        stored = imagecodecs.jpeg8_decode(data).reshape(HEIGHT, WIDTH, -1)
    if case.format == "avif":
        plain = file_of(replace(case, orientation=1))  # libavif's other users turn by themselves
        stored = imagecodecs.avif_decode(plain).reshape(HEIGHT, WIDTH, -1)
    if case.mode == "one-bit":
        return stored * 255
    if case.mode.startswith("palette"):
        colours = COLOURS[stored[:, :, 0]]
        alpha = ALPHAS[stored[:, :, 0]]
        return np.dstack([colours, alpha]) if case.mode == "palette-alpha" else colours
    most = 65535 if case.depth_bits == 16 else 255
    if case.mode == "lab":
        lab = (stored[:, :, 1:] ^ (most // 2 + 1)).astype(float) * 256 / (most + 1) - 128
        light = stored[:, :, :1] * (100 / most)
        return np.asarray(np.rint(srgb_of_lab(np.dstack([light, lab])) * most))
    if case.mode == "cmyk" and case.profile == "cmyk":
        lab = np.array([[lab_of_inks(inks) for inks in row] for row in stored])
        lab = np.dstack([lab[:, :, :1] / 2.55, lab[:, :, 1:] - 128])
        return np.asarray(np.rint(srgb_of_lab(lab) * most))
    if case.mode == "cmyk":
        light = most - stored[:, :, 3:].astype(float)
        return np.asarray(np.rint((1 - stored[:, :, :3] / most) * light))
    return stored


def tolerance(case: Case) -> float:
    """In code values: none, but for what a format or a conversion through Lab rounds."""
    step = 257 if case.depth_bits == 16 else 1
    if case.mode in ("lab", "cmyk"):
        return (8 if case.format == "jpeg" else 1.5) * step
    return 1 if case.format in ("jpeg", "avif") else 0


def assert_close(one: Pixels, other: Pixels, at_most: float) -> None:
    """In every sample."""
    assert one.shape == other.shape
    assert np.abs(one.astype(float) - other.astype(float)).max() <= at_most


def codes(picture: Picture) -> list[str]:
    """The notes' codes."""
    return [note.code for note in picture.notes]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_file_is_read_as_what_went_in(case: Case) -> None:
    """Samples, depth, layout, profile and notes; ``probe`` says the same of size and depth."""
    data = file_of(case)
    picture = decode(data)
    expected = UPRIGHT[case.orientation](read_as(case, data))
    assert_close(picture.samples, expected, tolerance(case))
    assert picture.samples.dtype == (np.uint16 if case.depth_bits == 16 else np.uint8)
    assert picture.format == case.format
    converted = case.mode in ("cmyk", "lab")
    assert picture.icc == (None if converted else PROFILES[case.profile])
    turned = ["orientation_applied"] if case.orientation > 1 else []
    assert codes(picture) == ["colorspace_converted"] * converted + turned
    header = probe(data)
    assert (header.height_px, header.width_px) == expected.shape[:2]
    assert header.depth_bits == picture.depth_bits == case.depth_bits


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.orientation == 6 and case.profile != "none"], ids=str
)
def test_conversion_to_srgb_is_that_of_the_standards(case: Case) -> None:
    """White stays white and black black; alpha and gray stay; and the profile is gone."""
    data = file_of(case)
    kept, picture = decode(data), decode(data, to_srgb=True)
    most = np.iinfo(picture.samples.dtype).max
    colour = kept.colour / most
    if case.profile == "wide":
        colour = srgb_of_wide(colour)
    elif case.profile == "gray":
        colour = srgb_curve(colour**GRAY_GAMMA)
    assert_close(picture.colour, colour * most, 80 if case.depth_bits == 16 else 1.5)
    if kept.alpha is not None and picture.alpha is not None:
        assert np.array_equal(picture.alpha, kept.alpha)
    for extreme in (0, most):
        assert (picture.colour[(kept.colour == extreme).all(axis=2)] == extreme).all()
    assert picture.has_alpha == kept.has_alpha
    assert picture.icc is None
    assert codes(picture).count("colorspace_converted") == 1


@pytest.mark.parametrize("depth_bits", [8, 16])
@pytest.mark.parametrize(
    ("mode", "profile"), [("gray", "srgb"), ("rgb", "gray"), ("rgb", "cmyk"), ("cmyk", "srgb")]
)
def test_profile_for_another_kind_of_colour_is_dropped(
    mode: str, profile: str, depth_bits: int
) -> None:
    """The samples are read as if there were none."""
    case = Case("tiff", mode, depth_bits, profile)
    for to_srgb in (False, True):
        picture = decode(file_of(case), to_srgb=to_srgb)
        plain = decode(file_of(replace(case, profile="none")))
        assert np.array_equal(picture.samples, plain.samples)
        assert picture.icc is None
        assert codes(picture) == ["icc_dropped", *codes(plain)]


@pytest.mark.parametrize("depth_bits", [8, 16])
@pytest.mark.parametrize("cut_bytes", [10, 100, 200])
@pytest.mark.parametrize("mode", ["rgb", "gray", "cmyk"])
def test_broken_profile_is_dropped(
    monkeypatch: pytest.MonkeyPatch, mode: str, cut_bytes: int, depth_bits: int
) -> None:
    """The pixels stay, and the caller is told, at the latest when a conversion wants it."""
    profile = {"rgb": "wide", "gray": "gray", "cmyk": "cmyk"}[mode]
    case = Case("tiff", mode, depth_bits, profile)
    plain = decode(file_of(replace(case, profile="none")))
    monkeypatch.setitem(PROFILES, profile, (PROFILES[profile] or b"")[:cut_bytes])
    picture = decode(file_of(case), to_srgb=True)
    assert np.array_equal(picture.samples, plain.samples)
    assert picture.icc is None
    assert codes(picture) == ["icc_dropped", *codes(plain)]


READERS: dict[str, Callable[[bytes], Pixels]] = {
    "png": png_samples,
    "jpeg": imagecodecs.jpeg8_decode,
    "webp": imagecodecs.webp_decode,
    "avif": imagecodecs.avif_decode,
    "tiff": imagecodecs.tiff_decode,
}
"""By format: a decoder that is not ours."""

WRITTEN = [
    case
    for case in CASES
    if (case.format == "tiff" or (case.format == "png" and "palette" in case.mode))
    and case.orientation in (1, 6)
]


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("case", WRITTEN, ids=str)
def test_written_file_is_read_by_others_as_what_was_prepared(
    tmp_path: Path, case: Case, kind: str
) -> None:
    """Samples, depth and profile; upright, and so it says."""
    picture = decode(file_of(case))
    background = (250, 250, 250) if kind == "jpeg" else None
    prepared = prepare(picture, kind=kind, metadata="keep", background=background)
    path = tmp_path / "picture"
    encode(prepared, path, kind=kind)
    data = path.read_bytes()
    found = np.asarray(READERS[kind](data))
    assert found.dtype == prepared.samples.dtype
    found = found.reshape(*prepared.samples.shape[:2], -1)
    if found.shape[2] == 3 and prepared.is_gray:
        found = found[:, :, :1]  # some decoders know no gray
    if kind in ("png", "tiff"):
        assert np.array_equal(found, prepared.samples)
    else:
        seen = prepared.samples.astype(int)
        assert found.shape == seen.shape
        opaque = seen[:, :, -1:] > 0 if prepared.has_alpha else np.True_
        assert (np.abs(found.astype(int) - seen) * opaque).mean() < 16  # subsampled colour
    deep = case.depth_bits == 16
    assert prepared.depth_bits == (16 if deep and kind in ("png", "tiff") else 8)
    lost = ["alpha_flattened"] * (picture.has_alpha and kind == "jpeg")
    lost += ["depth_reduced"] * (deep and kind not in ("png", "tiff"))
    no_gray = kind == "webp" or (kind == "avif" and picture.has_alpha)
    assert codes(prepared) == codes(picture) + lost
    again = decode(data)
    icc = picture.icc
    if icc is not None and picture.is_gray and no_gray:
        icc = rgb_of_gray(icc)
        assert icc is not None
    assert again.icc == prepared.icc == icc
    assert "orientation_applied" not in codes(again)
