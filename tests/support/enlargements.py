"""Pictures through ``enlarge``, by an engine that a test chooses."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from enlarger.engine import Engine
from enlarger.geometry.rect import Pixels, Rect
from enlarger.geometry.tiles import plan
from enlarger.picture.values import Picture
from enlarger.pipeline.enlarging import enlarge
from enlarger.pipeline.outcome import Enlarged
from enlarger.pipeline.progress import OnPiece, OnTile
from support.fakes import NEAREST
from support.plans import planned

LONG_S = 100
"""A deadline that is never reached."""


@pytest.fixture(scope="module")
def executor() -> Iterator[ThreadPoolExecutor]:
    """Threads, as the service has them."""
    with ThreadPoolExecutor(2) as executor:
        yield executor


async def enlarged(
    samples: Pixels | Picture,
    engine: Engine,
    executor: ThreadPoolExecutor,
    *,
    scale: float = 4,
    region: Rect | None = None,
    crop: Rect | None = None,
    color_lock: bool = False,
    precision: str = "f32",
    deadline: float | None = None,
    on_tile: OnTile | None = None,
    on_piece: OnPiece | None = None,
) -> Enlarged:
    """``samples`` through ``engine``, by the model ``NEAREST``."""
    picture = samples if isinstance(samples, Picture) else Picture(samples=samples)
    size_px = (int(picture.width_px * scale + 0.5), int(picture.height_px * scale + 0.5))
    return await enlarge(
        picture,
        plan=planned(
            picture.width_px,
            picture.height_px,
            size_px,
            region=region,
            crop=crop,
            color_lock=color_lock,
        ),
        precision=precision,
        engine=engine,
        executor=executor,
        deadline=asyncio.get_running_loop().time() + LONG_S if deadline is None else deadline,
        request_id="r-1",
        on_tile=on_tile,
        on_piece=on_piece,
    )


def tiles_of(width_px: int, height_px: int) -> int:
    """How many tiles the plan of a picture has."""
    return len(plan(width_px, height_px, halo_px=NEAREST.halo_px, max_tile_px=NEAREST.max_tile_px))


def even_alpha(samples: Pixels, value: int) -> Pixels:
    """The colour with an alpha that is the same everywhere."""
    return np.concatenate([samples, np.full_like(samples[:, :, :1], value)], axis=2)
