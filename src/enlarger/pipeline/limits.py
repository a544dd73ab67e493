"""The operator's limits on one picture and its result, and the errors of a request that is over one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from enlarger.errors import AnimationUnsupported, ImageTooLarge, InvalidOption, OutputTooLarge
from enlarger.options import Options
from enlarger.picture.values import Header

if TYPE_CHECKING:
    from enlarger.pipeline.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The operator's limits on a picture and its result; None is no limit."""

    max_side_px: int | None = None
    """The longest side of a picture."""

    max_output_px: int | None = None
    """Pixels of all frames of a result together."""

    max_frames: int | None = None
    """Frames of an animation."""

    max_frame_px: int | None = None
    """Pixels of all frames of a result together; an animation that has more is cut to fewer frames."""


def check_side(header: Header, max_side_px: int | None) -> None:
    """Check the sides of a picture against the limit.

    Raises:
        ImageTooLarge: a side is longer than allowed.
    """
    width, height = header.width_px, header.height_px
    if max_side_px is not None and max(width, height) > max_side_px:
        raise ImageTooLarge(
            f"the picture has {width}x{height} px, and a side may have up to {max_side_px}",
            limit=max_side_px,
            actual=max(width, height),
            facts={"width_px": width, "height_px": height},
        )


def frame_count(options: Options, header: Header, *, limit: int | None) -> int:
    """Return how many frames of a file are enlarged.

    Raises:
        AnimationUnsupported: there are several frames, and the options do not say what to do with them.
        InvalidOption: several frames were asked for, but the file is no animation, or there are more than allowed.
    """
    wish = options.frames
    if header.frames == 1 or wish in ("first", 1) or (wish is None and not header.is_animation):
        return 1
    if wish is None:
        raise AnimationUnsupported(
            f"the picture is an animation of {header.frames} frames; say what to do with it: frames=all, "
            "frames=first, or a number of frames"
        )
    if not header.is_animation:
        raise InvalidOption(
            f"Invalid frames: the {header.frames} pages of a {header.format} are no animation; frames=first "
            "takes the first one",
            reason="conflict",
        )
    count = header.frames if isinstance(wish, str) else min(wish, header.frames)
    if limit is not None and count > limit:
        raise InvalidOption(
            f"Invalid frames: the animation has {header.frames} frames, and up to {limit} are upscaled; "
            f"frames={limit} takes the first ones",
            limit=limit,
            actual=count,
        )
    return count


def check_output(planned: Plan, max_output_px: int | None) -> None:
    """Check the size of a result against the limit.

    Raises:
        OutputTooLarge: all frames together would have more pixels than allowed.
    """
    out_px, frames, header = planned.out_px[0] * planned.out_px[1], planned.frames, planned.header
    if max_output_px is None or out_px * frames <= max_output_px:
        return
    fitting = max_output_px // out_px
    hint = f" in {frames} frames; frames={fitting} fits" if frames > 1 and fitting else ""
    factor = planned.factor
    raise OutputTooLarge(
        f"the result would have {out_px * frames} pixels{hint}; up to {max_output_px} are made",
        limit=max_output_px,
        actual=out_px * frames,
        facts={
            "input_px": (header.width_px, header.height_px),
            "scale": int(factor) if factor == int(factor) else factor,
            "rgb_bytes": out_px * frames * 3,
            "hint": hint,
        },
    )
