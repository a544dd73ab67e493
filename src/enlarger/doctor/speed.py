"""The speed test: how many pixels this machine upscales in a second."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from enlarger.doctor.finding import Finding
from enlarger.models import Model

if TYPE_CHECKING:
    from enlarger.engine.local import LocalEngine

_SIDE_PX = 64
"""Side of a tile of the test: one takes less than a second on two cores."""

_TILE_S = 120.0
"""Time that the slowest machine gets for a tile."""

_SLOW_LR_PX_PER_S = 2_000
"""Speed below which a picture of one megapixel takes longer than eight minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedFacts:
    """What was measured."""

    model: str
    precision: str
    tiles: int
    """Tiles that were computed."""

    lr_px_per_s: float
    """Input pixels per second, on all cores together."""


async def gather(model: Model, engine: LocalEngine, *, seconds: float) -> SpeedFacts:
    """Compute tiles for so many seconds.

    Raises:
        EnlargerError: the engine cannot compute.
    """
    import numpy as np

    from enlarger.engine.tile import TileRequest
    from enlarger.models.golden import golden_input

    loop = asyncio.get_running_loop()
    facts = engine.facts().model(model.id)
    precision = "f32" if facts is None else facts.precisions[0]
    picture = golden_input()
    repeats = (-(-_SIDE_PX // picture.shape[0]), -(-_SIDE_PX // picture.shape[1]), 1)
    pixels = np.ascontiguousarray(np.tile(picture, repeats)[:_SIDE_PX, :_SIDE_PX])
    await engine.load(model.id)
    started = time.perf_counter()
    done = 0

    async def compute() -> None:
        nonlocal done
        while time.perf_counter() - started < seconds:
            await engine.enlarge(
                TileRequest(
                    pixels=pixels,
                    model=model.id,
                    weights_sha256=model.sha256,
                    scale=model.scale,
                    precision=precision,
                    deadline=loop.time() + _TILE_S,
                    request_id="doctor",
                    total=engine.streams,
                )
            )
            done += 1

    async with asyncio.TaskGroup() as tasks:
        for _ in range(engine.streams):
            tasks.create_task(compute())
    took_s = time.perf_counter() - started
    return SpeedFacts(
        model=model.id,
        precision=precision,
        tiles=done,
        lr_px_per_s=done * _SIDE_PX * _SIDE_PX / took_s,
    )


def findings(facts: SpeedFacts) -> list[Finding]:
    """Return how long a picture takes."""
    megapixel_s = 1e6 / facts.lr_px_per_s
    title = f"{facts.model} in {facts.precision}: {facts.lr_px_per_s:,.0f} pixels per second"
    detail = f"a picture of 1 megapixel takes about {megapixel_s:,.0f} s on all cores; measured on {facts.tiles} tiles"
    if facts.lr_px_per_s < _SLOW_LR_PX_PER_S:
        return [
            Finding.warning(
                title,
                detail,
                hint="look for other programs that use the cores, use more cores or a CPU with bf16, or request "
                "realesr-animevideov3, which is many times faster",
            )
        ]
    return [Finding.ok(title, detail)]
