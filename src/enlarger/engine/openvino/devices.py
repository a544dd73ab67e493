"""The devices of this machine, as OpenVINO lists them: its CPU, and Intel's GPUs and NPUs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import openvino as ov

from enlarger.engine.device import CPU, GPU_CLASSES, Device, gpu_class
from enlarger.errors import ConfigError


class Core(Protocol):
    """What is asked of ``openvino.Core``."""

    @property
    def available_devices(self) -> list[str]: ...  # noqa: D102
    def get_property(self, device: str, name: str) -> Any: ...  # noqa: D102


def described(device: str, *, core: Core | None = None) -> Device:
    """Return the description of a device.

    Args:
        device: OpenVINO's name of it, such as ``CPU`` or ``GPU.0``.
        core: who knows it; None for OpenVINO itself.
    """
    if device == "CPU":
        return CPU
    core = core or ov.Core()
    memory_mib = _property(core, device, "GPU_DEVICE_TOTAL_MEM_SIZE", 0) >> 20
    return Device(
        name=str(core.get_property(device, "FULL_DEVICE_NAME")),
        driver=f"OpenVINO {_property(core, device, 'DRIVER_VERSION', ov.__version__)}",
        # An NPU does not tell, and does best with small tiles.
        tile_class=gpu_class(memory_mib) if memory_mib else GPU_CLASSES[0],
    )


def openvino_devices(*, core: Core | None = None) -> list[tuple[str, Device]]:
    """Return OpenVINO's names of the devices of this machine, and what they are."""
    core = core or ov.Core()
    return [(name, described(name, core=core)) for name in core.available_devices]


def choose_device(wish: str, *, core: Core | None = None) -> str:
    """Return OpenVINO's name of the device that a setting names.

    Args:
        wish: ``GPU``, ``NPU`` or ``CPU``, perhaps with a number after a dot.
        core: who knows the devices; None for OpenVINO itself.

    Raises:
        ConfigError: there is no such device.
    """
    if wish == "CPU":
        return wish
    available = (core or ov.Core()).available_devices
    wanted = wish.upper()
    # OpenVINO lists the only GPU as GPU, and several as GPU.0 and so on. GPU means the first.
    for name in available:
        if name == wanted or name.partition(".")[0] == wanted or name == wanted.removesuffix(".0"):
            return name
    raise ConfigError(
        f"ENLARGER_DEVICE: OpenVINO finds no device {wish[:40]}; there is {', '.join(available)}. A GPU of Intel needs "
        "intel-opencl-icd, an NPU its driver intel-level-zero-npu: see docs/reference/devices.md"
    )


def needs_fixed_shapes(device: str) -> bool:
    """Return whether a device has to know the shape of each batch when a network is compiled (OpenVINO 2025)."""
    return device.partition(".")[0] == "NPU"


def known_properties(
    device: str, properties: Mapping[str, Any], *, core: Core | None = None
) -> dict[str, Any]:
    """Return the properties that a device knows: it refuses to compile with others, such as numbers of threads."""
    known = set((core or ov.Core()).get_property(device, "SUPPORTED_PROPERTIES"))
    return {name: value for name, value in properties.items() if name in known}


def _property(core: Core, device: str, name: str, default: Any) -> Any:
    try:
        return core.get_property(device, name)
    except RuntimeError:  # not every device has each property
        return default
