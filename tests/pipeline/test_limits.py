"""The operator's limits: what is at a limit passes, what is over it is refused with words that say what to do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.plans import planned, png_header

from enlarger.errors import (
    AnimationUnsupported,
    EnlargerError,
    ImageTooLarge,
    InvalidOption,
    OutputTooLarge,
)
from enlarger.options import Options
from enlarger.picture.values import FORMATS
from enlarger.pipeline.limits import check_output, check_side, frame_count

ONE, SEVERAL = 1, 7
"""Frames in a file."""


@pytest.mark.parametrize(("width_px", "height_px"), [(2048, 2048), (2048, 1), (1, 2048)])
def test_side_of_the_limit_passes(width_px: int, height_px: int) -> None:
    """2048 x 2048 at scale 4 is the largest by the defaults: 8192 squared pixels."""
    check_side(png_header(width_px, height_px), 2048)
    check_output(planned(width_px, height_px, (4 * width_px, 4 * height_px)), 67_108_864)


@pytest.mark.parametrize(("width_px", "height_px"), [(2049, 1), (1, 2049), (2049, 2049)])
def test_side_over_the_limit_is_refused(width_px: int, height_px: int) -> None:
    """One pixel more in either direction is refused. The error has the facts from which contracts make their sentences."""
    with pytest.raises(ImageTooLarge) as refusal:
        check_side(png_header(width_px, height_px), 2048)
    assert f"{width_px}x{height_px} px" in str(refusal.value)
    assert refusal.value.facts == {"width_px": width_px, "height_px": height_px}
    assert (refusal.value.limit, refusal.value.actual) == (2048, 2049)


@pytest.mark.parametrize(("scale", "output_px"), [(2, 4800), (4, 19200), (1.5, 2700)])
def test_output_of_the_limit_passes_and_one_pixel_over_it_is_refused(
    scale: float, output_px: int
) -> None:
    """40 x 30 makes 1200 scale² pixels, of three bytes each."""
    plan = planned(40, 30, (int(40 * scale), int(30 * scale)))
    check_output(plan, output_px)
    with pytest.raises(OutputTooLarge) as refusal:
        check_output(plan, output_px - 1)
    error = refusal.value
    assert str(error).startswith(f"the result would have {output_px} pixels; ")
    assert (error.limit, error.actual) == (output_px - 1, output_px)
    assert error.facts == {
        "input_px": (40, 30),
        "scale": scale,
        "rgb_bytes": output_px * 3,
        "hint": "",
    }


FRAMES: list[tuple[str, int, object, int | type[EnlargerError]]] = [
    *((kind, ONE, wish, 1) for kind in FORMATS for wish in (None, "all", "first", 1, 3, 500)),
    *((kind, SEVERAL, wish, 1) for kind in FORMATS for wish in ("first", 1)),
    *((kind, SEVERAL, None, AnimationUnsupported) for kind in ("png", "webp", "gif", "avif")),
    *((kind, SEVERAL, "all", 7) for kind in ("png", "webp", "gif", "avif")),
    *((kind, SEVERAL, 3, 3) for kind in ("png", "webp", "gif", "avif")),
    ("gif", SEVERAL, 7, 7),
    ("gif", SEVERAL, 9, 7),
    ("tiff", SEVERAL, None, 1),
    ("tiff", SEVERAL, "all", InvalidOption),
    ("tiff", SEVERAL, 2, InvalidOption),
    ("gif", 501, "all", InvalidOption),
    ("gif", 501, 501, InvalidOption),
    ("gif", 501, 9999, InvalidOption),
    ("gif", 501, 500, 500),
    ("gif", 500, "all", 500),
    ("gif", 2**31 - 1, "all", InvalidOption),
    ("gif", 2**31 - 1, 2, 2),
]
"""Format, frames in the file, what is asked for, and what comes of it where 500 are allowed."""


@pytest.mark.parametrize(
    ("kind", "there", "wish", "expected"), FRAMES, ids=lambda value: getattr(value, "__name__", str(value))
)  # fmt: skip
def test_frames_to_enlarge(
    kind: str, there: int, wish: Any, expected: int | type[EnlargerError]
) -> None:
    """One frame is upscaled, unless the file is an animation and more are requested."""
    several = replace(png_header(40, 30), format=kind, frames=there)
    options = Options(frames=wish)
    if isinstance(expected, int):
        assert frame_count(options, several, limit=500) == expected
    else:
        with pytest.raises(expected):
            frame_count(options, several, limit=500)


def test_refusals_of_frames_say_what_to_do() -> None:
    """Each with words that can be sent as they are."""
    several = replace(png_header(40, 30), format="gif", frames=501)
    with pytest.raises(
        AnimationUnsupported, match=r"501 frames.*frames=all, frames=first, or a number"
    ):
        frame_count(Options(), several, limit=500)
    with pytest.raises(
        InvalidOption, match=r"^Invalid frames: .*501 frames.*frames=500"
    ) as refused:
        frame_count(Options(frames="all"), several, limit=500)
    assert (refused.value.limit, refused.value.actual) == (500, 501)
    pages = replace(several, format="tiff", frames=3)
    with pytest.raises(
        InvalidOption, match=r"^Invalid frames: the 3 pages of a tiff .*frames=first"
    ):
        frame_count(Options(frames="all"), pages, limit=500)


@pytest.mark.parametrize(
    ("frames", "most_px", "hint"),
    [
        (3, 3 * 19200 - 1, " in 3 frames; frames=2 fits"),
        (3, 19200, " in 3 frames; frames=1 fits"),
        (3, 19199, ""),
        (1, 19199, ""),
    ],
)
def test_output_counts_all_frames(frames: int, most_px: int, hint: str) -> None:
    """The text says how many frames would fit, if any do."""
    plan = planned(40, 30, (160, 120), frames=frames)
    check_output(plan, 19200 * frames)
    with pytest.raises(OutputTooLarge) as refusal:
        check_output(plan, most_px)
    assert str(refusal.value).startswith(f"the result would have {19200 * frames} pixels{hint}; ")
    assert refusal.value.facts["hint"] == hint
    assert (refusal.value.limit, refusal.value.actual) == (most_px, 19200 * frames)
