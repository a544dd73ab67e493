"""The frames of an animation as they are seen, put together from what each draws."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from enlarger.errors import UnreadableImage
from enlarger.picture.colour import Space
from enlarger.picture.patches import Patch
from enlarger.picture.values import Samples

Frame = tuple[Samples, Space, float]
"""RGB and alpha, whether it is gray, and how long it is shown."""


def stacked(
    shown: Iterable[Frame], size: tuple[int, int], count: int
) -> tuple[Samples, Samples | None, Space, tuple[float, ...]]:
    """The first frames of an animation as they are seen, below one another, and how long each is shown."""
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
    # Where nothing shows through in any frame, there is no alpha.
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
    """Frames put together from what each draws, on what is clear at first; what is drawn beside it is not seen.

    Args:
        drawn: what the frames draw, in their order.
        size: width and height of the picture.
        read: gives the part of a patch of a width and a height, from its corner, as RGB and alpha, and
            whether it is gray.
    """
    canvas = np.zeros((size[1], size[0], 4), np.uint8)
    space: Space = "gray"
    for number, patch in enumerate(drawn):
        place = canvas[patch.top :, patch.left :][: patch.height_px, : patch.width_px]
        before = place.copy()
        if place.size:
            pixels, space = read(patch, place.shape[1], place.shape[0])
            # Over nothing it is what is drawn, with whatever colour is under what is clear.
            place[:] = blended(pixels, before) if patch.is_blended and number else pixels
        yield canvas, space, patch.duration_ms
        if patch.then == "clear":
            place[:] = 0
        elif patch.then == "restore":
            place[:] = before


def blended(front: Samples, back: Samples) -> Samples:
    """One over the other, both with their own alpha (PNG third edition, 13.16; Porter and Duff's over)."""
    shown = np.where(front[:, :, 3:] == 0, back, front)
    mixed = (front[:, :, 3] % 255 > 0) & (back[:, :, 3] > 0)
    upper, lower = front[mixed].astype(np.float64), back[mixed].astype(np.float64)
    covers = upper[:, 3:] / 255
    remains = lower[:, 3:] / 255 * (1 - covers)
    channels = (upper[:, :3] * covers + lower[:, :3] * remains) / (covers + remains)
    shown[mixed] = np.rint(np.hstack([channels, (covers + remains) * 255]))
    return shown
