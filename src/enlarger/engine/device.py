"""What a network is computed on, and the classes of devices that decide how large its tiles are."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

CPU_CLASS = "cpu"
"""The class of every CPU. Its tiles are those that a model states."""

_LARGEST_TILE_PX = MappingProxyType(
    {
        "gpu-1g": MappingProxyType({"rrdb": 96**2, "compact": 256**2, "generic": 144**2}),
        "gpu-2g": MappingProxyType({"rrdb": 144**2, "compact": 384**2, "generic": 192**2}),
        "gpu-4g": MappingProxyType({"rrdb": 224**2, "compact": 512**2, "generic": 256**2}),
        "gpu-8g": MappingProxyType({"rrdb": 320**2, "compact": 768**2, "generic": 384**2}),
        "gpu-16g": MappingProxyType({"rrdb": 448**2, "compact": 1024**2, "generic": 512**2}),
        "gpu-24g": MappingProxyType({"rrdb": 576**2, "compact": 1024**2, "generic": 640**2}),
    }
)
"""LR pixels of the largest tile, by class and architecture; from the smallest class to the largest.

An estimate: ncnn holds about 30 KB per LR pixel of an rrdb network in f32, most of it in the tail, 2 KB of a compact
one, and two tiles are computed at a time.
"""

_LEAST_MIB = MappingProxyType(
    {"gpu-24g": 20_000, "gpu-16g": 13_500, "gpu-8g": 6_500, "gpu-4g": 3_200, "gpu-2g": 1_600}
)
"""Memory from which on a device belongs to a class. A driver keeps some of what a card is sold with."""

GPU_CLASSES = tuple(_LARGEST_TILE_PX)
"""Classes of GPUs, from the smallest to the largest."""


class _Sized(Protocol):
    """What the largest tile of a model depends on."""

    @property
    def architecture(self) -> str: ...
    @property
    def max_tile_px(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What computes a tile. Tiles of one picture are computed on devices with one name and driver."""

    name: str = "cpu"
    """The driver's name of it, such as ``NVIDIA GeForce RTX 4090``; ``cpu`` for every CPU."""

    driver: str = ""
    """Version of the driver; empty for a CPU."""

    tile_class: str = CPU_CLASS
    """The class that decides how large tiles are: ``cpu``, or one of ``GPU_CLASSES``."""

    @property
    def is_cpu(self) -> bool:
        """Whether it is a CPU."""
        return self.tile_class == CPU_CLASS

    @property
    def id(self) -> str:
        """Name and driver in one text: devices with the same one make the same samples."""
        return f"{self.name} ({self.driver})" if self.driver else self.name


CPU = Device()
"""The CPU of a machine, whichever it is."""


def gpu_class(memory_mib: int) -> str:
    """Return the class of a GPU that can use so many MiB of memory."""
    found = (name for name, least_mib in _LEAST_MIB.items() if memory_mib >= least_mib)
    return next(found, GPU_CLASSES[0])


def smaller_class(tile_class: str) -> str | None:
    """Return the next smaller class; None if there is none."""
    if tile_class not in GPU_CLASSES or tile_class == GPU_CLASSES[0]:
        return None
    return GPU_CLASSES[GPU_CLASSES.index(tile_class) - 1]


def smallest_class(one: str, other: str) -> str:
    """Return the smaller of two classes of GPUs."""
    return min(one, other, key=GPU_CLASSES.index)


def largest_tile_px(model: _Sized, tile_class: str) -> int:
    """Return the LR pixels of the largest tile of a model on devices of a class."""
    if tile_class == CPU_CLASS:
        return model.max_tile_px
    sizes = _LARGEST_TILE_PX[tile_class]
    return sizes.get(model.architecture, sizes["generic"])
