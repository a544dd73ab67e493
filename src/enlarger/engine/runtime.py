"""The interface of a runtime: what loads networks and computes with them, in this process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from threading import Event
from typing import Protocol

from enlarger.engine.device import Device
from enlarger.engine.samples import Output
from enlarger.geometry.rect import Pixels, Rect
from enlarger.models import Model


class Abandoned(Exception):
    """A tile was not computed to its end, because nobody waits for it any more."""


class Network(Protocol):
    """A model that a runtime has loaded in one precision."""

    def enlarge(self, pixels: Pixels, keep: Rect, abandoned: Event | None = None) -> Output:
        """Enlarge a part of a tile. Several threads may call this at the same time.

        Args:
            pixels: the tile, shape (H, W, 3), all of which the network sees.
            keep: the part to enlarge, in pixels of the tile.
            abandoned: set when nobody waits for the result any more. The network then stops as soon as it can. Later tiles
                are not affected.

        Raises:
            OutOfMemory: the device cannot hold the tile.
            Abandoned: ``abandoned`` was set, and the tile was not computed to its end.
            EngineFailed: the runtime failed.
        """


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Largest accepted difference from the golden picture, in 8-bit code values."""

    most: int
    """Largest difference of any sample."""

    mean: float
    """Mean difference of all samples."""

    def within(self, span: float) -> Tolerance:
        """Return the tolerance where black and white are so far apart in a network: its errors count for more in a result."""
        return Tolerance(round(self.most / span), round(self.mean / span, 2))


class Runtime(ABC):
    """A way to compute networks on one device of this machine. ``LocalEngine`` makes an ``Engine`` of it."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name in results and answers, such as ``openvino``."""

    @property
    @abstractmethod
    def device(self) -> Device:
        """Device that computes."""

    @property
    @abstractmethod
    def precisions(self) -> tuple[str, ...]:
        """Precisions of the device, ``f32`` among them; ``auto`` means the first."""

    @property
    @abstractmethod
    def streams(self) -> int:
        """Tiles that are computed at the same time, each on a thread of its own."""

    @property
    @abstractmethod
    def tolerances(self) -> Mapping[str, Tolerance]:
        """Accepted differences from the golden pictures, for each precision."""

    def has_precision(self, model: Model, precision: str) -> bool:
        """Whether a model can be computed in one of ``precisions``. Int8 needs ranges."""
        return precision != "int8" or model.ranges is not None

    @abstractmethod
    def make(self, model: Model, precision: str, streams: int) -> Network:
        """Make the network of a model from its weights.

        Args:
            model: the model.
            precision: a precision that the model has.
            streams: threads that use the network at the same time, which share the device.

        Raises:
            WeightsError: a file is missing or damaged, or does not match the model.
            EngineFailed: the runtime failed.
        """

    def begin_to_read(self, model: Model, precision: str, executor: Executor) -> None:
        """Begin to read what an earlier run kept of a network, on a thread of ``executor``."""
        del model, precision, executor

    def restore(self, model: Model, precision: str, streams: int) -> Network | None:
        """Return a network that an earlier run kept; None if there is none that can be used.

        Raises:
            WeightsError: the weights are missing, or have another hash.
        """
        del model, precision, streams
        return None

    def keep(self, model: Model, precision: str, network: Network) -> None:
        """Keep a network that was made and checked for later runs."""
        del model, precision, network
