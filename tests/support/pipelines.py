"""Pipelines of real parts around an engine that a test chooses, and requests for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from enlarger import config
from enlarger.engine import Engine
from enlarger.engine.shelf import Shelf
from enlarger.engine.tile import ModelFacts
from enlarger.fetch.fetcher import Fetcher
from enlarger.geometry.tiles import plan
from enlarger.models import Catalogue
from enlarger.options import read_options
from enlarger.picture.sandbox.pool import Decoders
from enlarger.pipeline.outcome import Outcome
from enlarger.pipeline.pipeline import Pipeline
from enlarger.request import BytesSource, UpscaleRequest
from enlarger.storage import ResultStore
from support.fakes import HeldEngine, StuckEngine
from support.pictures import RGB, encoded, noise, png
from support.results import FolderResults

PICTURE = encoded(noise(30, 40, 3))
"""40 x 30 px, RGB."""


DEEP = png(noise(30, 40, 3).astype(np.uint16) * 257, colour=RGB, depth_bits=16)
"""The same with 16 bits per sample."""


OTHER = encoded(noise(30, 40, 3, seed=1))
"""Another one: an identical request would share the work of the first."""


@pytest.fixture
def facts(catalogue: Catalogue) -> tuple[ModelFacts, ...]:
    """What an engine says that has the model ``nearest``."""
    model = catalogue.choose("nearest", scale=4)
    return (
        ModelFacts(
            id=model.id,
            scale=4,
            halo_px=2,
            halo_is_exact=True,
            max_tile_px=model.max_tile_px,
            mflop_per_px=model.mflop_per_px,
            sha256=model.sha256,
            precisions=("bf16", "f32"),
        ),
    )


Make = Callable[..., Pipeline]


@pytest.fixture
async def make(tmp_path: Path, catalogue: Catalogue) -> AsyncIterator[Make]:
    """Makes a pipeline of real parts around an engine; further arguments are settings."""
    async with Decoders(2) as decoders:
        with ThreadPoolExecutor(2) as executor:

            def pipeline(
                engine: Engine,
                *,
                draining: Callable[[], bool] = lambda: False,
                store: ResultStore | None = None,
                decode: Decoders = decoders,
                **settings: Any,
            ) -> Pipeline:
                loaded = config.load(upload_folder=tmp_path / "results", **settings)
                return Pipeline(
                    engine=engine,
                    shelf=Shelf(catalogue),
                    fetcher=Fetcher("off", limit_bytes=loaded.limits.max_file_size_bytes),
                    decoders=decode,
                    executor=executor,
                    encoders=executor,
                    store=store or FolderResults(tmp_path / "results"),
                    limits=loaded.limits,
                    precision=loaded.server.precision,
                    draining=draining,
                )

            yield pipeline


def job(
    data: bytes = PICTURE, *, scale: int = 4, precision: str = "auto", request_id: str = "-"
) -> UpscaleRequest:
    """A job for the model ``nearest``."""
    options = read_options(
        {"scale": scale, "model": "nearest", "precision": precision}, strict=True
    )
    return UpscaleRequest(source=BytesSource(data), options=options, request_id=request_id)


def work_mflop(catalogue: Catalogue) -> float:
    """What the network computes for a picture of 40 x 30, halos included."""
    model = catalogue.choose("nearest", scale=4)
    boxes = plan(40, 30, halo_px=model.halo_px, max_tile_px=model.max_tile_px)
    return sum(box.lr_px for box in boxes) * model.mflop_per_px


def cut_short(data: bytes) -> bytes:
    """A file whose header is whole and whose pixels are not."""
    return data[: len(data) // 2]


def path_of(folder: Path, outcome: Outcome) -> Path:
    """The file of a result."""
    return folder / "results" / outcome.stored.file_name


def kept(folder: Path) -> list[str]:
    """All files below a folder."""
    return [path.name for path in folder.rglob("*") if path.is_file()]


@asynccontextmanager
async def running(
    pipeline: Pipeline, engine: HeldEngine | StuckEngine, asked: UpscaleRequest | None = None
) -> AsyncIterator[asyncio.Task[Any]]:
    """A request whose tiles are with the engine; cancelled in the end if it still runs."""
    arrived = len(engine.requests)
    task = asyncio.create_task(pipeline.run(asked or job(request_id="first")))
    async with asyncio.timeout(20):
        if isinstance(engine, StuckEngine):
            await engine.started.wait()
        else:
            await engine.holds(arrived + 1)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})
