"""Frames of an animated PNG are put together."""

from __future__ import annotations

import resource
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.animations import Patch, apng, parts
from support.decoding import (
    COLOURS,
    as_rgba,
    assert_shown,
    codes,
)
from support.pictures import (
    GRAY,
    GRAY_ALPHA,
    PALETTE,
    RGB,
    RGB_ALPHA,
    encoded,
    noise,
    noise16,
    png,
    tiff,
    with_checksums,
)

from enlarger.errors import UnreadableImage
from enlarger.geometry.rect import Pixels
from enlarger.picture.decode import decode, probe


def seen_in_apng(patches: Sequence[Patch], size_px: tuple[int, int] = (8, 6)) -> list[Pixels]:
    """Each frame as it is seen, by the rules of APNG 1.0; blended as W3C PNG 12.2 says, in double precision."""
    canvas = np.zeros((size_px[1], size_px[0], 4))
    seen = []
    for patch in patches:
        new = as_rgba(patch.samples).astype(float)
        height, width, _ = new.shape
        place = canvas[patch.top : patch.top + height, patch.left : patch.left + width]
        before = place.copy()
        if patch.over:
            front = new[:, :, 3:] / 255
            back = before[:, :, 3:] / 255 * (1 - front)
            mixed = new[:, :, :3] * front + before[:, :, :3] * back
            new = np.dstack([mixed / np.maximum(front + back, 1e-9), (front + back) * 255])
        place[:] = new
        seen.append(np.rint(canvas).astype(np.uint8))
        # On the first frame there is nothing to put back: the standard has it cleared.
        place[:] = (new, 0, 0 if patch is patches[0] else before)[patch.dispose]
    return seen


def hard(*shape: int, seed: int) -> Pixels:
    """Samples whose alpha is 0 or full."""
    samples = noise(*shape, seed=seed)
    samples[:, :, -1] = np.where(samples[:, :, -1] > 100, 255, 0)
    return samples


@pytest.mark.parametrize("has_default", [False, True], ids=["", "default"])
@pytest.mark.parametrize("over", [False, True], ids=["source", "over"])
@pytest.mark.parametrize("dispose", [0, 1, 2], ids=["leave", "clear", "put-back"])
@pytest.mark.parametrize("make", [hard, noise], ids=["hard", "soft"])
def test_apng_frames_are_put_together(
    make: Callable[..., Pixels], dispose: int, over: bool, has_default: bool
) -> None:
    """Parts at their place, blended, and cleared or put back after: with clear, full and half alpha."""
    patches = parts(make, 4, dispose=dispose, over=over)
    default = noise(6, 8, 4, seed=9) if has_default else None
    # Half alpha over half alpha is rounded once for each frame that lies there.
    within = 3 if over and make is noise else 0
    assert_shown(apng(patches, default=default), seen_in_apng(patches), within=within)


def test_default_image_shows_through_no_frame() -> None:
    """Frames that are smaller than the picture leave the rest of it clear."""
    patches = parts(hard, 4)[1:]
    assert_shown(apng(patches, default=noise(6, 8, 4, seed=9)), seen_in_apng(patches))


@settings(max_examples=40)
@given(data=st.data(), has_default=st.booleans())
def test_any_apng_of_hard_alpha_is_exact(data: st.DataObject, has_default: bool) -> None:
    """Whatever its frames' places, operations and number."""
    patches = [Patch(samples=hard(6, 8, 4, seed=99))] if not has_default else []
    for seed in range(data.draw(st.integers(1, 5))):
        left, top = data.draw(st.integers(0, 7)), data.draw(st.integers(0, 5))
        width, height = data.draw(st.integers(1, 8 - left)), data.draw(st.integers(1, 6 - top))
        patches.append(
            Patch(
                samples=hard(height, width, 4, seed=seed),
                left=left,
                top=top,
                dispose=data.draw(st.integers(0, 2)),
                over=data.draw(st.booleans()),
            )
        )
    default = noise(6, 8, 4, seed=9) if has_default else None
    if len(patches) > 1:
        assert_shown(apng(patches, default=default), seen_in_apng(patches))


@pytest.mark.parametrize(
    ("colour", "channels"), [(GRAY, 1), (GRAY_ALPHA, 2), (RGB, 3), (RGB_ALPHA, 4)]
)
@pytest.mark.parametrize("dispose", [0, 1, 2], ids=["leave", "clear", "put-back"])
def test_apng_of_each_layout_keeps_it(colour: int, channels: int, dispose: int) -> None:
    """Gray stays gray, opaque stays without alpha; where a place is cleared, something shows through."""
    make = hard if channels in (2, 4) else noise
    patches = parts(make, channels, dispose=dispose)
    picture = assert_shown(apng(patches, colour=colour), seen_in_apng(patches))
    has_alpha = channels in (2, 4) or dispose > 0
    assert picture.samples.shape[2] == (1 if channels <= 2 else 3) + has_alpha


def test_apng_of_a_palette_has_its_colours() -> None:
    """With the alpha of each index, blended."""
    indices = [patch.samples % 4 for patch in parts(noise, 1)]
    table = np.dstack([COLOURS[np.newaxis], [[0, 255, 255, 255]]])[0].astype(np.uint8)
    stored = [
        replace(p, samples=i, over=True) for p, i in zip(parts(noise, 1), indices, strict=True)
    ]
    seen = [replace(p, samples=table[p.samples[:, :, 0]]) for p in stored]
    data = apng(
        stored, colour=PALETTE, chunks={b"PLTE": COLOURS.tobytes(), b"tRNS": bytes([0, 255, 255])}
    )
    assert_shown(data, seen_in_apng(seen))


@pytest.mark.parametrize(("colour", "channels"), [(GRAY, 1), (RGB, 3)])
def test_transparent_value_of_an_apng_becomes_alpha(colour: int, channels: int) -> None:
    """In every frame."""
    stored = [replace(p, samples=p.samples % 2 * 255) for p in parts(noise, channels)]
    clear = [(p.samples == 255).all(axis=2) for p in stored]
    seen = [
        replace(p, samples=np.dstack([p.samples, np.where(is_clear, 0, 255)]).astype(np.uint8))
        for p, is_clear in zip(stored, clear, strict=True)
    ]
    data = apng(stored, colour=colour, chunks={b"tRNS": b"\0\xff" * channels})
    assert_shown(data, seen_in_apng(seen))


@pytest.mark.parametrize(
    ("colour", "channels"), [(GRAY, 1), (GRAY_ALPHA, 2), (RGB, 3), (RGB_ALPHA, 4)]
)
def test_deep_apng_is_reduced_with_a_note(colour: int, channels: int) -> None:
    """To 8 bits, within one code value."""
    patches = parts(noise16, channels)
    rounded = [replace(p, samples=np.rint(p.samples / 257).astype(np.uint8)) for p in patches]
    data = apng(patches, colour=colour, depth_bits=16)
    picture = assert_shown(data, seen_in_apng(rounded), within=1)
    assert picture.is_gray == (channels <= 2)
    assert picture.samples.dtype == np.uint8
    assert codes(picture) == ["depth_reduced"]
    assert picture.depth_bits == 16


def test_deep_apng_is_exact_where_one_frame_is_wanted() -> None:
    """Then it is a picture like any other."""
    patches = parts(noise16, 3)
    picture = decode(apng(patches, colour=RGB, depth_bits=16))
    assert np.array_equal(picture.samples, patches[0].samples)
    assert codes(picture) == ["first_frame_only"]


def test_another_decoder_sees_the_same_apng() -> None:
    """The oracle of these tests is held against one: imagecodecs, where it puts frames together."""
    patches = [
        replace(p, dispose=dispose) for p, dispose in zip(parts(hard, 4), (0, 1, 0, 0), strict=True)
    ]
    data = apng(patches)
    other = imagecodecs.apng_decode(data)
    assert_shown(data, list(other))


def test_default_image_is_no_frame() -> None:
    """It is what is shown where animations are not: with one frame, and only then."""
    default, patches = noise(6, 8, 4, seed=9), parts(hard, 4)
    data = apng(patches, default=default)
    assert probe(data).frames == 4
    still = decode(data, frames=1)
    assert np.array_equal(still.samples, default)
    assert still.motion is None
    assert codes(still) == ["first_frame_only"]
    assert_shown(data, seen_in_apng(patches))


def test_default_image_with_one_frame_is_a_still_picture() -> None:
    """Nothing moves, and nothing is left out that would."""
    default = noise(6, 8, 4, seed=9)
    picture = decode(apng(parts(hard, 4)[:1], default=default), frames=9)
    assert np.array_equal(picture.samples, default)
    assert (picture.motion, picture.notes) == (None, ())


def test_durations_of_an_apng_are_fractions() -> None:
    """As the file states them; a denominator of 0 is 100, and a delay of 0 stays that."""
    delays = [(1, 3), (0, 5), (7, 0), (65535, 1)]
    patches = [Patch(samples=hard(6, 8, 4, seed=n), delay=delay) for n, delay in enumerate(delays)]
    motion = decode(apng(patches, plays=5), frames=4).motion
    assert motion is not None
    assert motion.durations_ms == pytest.approx((1000 / 3, 0, 70, 65_535_000))
    assert motion.plays == 5


@pytest.mark.parametrize("promised", [5, 1000, 0x7FFFFFFF])
def test_apng_of_fewer_frames_than_it_says_is_refused(promised: int) -> None:
    """But for who wants no more than there are."""
    data = apng(parts(hard, 4), promised=promised)
    with pytest.raises(UnreadableImage):
        decode(data, frames=5)
    assert len(decode(data, frames=4).frames) == 4


@pytest.mark.parametrize(
    "patch",
    [
        Patch(samples=noise(7, 8, 4)),
        Patch(samples=noise(6, 9, 4)),
        Patch(samples=noise(6, 8, 4), left=1),
        Patch(samples=noise(1, 1, 4), top=6),
        Patch(samples=noise(1, 1, 4), left=2**31),
    ],
    ids=["higher", "wider", "to-the-right", "below", "far-away"],
)
def test_apng_frame_beyond_the_picture_is_refused(patch: Patch) -> None:
    """Nothing is cut off without a word."""
    with pytest.raises(UnreadableImage):
        decode(apng([*parts(hard, 4)[:1], patch]), frames=2)


def stating(data: bytes, side_px: int) -> bytes:
    """The same PNG, whose header states another size."""
    return with_checksums(bytearray(data[:16] + struct.pack(">II", side_px, side_px) + data[24:]))


@pytest.mark.parametrize(
    ("data", "frames"),
    [
        (stating(encoded(noise(5, 5, 3)), 16_385), 1),
        (stating(encoded(noise(5, 5, 1)), 16_385), 1),
        (stating(png(noise16(5, 5, 3), colour=RGB, depth_bits=16), 11_586), 1),
        (stating(apng(parts(hard, 4)), 8193), 4),
        (tiff(noise16(5, 5, 3), "rgb").replace(b"\5\0\0\0", b"\xff\xff\0\0"), 1),
    ],
    ids=["8 bits", "gray", "16 bits", "animation", "tiff"],
)
def test_header_that_states_too_much_is_refused_undecoded(data: bytes, frames: int) -> None:
    """Pixels, frames, channels and depth together: a gibibyte. This process has no limit of its own."""
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UnreadableImage, match=r"^decoding it takes too much memory$"):
        decode(data, frames=frames)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 64 * 1024


@pytest.mark.parametrize("height_px", [7, 2**24, 2**31 - 1])
def test_size_that_an_apng_frame_states_is_no_reason_to_take_memory(height_px: int) -> None:
    """It is held against the picture's before anything is decoded; its data are a few bytes."""
    data = bytearray(apng(parts(hard, 4)))
    at = data.index(b"fcTL", data.index(b"fcTL") + 1)
    data[at + 12 : at + 16] = struct.pack(">I", height_px)
    with pytest.raises(UnreadableImage) as refused:
        decode(with_checksums(data), frames=2)
    assert "memory" not in str(refused.value)
