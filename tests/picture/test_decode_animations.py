"""Animations of every format are decoded by the same rules."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image
from support.decoding import (
    animation,
    as_rgba,
    codes,
    difference,
    moving_blocks,
)
from support.pictures import (
    UPRIGHT,
    WIDE,
    encoded,
    noise,
    with_checksums,
)

from enlarger.errors import UnreadableImage, UnsupportedFormat
from enlarger.picture.decode import decode, probe

ANIMATED = ["PNG", "WEBP", "GIF", "AVIF"]


@pytest.mark.parametrize(
    ("kind", "channels"), [*((kind, 3) for kind in ANIMATED), ("PNG", 4), ("WEBP", 4), ("AVIF", 4)]
)
def test_every_frame_of_an_animation_is_there(kind: str, channels: int) -> None:
    """With its time, its channels and no note."""
    options = {"exact": True} if kind == "WEBP" else {}
    picture = decode(animation(kind, channels=channels, **options), frames=99)
    wanted = moving_blocks(channels)
    assert picture.samples.shape == wanted[0].shape
    for frame, expected in zip(picture.frames, wanted, strict=True):
        visible = (as_rgba(expected)[:, :, 3] > 0)[:, :, np.newaxis]
        assert difference(frame * visible, expected * visible) <= (3 if kind == "AVIF" else 0)
    assert picture.motion is not None
    assert picture.motion.durations_ms == (20, 30, 40)
    assert picture.notes == ()
    assert picture.format == kind.lower()


@pytest.mark.parametrize("kind", ANIMATED)
def test_so_many_frames_as_wanted_are_taken(kind: str) -> None:
    """The first ones, with a note; with one it is a still picture."""
    data = animation(kind)
    two, one = decode(data, frames=2), decode(data, frames=1)
    assert len(two.frames) == 2
    assert two.motion is not None
    assert two.motion.durations_ms == (20, 30)
    assert [(note.code, note.detail) for note in two.notes] == [
        ("frames_left_out", "the first 2 of 3 were taken")
    ]
    assert one.motion is None
    assert codes(one) == ["first_frame_only"]
    assert difference(one.samples, two.samples) <= (3 if kind == "AVIF" else 0)


@pytest.mark.parametrize("kind", ["PNG", "AVIF"])
def test_gray_animation_stays_gray(kind: str) -> None:
    """One channel, in every frame."""
    frames = [Image.fromarray(frame[:, :, 0]) for frame in moving_blocks()]
    quality = {"quality": 100} if kind == "AVIF" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **quality)
    picture = decode(data, frames=3)
    assert len(picture.frames) == 3
    for frame, expected in zip(picture.frames, frames, strict=True):
        assert difference(frame, np.asarray(expected)[:, :, np.newaxis]) <= 1


@pytest.mark.parametrize("kind", ANIMATED)
def test_animation_that_is_cut_short_is_refused(kind: str) -> None:
    """Wherever it is cut: all its frames, or a refusal of ours."""
    data = animation(kind)
    whole = decode(data, frames=3)
    for length in range(0, len(data), max(1, len(data) // 150)):
        try:
            picture = decode(data[:length], frames=3)
        except (UnreadableImage, UnsupportedFormat):
            continue
        if kind == "GIF" and len(picture.frames) < 3:
            continue  # a GIF does not say how many there are
        assert np.array_equal(picture.frames, whole.frames)


@pytest.mark.parametrize("kind", ANIMATED)
@given(data=st.data())
def test_damaged_animation_is_a_picture_or_a_refusal(kind: str, data: st.DataObject) -> None:
    """No byte that is changed leads to another error, and frames are all of one size."""
    damaged = bytearray(animation(kind))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    content = with_checksums(damaged)
    try:
        header = probe(content)
        assume(max(header.width_px, header.height_px) <= 2048)  # the pipeline refuses those
        picture = decode(content, frames=5)
    except (UnreadableImage, UnsupportedFormat):
        return
    assert len({frame.shape for frame in picture.frames}) == 1
    assert picture.motion is None or len(picture.motion.durations_ms) == len(picture.frames)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_frame_is_turned(kind: str, orientation: int) -> None:
    """The picture stands upright in each, and is told of once."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = animation(kind, exif=exif)
    picture = decode(data, frames=3)
    for frame, expected in zip(picture.frames, moving_blocks(), strict=True):
        assert np.array_equal(frame, UPRIGHT[orientation](expected))
    assert codes(picture) == (["orientation_applied"] if orientation > 1 else [])
    assert (probe(data).width_px, probe(data).height_px) == picture.samples.shape[1::-1]


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "AVIF"])
def test_every_frame_is_converted_to_srgb(kind: str) -> None:
    """As the frame by itself would be; without the wish, the profile stays."""
    data = animation(kind, icc_profile=WIDE)
    picture = decode(data, frames=3, to_srgb=True)
    for frame, stored in zip(picture.frames, moving_blocks(), strict=True):
        still = decode(encoded(stored, "PNG", icc_profile=WIDE), to_srgb=True)
        assert difference(frame, still.samples) <= (6 if kind == "AVIF" else 0)
    assert picture.icc is None
    assert codes(picture) == ["colorspace_converted"]
    assert decode(data, frames=3).icc == WIDE


def test_pages_of_a_tiff_are_no_frames() -> None:
    """However many are wanted."""
    pages = [Image.fromarray(noise(4, 5, 3, seed=seed)) for seed in (0, 1)]
    picture = decode(encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:]), frames=2)
    assert picture.motion is None
    assert codes(picture) == ["first_frame_only"]
