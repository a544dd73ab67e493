"""Files of no more bytes than asked for: what is lowered, in what order, how far, and what is said of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.oracles import lanczos_to
from support.pictures import noise

from enlarger.errors import InvalidOption
from enlarger.geometry.rect import Pixels
from enlarger.options import Options
from enlarger.picture.encode import encode
from enlarger.picture.formats import QUALITY
from enlarger.picture.prepare import prepare
from enlarger.picture.values import Motion, Note, Picture
from enlarger.pipeline.outcome import Enlarged, Ran
from enlarger.pipeline.size_limit import LEAST_QUALITY, write

KINDS = ["png", "jpeg", "webp", "avif", "tiff"]
LOSSY = sorted(QUALITY)
LOSSLESS = ["png", "tiff"]
LEAST_PX = (16, 12)
"""A quarter of the side of ``soft``."""


def soft(seed: int = 0) -> Pixels:
    """A picture between a ramp and noise, as photographs are: 48 x 64, RGB."""
    y, x = np.mgrid[0:48, 0:64]
    ramp = np.stack([x * 3, y * 4, 200 - x * 2], axis=2)
    samples: Pixels = (ramp + noise(48, 64, 3, seed=seed) // 5).astype(np.uint8)
    return samples


def enlarged(picture: Picture | Pixels) -> Enlarged:
    """A result of these samples."""
    picture = picture if isinstance(picture, Picture) else Picture(samples=picture)
    ran = Ran(
        model="nearest",
        model_sha256="0" * 64,
        engine="nearest",
        precision="f32",
        tiles=1,
    )
    return Enlarged(picture=picture, ran=ran)


def moving() -> Picture:
    """Three frames of ``soft``, and a note from before."""
    return Picture(
        samples=soft(0),
        motion=Motion(later=(soft(1), soft(2)), durations_ms=(40, 50, 60), plays=2),
        notes=(Note("orientation_applied", "EXIF orientation 6"),),
    )


def written(
    picture: Picture | Pixels,
    path: Path,
    kind: str,
    *,
    least_px: tuple[int, int] = LEAST_PX,
    **options: Any,
) -> Picture:
    """Write it with these options; holds the file to what is said of it."""
    held = write(enlarged(picture), Options(**options), path, kind=kind, least_px=least_px)
    with Image.open(path) as image:
        assert image.format is not None
        assert image.format.lower() == kind
        assert image.size == (held.width_px, held.height_px)
        assert getattr(image, "n_frames", 1) == len(held.frames)
    return held


def bytes_of(picture: Picture | Pixels, path: Path, kind: str, quality: int | None = None) -> int:
    """The size of its file, without the code that is tested here."""
    picture = picture if isinstance(picture, Picture) else Picture(samples=picture)
    encode(prepare(picture, kind=kind, metadata="keep"), path, kind=kind, quality=quality)
    return path.stat().st_size


def codes(picture: Picture) -> list[str]:
    """The notes' codes."""
    return [note.code for note in picture.notes]


@pytest.mark.parametrize("kind", KINDS)
def test_what_fits_at_once_is_written_as_it_is(tmp_path: Path, kind: str) -> None:
    """To the byte: no note, and the file that no limit at all would give."""
    path = tmp_path / "file"
    free = written(soft(), path, kind)
    data = path.read_bytes()
    held = written(soft(), path, kind, max_bytes=len(data))
    assert path.read_bytes() == data
    assert (held.width_px, held.height_px) == (free.width_px, free.height_px) == (64, 48)
    assert held.notes == free.notes == ()


@pytest.mark.parametrize("kind", LOSSY)
def test_quality_is_lowered_first(tmp_path: Path, kind: str) -> None:
    """One byte too many costs some quality and no pixel; the note says from what to what, and why."""
    path = tmp_path / "file"
    most = bytes_of(soft(), path, kind) - 1
    held = written(soft(), path, kind, max_bytes=most)
    assert path.stat().st_size <= most
    assert (held.width_px, held.height_px) == (64, 48)
    assert codes(held) == ["quality_lowered"]
    found = re.fullmatch(rf"{QUALITY[kind]} to (\d+), to fit {most} bytes", held.notes[0].detail)
    assert found is not None
    quality = int(found[1])
    assert LEAST_QUALITY <= quality < QUALITY[kind]
    assert path.stat().st_size == bytes_of(soft(), tmp_path / "other", kind, quality)


@pytest.mark.parametrize("kind", LOSSY)
def test_quality_is_the_highest_that_fits(tmp_path: Path, kind: str) -> None:
    """Every one above it was tried here, and is too large; for limits between the worst and the best file."""
    sizes = {
        quality: bytes_of(soft(), tmp_path / "other", kind, quality)
        for quality in range(LEAST_QUALITY, QUALITY[kind] + 1)
    }
    for share in (0.0, 0.3, 0.9):
        most = int(sizes[LEAST_QUALITY] + share * (sizes[QUALITY[kind]] - sizes[LEAST_QUALITY])) + 1
        held = written(soft(), tmp_path / "file", kind, max_bytes=most)
        best = max(quality for quality, size in sizes.items() if size <= most)
        assert held.notes[0].detail.startswith(f"{QUALITY[kind]} to {best}, ")


@pytest.mark.parametrize("kind", LOSSY)
def test_callers_quality_is_where_it_begins(tmp_path: Path, kind: str) -> None:
    """A file never gets better than asked for, and one of the least quality or less gets smaller alone."""
    path = tmp_path / "file"
    for quality, lowered in ((70, True), (LEAST_QUALITY + 1, True), (LEAST_QUALITY, False), (30, False)):  # fmt: skip
        most = bytes_of(soft(), path, kind, quality)
        assert written(soft(), path, kind, max_bytes=most, quality=quality).notes == ()
        held = written(soft(), path, kind, max_bytes=most - 1, quality=quality)
        assert path.stat().st_size < most
        assert ("quality_lowered" in codes(held)) == lowered


@pytest.mark.parametrize("kind", LOSSY)
def test_size_is_lowered_when_quality_is_not_enough(tmp_path: Path, kind: str) -> None:
    """Then both notes are there, in the order of what was done."""
    path = tmp_path / "file"
    most = bytes_of(soft(), path, kind, LEAST_QUALITY) - 1
    held = written(soft(), path, kind, max_bytes=most)
    assert path.stat().st_size <= most
    assert codes(held) == ["quality_lowered", "size_lowered"]
    assert held.notes[0].detail == f"{QUALITY[kind]} to {LEAST_QUALITY}, to fit {most} bytes"
    size = f"{held.width_px}x{held.height_px}"
    assert held.notes[1].detail == f"64x48 to {size}, to fit {most} bytes"
    assert LEAST_PX[0] <= held.width_px < 64


@pytest.mark.parametrize("kind", LOSSLESS)
def test_formats_without_loss_get_smaller_alone(tmp_path: Path, kind: str) -> None:
    """Their pixels are one Lanczos reduction of the result, whatever was tried on the way."""
    path = tmp_path / "file"
    most = bytes_of(soft(), path, kind) // 3
    held = written(soft(), path, kind, max_bytes=most)
    assert path.stat().st_size <= most
    assert codes(held) == ["size_lowered"]
    expected = lanczos_to(soft(), held.width_px, held.height_px)
    with Image.open(path) as image:
        assert np.abs(np.asarray(image) - expected).max() <= 0.51


@settings(max_examples=25)
@given(
    data=st.data(), kind=st.sampled_from([*LOSSY, *LOSSLESS]), channels=st.sampled_from([1, 3, 4])
)
def test_file_is_never_larger_and_picture_never_smaller(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, kind: str, channels: int
) -> None:
    """Whatever is asked for: it fits, or it is refused because the picture's own size does not."""
    path = tmp_path_factory.mktemp("fit") / "file"
    samples = noise(20, 26, channels)
    background = "#ffffff" if kind == "jpeg" else None
    most = data.draw(st.integers(1, 4000))
    least_px = data.draw(st.tuples(st.integers(1, 26), st.integers(1, 20)))
    try:
        held = written(
            samples, path, kind, least_px=least_px, max_bytes=most, background=background
        )
    except InvalidOption:
        assert path.stat().st_size > most
        with Image.open(path) as image:
            assert image.size == least_px
    else:
        assert path.stat().st_size <= most
        assert least_px[0] <= held.width_px <= 26
        assert least_px[1] <= held.height_px <= 20


@pytest.mark.parametrize(
    ("kind", "at"), [("jpeg", " at quality 50"), ("avif", " at quality 50"), ("png", "")]
)
def test_what_cannot_fit_is_refused_with_the_bytes_it_needs(
    tmp_path: Path, kind: str, at: str
) -> None:
    """By the option's name; and so many bytes are enough."""
    path = tmp_path / "file"
    with pytest.raises(InvalidOption) as refused:
        written(soft(), path, kind, max_bytes=30)
    found = re.fullmatch(
        rf"Invalid max_bytes: {kind} needs (\d+) bytes{at} even at 16x12, the size of the picture itself, "
        r"and 30 are allowed",
        str(refused.value),
    )
    assert found is not None
    enough = int(found[1])
    held = written(soft(), path, kind, max_bytes=enough)
    assert path.stat().st_size == enough
    assert (held.width_px, held.height_px) == LEAST_PX
    with pytest.raises(InvalidOption, match=rf"needs {enough} bytes.* and {enough - 1} are"):
        written(soft(), path, kind, max_bytes=enough - 1)


def test_result_of_the_pictures_own_size_is_not_made_smaller(tmp_path: Path) -> None:
    """A request for scale 1 gets a result of the original size, or is refused."""
    with pytest.raises(InvalidOption, match=r"^Invalid max_bytes: .* even at 64x48"):
        written(soft(), tmp_path / "file", "png", max_bytes=500, least_px=(64, 48))


@pytest.mark.parametrize("kind", ["png", "webp", "avif"])
def test_animation_fits_as_a_whole(tmp_path: Path, kind: str) -> None:
    """Every frame has the size of the first; their times and earlier notes stay."""
    path = tmp_path / "file"
    whole = bytes_of(moving(), path, kind)
    held = written(moving(), path, kind, max_bytes=whole // 4)
    assert path.stat().st_size <= whole // 4
    assert len({frame.shape for frame in held.frames}) == 1
    assert held.width_px < 64
    lowered = ["quality_lowered"] if kind in LOSSY else []
    assert [code for code in codes(held) if code != "loop_dropped"] == [
        "orientation_applied",
        *lowered,
        "size_lowered",
    ]
    with Image.open(path) as image:
        found = []
        for number in range(3):
            image.seek(number)
            image.load()
            found.append(image.info["duration"])
    assert found == [40, 50, 60]
    if kind == "png":
        for frame, source in zip(held.frames, moving().frames, strict=True):
            expected = lanczos_to(source, held.width_px, held.height_px)
            assert np.abs(frame - expected).max() <= 0.51


def test_alpha_and_metadata_stay_in_what_was_made_smaller(tmp_path: Path) -> None:
    """Depth, channels and EXIF are those of the result, and the EXIF states the new size."""
    path = tmp_path / "file"
    samples = np.dstack([soft(), noise(48, 64)]).astype(np.uint16) * np.uint16(257)
    exif = Image.Exif()
    exif[0x010E] = "the garden"
    picture = Picture(samples=samples, exif=exif.tobytes(), depth_bits=16)
    most = bytes_of(picture, path, "png") // 2
    held = written(picture, path, "png", max_bytes=most)
    assert held.samples.dtype == np.uint16
    assert held.samples.shape[2] == 4
    with Image.open(path) as image:
        found = image.getexif()
    assert found[0x010E] == "the garden"
    size = found.get_ifd(0x8769)
    assert (size[0xA002], size[0xA003]) == (held.width_px, held.height_px)


def test_picture_that_the_format_cannot_hold_is_refused_as_ever(tmp_path: Path) -> None:
    """No number of bytes changes that."""
    with pytest.raises(InvalidOption, match=r"^Invalid format: jpeg holds one picture"):
        written(moving(), tmp_path / "file", "jpeg", max_bytes=10**6)


def test_magnification_follows_what_was_made_smaller(tmp_path: Path) -> None:
    """So that counts of pixels in metadata are those of the file."""
    picture = Picture(samples=soft(), magnification=(4, 2))
    limit = bytes_of(picture, tmp_path / "whole", "png") // 2
    held = written(picture, tmp_path / "picture", "png", max_bytes=limit)
    assert held.width_px < 64
    assert held.magnification == pytest.approx((4 * held.width_px / 64, 2 * held.height_px / 48))
