"""A second runtime, made here of numpy: nearest, with what a test wants to go wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from enlarger.engine.device import Device
from enlarger.engine.runtime import Network, Runtime, Tolerance
from enlarger.engine.samples import Output, to_floats
from enlarger.errors import EngineFailed
from enlarger.geometry.rect import Pixels, Rect
from enlarger.models import Model

LONG_S = 60
"""A deadline that is never reached."""


@dataclass
class NearestNetwork:
    """Repeats each pixel, with what a test wants to go wrong."""

    scale: int
    shift: float = 0.0
    """Added to every sample, where white is 1."""

    gate: threading.Event = field(default_factory=threading.Event)
    """A tile is computed once it is open."""

    started: threading.Event = field(default_factory=threading.Event)
    failing: Callable[[Pixels], bool] = lambda _: False
    """Whether the runtime fails on a tile."""

    tiles: list[tuple[int, ...]] = field(default_factory=list)
    """Shapes of the tiles that were computed."""

    def enlarge(
        self, pixels: Pixels, keep: Rect, abandoned: threading.Event | None = None
    ) -> Output:
        """See ``Network``."""
        self.started.set()
        assert self.gate.wait(LONG_S)
        if self.failing(pixels):
            raise EngineFailed("no tile is computed")
        self.tiles.append(pixels.shape)
        rows, columns = keep.slices
        floats = to_floats(pixels)[:, rows, columns] + np.float32(self.shift)
        output = Output(keep.height_px * self.scale, keep.width_px * self.scale, pixels.dtype)
        output.take(floats.repeat(self.scale, 1).repeat(self.scale, 2))
        return output


class NumpyRuntime(Runtime):
    """Another runtime, on another device, with a precision that OpenVINO's does not have."""

    name = "numpy"
    device: Device = Device(name="abacus:0")
    tolerances: Mapping[str, Tolerance] = MappingProxyType(
        {"f16": Tolerance(2, 0.5), "f32": Tolerance(0, 0), "int8": Tolerance(9, 9)}
    )

    def __init__(
        self, *, precisions: tuple[str, ...] = ("f16", "f32"), streams: int = 1, **shifts: float
    ) -> None:
        self._precisions, self._streams = precisions, streams
        self.shifts = shifts
        """What is added to the samples, by precision."""

        self.kept: dict[str, Network] = {}
        """What an earlier run kept, by model."""

        self.made: list[tuple[str, str, int]] = []
        self.making = threading.Event()
        """Networks are made once it is set."""

        self.making.set()
        self.asked = threading.Semaphore(0)
        """Released for each network that is to be made."""

        self.networks: dict[str, NearestNetwork] = {}
        """The newest network of each precision."""

    @property
    def precisions(self) -> tuple[str, ...]:
        """See ``Runtime``."""
        return self._precisions

    @property
    def streams(self) -> int:
        """See ``Runtime``."""
        return self._streams

    def make(self, model: Model, precision: str, streams: int) -> Network:
        """See ``Runtime``."""
        self.asked.release()
        assert self.making.wait(LONG_S)
        model.verify()
        self.made.append((model.id, precision, streams))
        network = NearestNetwork(model.scale, self.shifts.get(precision, 0.0))
        network.gate.set()
        self.networks[precision] = network
        return network

    def restore(self, model: Model, precision: str, streams: int) -> Network | None:
        """See ``Runtime``."""
        del precision, streams
        return self.kept.get(model.id)

    def keep(self, model: Model, precision: str, network: Network) -> None:
        """See ``Runtime``."""
        del precision
        self.kept[model.id] = network
