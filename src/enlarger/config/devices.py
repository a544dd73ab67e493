"""Names of devices in settings: ``auto``, ``cpu``, ``vulkan:0``, ``openvino:GPU``."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from enlarger.config.group import WrongPart

_DEVICE = re.compile(
    r"auto|cpu|vulkan(:[^,:]+)?|openvino:(GPU(\.\d+)?|NPU(\.\d+)?|CPU)", re.IGNORECASE
)

_ALLOWED = (
    "it must be auto, cpu, vulkan, vulkan:0 (a number or a part of a name), openvino:GPU or openvino:NPU, "
    "or several of them but auto, with commas; `enlarger devices` lists what is here"
)


def _device(text: str) -> str:
    """Return the name of a device with its runtime in lower case."""
    if not _DEVICE.fullmatch(text):
        raise WrongPart(_ALLOWED, text)
    runtime, colon, which = text.partition(":")
    return f"{runtime.lower()}{colon}{which}"


DeviceName = Annotated[str, AfterValidator(_device)]
"""The name of a device."""


def check_devices(devices: tuple[str, ...]) -> tuple[str, ...]:
    """Return devices that can be used together.

    Raises:
        ValueError: there are none, or ``auto`` is not alone.
    """
    if not devices or ("auto" in devices and len(devices) > 1):
        raise WrongPart(_ALLOWED, ",".join(devices))
    return devices
