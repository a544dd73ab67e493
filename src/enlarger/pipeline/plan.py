"""The plan of a request: one pure function of header, options, models and limits.

A request is planned once, here. Admission, the estimate, the steps that enlarge and write, and the shell all get the
same plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from enlarger.engine.tile import ModelFacts, Need
from enlarger.errors import AnimationUnsupported, ImageTooLarge, InvalidOption, OutputTooLarge
from enlarger.geometry.rect import Rect
from enlarger.geometry.route import Route, route
from enlarger.models import Catalogue, Model
from enlarger.options import Options
from enlarger.picture import colour_lock
from enlarger.picture.formats import check_kind, kind_for
from enlarger.picture.values import Header
from enlarger.pipeline.ledger import Cost

TILE_CACHE_BYTES = 256 << 20
"""Memory for results that are cached for equal tiles of later frames."""

_TILES_AT_ONCE = 8


class PlannedModel(Protocol):
    """What a plan needs to know about its model: a row of the catalogue states it."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def sha256(self) -> str: ...  # noqa: D102
    @property
    def scale(self) -> int: ...  # noqa: D102
    @property
    def halo_px(self) -> int: ...  # noqa: D102
    @property
    def halo_is_exact(self) -> bool: ...  # noqa: D102
    @property
    def max_tile_px(self) -> int: ...  # noqa: D102
    @property
    def mflop_per_px(self) -> float: ...  # noqa: D102


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that is decided about a request before its pixels are read."""

    header: Header
    """The header of the file."""

    frames: int
    """Frames that are enlarged."""

    size_px: tuple[int, int]
    """Width and height of the whole result."""

    region: Rect | None = None
    """The part of the picture to enlarge; None for all of it."""

    crop: Rect | None = None
    """The part of the result to write, in pixels of the result; None if ``region`` decides."""

    cleans_edges: bool = False
    """Whether the old background is removed from the edges of a cut-out."""

    color_lock: bool = True
    """Whether the low frequencies of the result are set to those of the input."""

    model: PlannedModel
    """The model. Scale, halo and tile size are those of this row, whatever a model server states."""

    way: Route
    """The passes of the network with their tiles, and the reduction after the last."""

    kind: str
    """Format of the result."""

    @property
    def out_px(self) -> tuple[int, int]:
        """Width and height of the picture that is written."""
        return self.way.out.width_px, self.way.out.height_px

    @property
    def factor(self) -> float:
        """How many times wider the whole result is than the whole picture."""
        return self.size_px[0] / self.header.width_px

    @property
    def is_part(self) -> bool:
        """Whether only a part of the picture is written."""
        return self.region is not None or self.crop is not None

    @property
    def need(self) -> Need:
        """What an engine must have to enlarge the tiles."""
        return Need(
            model=self.model.id,
            weights_sha256=self.model.sha256,
            scale=self.model.scale,
            lr_px=self.way.tile_lr_px,
        )

    @property
    def tiles(self) -> int:
        """Tiles for the colours of all frames."""
        return self.frames * sum(len(step.boxes) for step in self.way.passes)

    @property
    def most_tiles(self) -> int:
        """Tiles for the colours, and for alpha if the header says that there may be some."""
        return self.tiles * (2 if self.header.may_be_transparent else 1)

    @property
    def planes(self) -> int:
        """Planes that go through the network at most: colours and alpha of all frames."""
        # Alpha goes through the network like another picture, unless it is the same everywhere, as the pixels will tell.
        return self.frames * (2 if self.header.may_be_transparent else 1)

    @property
    def mflop(self) -> float:
        """Computing at most, in million floating-point operations."""
        return self.model.mflop_per_px * self.way.lr_px * self.planes

    @property
    def frames_at_once(self) -> int:
        """Frames of an animation that are enlarged at the same time, so that there are tiles for all engines."""
        return max(2, _TILES_AT_ONCE // max(len(step.boxes) for step in self.way.passes))

    @property
    def held_bytes(self) -> int:
        """Memory for the pixels at most, with four channels of 16 bits, or of 8 bits in an animation."""
        # Source, canvases and result. Rows leave a canvas when they and all rows above them are complete, so that most
        # pictures take little more than half of this; but the first tile may be the last to come.
        lr_px = self.header.width_px * self.header.height_px
        made_px = sum(step.made.width_px * step.made.height_px for step in self.way.passes)
        out_px = self.out_px[0] * self.out_px[1]
        one = 4 * 2 * (lr_px + made_px * self.model.scale**2 + out_px)
        if self.frames == 1:
            return one
        # All frames as decoded, as made, and as written; and those that are being enlarged.
        at_work = min(self.frames, self.frames_at_once) * one
        return at_work + TILE_CACHE_BYTES + 4 * self.frames * (lr_px + 2 * out_px)

    @property
    def least_size_px(self) -> tuple[int, int]:
        """Width and height of the result at the picture's own scale. No result is made smaller to fit ``max_bytes``."""
        across = self.header.width_px / self.size_px[0]
        down = self.header.height_px / self.size_px[1]
        return max(1, round(self.out_px[0] * across)), max(1, round(self.out_px[1] * down))

    def cost(self, input_bytes: int) -> Cost:
        """Return what the request takes at most, with a file of this size."""
        return Cost(
            mflop=self.mflop,
            tile_mflop=self.model.mflop_per_px * self.way.tile_lr_px,
            planes=self.planes,
            lr_px=self.header.width_px * self.header.height_px * self.frames,
            out_px=self.out_px[0] * self.out_px[1] * self.frames,
            input_bytes=input_bytes,
        )

    def check_alpha(self, options: Options, *, has_alpha: bool) -> None:
        """Check that the format of the result can hold the picture, now that its alpha is known.

        Raises:
            InvalidOption: the format cannot hold the picture.
        """
        check_kind(
            self.kind,
            size_px=self.out_px,
            has_alpha=has_alpha,
            background=options.background_rgb,
            frames=self.frames,
        )


def plan(
    header: Header,
    options: Options,
    *,
    catalogue: Catalogue,
    limits: Limits,
    kind: str | None = None,
) -> Plan:
    """Plan a request.

    Args:
        header: the header of the file.
        options: what was asked for.
        catalogue: the models to choose from.
        limits: the operator's limits.
        kind: format of the result; None: as ``options`` and the file say.

    Raises:
        RequestError: the request cannot be done, or is over a limit; the text says why.
    """
    # First of all: a header may state millions of pixels a side, and planning these takes long.
    check_side(header, limits.max_side_px)
    frames = frame_count(options, header, limit=limits.max_frames)
    picture_px = (header.width_px, header.height_px)
    region = _region(options, picture_px)
    size_px = options.size_px(*picture_px)
    model = choose_model(catalogue, options.model, picture_px, size_px)
    crop = options.crop(size_px)
    way = plan_route(
        picture_px,
        model=model,
        size_px=size_px,
        region=region,
        crop=crop,
        color_lock=options.color_lock,
    )
    if limits.max_frame_px is not None:
        out_px = way.out.width_px * way.out.height_px
        frames = frame_count(options, header, limit=max(1, limits.max_frame_px // out_px))
    planned = Plan(
        header=header,
        frames=frames,
        size_px=size_px,
        region=region,
        crop=crop,
        cleans_edges=options.alpha_edge == "clean",
        color_lock=options.color_lock,
        model=model,
        way=way,
        kind=kind or kind_for(options.format, header.format),
    )
    check_output(planned, limits.max_output_px)
    planned.check_alpha(options, has_alpha=False)
    return planned


def plan_route(
    picture_px: tuple[int, int],
    *,
    model: PlannedModel,
    size_px: tuple[int, int],
    region: Rect | None = None,
    crop: Rect | None = None,
    color_lock: bool = True,
) -> Route:
    """Return the passes to a result, with the margin that the colour lock needs; see ``route``."""
    return route(
        *picture_px,
        model=model,
        size_px=size_px,
        region=region,
        crop=crop,
        margin_px=colour_lock.MARGIN_PX if color_lock else 0,
    )


def model_for(catalogue: Catalogue, options: Options, picture_px: tuple[int, int]) -> Model:
    """Return the model for a picture of this width and height.

    Raises:
        InvalidOption: the picture cannot have the size or the region that was asked for.
        UnknownModel: no such model is installed.
    """
    _region(options, picture_px)
    return choose_model(catalogue, options.model, picture_px, options.size_px(*picture_px))


def choose_model(
    catalogue: Catalogue, model_id: str, picture_px: tuple[int, int], size_px: tuple[int, int]
) -> Model:
    """Return the model for a picture of ``picture_px`` and a result of ``size_px``: one of 2x if that is enough.

    Raises:
        UnknownModel: no such model is installed.
    """
    doubled = size_px[0] <= 2 * picture_px[0] and size_px[1] <= 2 * picture_px[1]
    return catalogue.choose(model_id, scale=2 if doubled else 4)


def choose_precision(wish: str, *, setting: str, depth_bits: int, model: ModelFacts) -> str:
    """Return the precision that a picture is computed in.

    ``auto`` preserves the depth of the picture: bf16 and int8 have about 8 significant bits, so pictures with more
    bits are computed in f32.

    Args:
        wish: the precision that the request names.
        setting: the operator's setting, which applies if the request says ``auto``.
        depth_bits: bits per sample of the picture's file.
        model: states the available precisions; the first one is ``auto`` for 8 bits.

    Raises:
        InvalidOption: the precision is not available for this model.
    """
    available = model.precisions
    # Not every model has int8: as a setting, it applies to those that have it.
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
            f"Invalid frames: the animation has {header.frames} frames, and up to {limit} are enlarged; "
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


def _region(options: Options, picture_px: tuple[int, int]) -> Rect | None:
    region = options.region
    if region is not None and not Rect.whole(*picture_px).holds(region):
        raise InvalidOption(
            f"Invalid region: it ends at {region.right},{region.bottom}; the picture has "
            f"{picture_px[0]}x{picture_px[1]} px"
        )
    return region
