"""Vulkan for tests: llvmpipe, which Debian's ``libvulkan1`` and ``mesa-vulkan-drivers`` bring to any machine."""

from __future__ import annotations

import os

import pytest

from enlarger.engine.vulkan.devices import VulkanDevice, vulkan_devices

DEVICE = "vulkan:llvmpipe"
"""The setting that names it."""


def software_device() -> VulkanDevice:
    """The device that computes on this machine's CPU. A test is skipped without one, and fails where CI is set."""
    found = next((device for device in vulkan_devices() if device.is_software), None)
    if found is None:
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        give_up("there is no Vulkan on the CPU: apt-get install libvulkan1 mesa-vulkan-drivers")
    assert found is not None
    return found
