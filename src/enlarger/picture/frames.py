"""Composes the visible frames of an animation from the patches that it stores."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from enlarger.errors import UnreadableImage
from enlarger.picture.colour import Space
from enlarger.picture.patches import Patch
from enlarger.picture.values import Samples

Frame = tuple[Samples, Space, float]
"""RGB and alpha, whether the frame is gray, and how long it is shown."""


def stacked(
    shown: Iterable[Frame], size: tuple[int, int], count: int
) -> tuple[Samples, Samples | None, Space, tuple[float, ...]]:
    """Return the first visible frames of an animation, stacked vertically, and how long each is shown."""
    width, height = size
    canvases = np.empty((count, height, width, 4), np.uint8)
    durations_ms: list[float] = []
    is_gray = True
    for number, (pixels, space, duration_ms) in enumerate(itertools.islice(shown, count)):
        canvases[number] = pixels
        is_gray = is_gray and space == "gray"
        durations_ms.append(duration_ms)
    if len(durations_ms) < count:
        raise UnreadableImage(f"it has {len(durations_ms)} frames and says that there are more")
    rows: Samples = canvases.reshape(-1, width, 4)
    # If no frame has a transparent pixel, there is no alpha.
    alpha = None if rows[:, :, 3].min() == 255 else rows[:, :, 3]
    return (
        rows[:, :, : 1 if is_gray else 3],
        alpha,
        "gray" if is_gray else "rgb",
        tuple(durations_ms),
    )


def composed(
    drawn: Iterable[Patch],
    size: tuple[int, int],
    read: Callable[[Patch, int, int], tuple[Samples, Space]],
) -> Iterator[Frame]:
    """Yield the visible frames. The canvas is clear at first, and drawing outside it is clipped.

    Args:
        drawn: what the frames draw, in their order.
        size: width and height of the picture.
        read: returns the top left part of a patch, of a given width and height, as RGB and alpha, and whether it is
            gray.
    """
    canvas = np.zeros((size[1], size[0], 4), np.uint8)
    space: Space = "gray"
    for number, patch in enumerate(drawn):
        place = canvas[patch.top :, patch.left :][: patch.height_px, : patch.width_px]
        before = place.copy()
        if place.size:
            pixels, space = read(patch, place.shape[1], place.shape[0])
            # On an empty canvas, the result is the patch itself, including the colour below its clear pixels.
            place[:] = blended(pixels, before) if patch.is_blended and number else pixels
        yield canvas, space, patch.duration_ms
        if patch.then == "clear":
            place[:] = 0
        elif patch.then == "restore":
            place[:] = before


def blended(front: Samples, back: Samples) -> Samples:
    """Return one picture over the other, both with their own alpha (PNG third edition, 13.16; Porter and Duff's over)."""
    shown = np.where(front[:, :, 3:] == 0, back, front)
    mixed = (front[:, :, 3] % 255 > 0) & (back[:, :, 3] > 0)
    upper, lower = front[mixed].astype(np.float64), back[mixed].astype(np.float64)
    covers = upper[:, 3:] / 255
    remains = lower[:, 3:] / 255 * (1 - covers)
    channels = (upper[:, :3] * covers + lower[:, :3] * remains) / (covers + remains)
    shown[mixed] = np.rint(np.hstack([channels, (covers + remains) * 255]))
    return shown
