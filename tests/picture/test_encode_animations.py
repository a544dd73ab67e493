"""From frames to an animated file: what another program reads there is what was written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.ExifTags import IFD
from support.encoding import LAYOUTS, XMP, codes, gradient
from support.pictures import SRGB, noise

from enlarger.errors import InvalidOption
from enlarger.geometry.rect import Pixels
from enlarger.picture.decode import decode
from enlarger.picture.encode import encode
from enlarger.picture.formats import holds_frames
from enlarger.picture.prepare import prepare
from enlarger.picture.values import Motion, Picture

TIMES_MS = (40, 100, 2500)
"""How long the frames of ``moving`` are shown."""


def moving(
    frames: Sequence[Pixels] | None = None,
    *,
    times_ms: Sequence[float] = TIMES_MS,
    plays: int = 0,
    **fields: Any,
) -> Picture:
    """An animation; of three soft frames, RGB with alpha, if none are given."""
    frames = [np.roll(gradient(4), 20 * n, axis=1) for n in range(3)] if frames is None else frames
    motion = Motion(later=tuple(frames[1:]), durations_ms=tuple(times_ms), plays=plays)
    return Picture(samples=frames[0], motion=motion, **fields)


def written(picture: Picture, path: Path, kind: str, **options: Any) -> Picture:
    """Prepare and write it."""
    prepared = prepare(picture, kind=kind, **options)
    encode(prepared, path, kind=kind)
    return prepared


def read_frames(path: Path) -> tuple[list[Pixels], list[float], int | None]:
    """Frames (H, W, C), how long each is shown, and how often all are played, as Pillow reads them."""
    frames, times_ms = [], []
    with Image.open(path) as image:
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            image.load()
            samples = np.asarray(image)
            frames.append(samples if samples.ndim == 3 else samples[:, :, np.newaxis])
            times_ms.append(image.info["duration"])
        return frames, times_ms, image.info.get("loop")


@pytest.mark.parametrize("channels", LAYOUTS)
def test_frames_of_a_png_are_exact(tmp_path: Path, channels: int) -> None:
    """Also their colour where nothing is seen of it; by two decoders."""
    frames = [noise(9, 14, channels, seed=seed) for seed in range(4)]
    frames[2][:5] = frames[1][:5]  # a writer may store what has changed alone
    written(moving(frames, times_ms=(1, 2, 3, 4)), tmp_path / "a.png", "png")
    found = read_frames(tmp_path / "a.png")[0]
    others = imagecodecs.apng_decode((tmp_path / "a.png").read_bytes())
    for frame, one, other in zip(frames, found, others, strict=True):
        assert np.array_equal(one, frame)
        assert np.array_equal(other.reshape(frame.shape), frame)


@settings(max_examples=30)
@given(data=st.data(), channels=st.sampled_from(list(LAYOUTS)))
def test_any_frames_of_a_png_are_exact_at_their_time(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, channels: int
) -> None:
    """Equal frames that follow one another may be joined: what is seen at each moment is the same."""
    path = tmp_path_factory.mktemp("png") / "a.png"
    numbers = data.draw(st.lists(st.integers(0, 2), min_size=2, max_size=6))
    times_ms = [data.draw(st.integers(1, 100)) for _ in numbers]
    pool = [noise(3, 4, channels, seed=seed) for seed in range(3)]
    if len(set(numbers)) == 1:
        numbers[-1] = (numbers[0] + 1) % 3
    written(moving([pool[n] for n in numbers], times_ms=times_ms), path, "png")
    frames, found_ms, _ = read_frames(path)
    assert sum(found_ms) == pytest.approx(sum(times_ms))
    ends = np.cumsum(found_ms)
    for number, begin_ms in zip(numbers, np.cumsum([0, *times_ms]), strict=False):
        at = int(np.searchsorted(ends, begin_ms + 0.5))
        assert np.array_equal(frames[at], pool[number])


@pytest.mark.parametrize("kind", ["webp", "avif"])
@pytest.mark.parametrize("channels", LAYOUTS)
def test_frames_of_lossy_formats_keep_what_is_seen(
    tmp_path: Path, kind: str, channels: int
) -> None:
    """Within a few code values, in order; gray as gray or as equal channels."""
    frames = [np.roll(gradient(channels), 20 * n, axis=1) for n in range(3)]
    prepared = written(moving(frames), tmp_path / "a", kind)
    found, times_ms, _ = read_frames(tmp_path / "a")
    assert times_ms == list(TIMES_MS)
    for frame, held, source in zip(found, prepared.frames, frames, strict=True):
        assert frame.shape == held.shape
        colour = source[:, :, :-1] if channels in (2, 4) else source
        seen = source[:, :, -1:] > 64 if channels in (2, 4) else np.ones_like(colour, bool)
        error = np.abs(frame[:, :, :3].astype(int) - colour) * seen
        if frame.shape[2] in (1, 3):
            error = np.abs(frame.astype(int) - colour)
        assert error.mean() < 4
        if channels in (2, 4):
            assert np.abs(frame[:, :, -1].astype(int) - source[:, :, -1]).max() <= 20


def test_another_decoder_finds_all_frames_of_an_avif(tmp_path: Path) -> None:
    """In their order."""
    prepared = written(moving(), tmp_path / "a.avif", "avif")
    found = imagecodecs.avif_decode((tmp_path / "a.avif").read_bytes())
    assert found.shape == (3, 48, 64, 4)
    error = np.abs(found.astype(int) - np.stack(prepared.frames))[:, :, :, 3]
    assert error.mean() < 4


@pytest.mark.parametrize("plays", [0, 1, 2, 65535])
@pytest.mark.parametrize("kind", ["png", "webp"])
def test_times_and_plays_are_written(tmp_path: Path, kind: str, plays: int) -> None:
    """As they were read."""
    assert written(moving(plays=plays), tmp_path / "a", kind).notes == ()
    assert read_frames(tmp_path / "a")[1:] == (list(TIMES_MS), plays)
    again = decode((tmp_path / "a").read_bytes(), frames=9).motion
    assert again is not None
    assert (again.durations_ms, again.plays) == (TIMES_MS, plays)


@pytest.mark.parametrize(
    ("plays", "noted"), [(0, []), (1, ["loop_dropped"]), (3, ["loop_dropped"])]
)
def test_avif_plays_for_ever_with_a_note(tmp_path: Path, plays: int, noted: list[str]) -> None:
    """Where that was asked for, there is nothing to tell."""
    prepared = written(moving(plays=plays), tmp_path / "a", "avif")
    assert codes(prepared) == noted
    assert read_frames(tmp_path / "a")[1] == list(TIMES_MS)


def test_fractions_of_a_millisecond_are_exact_in_a_png(tmp_path: Path) -> None:
    """A thirtieth of a second is one."""
    times_ms = (1000 / 30, 1001 / 24, 0.5)
    written(moving(times_ms=times_ms), tmp_path / "a", "png")
    assert read_frames(tmp_path / "a")[1] == pytest.approx(times_ms)


@pytest.mark.parametrize("kind", ["webp", "avif"])
def test_whole_milliseconds_do_not_drift(tmp_path: Path, kind: str) -> None:
    """A frame begins within half a millisecond of its time, however many stand before it."""
    times_ms = [1000 / 30] * 40
    frames = [np.roll(gradient(3), 7 * number, axis=1) for number in range(40)]
    written(moving(frames, times_ms=times_ms), tmp_path / "a", kind)
    begins = np.cumsum(read_frames(tmp_path / "a")[1])
    assert np.abs(begins - np.cumsum(times_ms)).max() <= 0.5


@pytest.mark.parametrize("kind", ["png", "webp", "avif"])
def test_frames_without_a_time_are_written(tmp_path: Path, kind: str) -> None:
    """A GIF often states none; AVIF has no time shorter than its unit, a millisecond."""
    written(moving(times_ms=(0, 0, 0)), tmp_path / "a", kind)
    frames, times_ms, _ = read_frames(tmp_path / "a")
    assert len(frames) == 3
    assert times_ms == ([1, 1, 1] if kind == "avif" else [0, 0, 0])


@pytest.mark.parametrize("kind", ["png", "webp", "avif"])
@pytest.mark.parametrize("equal", [(0, 0, 1), (0, 1, 1)], ids=["first", "last"])
def test_equal_frames_keep_their_time(tmp_path: Path, kind: str, equal: tuple[int, ...]) -> None:
    """Together, if a writer joins them."""
    frames = [np.roll(gradient(3), 20 * n, axis=1) for n in equal]
    written(moving(frames), tmp_path / "a", kind)
    found, times_ms, _ = read_frames(tmp_path / "a")
    assert len(found) in (2, 3)
    assert sum(times_ms) == sum(TIMES_MS)


@pytest.mark.parametrize("kind", ["png", "webp", "avif"])
def test_animation_in_which_nothing_moves_is_written(tmp_path: Path, kind: str) -> None:
    """As one frame or as many, with what is seen in it."""
    written(moving([gradient(3)] * 3), tmp_path / "a", kind)
    found = decode((tmp_path / "a").read_bytes(), frames=3)
    assert np.abs(found.samples.astype(int) - gradient(3)).mean() < 4


@pytest.mark.parametrize("time_ms", [65_535, 65_536, 70_001, 655_350, 2**24 - 1])
@pytest.mark.parametrize("kind", ["png", "webp", "avif"])
def test_long_times_are_written(tmp_path: Path, kind: str, time_ms: int) -> None:
    """All that a GIF and a WebP can state; a PNG has seconds as a fraction of two numbers of 16 bits."""
    written(moving(times_ms=(time_ms, 40, 50)), tmp_path / "a", kind)
    found = read_frames(tmp_path / "a")[1]
    assert found == pytest.approx([time_ms, 40, 50], rel=1 / 65535 if kind == "png" else 0)


@pytest.mark.parametrize("kind", ["png", "webp", "avif"])
def test_times_and_plays_beyond_the_format_are_written_as_far_as_it_goes(
    tmp_path: Path, kind: str
) -> None:
    """A GIF may be played 65536 times, an APNG four thousand million times, with a frame shown for 18 hours."""
    for plays in (65536, 2**32 - 1):
        picture = moving(times_ms=(65_535_000, 40, 50), plays=plays)
        written(picture, tmp_path / "a", kind)
        assert len(read_frames(tmp_path / "a")[0]) == 3


@pytest.mark.parametrize("kind", ["png", "webp", "avif"])
def test_what_goes_with_a_picture_goes_with_an_animation(tmp_path: Path, kind: str) -> None:
    """Profile, EXIF and XMP, byte for byte where nothing in them has to change."""
    exif = Image.Exif()
    exif[0x010E] = "the garden"
    picture = moving(icc=SRGB, exif=exif.tobytes(), xmp=XMP)
    written(picture, tmp_path / "a", kind, metadata="keep", provenance={"model": "m"})
    with Image.open(tmp_path / "a") as image:
        assert getattr(image, "n_frames", 1) == 3
        assert image.info["icc_profile"] == SRGB
        assert image.info["xmp"] == XMP
        found = image.getexif()
    assert found[0x010E] == "the garden"
    assert b'"model"' in found.get_ifd(IFD.Exif)[0x9286]


@pytest.mark.parametrize("kind", ["jpeg", "tiff"])
def test_format_of_one_picture_refuses_an_animation(kind: str) -> None:
    """Rather than dropping frames without a word; the text says what would do."""
    text = rf"^Invalid format: {kind} holds one picture, .* 3 frames; use png, webp, avif, or frames=first$"
    with pytest.raises(InvalidOption, match=text):
        prepare(moving(), kind=kind, background=(0, 0, 0))
    assert not holds_frames(kind)


@pytest.mark.parametrize("kind", ["png", "webp", "avif"])
def test_every_frame_is_prepared(kind: str) -> None:
    """Background, depth and channels are the same in all; its own times stay with it."""
    black, clear = np.zeros((2, 3, 4, 2), np.uint16)
    black[:, :, 1] = 65535
    picture = moving([black, clear], times_ms=(1, 2), depth_bits=16)
    prepared = prepare(picture, kind=kind, background=(255, 255, 255))
    assert len({(frame.shape, frame.dtype) for frame in prepared.frames}) == 1
    most = np.iinfo(prepared.samples.dtype).max
    assert [(frame.min(), frame.max()) for frame in prepared.frames] == [(0, 0), (most, most)]
    assert not prepared.has_alpha
    assert prepared.motion is not None
    assert prepared.motion.durations_ms == (1, 2)
    assert holds_frames(kind)


@pytest.mark.parametrize("kind", ["png", "webp", "avif"])
def test_same_animation_gives_the_same_bytes(tmp_path: Path, kind: str) -> None:
    """No time of day and no chance in the file."""
    for name in ("one", "two"):
        written(moving(icc=SRGB), tmp_path / name, kind)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
