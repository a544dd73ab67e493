"""Plans for tests of what acts on them: without a file, a catalogue or limits."""

from __future__ import annotations

from enlarger.geometry.rect import Rect
from enlarger.picture.values import Header
from enlarger.pipeline.plan import Plan, PlannedModel, plan_route
from support.fakes import NEAREST


def png_header(width_px: int, height_px: int, *, frames: int = 1) -> Header:
    """Return the header of a PNG file in 8 bits."""
    return Header(
        format="png",
        width_px=width_px,
        height_px=height_px,
        mode="RGB",
        depth_bits=8,
        frames=frames,
    )


def planned(
    width_px: int,
    height_px: int,
    size_px: tuple[int, int],
    *,
    model: PlannedModel = NEAREST,
    region: Rect | None = None,
    crop: Rect | None = None,
    color_lock: bool = False,
    frames: int = 1,
    kind: str = "png",
) -> Plan:
    """What has to be done so that a PNG file of that width and height becomes ``size_px``."""
    way = plan_route(
        (width_px, height_px),
        model=model,
        size_px=size_px,
        region=region,
        crop=crop,
        color_lock=color_lock,
    )
    return Plan(
        header=png_header(width_px, height_px, frames=frames),
        frames=frames,
        size_px=size_px,
        region=region,
        crop=crop,
        color_lock=color_lock,
        model=model,
        way=way,
        kind=kind,
    )
