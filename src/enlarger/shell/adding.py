"""Tries a network before it is added: on a test picture, against ncnn's own runtime, for its speed and its seams."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from enlarger.engine import Engine
from enlarger.engine.tile import TileRequest
from enlarger.errors import WeightsError
from enlarger.geometry.rect import Pixels, Rect
from enlarger.models import Model
from enlarger.models.golden import golden_input, read_golden
from enlarger.models.layers import Floats
from enlarger.models.readers.ncnn import NcnnFiles

NEAR_PX = 24
"""LR pixels on either side of a border that count as near it."""

_ALIKE_DB = 20.0
"""Networks of the packages have 24 to 45 dB. What is to be added to a picture has less than 10 dB by itself."""

_DEADLINE_S = 3600.0

_SIDE_PX = 128
"""Sides of the picture that is measured, unless tiles are smaller: enough for speed and seams, and seconds with the slowest
model."""


class TriedEngine(Engine, Protocol):
    """An engine in this process."""

    async def load(self, model_id: str, precision: str | None = None) -> None:
        """Load a model and check it on its golden picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What was found out about a network by computing with it."""

    golden_max_diff: int | None
    """Largest difference from what ncnn's own runtime makes, in 8-bit code values; None without that runtime."""

    lr_px_per_s: Mapping[str, float]
    """Speed in LR pixels per second, by precision."""

    seams: Mapping[str, float]
    """Differences between two tiles and the same picture in one piece: the field of a row."""

    likeness_db: float
    """PSNR of the result, reduced to the size of the picture by means, against the picture."""

    @property
    def looks_alike(self) -> bool:
        """Whether the result shows the picture."""
        return self.likeness_db >= _ALIKE_DB


async def tried(engine: TriedEngine, model: Model, photograph: Pixels) -> Tried:
    """Compute with a network.

    Args:
        engine: an engine that has the model.
        model: the model.
        photograph: RGB, at least 128 px a side.

    Raises:
        WeightsError, WrongOutput, EngineFailed: the network cannot be used.
    """
    facts = engine.facts().model(model.id)
    if facts is None:
        raise WeightsError(f"{model.id}: it cannot be computed on this machine")
    side_px = min(_SIDE_PX, math.isqrt(model.max_tile_px))
    picture = np.ascontiguousarray(photograph[:side_px, :side_px])
    height, width, _ = picture.shape
    whole = _request(model, picture)
    speeds: dict[str, float] = {}
    made: Pixels | None = None
    for precision in facts.precisions:
        await engine.load(model.id, precision)
        result = await engine.enlarge(replace(whole, precision=precision))
        speeds[precision] = width * height / result.infer_s
        if precision == "f32":
            made = result.pixels
    assert made is not None  # noqa: S101 - for the type checker: every runtime has f32
    halves = []
    for left, right in ((0, width // 2), (width // 2, width)):
        before, behind = max(0, left - model.halo_px), min(width, right + model.halo_px)
        request = _request(model, np.ascontiguousarray(picture[:, before:behind]))
        keep = Rect(left - before, 0, right - before, height)
        halves.append((await engine.enlarge(replace(request, keep=keep))).pixels)
    return Tried(
        golden_max_diff=await _golden_difference(engine, model),
        lr_px_per_s=speeds,
        seams=_differences(np.concatenate(halves, axis=1), made, scale=model.scale),
        likeness_db=_likeness_db(made, picture, scale=model.scale),
    )


def golden_of_ncnn(model: Model) -> Pixels | None:
    """Return what ncnn's own runtime makes of the golden input, in f32; None if it is not installed.

    Raises:
        WeightsError: ncnn cannot compute the network.
    """
    try:
        import ncnn
    except ImportError:
        return None
    files, pixels, frame = model.files, golden_input(), model.frame
    if not isinstance(files, NcnnFiles):
        return None
    # ncnn reads the files alone, which lack what is done before and after the network.
    network = replace(files, is_residual=False, black=0.0, white=1.0).network
    black, span = files.black, files.white - files.black
    floats = np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32) / 255 * span + black
    around_px = [frame.around_px(side) for side in pixels.shape[:2]]
    floats = np.pad(floats, ((0, 0), *around_px), "reflect")
    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    for name in ("fp16_storage", "fp16_packed", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{name}", False)
    param, binary = map(str, files.paths)
    if net.load_param(param) or net.load_model(binary):
        raise WeightsError(f"{model.id}: ncnn's own runtime cannot read it")
    extractor = net.create_extractor()
    extractor.input(network.input, ncnn.Mat(np.ascontiguousarray(floats)).clone())
    status, output = extractor.extract(network.output)
    rows, columns = (
        slice(frame.trim_px, frame.trim_px + model.scale * side) for side in pixels.shape[:2]
    )
    made: Floats = np.array(output)[:, rows, columns]
    expected = (3, *(model.scale * side for side in pixels.shape[:2]))
    if status or made.shape != expected:
        raise WeightsError(f"{model.id}: ncnn's own runtime makes {made.shape} of the test picture")
    if not np.isfinite(made).all():
        raise WeightsError(
            f"{model.id}: it makes numbers of the test picture that are not finite; its weights are damaged"
        )
    made = (made - black) / span
    if model.is_residual:
        picture = pixels.transpose(2, 0, 1).astype(np.float32) / 255
        made += picture.repeat(model.scale, 1).repeat(model.scale, 2)
    golden: Pixels = np.rint(made.transpose(1, 2, 0).clip(0, 1) * 255).astype(np.uint8)
    return golden


def write_picture(path: Path, pixels: Pixels) -> None:
    """Write a golden picture."""
    from PIL import Image

    Image.fromarray(pixels).save(path)


def read_photograph(path: Path) -> Pixels:
    """Read a photograph that comes with the package."""
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


async def _golden_difference(engine: TriedEngine, model: Model) -> int | None:
    if model.golden is None:
        return None
    golden = read_golden(model.golden, scale=model.scale)
    made = (await engine.enlarge(_request(model, golden_input()))).pixels
    return int(np.abs(made.astype(np.int16) - golden).max())


def _likeness_db(made: Pixels, picture: Pixels, *, scale: int) -> float:
    """Return the PSNR of a result, reduced to the size of its picture, against the picture; both in 8 bits."""
    height, width, channels = picture.shape
    blocks = made.reshape(height, scale, width, scale, channels)
    error = float(np.mean((blocks.mean(axis=(1, 3)) - picture) ** 2))
    return 10 * math.log10(255**2 / max(error, 1e-3))


def _request(model: Model, pixels: Pixels) -> TileRequest:
    return TileRequest(
        pixels=pixels,
        model=model.id,
        weights_sha256=model.sha256,
        scale=model.scale,
        precision="f32",
        deadline=asyncio.get_running_loop().time() + _DEADLINE_S,
        request_id="add",
    )


def _differences(tiles: Pixels, whole: Pixels, *, scale: int) -> dict[str, Any]:
    """Return the field ``seams`` of a row, from a picture of two tiles and the same picture in one piece."""
    difference = np.abs(tiles.astype(np.int16) - whole)
    border, near = whole.shape[1] // 2, NEAR_PX * scale
    at_border = difference[:, max(0, border - near) : border + near]
    error = float(np.mean(difference.astype(np.float64) ** 2))
    figures: dict[str, Any] = {}
    if error:
        figures = dict.fromkeys(
            ("median_db", "worst_db"), round(10 * math.log10(255**2 / error), 1)
        )
    figures["p999_difference"] = int(np.percentile(at_border, 99.9))
    figures["max_difference"] = int(difference.max())
    return figures
