"""The format of tiles between gateway and model server: samples as raw bytes, everything else in headers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from enlarger.engine.device import CPU, GPU_CLASSES, Device
from enlarger.engine.tile import (
    EngineFacts,
    ModelFacts,
    NetworkCounts,
    NetworkKey,
    TileRequest,
    TileResult,
)
from enlarger.errors import BadTile
from enlarger.geometry.rect import Pixels, Rect

PROTOCOL = 1
"""Version of the contract. Gateways send tiles only to servers with the same version."""

MEDIA_TYPE = "application/octet-stream"

MEMORY_HEADER = "Tile-Memory"
"""In a request, memory of the gateway into which a server that can reach it writes the upscaled tile. Its response then
has ``WRITTEN`` under this name, and no body."""

WRITTEN = "written"

OPTION_NAMES = ("denoise",)
"""Options of a tile that the contract can carry. The model's facts say which of them it supports."""

_DTYPES: dict[str, np.dtype[Any]] = {"uint8": np.dtype("<u1"), "uint16": np.dtype("<u2")}

Buffer = bytes | memoryview
"""The body of a message."""


def request_headers(
    request: TileRequest, *, left_s: float, memory: str | None = None
) -> dict[str, str]:
    """Return the headers of ``POST /tiles``.

    Args:
        request: the tile.
        left_s: the time until the deadline, because clocks differ.
        memory: memory for the result, if it is offered.
    """
    height, width, channels = request.pixels.shape
    return {
        "Content-Type": MEDIA_TYPE,
        "Tile-Shape": f"{height},{width},{channels}",
        "Tile-Dtype": request.pixels.dtype.name,
        "Tile-Model": request.model,
        "Tile-Weights-Sha256": request.weights_sha256,
        **({"Tile-Graph-Sha256": request.graph_sha256} if request.graph_sha256 else {}),
        "Tile-Precision": request.precision,
        "Tile-Deadline-Ms": str(max(1, math.floor(left_s * 1000))),
        "Tile-Index": f"{request.index + 1}/{request.total}",
        "X-Request-Id": request.request_id,
        # A CPU needs no name: all of them make the same samples.
        **({"Tile-Device": request.device} if request.device not in {"", CPU.id} else {}),
        **_keep_header(request),
        **({MEMORY_HEADER: memory} if memory is not None else {}),
        **{f"Tile-{name.capitalize()}": repr(value) for name, value in request.options.items()},
    }


def _keep_header(request: TileRequest) -> dict[str, str]:
    if request.keep is None:
        return {}
    keep = request.keep
    return {"Tile-Keep": f"{keep.top},{keep.left},{keep.height_px},{keep.width_px}"}


def read_request(
    headers: Mapping[str, str], body: bytes, *, now: float, default: ModelDefaults
) -> TileRequest:
    """Return the tile of a ``POST /tiles``. ``now`` is the time on the event loop's clock.

    Raises:
        BadTile: a header is missing or wrong, or the body does not fit the shape.
    """
    pixels = _samples(headers, body)
    try:
        left_ms = int(headers["Tile-Deadline-Ms"])
        model = headers["Tile-Model"]
        weights_sha256 = headers.get("Tile-Weights-Sha256") or default.weights_sha256(model)
        graph_sha256 = headers.get("Tile-Graph-Sha256", "")
        index, _, total = headers.get("Tile-Index", "1/1").partition("/")
        request = TileRequest(
            pixels=pixels,
            model=model,
            weights_sha256=weights_sha256,
            scale=default.scale((model, weights_sha256, graph_sha256)),
            graph_sha256=graph_sha256,
            precision=headers.get("Tile-Precision") or default.precision,
            deadline=now + left_ms / 1000,
            request_id=headers.get("X-Request-Id", "-"),
            index=int(index) - 1,
            total=int(total),
            keep=_read_keep(headers, pixels),
            device=headers.get("Tile-Device", ""),
            options={
                name: float(headers[f"Tile-{name.capitalize()}"])
                for name in OPTION_NAMES
                if f"Tile-{name.capitalize()}" in headers
            },
        )
    except KeyError as error:
        raise BadTile(f"header {error.args[0]} is missing") from error
    except (ValueError, OverflowError) as error:
        raise BadTile("Tile-Deadline-Ms, Tile-Index and options must be numbers") from error
    if left_ms <= 0:
        raise BadTile(f"Tile-Deadline-Ms must be over 0, not {left_ms}")
    if not 0 <= request.index < request.total:
        raise BadTile(f"Tile-Index must be from 1/n to n/n, not {headers['Tile-Index'][:40]}")
    if not all(math.isfinite(value) for value in request.options.values()):
        raise BadTile("options must be finite numbers")
    return request


@dataclass(frozen=True, slots=True)
class ModelDefaults:
    """The values that a model server assumes for headers that a request lacks."""

    precision: str
    facts: EngineFacts
    """The available models."""

    def weights_sha256(self, model: str) -> str:
        """Return the hash of the model's weights, or an empty string for a model that is not available."""
        found = self.facts.model(model)
        return found.sha256 if found is not None else ""

    def scale(self, network: NetworkKey) -> int:
        """Return the model's scale, or 1 for a model that is not available and cannot be computed here."""
        found = self.facts.model_of(network)
        return found.scale if found is not None else 1


def result_headers(result: TileResult) -> dict[str, str]:
    """Return the headers of an upscaled tile."""
    height, width, channels = result.pixels.shape
    headers = {
        "Content-Type": MEDIA_TYPE,
        "Tile-Shape": f"{height},{width},{channels}",
        "Tile-Dtype": result.pixels.dtype.name,
        "Tile-Infer-Ms": f"{result.infer_s * 1000:.1f}",
        "Tile-Queue-Ms": f"{result.queue_s * 1000:.1f}",
        "Tile-Engine": result.engine,
        "Tile-Precision": result.precision,
    }
    return headers | ({"Tile-Redo": result.repeated} if result.repeated else {})


def result_bytes(request: TileRequest) -> int:
    """Return the number of bytes of the upscaled tile, as a server sends it that knows ``Tile-Keep``."""
    return math.prod(_times(request.core.shape, request.scale)) * request.pixels.dtype.itemsize


def read_result(headers: Mapping[str, str], body: Buffer, *, request: TileRequest) -> TileResult:
    """Return the result that answers ``request``.

    Raises:
        BadTile: the answer is not that tile, or the part of it to keep, upscaled by its scale.
    """
    scale = request.scale
    pixels = _samples(headers, body)
    wanted, whole = (_times(part.shape, scale) for part in (request.core, request.pixels))
    if pixels.shape == whole != wanted:
        # A server that does not know Tile-Keep sends the whole tile.
        pixels = pixels[request.kept.times(scale).slices]
    if pixels.shape != wanted or pixels.dtype != request.pixels.dtype:
        raise BadTile(f"asked for {wanted[0]}x{wanted[1]}, got {pixels.shape} {pixels.dtype}")
    try:
        result = TileResult(
            pixels=pixels,
            engine=headers["Tile-Engine"],
            precision=headers["Tile-Precision"],
            infer_s=float(headers["Tile-Infer-Ms"]) / 1000,
            queue_s=float(headers.get("Tile-Queue-Ms", 0)) / 1000,
            repeated=headers.get("Tile-Redo"),
        )
    except (KeyError, ValueError) as error:
        raise BadTile(
            "the answer lacks Tile-Infer-Ms, Tile-Engine or Tile-Precision, or has no times"
        ) from error
    for name, value in (("Infer", result.infer_s), ("Queue", result.queue_s)):
        if not 0 <= value < math.inf:  # also excludes NaN
            raise BadTile(f"Tile-{name}-Ms must be from 0, not {headers[f'Tile-{name}-Ms'][:40]}")
    return result


def _read_keep(headers: Mapping[str, str], pixels: Pixels) -> Rect | None:
    if "Tile-Keep" not in headers:
        return None
    wrong = (
        f"Tile-Keep must be top,left,height,width inside the tile, not {headers['Tile-Keep'][:40]}"
    )
    try:
        top, left, height, width = (int(part) for part in headers["Tile-Keep"].split(","))
    except ValueError as error:
        raise BadTile(wrong) from error
    inside = top + height <= pixels.shape[0] and left + width <= pixels.shape[1]
    if min(top, left) < 0 or min(height, width) < 1 or not inside:
        raise BadTile(wrong)
    return Rect.sized(left, top, width, height)


def _times(shape: tuple[int, ...], scale: int) -> tuple[int, int, int]:
    height, width, channels = shape
    return height * scale, width * scale, channels


def facts_to_json(facts: EngineFacts) -> dict[str, Any]:
    """Return the part of ``GET /ready`` that says what the server can do, under the contract's names."""
    models = [
        {
            "id": model.id,
            "scale": model.scale,
            "halo": model.halo_px,
            "halo_is_exact": model.halo_is_exact,
            "blend": model.blend_px,
            "multiple_of": model.multiple_px,
            "max_side": math.isqrt(model.max_tile_px),
            "max_tile_px": model.max_tile_px,
            "mflop_per_px": model.mflop_per_px,
            "channels": [3],
            "dtypes": list(_DTYPES),
            "precisions": list(model.precisions),
            "loaded": None if model.loaded is None else list(model.loaded),
            "engine": facts.engine,
            "sha256": model.sha256,
            "graph_sha256": model.graph_sha256,
        }
        for model in facts.models
    ]
    device = facts.device
    return {
        "engine": facts.engine,
        "device": device.name,
        "driver": device.driver,
        "device_class": device.tile_class,
        "ready": facts.ready,
        "capacity": facts.capacity,
        "in_flight": facts.in_flight,
        "parallel": facts.parallel,
        "mflop_per_s": facts.mflop_per_s,
        "models": models,
        "networks": None if facts.networks is None else asdict(facts.networks),
    }


def facts_from_json(value: Mapping[str, Any]) -> EngineFacts:
    """Return the facts of a ``GET /ready`` answer. Unknown fields are ignored.

    Raises:
        BadTile: a field is missing.
    """
    try:
        return EngineFacts(
            engine=value["engine"],
            ready=value["ready"],
            models=tuple(
                ModelFacts(
                    id=model["id"],
                    scale=model["scale"],
                    halo_px=model["halo"],
                    halo_is_exact=model["halo_is_exact"],
                    blend_px=model.get("blend", 0),
                    multiple_px=model.get("multiple_of", 1),
                    max_tile_px=model["max_tile_px"],
                    mflop_per_px=model["mflop_per_px"],
                    sha256=model["sha256"],
                    graph_sha256=model.get("graph_sha256", ""),
                    precisions=tuple(model["precisions"]),
                    loaded=None if model.get("loaded") is None else tuple(model["loaded"]),
                )
                for model in value["models"]
            ),
            capacity=value["capacity"],
            in_flight=value["in_flight"],
            mflop_per_s=value["mflop_per_s"],
            parallel=value["parallel"],
            devices=(_device_from_json(value),),
            networks=_networks(value.get("networks")),
        )
    except (KeyError, TypeError) as error:
        raise BadTile("the server's facts are not complete") from error


def _device_from_json(value: Mapping[str, Any]) -> Device:
    """Return the device of a ``GET /ready`` answer: a CPU if the server is older than classes of devices.

    Raises:
        BadTile: the class is unknown here.
    """
    tile_class = value.get("device_class", CPU.tile_class)
    if tile_class == CPU.tile_class:
        return CPU
    if tile_class not in GPU_CLASSES:
        raise BadTile(f"there is no class of devices {str(tile_class)[:40]}")
    return Device(name=value["device"], driver=value["driver"], tile_class=tile_class)


def _networks(value: Mapping[str, int] | None) -> NetworkCounts | None:
    """Return the counts of networks; None from a server that does not say."""
    if value is None:
        return None
    return NetworkCounts(**{one.name: value[one.name] for one in fields(NetworkCounts)})


def _samples(headers: Mapping[str, str], body: Buffer) -> Pixels:
    """Return the pixels (H, W, 3) of a body and its headers."""
    if "Tile-Shape" not in headers or "Tile-Dtype" not in headers:
        raise BadTile("headers Tile-Shape and Tile-Dtype are needed")
    dtype = _DTYPES.get(headers["Tile-Dtype"])
    if dtype is None:
        raise BadTile(
            f"Tile-Dtype must be one of {', '.join(_DTYPES)}, not {headers['Tile-Dtype'][:40]}"
        )
    try:
        height, width, channels = (int(part) for part in headers["Tile-Shape"].split(","))
    except ValueError as error:
        raise BadTile(f"Tile-Shape must be h,w,c, not {headers['Tile-Shape'][:40]}") from error
    if min(height, width) < 1 or channels != 3:
        raise BadTile(
            f"Tile-Shape must be h,w,3 with h and w from 1, not {height},{width},{channels}"
        )
    if len(body) != height * width * channels * dtype.itemsize:
        raise BadTile(f"{len(body)} bytes do not fill {height}x{width}x{channels} {dtype.name}")
    return np.frombuffer(body, dtype).reshape(height, width, channels)
