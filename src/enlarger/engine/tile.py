"""The contract between whoever wants a tile enlarged and whoever enlarges it.

Two plain values, ``TileRequest`` and ``TileResult``, and what an engine says of itself, ``EngineFacts``.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from enlarger.engine.device import CPU, Device
from enlarger.geometry.rect import Pixels, Rect

NetworkKey = tuple[str, str, str]
"""Id of a model, and the hashes of its weights and of its graph: whatever differs in one of them computes otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a tile, or a plan's largest one, needs of an engine."""

    model: str
    """Id of the model."""

    weights_sha256: str
    """Hash of its weights."""

    scale: int
    """HR pixels per LR pixel along an edge."""

    graph_sha256: str = ""
    """Hash of the graph that the weights are for; empty for any."""

    lr_px: int = 0
    """LR pixels of the tile, halo included."""

    device: str = ""
    """Id of the device that must compute; empty for any."""

    @property
    def network(self) -> NetworkKey:
        """The network that must compute."""
        return self.model, self.weights_sha256, self.graph_sha256


_TIMES = ("deadline", "admitted_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class TileRequest:
    """One tile to enlarge, and all that an engine needs to know for it."""

    pixels: Pixels
    """RGB, shape (H, W, 3), uint8 or uint16, halo included."""

    model: str
    """Id of the model; never ``auto``."""

    weights_sha256: str
    """Hash of the weights that must run; an engine with others refuses."""

    scale: int
    """HR pixels per LR pixel along an edge, as the catalogue of whoever planned the tile has it."""

    precision: str
    """``f32``, ``f16``, ``bf16`` or ``int8``; never ``auto``, so that a picture is of one kind throughout."""

    deadline: float
    """When the answer becomes worthless, on the event loop's clock, in seconds."""

    request_id: str
    """The caller's request, from the edge to the log of the model server."""

    owner: str = ""
    """Whose turn it takes in a pool: the id of one picture that is being made. Two requests may have the same request
    id, as their callers choose it; nobody chooses this one."""

    admitted_at: float = 0.0
    """When its picture was admitted, on the same clock: of those that wait, the oldest has rights of its own."""

    index: int = 0
    """Number of this tile in its picture, from 0."""

    total: int = 1
    """Tiles of the picture."""

    keep: Rect | None = None
    """The part to enlarge, in pixels of the tile: the core, without the halo around it. None for all of the tile."""

    graph_sha256: str = ""
    """Hash of the graph that must run with these weights, as several may be for the same ones; empty for any."""

    device: str = ""
    """Id of the device that must compute, so that a picture is of one kind throughout; empty for any."""

    options: Mapping[str, float] = field(default_factory=dict)
    """Model options by name, such as ``denoise``."""

    pixels_sha256: bytes | None = field(default=None, repr=False, compare=False)
    """The digest of ``pixels``, where it has been computed; see ``with_digest``."""

    def with_digest(self) -> TileRequest:
        """The same request with the digest of its pixels, which is computed unless it is known."""
        if self.pixels_sha256 is not None:
            return self
        return replace(self, pixels_sha256=sha256_of(self.pixels))

    @property
    def lr_px(self) -> int:
        """LR pixels to compute."""
        return int(self.pixels.shape[0] * self.pixels.shape[1])

    @property
    def network(self) -> NetworkKey:
        """The network that it is for."""
        return self.model, self.weights_sha256, self.graph_sha256

    @property
    def need(self) -> Need:
        """What an engine must have for it."""
        return Need(
            model=self.model,
            weights_sha256=self.weights_sha256,
            scale=self.scale,
            graph_sha256=self.graph_sha256,
            lr_px=self.lr_px,
            device=self.device,
        )

    @property
    def kept(self) -> Rect:
        """The part to enlarge."""
        height, width = self.pixels.shape[:2]
        return self.keep or Rect.whole(width, height)

    @property
    def core(self) -> Pixels:
        """The pixels of that part: a view."""
        return self.pixels[self.kept.slices]

    # Clocks of two processes differ: a copy for another one states how far away its times are. An event loop's clock
    # is time.monotonic.
    def __getstate__(self) -> dict[str, Any]:
        now = time.monotonic()
        state = {one.name: getattr(self, one.name) for one in fields(self)}
        return state | {name: state[name] - now for name in _TIMES}

    def __setstate__(self, state: dict[str, Any]) -> None:
        now = time.monotonic()
        for name, value in state.items():
            object.__setattr__(self, name, value + now if name in _TIMES else value)


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

    blend_px: int = 0
    """LR pixels to which a tile fades into its neighbours beyond its core."""

    multiple_px: int = 1
    """Tiles begin at multiples of this."""

    mflop_per_px: float
    """Computing for one LR pixel, in million floating-point operations."""

    sha256: str
    """Hash of the weights."""

    precisions: tuple[str, ...]
    """What can be computed in here; the first is what ``auto`` means."""

    graph_sha256: str = ""
    """Hash of the graph that the weights are for; empty where the engine does not say."""

    loaded: tuple[str, ...] | None = None
    """Precisions that are in memory, so that a tile need not wait for them; None where the engine does not say."""

    @property
    def network(self) -> NetworkKey:
        """The network that tiles of the model are computed with."""
        return self.id, self.sha256, self.graph_sha256

    def is_of(self, network: NetworkKey) -> bool:
        """Whether the model has this network. A graph that one side does not state is taken to be the right one."""
        *weights, graph_sha256 = network
        return [self.id, self.sha256] == weights and (
            graph_sha256 == self.graph_sha256 or "" in {graph_sha256, self.graph_sha256}
        )

    def meets(self, need: Need) -> bool:
        """Whether tiles that need this can be computed here. Halo and computing per pixel are the planner's alone."""
        return (
            self.is_of(need.network) and self.scale == need.scale and need.lr_px <= self.max_tile_px
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkCounts:
    """The networks in the memory of an engine."""

    loaded: int
    """Networks that are in memory now."""

    held_bytes: int
    """Memory that they are taken to need, which the engine's budget limits."""

    loads: int
    """Networks that were loaded since the engine started."""

    switches: int
    """Networks that were released since then to make room for others."""


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

    devices: tuple[Device, ...] = (CPU,)
    """What it computes on, the preferred one first: one device for an engine, and those of its servers for a pool. A
    pool's models, speed and parallel tiles are those of the first."""
    networks: NetworkCounts | None = None
    """What is in its memory; None where it does not say."""

    @property
    def all_mflop_per_s(self) -> float | None:
        """Speed at which it computes many tiles; None before the first."""
        return None if self.mflop_per_s is None else self.mflop_per_s * self.parallel

    @property
    def device(self) -> Device:
        """The device that the models and the speed are of."""
        return self.devices[0]

    def model(self, model_id: str) -> ModelFacts | None:
        """The model of that id, or None."""
        return next((model for model in self.models if model.id == model_id), None)

    def model_of(self, network: NetworkKey) -> ModelFacts | None:
        """The model with that network, or None."""
        return next((model for model in self.models if model.is_of(network)), None)

    def meeting(self, need: Need) -> ModelFacts | None:
        """The model that meets a need, or None."""
        if need.device not in {"", self.device.id}:
            return None
        return next((model for model in self.models if model.meets(need)), None)


def sha256_of(pixels: Pixels) -> bytes:
    """The digest of the bytes of pixels, 32 bytes; it says nothing of their shape."""
    return hashlib.sha256(np.ascontiguousarray(pixels).data).digest()
