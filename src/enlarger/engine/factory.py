"""The engines of this process by their device. The only place that names a runtime: a new one adds a line to ``RUNTIMES``."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from enlarger.engine.device import Device
from enlarger.engine.local import LocalEngine
from enlarger.errors import ConfigError
from enlarger.models import Catalogue

CPU_NAME = "cpu"
"""The name of the CPU in settings."""

_CHOICE_S = 30
"""Time that drivers get to list their devices."""


class Maker(Protocol):
    """Makes an engine; see ``make_engine`` for its arguments."""

    def __call__(
        self,
        catalogue: Catalogue,
        *,
        device: str,
        threads: int,
        precision: str,
        cache_folder: Path | None,
        budget_bytes: int | None,
        one_picture: bool,
    ) -> LocalEngine:
        """Make an engine on the device that its runtime knows by this name; an empty one is the usual device."""


def _openvino() -> Maker:
    from enlarger.engine.openvino.runtime import OpenVINOEngine

    return OpenVINOEngine


def _vulkan() -> Maker:
    from enlarger.engine.vulkan.runtime import VulkanEngine

    return VulkanEngine


RUNTIMES: dict[str, Callable[[], Maker]] = {"openvino": _openvino, "vulkan": _vulkan}
"""Makers by the name of their runtime, which is imported when it is used."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Devices that take the place of ``auto``."""

    devices: tuple[str, ...]
    """Their names, as in settings."""

    reason: str
    """Why these, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A device of this machine."""

    name: str
    """Its name in settings."""

    device: Device
    kind: str
    """``cpu``, ``gpu`` or ``npu`` of OpenVINO, or Vulkan's kind."""

    memory_mib: int | None
    """Memory that may be used; None if it is that of the machine, or unknown."""


def listed_devices() -> list[Listed]:
    """Return the devices of this machine by all runtimes that are installed."""
    from enlarger.engine.openvino.devices import openvino_devices

    found = [
        Listed(
            name=CPU_NAME if name == "CPU" else f"openvino:{name}",
            device=device,
            kind=name.partition(".")[0].lower(),
            memory_mib=None,
        )
        for name, device in openvino_devices()
    ]
    if _has_vulkan():
        from enlarger.engine.vulkan.devices import vulkan_devices

        found += [
            Listed(
                name=f"vulkan:{one.index}",
                device=one.device,
                kind=one.kind,
                memory_mib=one.memory_mib,
            )
            for one in vulkan_devices()
        ]
    return found


def choose(devices: Sequence[str]) -> Chosen:
    """Return devices as they are, or what ``auto`` stands for: the GPUs of this machine, else its CPU."""
    if tuple(devices) != ("auto",):
        return Chosen(tuple(devices), "ENLARGER_DEVICE names them")
    if not _has_vulkan():
        return Chosen((CPU_NAME,), "the extra vulkan is not installed")
    from enlarger.engine.vulkan.devices import vulkan_devices

    real = [device for device in vulkan_devices() if not device.is_software]
    if not real:
        return Chosen((CPU_NAME,), "there is no Vulkan device that is a GPU")
    alike = [device for device in real if device.device.id == real[0].device.id]
    return Chosen(tuple(f"vulkan:{device.index}" for device in alike), f"found {alike[0].name}")


async def chosen_aside(devices: Sequence[str]) -> Chosen:
    """Return the same in a process of its own, where a driver that crashes does no harm."""
    if tuple(devices) != ("auto",) or not _has_vulkan():
        return choose(devices)
    code = f"from {__name__} import print_choice; print_choice()"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code), stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(_CHOICE_S):
            output, _ = await process.communicate()
        answer = json.loads(output)
        return Chosen(tuple(answer["devices"]), answer["reason"])
    except (TimeoutError, ValueError, KeyError):
        return Chosen((CPU_NAME,), "the drivers of Vulkan did not list their devices")
    finally:
        if process.returncode is None:
            process.kill()


def print_choice() -> None:
    """Print what ``auto`` stands for, as JSON."""
    sys.stdout.write(json.dumps(asdict(choose(("auto",)))))


def _has_vulkan() -> bool:
    return importlib.util.find_spec("ncnn") is not None


def make_engine(
    catalogue: Catalogue,
    *,
    device: str = CPU_NAME,
    threads: int,
    precision: str = "auto",
    cache_folder: Path | None = None,
    budget_bytes: int | None = None,
    one_picture: bool = False,
) -> LocalEngine:
    """Make an engine in this process.

    Args:
        catalogue: models that may be requested.
        device: ``auto``, ``cpu``, or a key of ``RUNTIMES``, perhaps with a colon and the runtime's name of a device.
        threads: compute threads.
        precision: precision that ``auto`` stands for; ``auto`` takes the best of the device.
        cache_folder: folder for compiled networks; None keeps none.
        budget_bytes: memory that all loaded networks together may take; None is no limit.
        one_picture: whether tiles belong to one picture at a time; see ``LocalEngine``.

    Raises:
        ConfigError: there is no such runtime or device, or the device does not have ``precision``.
    """
    (device, *_) = choose((device,)).devices
    runtime, _, which = ("openvino:CPU" if device == CPU_NAME else device).partition(":")
    if runtime not in RUNTIMES:
        raise ConfigError(f"there is no runtime '{runtime}'; there are {', '.join(RUNTIMES)}")
    return RUNTIMES[runtime]()(
        catalogue,
        device=which,
        threads=threads,
        precision=precision,
        cache_folder=cache_folder,
        budget_bytes=budget_bytes,
        one_picture=one_picture,
    )
