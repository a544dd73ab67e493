"""Frames of a GIF are put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import imagecodecs
import numpy as np
import pytest
from support.animations import parts
from support.decoding import (
    GIF_COLOURS,
    Block,
    animation,
    as_rgba,
    assert_shown,
    codes,
    gif,
)
from support.pictures import (
    noise,
)

from enlarger.geometry.rect import Pixels
from enlarger.picture.decode import decode, probe


def seen_in_gif(blocks: Sequence[Block], size_px: tuple[int, int] = (8, 6)) -> list[Pixels]:
    """Each frame as browsers and gif2webp show it: what was never drawn on, or was cleared, is clear."""
    canvas = np.zeros((size_px[1], size_px[0], 4), np.uint8)
    seen = []
    for block in blocks:
        height, width = block.indices.shape
        place = canvas[block.top : block.top + height, block.left : block.left + width]
        before = place.copy()
        colours = (GIF_COLOURS if block.palette is None else block.palette)[block.indices]
        drawn = block.indices != (-1 if block.clear is None else block.clear)
        place[drawn] = as_rgba(colours)[drawn]
        seen.append(canvas.copy())
        if block.disposal >= 2:
            place[:] = 0 if block.disposal == 2 else before
    return seen


def gif_blocks(**fields: Any) -> list[Block]:
    """A whole frame and three parts, which lie over one another."""
    return [
        Block(indices=patch.samples[:, :, 0] % 8, left=patch.left, top=patch.top, **fields)
        for patch in parts(noise, 1)
    ]


@pytest.mark.parametrize("disposal", [0, 1, 2, 3], ids=["none", "leave", "clear", "put-back"])
@pytest.mark.parametrize("clear", [None, 3], ids=["opaque", "clear-index"])
@pytest.mark.parametrize("first", [0, 1], ids=["whole", "first-is-a-part"])
def test_gif_frames_are_put_together(disposal: int, clear: int | None, first: int) -> None:
    """Parts at their place, without their clear index, and cleared or put back after."""
    blocks = gif_blocks(disposal=disposal, clear=clear)[first:]
    assert_shown(gif(blocks), seen_in_gif(blocks))


def test_frames_of_a_gif_may_differ_in_what_becomes_of_them() -> None:
    """Disposal, clear index and palette are each frame's own."""
    ways: list[dict[str, Any]] = [
        {"disposal": 1, "clear": 2},
        {"disposal": 3, "palette": noise(8, 3, seed=51)},
        {"disposal": 2, "clear": 0, "palette": noise(8, 3, seed=52)},
        {},
    ]
    blocks = [replace(block, **way) for block, way in zip(gif_blocks(), ways, strict=True)]
    assert_shown(gif(blocks), seen_in_gif(blocks))


def test_another_decoder_sees_the_same_gif() -> None:
    """The oracle of these tests is held against one: giflib through imagecodecs, on frames without a clear index."""
    blocks = gif_blocks(disposal=1)
    other = imagecodecs.gif_decode(gif(blocks))
    assert all(
        np.array_equal(frame[:, :, :3], wanted[:, :, :3])
        for frame, wanted in zip(other, seen_in_gif(blocks), strict=True)
    )


def test_opaque_gif_has_no_alpha_and_a_gray_one_is_gray() -> None:
    """As a single picture would be."""
    grays = np.arange(8, dtype=np.uint8)[:, np.newaxis].repeat(3, axis=1)
    assert decode(gif(gif_blocks()), frames=4).samples.shape == (6, 8, 3)
    picture = decode(gif(gif_blocks(), palette=grays), frames=4)
    assert picture.samples.shape == (6, 8, 1)
    assert np.array_equal(picture.samples[:, :, 0], gif_blocks()[0].indices)


@pytest.mark.parametrize(
    ("loop", "plays"), [(None, 1), (0, 0), (1, 2), (2, 3), (65535, 65536)]
)  # fmt: skip
def test_gif_says_how_often_it_begins_again(loop: int | None, plays: int) -> None:
    """0 is for ever, and without a word it is played once."""
    motion = decode(gif(gif_blocks(), loop=loop), frames=4).motion
    assert motion is not None
    assert motion.plays == plays


@pytest.mark.parametrize("plays", [0, 1, 2, 65535])
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_others_say_how_often_they_are_played(kind: str, plays: int) -> None:
    """The number itself, and 0 is for ever."""
    motion = decode(animation(kind, loop=plays), frames=3).motion
    assert motion is not None
    assert motion.plays == plays


def test_durations_of_a_gif_are_hundredths() -> None:
    """From none to the longest."""
    blocks = [replace(block, duration_cs=cs) for block, cs in zip(gif_blocks(), (0, 1, 7, 65535), strict=True)]  # fmt: skip
    motion = decode(gif(blocks), frames=4).motion
    assert motion is not None
    assert motion.durations_ms == (0, 10, 70, 655_350)


@pytest.mark.parametrize("block", [Block(indices=noise(7, 8) % 8), Block(indices=noise(6, 9) % 8), Block(indices=noise(6, 8) % 8, left=1)])  # fmt: skip
def test_gif_frame_beyond_the_picture_is_clipped_with_a_note(block: Block) -> None:
    """As ImageMagick and browsers show it; what is on the screen stays where it is."""
    data = gif([*gif_blocks()[:1], block])
    inside = block.indices[:6, : 8 - block.left]
    seen = seen_in_gif([*gif_blocks()[:1], replace(block, indices=inside)])
    assert codes(assert_shown(data, seen)) == ["frames_clipped"]
    assert codes(decode(data)) == ["first_frame_only"]


FIRST_PLACES = {
    "at-the-corner": (0, 0, 3, 4),
    "in-the-midst": (2, 1, 3, 4),
    "sticking-out": (5, 4, 6, 8),
    "outside": (9, 7, 2, 2),
}
"""Left, top, height and width of a first frame on a screen of 8 x 6."""


@pytest.mark.parametrize("clear", [None, 3], ids=["opaque", "clear-index"])
@pytest.mark.parametrize("place", FIRST_PLACES.values(), ids=FIRST_PLACES)
def test_first_frame_of_a_gif_is_the_same_alone_and_among_all(
    place: tuple[int, int, int, int], clear: int | None
) -> None:
    """What it leaves of the screen is clear, and what is beside that is cut off."""
    left, top, height, width = place
    first = Block(indices=noise(height, width) % 8, left=left, top=top, clear=clear)
    data = gif([first, *gif_blocks()[1:]])
    screen = (8, 6)
    still, moving = decode(data), decode(data, frames=4)
    shown = replace(first, indices=first.indices[: max(6 - top, 0), : max(8 - left, 0)])
    expected = seen_in_gif([shown])[0]
    for frame in (still.samples, moving.samples):
        assert np.array_equal(as_rgba(frame)[:, :, 3], expected[:, :, 3])
        visible = expected[:, :, 3] > 0
        assert np.array_equal(as_rgba(frame)[visible], expected[visible])
    assert (still.width_px, still.height_px) == screen
    assert ("frames_clipped" in codes(still)) is (left + width > 8 or top + height > 6)
    assert probe(data).may_be_transparent is still.has_alpha


def test_screen_smaller_than_the_first_frame_grows() -> None:
    """As in browsers: no pixel of a picture is lost to a header that lies."""
    block = Block(indices=noise(6, 8) % 8)
    picture = decode(gif([block], size_px=(5, 0)))
    assert np.array_equal(picture.samples, GIF_COLOURS[block.indices])
    assert codes(picture) == ["damage_ignored"]
