"""Frames put together from what each draws: a canvas that is clear at first, and what becomes of each place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from enlarger.errors import UnreadableImage
from enlarger.geometry.rect import Pixels
from enlarger.picture.colour import Space
from enlarger.picture.frames import Frame, blended, composed, stacked
from enlarger.picture.patches import Patch

RED, BLUE, CLEAR = [255, 0, 0, 255], [0, 0, 255, 255], [0, 0, 0, 0]


def patch(left: int, top: int, width_px: int, height_px: int, **fields: Any) -> Patch:
    """What a frame draws, in the colour that its file names."""
    return Patch(
        left=left,
        top=top,
        width_px=width_px,
        height_px=height_px,
        **{"file": b"red", "duration_ms": 10, "is_blended": True, "then": "leave", **fields},
    )


def painted(drawn: Patch, width_px: int, height_px: int) -> tuple[Pixels, Space]:
    """As a decoder would read it."""
    colour = {b"red": RED, b"blue": BLUE, b"clear": CLEAR}[drawn.file]
    return np.full((height_px, width_px, 4), colour, np.uint8), "rgb"


def seen(*drawn: Patch) -> list[Pixels]:
    """Each frame on a canvas of 4 x 3."""
    return [pixels.copy() for pixels, _, _ in composed(drawn, (4, 3), painted)]


def test_what_no_frame_covers_is_clear() -> None:
    """And what is drawn beside the canvas is not seen, wherever that is."""
    for place in ((2, 1, 9, 9), (2, 1, 2, 2)):
        (frame,) = seen(patch(*place))
        assert frame[1:, 2:].tolist() == [[RED] * 2] * 2
        assert not frame[:1].any()
        assert not frame[:, :2].any()
    for place in ((4, 0, 2, 2), (0, 3, 2, 2), (60_000, 60_000, 5, 5), (0, 0, 0, 3)):
        assert not seen(patch(*place))[0].any()


@pytest.mark.parametrize(("then", "left_behind"), [("leave", BLUE), ("clear", CLEAR), ("restore", RED)])  # fmt: skip
def test_place_of_a_frame_is_left_cleared_or_restored(then: str, left_behind: list[int]) -> None:
    """Before the next one draws."""
    frames = seen(patch(0, 0, 4, 3), patch(1, 1, 2, 1, file=b"blue", then=then), patch(0, 0, 1, 1))
    assert frames[1][1, 1].tolist() == BLUE
    assert frames[2][1, 1].tolist() == left_behind
    assert frames[2][0, 3].tolist() == RED


def test_clear_pixels_are_mixed_or_put_in_place() -> None:
    """Mixed they show what is below; in its place they clear it."""
    for is_blended, expected in ((True, RED), (False, CLEAR)):
        frames = seen(patch(0, 0, 4, 3), patch(0, 0, 1, 1, file=b"clear", is_blended=is_blended))
        assert frames[1][0, 0].tolist() == expected


def test_mixing_is_porter_and_duffs_over() -> None:
    """Half of a colour over half of another one: a third of the light comes from below."""
    front, back = np.array([[[255, 0, 0, 128]]], np.uint8), np.array([[[0, 0, 255, 128]]], np.uint8)
    share = 128 / 255
    alpha = share + share * (1 - share)
    expected = [255 * share / alpha, 0, 255 * share * (1 - share) / alpha, 255 * alpha]
    assert blended(front, back)[0, 0].tolist() == np.rint(expected).tolist()


def frame(colour: list[int], space: Space = "rgb") -> Frame:
    """One of 2 x 2."""
    return np.full((2, 2, 4), colour, np.uint8), space, 10.0


def test_channels_are_those_that_any_frame_needs() -> None:
    """Alpha where something is clear in one of them, and colours where one of them is not gray."""
    rows, alpha, space, durations_ms = stacked([frame(RED), frame(CLEAR)], (2, 2), 2)
    assert rows.shape == (4, 2, 3)
    assert alpha is not None
    assert alpha[:, 0].tolist() == [255, 255, 0, 0]
    assert (space, durations_ms) == ("rgb", (10, 10))
    rows, alpha, space, _ = stacked([frame([7, 7, 7, 255], "gray")] * 3, (2, 2), 2)
    assert (rows.shape, alpha, space) == ((4, 2, 1), None, "gray")


def test_fewer_frames_than_promised_are_refused() -> None:
    """None is made up."""
    with pytest.raises(UnreadableImage, match="1 frames"):
        stacked([frame(RED)], (2, 2), 2)
