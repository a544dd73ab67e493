"""The plan of a request: one pure function of header, options, models and limits.

A request is planned once, here. Admission, the estimate, the steps that enlarge and write, and the shell all get the
same plan.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from enlarger.engine.device import CPU, Device
from enlarger.engine.tile import ModelFacts, Need
from enlarger.errors import InvalidOption
from enlarger.geometry.rect import Rect
from enlarger.geometry.route import Network, Route, route
from enlarger.models import Catalogue, Model
from enlarger.options import DEFAULT_SCALE, Options
from enlarger.picture import colour_lock
from enlarger.picture.formats import check_kind, kind_for
from enlarger.picture.values import Content, Header
from enlarger.pipeline.devices import ForClass
from enlarger.pipeline.ledger import Cost
from enlarger.pipeline.limits import Limits, check_output, check_side, frame_count

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
    def graph_sha256(self) -> str: ...  # noqa: D102
    @property
    def scale(self) -> int: ...  # noqa: D102
    @property
    def halo_px(self) -> int: ...  # noqa: D102
    @property
    def blend_px(self) -> int: ...  # noqa: D102
    @property
    def multiple_px(self) -> int: ...  # noqa: D102
    @property
    def max_tile_px(self) -> int: ...  # noqa: D102
    @property
    def mflop_per_px(self) -> float: ...  # noqa: D102


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

    level_of: str | None = None
    """Id of the model of which ``model`` is another noise level; None if requests name it by its own id."""

    noise_level: int | None = None
    """How much noise the model removes, from 0 to 3; None if it has no such choice."""

    way: Route
    """The passes of the network with their tiles, and the reduction after the last."""

    kind: str
    """Format of the result."""

    device: Device = CPU
    """What computes, with the class whose tiles these are."""

    @property
    def model_id(self) -> str:
        """Id of the model in requests and answers."""
        return self.level_of or self.model.id

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
            graph_sha256=self.model.graph_sha256,
            scale=self.model.scale,
            lr_px=self.way.tile_lr_px,
            device=self.device.id,
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
    device: Device = CPU,
) -> Plan:
    """Plan a request.

    Args:
        header: the header of the file.
        options: what was asked for.
        catalogue: the models to choose from.
        limits: the operator's limits.
        kind: format of the result; None: as ``options`` and the file say.
        device: what computes. Its class decides how large tiles are, and nothing else.

    Raises:
        RequestError: the request cannot be done, or is over a limit; the text says why.
    """
    # First of all: a header may state millions of pixels a side, and planning these takes long.
    check_side(header, limits.max_side_px)
    frames = frame_count(options, header, limit=limits.max_frames)
    picture_px = (header.width_px, header.height_px)
    region = _region(options, picture_px)
    size_px = _size_px(catalogue, options, picture_px)
    chosen = choose_model(catalogue, options.model, picture_px, size_px, content=header.content)
    factor = max(size_px[0] / picture_px[0], size_px[1] / picture_px[1])
    chosen.check_factor(factor, option=options.size_option)
    model = chosen.network(options.denoise)
    crop = options.crop(size_px)
    way = plan_route(
        picture_px,
        model=model if device.is_cpu else ForClass(model, device.tile_class),
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
        level_of=None if model is chosen else chosen.id,
        noise_level=model.noise_level,
        way=way,
        kind=kind or kind_for(options.format, header.format),
        device=device,
    )
    check_output(planned, limits.max_output_px)
    planned.check_alpha(options, has_alpha=False)
    return planned


def plan_route(
    picture_px: tuple[int, int],
    *,
    model: Network,
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


def model_for(
    catalogue: Catalogue,
    options: Options,
    picture_px: tuple[int, int],
    content: Content | None = None,
) -> Model:
    """Return the model for a picture of this width and height that shows ``content``.

    Raises:
        InvalidOption: the picture cannot have the size or the region that was asked for.
        UnknownModel: no such model is installed.
    """
    _region(options, picture_px)
    size_px = _size_px(catalogue, options, picture_px)
    return choose_model(catalogue, options.model, picture_px, size_px, content=content)


def choose_model(
    catalogue: Catalogue,
    model_id: str,
    picture_px: tuple[int, int],
    size_px: tuple[int, int],
    *,
    content: Content | None = None,
) -> Model:
    """Return the model for a picture of ``picture_px`` that shows ``content``, and a result of ``size_px``.

    Raises:
        UnknownModel: no such model is installed.
    """
    factor = max(size_px[0] / picture_px[0], size_px[1] / picture_px[1])
    return catalogue.choose(model_id, scale=max(2, min(4, math.ceil(factor))), content=content)


def _size_px(
    catalogue: Catalogue, options: Options, picture_px: tuple[int, int]
) -> tuple[int, int]:
    """Return the size of a result, at the model's usual scale if the request states none."""
    default_scale = catalogue.default_scale(options.model, DEFAULT_SCALE)
    return options.size_px(*picture_px, default_scale=default_scale)


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
            f"Invalid precision: {precision} is not available on this server, which has {', '.join(available)}",
            reason="unsupported",
        )
    return precision


def _region(options: Options, picture_px: tuple[int, int]) -> Rect | None:
    region = options.region
    if region is not None and not Rect.whole(*picture_px).holds(region):
        raise InvalidOption(
            f"Invalid region: it ends at {region.right},{region.bottom}; the picture has "
            f"{picture_px[0]}x{picture_px[1]} px"
        )
    return region
