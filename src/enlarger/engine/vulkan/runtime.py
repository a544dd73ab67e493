"""Vulkan as a runtime: ncnn reads a model's own files, and compiles its shaders when it loads them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from enlarger.engine.device import Device
from enlarger.engine.local import LocalEngine
from enlarger.engine.runtime import Network, Runtime, Tolerance
from enlarger.engine.vulkan.devices import VulkanDevice, choose_device, load_ncnn
from enlarger.engine.vulkan.network import VulkanNetwork
from enlarger.errors import WeightsError
from enlarger.models import Catalogue, Model
from enlarger.models.readers.ncnn import NcnnFiles

_TOLERANCES = MappingProxyType({"f32": Tolerance(4, 0.15), "f16": Tolerance(8, 0.3)})
"""Measured on llvmpipe: f32 1 and 0.0001, f16 3 and 0.08."""


class VulkanRuntime(Runtime):
    """Networks on one Vulkan device.

    Args:
        device: the device.
        most_tile_px: LR pixels of the largest tile that is tried; None leaves it to the device.
    """

    def __init__(self, device: VulkanDevice, *, most_tile_px: int | None = None) -> None:
        self._vulkan = device
        self._most_tile_px = most_tile_px

    @property
    def name(self) -> str:
        """See ``Runtime``."""
        return "vulkan"

    @property
    def device(self) -> Device:
        """See ``Runtime``."""
        return self._vulkan.device

    @property
    def precisions(self) -> tuple[str, ...]:
        """See ``Runtime``. The golden picture decides whether f16 is right on this device."""
        return ("f16", "f32")

    @property
    def streams(self) -> int:
        """See ``Runtime``. While one tile is computed, the samples of another are on their way."""
        return 1 if self._vulkan.is_software else 2

    @property
    def tolerances(self) -> Mapping[str, Tolerance]:
        """See ``Runtime``."""
        return _TOLERANCES

    def has_precision(self, model: Model, precision: str) -> bool:
        """See ``Runtime``. ncnn reads only its own files, which lack what is added to the result of a residual network."""
        return (
            precision in self.precisions
            and isinstance(model.files, NcnnFiles)
            and not model.is_residual
        )

    def make(self, model: Model, precision: str, streams: int) -> Network:
        """See ``Runtime``."""
        del streams
        model.verify()
        net = self._net(precision)
        param, binary = map(str, model.files.paths)
        if net.load_param(param) != 0 or net.load_model(binary) != 0:
            raise WeightsError(f"{model.id}: ncnn cannot load it on {self.device.name}")
        black, white = model.black_and_white
        return VulkanNetwork(
            net,
            scale=model.scale,
            frame=model.frame,
            most_tile_px=self._most_tile_px,
            black=black,
            white=white,
        )

    def _net(self, precision: str) -> Any:
        """Return an empty network of ncnn for the device, in a precision."""
        net = load_ncnn().Net()
        options = net.opt
        options.use_vulkan_compute = True
        options.num_threads = 1
        # ncnn would choose f16, bf16 and int8 by itself where the device has them: always say which.
        for kind in ("fp16", "bf16", "int8"):
            for use in ("packed", "storage", "arithmetic"):
                name = f"use_{kind}_{use}"
                if hasattr(options, name):
                    setattr(options, name, False)
        options.use_int8_inference = False
        # Stored in f16 and computed in f32: sums in f16 overflow to black pictures on some devices.
        options.use_fp16_packed = options.use_fp16_storage = precision == "f16"
        net.set_vulkan_device(self._vulkan.index)
        return net


class VulkanEngine(LocalEngine):
    """An engine over Vulkan; see ``LocalEngine`` for the arguments.

    Args:
        catalogue: models that may be requested.
        device: number or part of the name of the device; empty for the first that is no software.
        precision: precision that ``auto`` stands for.
        one_picture: whether tiles belong to one picture at a time.
        most_tile_px: LR pixels of the largest tile that is tried; None leaves it to the device.
        threads: not needed: the device computes.
        cache_folder: not needed: the driver keeps compiled shaders.
        budget_bytes: memory that all loaded networks together may take; None is no limit.

    Raises:
        ConfigError: there is no such device, or it does not have ``precision``.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        device: str = "",
        precision: str = "auto",
        one_picture: bool = False,
        most_tile_px: int | None = None,
        threads: int = 1,
        cache_folder: Path | None = None,
        budget_bytes: int | None = None,
    ) -> None:
        del threads, cache_folder
        runtime = VulkanRuntime(choose_device(device), most_tile_px=most_tile_px)
        super().__init__(
            catalogue,
            runtime,
            precision=precision,
            budget_bytes=budget_bytes,
            one_picture=one_picture,
        )
