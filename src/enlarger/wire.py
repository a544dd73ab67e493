"""The contract between whoever wants a tile enlarged and whoever enlarges it.

Two plain values, ``TileRequest`` and ``TileResult``; what an engine says of itself, ``EngineFacts``;
and how these travel between gateway and model server: samples as raw bytes, the rest in headers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from enlarger.errors import BadTile

PROTOCOL = 1
"""Gateways send tiles only to servers that speak the same one."""

MEDIA_TYPE = "application/octet-stream"

OPTION_NAMES = ("denoise",)
"""Options of a tile that may travel; which of them a model takes is in its facts."""

Pixels = npt.NDArray[Any]
Precision = Literal["f32", "bf16", "int8"]

_DTYPES: dict[str, np.dtype[Any]] = {"uint8": np.dtype("<u1"), "uint16": np.dtype("<u2")}


@dataclass(frozen=True, slots=True)
class Keep:
    """The part of a tile whose enlargement is wanted, in its pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to cut it out of an array."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    def holds(self, other: Keep) -> bool:
        """Whether all of ``other`` is in it."""
        return self.hull(other) == self

    def hull(self, other: Keep) -> Keep:
        """The smallest part that holds both."""
        top, left = min(self.top, other.top), min(self.left, other.left)
        bottom = max(self.top + self.height, other.top + other.height)
        right = max(self.left + self.width, other.left + other.width)
        return Keep(top, left, bottom - top, right - left)

    def cut(self, enlarged: Pixels, made: Keep) -> Pixels:
        """This part's enlargement out of that of ``made``, which holds it: a view."""
        scale = len(enlarged) // made.height
        top, left = (self.top - made.top) * scale, (self.left - made.left) * scale
        return enlarged[top : top + self.height * scale, left : left + self.width * scale]


@dataclass(frozen=True, slots=True, kw_only=True)
class TileRequest:
    """One tile to enlarge, and all that an engine needs to know for it."""

    pixels: Pixels
    """RGB, shape (H, W, 3), uint8 or uint16, halo included."""

    model: str
    """Id of the model; never ``auto``."""

    weights_sha256: str
    """Hash of the weights that must run; an engine with others refuses."""

    precision: str
    """``f32``, ``bf16`` or ``int8``; never ``auto``, so that a picture is of one kind throughout."""

    deadline: float
    """When the answer becomes worthless, on the event loop's clock, in seconds."""

    request_id: str
    """The caller's request, from the edge to the log of the model server."""

    owner: object = None
    """Whose turn it takes in a pool: one picture that is being made. Two requests may have the same id, as their
    callers choose it; an owner is nobody's choice, and stays in this process."""

    admitted_at: float = 0.0
    """When its picture was admitted, on the same clock: of those that wait, the oldest has rights of its own."""

    index: int = 0
    """Number of this tile in its picture, from 0."""

    total: int = 1
    """Tiles of the picture."""

    keep: Keep | None = None
    """The part to enlarge: the core, without the halo around it. None for all of the tile."""

    options: Mapping[str, float] = field(default_factory=dict)
    """Model options by name, such as ``denoise``."""

    @property
    def lr_px(self) -> int:
        """LR pixels to compute."""
        return int(self.pixels.shape[0] * self.pixels.shape[1])

    @property
    def kept(self) -> Keep:
        """The part to enlarge."""
        return self.keep or Keep(0, 0, *self.pixels.shape[:2])

    @property
    def core(self) -> Pixels:
        """The pixels of that part: a view."""
        return self.pixels[self.kept.slices]


@dataclass(frozen=True, slots=True, kw_only=True)
class TileResult:
    """An enlarged tile, and what really ran."""

    pixels: Pixels
    """RGB, shape (H * scale, W * scale, 3) of the part that was to be enlarged, dtype of the request."""

    engine: str
    """Runtime, such as ``openvino``."""

    precision: str
    """The precision that was computed in."""

    infer_s: float
    """Seconds the network took."""

    queue_s: float = 0.0
    """Seconds that a model server had the tile besides."""

    server: str = "local"
    """Name of the model server that answered."""

    attempts: int = 1
    """How often the tile was sent, the answered time included."""

    repeated: str | None = None
    """Why the tile was computed again, if it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What a planner, a pool and a caller need to know of a model."""

    id: str
    """Name in requests."""

    scale: int
    """HR pixels per LR pixel along an edge."""

    halo_px: int
    """LR pixels of context a tile reads around its core."""

    halo_is_exact: bool
    """True when the halo covers the network's reach, so that cutting changes nothing."""

    max_tile_px: int
    """LR pixels of the largest tile, halo included."""

    mflop_per_px: float
    """Computing for one LR pixel, in million floating-point operations."""

    sha256: str
    """Hash of the weights."""

    precisions: tuple[str, ...]
    """What can be computed in here; the first is what ``auto`` means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """What an engine can do now."""

    engine: str
    """Runtime, such as ``openvino``."""

    ready: bool
    """Whether it takes tiles now."""

    models: tuple[ModelFacts, ...]
    """Models it has."""

    capacity: int
    """Tiles it takes at once, running and waiting."""

    in_flight: int
    """Tiles it holds now."""

    mflop_per_s: float | None
    """Speed at which it computes one tile, measured on its own tiles; None before the first."""

    parallel: int = 1
    """Tiles it computes at the same time, each at that speed."""

    @property
    def all_mflop_per_s(self) -> float | None:
        """Speed at which it computes many tiles; None before the first."""
        return None if self.mflop_per_s is None else self.mflop_per_s * self.parallel

    def model(self, model_id: str) -> ModelFacts | None:
        """The model of that id, or None."""
        return next((model for model in self.models if model.id == model_id), None)


def request_headers(request: TileRequest, *, left_s: float) -> dict[str, str]:
    """Headers of ``POST /tiles``; ``left_s`` is the time until the deadline, since clocks differ."""
    height, width, channels = request.pixels.shape
    return {
        "Content-Type": MEDIA_TYPE,
        "Tile-Shape": f"{height},{width},{channels}",
        "Tile-Dtype": request.pixels.dtype.name,
        "Tile-Model": request.model,
        "Tile-Weights-Sha256": request.weights_sha256,
        "Tile-Precision": request.precision,
        "Tile-Deadline-Ms": str(max(1, math.floor(left_s * 1000))),
        "Tile-Index": f"{request.index + 1}/{request.total}",
        "X-Request-Id": request.request_id,
        **_keep_header(request),
        **{f"Tile-{name.capitalize()}": repr(value) for name, value in request.options.items()},
    }


def _keep_header(request: TileRequest) -> dict[str, str]:
    if request.keep is None:
        return {}
    keep = request.keep
    return {"Tile-Keep": f"{keep.top},{keep.left},{keep.height},{keep.width}"}


def read_request(
    headers: Mapping[str, str], body: bytes, *, now: float, default: ModelDefaults
) -> TileRequest:
    """The tile of a ``POST /tiles``. ``now`` is the event loop's clock.

    Raises:
        BadTile: a header is missing or wrong, or the body does not fit the shape.
    """
    pixels = _samples(headers, body)
    try:
        left_ms = int(headers["Tile-Deadline-Ms"])
        model = headers["Tile-Model"]
        index, _, total = headers.get("Tile-Index", "1/1").partition("/")
        request = TileRequest(
            pixels=pixels,
            model=model,
            weights_sha256=headers.get("Tile-Weights-Sha256") or default.weights_sha256(model),
            precision=headers.get("Tile-Precision") or default.precision,
            deadline=now + left_ms / 1000,
            request_id=headers.get("X-Request-Id", "-"),
            index=int(index) - 1,
            total=int(total),
            keep=_read_keep(headers, pixels),
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
    """What a model server assumes where a request does not say."""

    precision: str
    sha256_by_model: Mapping[str, str]

    def weights_sha256(self, model: str) -> str:
        """Hash of the model's weights here; empty for a model that is not here."""
        return self.sha256_by_model.get(model, "")


def result_headers(result: TileResult) -> dict[str, str]:
    """Headers of an enlarged tile."""
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


def read_result(
    headers: Mapping[str, str], body: bytes, *, request: TileRequest, scale: int
) -> TileResult:
    """The answer to ``request``.

    Raises:
        BadTile: the answer is not an enlargement of that tile by ``scale``, or of its part to keep.
    """
    pixels = _samples(headers, body)
    wanted, whole = (_times(part.shape, scale) for part in (request.core, request.pixels))
    if pixels.shape == whole != wanted:
        # A server that does not know Tile-Keep sends all of the tile.
        rows, columns = request.kept.slices
        pixels = pixels[
            rows.start * scale : rows.stop * scale, columns.start * scale : columns.stop * scale
        ]
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
        if not 0 <= value < math.inf:  # nor NaN
            raise BadTile(f"Tile-{name}-Ms must be from 0, not {headers[f'Tile-{name}-Ms'][:40]}")
    return result


def _read_keep(headers: Mapping[str, str], pixels: Pixels) -> Keep | None:
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
    return Keep(top, left, height, width)


def _times(shape: tuple[int, ...], scale: int) -> tuple[int, int, int]:
    height, width, channels = shape
    return height * scale, width * scale, channels


def facts_to_json(facts: EngineFacts) -> dict[str, Any]:
    """The part of ``GET /ready`` that says what the server can do, under the contract's names."""
    models = [
        {
            "id": model.id,
            "scale": model.scale,
            "halo": model.halo_px,
            "halo_is_exact": model.halo_is_exact,
            "multiple_of": 1,
            "max_side": math.isqrt(model.max_tile_px),
            "max_tile_px": model.max_tile_px,
            "mflop_per_px": model.mflop_per_px,
            "channels": [3],
            "dtypes": list(_DTYPES),
            "precisions": list(model.precisions),
            "engine": facts.engine,
            "sha256": model.sha256,
        }
        for model in facts.models
    ]
    return {
        "engine": facts.engine,
        "ready": facts.ready,
        "capacity": facts.capacity,
        "in_flight": facts.in_flight,
        "parallel": facts.parallel,
        "mflop_per_s": facts.mflop_per_s,
        "models": models,
    }


def facts_from_json(value: Mapping[str, Any]) -> EngineFacts:
    """The facts of a ``GET /ready`` answer; unknown fields are ignored.

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
                    max_tile_px=model["max_tile_px"],
                    mflop_per_px=model["mflop_per_px"],
                    sha256=model["sha256"],
                    precisions=tuple(model["precisions"]),
                )
                for model in value["models"]
            ),
            capacity=value["capacity"],
            in_flight=value["in_flight"],
            mflop_per_s=value["mflop_per_s"],
            parallel=value["parallel"],
        )
    except (KeyError, TypeError) as error:
        raise BadTile("the server's facts are not complete") from error


def _samples(headers: Mapping[str, str], body: bytes) -> Pixels:
    """Body and headers to pixels (H, W, 3)."""
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
