"""What is to be done with a file, and whether it may be: decisions from its header, the options and the limits."""

from __future__ import annotations

from enlarger.errors import AnimationUnsupported, ImageTooLarge, InvalidOption, OutputTooLarge
from enlarger.job import Options
from enlarger.models import Catalogue, Model
from enlarger.picture.values import Header
from enlarger.pipeline.enlarging import KEPT_BYTES, Wanted, frames_at_once
from enlarger.pipeline.passes import Route
from enlarger.wire import ModelFacts


def choose_model(
    catalogue: Catalogue, model_id: str, size_px: tuple[int, int], wanted: Wanted
) -> Model:
    """The model for a result of that size, of a picture of ``size_px``: one of 2x is enough where there is one.

    Raises:
        UnknownModel: no such model is installed.
    """
    width, height = wanted.size_px
    doubled = width <= 2 * size_px[0] and height <= 2 * size_px[1]
    return catalogue.choose(model_id, scale=2 if doubled else 4)


def choose_precision(wish: str, *, setting: str, depth_bits: int, model: ModelFacts) -> str:
    """The precision that a picture is computed in.

    ``auto`` keeps the depth of the picture: bf16 and int8 have about 8 significant bits, so what has more is
    computed in f32.

    Args:
        wish: what the request asks for.
        setting: what the operator set, which counts where the request says ``auto``.
        depth_bits: bits per sample of the picture's file.
        model: says what there is, and names first what ``auto`` means for 8 bits.

    Raises:
        InvalidOption: the precision is not available for this model.
    """
    available = model.precisions
    # Not every model has int8, and who sets it for the service wants it where there is one.
    unset = setting == "auto" or (setting == "int8" and setting not in available)
    if wish == "auto" and unset:
        return "f32" if depth_bits > 8 and "f32" in available else available[0]
    precision = setting if wish == "auto" else wish
    if precision not in available:
        raise InvalidOption(
            f"Invalid precision: {precision} is not to be had on this server; there is {', '.join(available)}",
            reason="unsupported",
        )
    return precision


def check_side(header: Header, *, max_side_px: int) -> None:
    """Hold the sides that a header states against the limit.

    Raises:
        ImageTooLarge: one is longer than allowed.
    """
    width, height = header.width_px, header.height_px
    if max(width, height) > max_side_px:
        raise ImageTooLarge(
            f"Image dimensions too large: {width}x{height} (max: {max_side_px})",
            limit=max_side_px,
            actual=max(width, height),
        )


def frame_count(options: Options, header: Header, *, limit: int) -> int:
    """How many frames of a file are to be enlarged.

    Raises:
        AnimationUnsupported: there are several, and the options do not say what to do with them.
        InvalidOption: several are wanted of a file that is no animation, or more than allowed.
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
    if count > limit:
        raise InvalidOption(
            f"Invalid frames: the animation has {header.frames} frames, and up to {limit} are enlarged; "
            f"frames={limit} takes the first ones",
            limit=limit,
            actual=count,
        )
    return count


def least_size_px(wanted: Wanted, header: Header, way: Route) -> tuple[int, int]:
    """Width and height of the result at the picture's own size: no result is smaller."""
    across, down = header.width_px / wanted.size_px[0], header.height_px / wanted.size_px[1]
    return max(1, round(way.out.width_px * across)), max(1, round(way.out.height_px * down))


def check_output(
    header: Header, *, out_px: int, scale: float, max_output_px: int, frames: int = 1
) -> None:
    """Hold the size of a result against the limit.

    Raises:
        OutputTooLarge: all its frames together would have more pixels than allowed.
    """
    if out_px * frames > max_output_px:
        fitting = max_output_px // out_px
        hint = f" in {frames} frames; frames={fitting} fits" if frames > 1 and fitting else ""
        raise OutputTooLarge(
            f"Upscaled image would be too large: ~{out_px * frames * 3} bytes{hint}",
            limit=max_output_px,
            actual=out_px * frames,
            details={
                "original_size": {"width": header.width_px, "height": header.height_px},
                "scale": int(scale) if scale == int(scale) else scale,
            },
        )


def pixel_bytes(way: Route, lr_px: int, *, scale: int, frames: int = 1) -> int:
    """Memory that samples take at the worst, with four channels of 16 bits, or of 8 in an animation."""
    # Source, canvases, and result. Rows leave a canvas when those above them are there, so that most pictures take
    # little more than half of it; but the first tile may be the last to come.
    canvases = sum(step.made.width_px * step.made.height_px for step in way.passes) * scale**2
    out_px = way.out.width_px * way.out.height_px
    one = 4 * 2 * (lr_px + canvases + out_px)
    if frames == 1:
        return one
    # All frames as they came, as they were made, and as they are written; and those at work.
    return min(frames, frames_at_once(way)) * one + KEPT_BYTES + 4 * frames * (lr_px + 2 * out_px)
