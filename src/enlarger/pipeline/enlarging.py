"""One picture through an engine: cut, enlarge, assemble, and reduce where the model's scale is another.

The same code makes the picture in the command line and in the service, so both give the same bytes.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

import numpy as np

from enlarger.engine import Engine
from enlarger.errors import EnlargerError
from enlarger.picture import Note, Picture
from enlarger.picture.resample import reduce
from enlarger.picture.values import Samples, with_alpha
from enlarger.tiles import TileBox, plan
from enlarger.wire import ModelFacts, TileRequest, TileResult

OnTile = Callable[[int, int], None]
"""Called with tiles done and tiles planned after each tile, on the event loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enlarged:
    """An enlarged picture, and what really ran."""

    picture: Picture
    model: str
    engine: str
    precision: str
    tiles: int
    tiles_by_server: Counter[str] = field(default_factory=Counter)
    retried: int = 0
    """Times that a tile had to be sent again."""

    infer_s: float = 0.0
    """Seconds of computing, summed over tiles."""


@dataclass(slots=True)
class _Plane:
    """Channels that go through the network together, and where the result grows."""

    pixels: Samples
    """(H, W, 3): what the network sees."""

    canvas: Samples
    """(H * scale, W * scale, 3), or (H * scale, W * scale, 1) where the three channels are one."""


async def enlarge(
    picture: Picture,
    *,
    model: ModelFacts,
    scale: int,
    precision: str,
    engine: Engine,
    executor: Executor,
    deadline: float,
    request_id: str = "-",
    on_tile: OnTile | None = None,
) -> Enlarged:
    """Enlarge a picture.

    Args:
        picture: gray or RGB, with or without alpha, 8 bits.
        model: what runs; its scale must be a multiple of ``scale``.
        scale: HR pixels per LR pixel along an edge of the result.
        precision: ``f32`` or ``bf16``.
        engine: where tiles go, all at once; it decides how many run.
        executor: where samples are copied and reduced, off the event loop.
        deadline: on the event loop's clock.
        request_id: for the logs of all who touch a tile.
        on_tile: told of each finished tile.

    Raises:
        EnlargerError: whatever the engine raises for a tile it cannot do; the other tiles are dropped.
    """
    loop = asyncio.get_running_loop()
    boxes = plan(
        picture.width_px, picture.height_px, halo_px=model.halo_px, max_tile_px=model.max_tile_px
    )
    planes = _planes(picture, model.scale)
    total = len(boxes) * len(planes)
    done: list[TileResult] = []

    async def one_tile(index: int, plane: _Plane, box: TileBox) -> None:
        result = await engine.enlarge(
            TileRequest(
                pixels=np.ascontiguousarray(box.read(plane.pixels)),
                model=model.id,
                weights_sha256=model.sha256,
                precision=precision,
                deadline=deadline,
                request_id=request_id,
                index=index,
                total=total,
            )
        )
        await loop.run_in_executor(executor, _paste, plane, box, result.pixels, model.scale)
        # Only the facts are kept: the pixels are in the canvas now.
        done.append(replace(result, pixels=result.pixels[:0]))
        if on_tile is not None:
            on_tile(len(done), total)

    try:
        async with asyncio.TaskGroup() as group:
            tiles = ((plane, box) for plane in planes for box in boxes)
            for index, (plane, box) in enumerate(tiles):
                group.create_task(one_tile(index, plane, box))
    except BaseExceptionGroup as errors:
        raise _first(errors) from errors
    enlarged = await loop.run_in_executor(executor, _finish, picture, planes, model.scale, scale)
    return Enlarged(
        picture=enlarged,
        model=model.id,
        engine=done[0].engine,
        precision=done[0].precision,
        tiles=total,
        tiles_by_server=Counter(result.server for result in done),
        retried=sum(result.attempts - 1 for result in done),
        infer_s=sum(result.infer_s for result in done),
    )


def _planes(picture: Picture, scale: int) -> list[_Plane]:
    """Colour, and alpha where it is not the same everywhere: an even alpha needs no network."""
    height, width = picture.height_px * scale, picture.width_px * scale

    def plane(channels: Samples) -> _Plane:
        kept = channels.shape[2]
        seen = channels if kept == 3 else np.repeat(channels, 3, axis=2)
        return _Plane(seen, np.empty((height, width, kept), channels.dtype))

    planes = [plane(picture.colour)]
    if picture.alpha is not None and picture.alpha.min() != picture.alpha.max():
        planes.append(plane(picture.alpha[:, :, np.newaxis]))
    return planes


def _paste(plane: _Plane, box: TileBox, pixels: Samples, scale: int) -> None:
    """An enlarged tile into its plane; a single channel is the mean of the network's three."""
    if plane.canvas.shape[2] == 1:
        # (sum + 1) // 3 is sum / 3 rounded to nearest.
        pixels = ((pixels.sum(axis=2, dtype=np.uint32, keepdims=True) + 1) // 3).astype(
            pixels.dtype
        )
    box.paste(plane.canvas, pixels, scale)


def _finish(picture: Picture, planes: list[_Plane], model_scale: int, scale: int) -> Picture:
    """The planes as one picture of the wanted scale."""
    notes = list(picture.notes)
    if model_scale != scale:
        notes.append(Note("resampled", f"{model_scale}x model, {scale}x result"))
        canvases = [reduce(plane.canvas, factor=model_scale // scale) for plane in planes]
    else:
        canvases = [plane.canvas for plane in planes]
    alpha: Samples | None = None
    if len(canvases) > 1:
        alpha = canvases[1][:, :, 0]
    elif picture.alpha is not None:
        alpha = np.full(canvases[0].shape[:2], picture.alpha[0, 0], canvases[0].dtype)
    return replace(picture, samples=with_alpha(canvases[0], alpha), notes=tuple(notes))


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that a caller should see of those that tiles raised together: one of ours, if there is one."""
    ours, others = errors.split(EnlargerError)
    error: BaseException | None = ours or others
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error or errors
