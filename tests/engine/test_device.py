"""Classes of devices: a fixed table that decides how large tiles are."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest

from enlarger.engine.device import (
    CPU,
    GPU_CLASSES,
    Device,
    gpu_class,
    largest_tile_px,
    smaller_class,
    smallest_class,
)
from enlarger.models.architectures import KINDS


@dataclass(frozen=True)
class Sized:
    """A model of a kind."""

    architecture: str
    max_tile_px: int = 1000


@pytest.mark.parametrize(
    ("memory_mib", "found"),
    [(0, "gpu-1g"), (1024, "gpu-1g"), (4000, "gpu-4g"), (7900, "gpu-8g"), (80_000, "gpu-24g")],
)
def test_class_follows_from_the_memory(memory_mib: int, found: str) -> None:
    """A card of 8 GB has a little less that can be used."""
    assert gpu_class(memory_mib) == found


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_tiles_grow_with_the_class_and_hold_any_halo(kind: Sized) -> None:
    """Those of the smallest class hold the largest halo with a core in it."""
    model = Sized(kind.name)  # type: ignore[attr-defined]
    sizes = [largest_tile_px(model, name) for name in GPU_CLASSES]
    assert all(one <= other for one, other in pairwise(sizes))
    assert sizes[0] >= (2 * kind.most_halo_px + 1) ** 2  # type: ignore[attr-defined]


def test_tiles_of_a_cpu_are_those_of_the_model() -> None:
    """As they were before there were classes."""
    assert largest_tile_px(Sized("rrdb", 12345), CPU.tile_class) == 12345
    assert largest_tile_px(Sized("unheard of"), "gpu-4g") == 256**2


def test_classes_are_ordered() -> None:
    """Down to the smallest, which has none below it; a CPU has no other class."""
    assert smaller_class("gpu-8g") == "gpu-4g"
    assert smaller_class("gpu-1g") is None
    assert smaller_class("cpu") is None
    assert smallest_class("gpu-24g", "gpu-2g") == "gpu-2g"


def test_device_is_its_name_and_driver() -> None:
    """All CPUs are one."""
    assert (CPU.id, CPU.is_cpu) == ("cpu", True)
    card = Device(name="Card", driver="1.2", tile_class="gpu-4g")
    assert (card.id, card.is_cpu) == ("Card (1.2)", False)
