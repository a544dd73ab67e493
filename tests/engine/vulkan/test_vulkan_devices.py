"""The choice among Vulkan devices, over made lists: this machine has one at most."""

from __future__ import annotations

import re
import sys

import pytest

from enlarger.engine.vulkan.devices import (
    VulkanDevice,
    choose_device,
    driver_text,
    load_ncnn,
    version_of,
)
from enlarger.errors import ConfigError
from enlarger.installation import install_command


def card(index: int, name: str, kind: str = "discrete") -> VulkanDevice:
    """A device of that name."""
    return VulkanDevice(index=index, name=name, driver="1.0.0", kind=kind, memory_mib=8000)


SOFTWARE = card(0, "llvmpipe", "software")
CARDS = (SOFTWARE, card(1, "GeForce RTX 4090"), card(2, "Radeon RX 7900"))


@pytest.mark.parametrize(
    ("wish", "index"), [("", 1), ("2", 2), ("radeon", 2), ("llvmpipe", 0), ("0", 0)]
)
def test_device_is_found_by_number_or_name(wish: str, index: int) -> None:
    """Without a wish it is the first that is no software."""
    assert choose_device(wish, listed=lambda: CARDS).index == index


@pytest.mark.parametrize(
    ("wish", "devices", "text"),
    [
        ("", (), "there is no Vulkan device; install the driver"),
        ("", (SOFTWARE,), "the only Vulkan devices are software.*vulkan:0 .llvmpipe.*install"),
        ("7", CARDS, "no device vulkan:7; there is vulkan:0 .llvmpipe., vulkan:1 .GeForce"),
        ("Arc", CARDS, "no device vulkan:Arc"),
    ],
)
def test_error_says_what_there_is_and_what_to_install(
    wish: str, devices: tuple[VulkanDevice, ...], text: str
) -> None:
    """In one line."""
    with pytest.raises(ConfigError, match=f"^ENLARGER_DEVICE: .*{text}") as caught:
        choose_device(wish, listed=lambda: devices)
    assert "\n" not in str(caught.value)


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    monkeypatch.setitem(sys.modules, "ncnn", None)
    with pytest.raises(ConfigError, match=re.escape(install_command("vulkan"))):
        load_ncnn()


def test_versions_are_written_as_their_vendors_do() -> None:
    """NVIDIA packs them in its own way."""
    assert driver_text(0x10DE, 550 << 22 | 54 << 14 | 14 << 6) == "550.54.14"
    assert driver_text(0x1002, 2 << 22 | 0 << 12 | 279) == "2.0.279"
    assert version_of(1 << 22 | 3 << 12 | 230) == (1, 3, 230)


def test_description_has_the_class_of_the_memory() -> None:
    """And whether the device is software."""
    assert card(1, "Card").device.tile_class == "gpu-8g"
    assert (SOFTWARE.is_software, CARDS[1].is_software) == (True, False)
