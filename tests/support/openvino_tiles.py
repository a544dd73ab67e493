"""Tiles and measures for the tests of the OpenVINO engine."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from enlarger.engine.openvino.processor import Processor
from enlarger.engine.openvino.runtime import OpenVINOEngine
from enlarger.engine.tile import TileRequest
from enlarger.geometry.rect import Pixels, Rect

WHEEL_MODELS = ("realesrgan-x4plus", "realesrgan-x4plus-anime", "realesr-animevideov3")


WITH_BF16 = Processor({"FP32", "BF16"}, set())
"""A processor that is said to have bf16, whatever this one has."""

LONG_S = 100
"""A deadline that is never reached."""


def asked(
    engine: OpenVINOEngine,
    model_id: str,
    pixels: Pixels,
    *,
    precision: str = "f32",
    left_s: float = LONG_S,
    options: Mapping[str, float] | None = None,
    keep: Rect | None = None,
) -> TileRequest:
    """A request for a tile by a model of ``engine``."""
    facts = engine.facts().model(model_id)
    assert facts is not None
    return TileRequest(
        pixels=np.ascontiguousarray(pixels),
        model=model_id,
        weights_sha256=facts.sha256,
        scale=facts.scale,
        precision=precision,
        deadline=asyncio.get_running_loop().time() + left_s,
        request_id="test",
        options=options or {},
        keep=keep,
    )


async def enlarged(
    engine: OpenVINOEngine,
    model_id: str,
    pixels: Pixels,
    *,
    precision: str = "f32",
    keep: Rect | None = None,
) -> Pixels:
    """The enlarged tile's pixels."""
    result = await engine.enlarge(asked(engine, model_id, pixels, precision=precision, keep=keep))
    return result.pixels


def names(folder: Path) -> list[str]:
    """Return the names of the files in a folder."""
    return [path.name for path in folder.iterdir()]


def read(path: Path) -> Pixels:
    """A picture file as RGB."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def difference(one: Pixels, other: Pixels) -> tuple[int, float]:
    """Return the largest and the mean difference, in code values."""
    assert one.shape == other.shape
    gap = np.abs(one.astype(int) - other.astype(int))
    return int(gap.max()), float(gap.mean())
