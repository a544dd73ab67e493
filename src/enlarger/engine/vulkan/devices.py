"""The Vulkan devices of this machine, as ncnn lists them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from enlarger.engine.device import Device, gpu_class
from enlarger.errors import ConfigError
from enlarger.installation import install_command

INSTALL = (
    "install the driver of your GPU with Vulkan: on Debian and Ubuntu apt install libvulkan1 mesa-vulkan-drivers "
    "(AMD, Intel) or nvidia-driver (NVIDIA), on Fedora vulkan-loader mesa-vulkan-drivers, on macOS nothing is missing; "
    "see docs/reference/devices.md"
)
"""What to do where no device is found."""

_KINDS = ("discrete", "integrated", "virtual", "software")
"""Kinds of devices in the order of ncnn's numbers."""

_OLDEST_API = (1, 1)
"""Version of Vulkan that ncnn's shaders need."""

_NVIDIA = 0x10DE
"""Vendor whose drivers pack their version in another way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VulkanDevice:
    """A device that a driver offers."""

    index: int
    """Number by which ncnn knows it."""

    name: str
    driver: str
    kind: str
    """``discrete``, ``integrated``, ``virtual``, or ``software``, which computes on the CPU."""

    memory_mib: int
    """Memory that may be used now."""

    @property
    def is_software(self) -> bool:
        """Whether it computes on the CPU, as llvmpipe and SwiftShader do."""
        return self.kind == "software"

    @property
    def device(self) -> Device:
        """What it is to everybody who has tiles."""
        return Device(name=self.name, driver=self.driver, tile_class=gpu_class(self.memory_mib))


def load_ncnn() -> Any:
    """Return the module ``ncnn``.

    Raises:
        ConfigError: the package is not installed, or cannot be loaded.
    """
    try:
        import ncnn
    except ImportError as error:
        raise ConfigError(
            f"ENLARGER_DEVICE: Vulkan needs the package ncnn: {install_command('vulkan')}"
        ) from error
    return ncnn


@cache
def vulkan_devices() -> tuple[VulkanDevice, ...]:
    """Return the devices that can be used; empty if there are none.

    Raises:
        ConfigError: ncnn is not installed.
    """
    return _listed(load_ncnn())


def _listed(ncnn: Any) -> tuple[VulkanDevice, ...]:
    with _silence():
        if ncnn.create_gpu_instance() != 0:
            return ()
        described = [_described(ncnn, index) for index in range(ncnn.get_gpu_count())]
    return tuple(device for device in described if device is not None)


def _described(ncnn: Any, index: int) -> VulkanDevice | None:
    info = ncnn.get_gpu_info(index)
    if version_of(info.api_version())[:2] < _OLDEST_API:
        return None
    kind = info.type()
    return VulkanDevice(
        index=index,
        name=info.device_name(),
        driver=driver_text(info.vendor_id(), info.driver_version()),
        kind=_KINDS[kind] if kind in range(len(_KINDS)) else "virtual",
        memory_mib=int(ncnn.get_gpu_device(index).get_heap_budget()),
    )


def version_of(packed: int) -> tuple[int, int, int]:
    """Return the parts of a version that is packed as Vulkan does."""
    return packed >> 22 & 0x7F, packed >> 12 & 0x3FF, packed & 0xFFF


def driver_text(vendor: int, packed: int) -> str:
    """Return the version of a driver as its vendor writes it, such as ``550.54.14``."""
    if vendor == _NVIDIA:
        parts = (packed >> 22, packed >> 14 & 0xFF, packed >> 6 & 0xFF)
        return ".".join(f"{part:02}" if place else str(part) for place, part in enumerate(parts))
    return ".".join(map(str, (packed >> 22, packed >> 12 & 0x3FF, packed & 0xFFF)))


def choose_device(
    wish: str, *, listed: Callable[[], tuple[VulkanDevice, ...]] = vulkan_devices
) -> VulkanDevice:
    """Return the device that a setting names.

    Args:
        wish: its number, or a part of its name; empty for the first one that is no software.
        listed: lists the devices.

    Raises:
        ConfigError: ncnn is not installed, there is no device, or none that is meant.
    """
    devices = listed()
    if not devices:
        raise ConfigError(f"ENLARGER_DEVICE: there is no Vulkan device; {INSTALL}")
    shown = ", ".join(f"vulkan:{device.index} ({device.name})" for device in devices)
    if not wish:
        real = next((device for device in devices if not device.is_software), None)
        if real is None:
            raise ConfigError(
                f"ENLARGER_DEVICE: the only Vulkan devices are software, which is slower than cpu: {shown}; {INSTALL}"
            )
        return real
    for device in devices:
        is_meant = (
            device.index == int(wish)
            if wish.isdecimal()
            else wish.casefold() in device.name.casefold()
        )
        if is_meant:
            return device
    raise ConfigError(f"ENLARGER_DEVICE: there is no device vulkan:{wish[:40]}; there is {shown}")


@contextmanager
def _silence() -> Iterator[None]:
    """Keep what native code writes to stderr from the log: ncnn prints a table of each device."""
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
