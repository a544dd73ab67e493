"""The choice among OpenVINO's devices, over a made core: this machine has a CPU only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from enlarger.engine.device import CPU
from enlarger.engine.openvino.devices import choose_device, described
from enlarger.errors import ConfigError


@dataclass
class MadeCore:
    """What ``openvino.Core`` says of some devices."""

    available_devices: list[str] = field(default_factory=lambda: ["CPU", "GPU.0", "GPU.1", "NPU"])

    def get_property(self, device: str, name: str) -> Any:
        """See ``Core``."""
        known = {
            ("GPU.0", "GPU_DEVICE_TOTAL_MEM_SIZE"): 16 << 30,
            ("GPU.0", "FULL_DEVICE_NAME"): "Intel(R) Arc(TM) A770 Graphics (dGPU)",
            ("GPU.0", "DRIVER_VERSION"): "24.39",
            ("NPU", "FULL_DEVICE_NAME"): "Intel(R) AI Boost",
        }
        if (device, name) not in known:
            raise RuntimeError(f"no property {name}")
        return known[device, name]


@pytest.mark.parametrize(
    ("wish", "found"), [("GPU", "GPU.0"), ("GPU.1", "GPU.1"), ("npu", "NPU"), ("CPU", "CPU")]
)
def test_device_is_found_by_its_name(wish: str, found: str) -> None:
    """GPU means the first of several."""
    assert choose_device(wish, core=MadeCore()) == found


def test_only_gpu_has_no_number() -> None:
    """OpenVINO lists it as GPU; GPU.0 means the same."""
    assert choose_device("GPU.0", core=MadeCore(["CPU", "GPU"])) == "GPU"


def test_missing_device_is_refused_with_those_there_are() -> None:
    """And with the packages that bring it."""
    with pytest.raises(ConfigError, match=r"no device NPU; there is CPU\. .*intel-opencl-icd"):
        choose_device("NPU", core=MadeCore(["CPU"]))


def test_description_names_the_driver() -> None:
    """The class follows from the memory, if the device tells it."""
    gpu = described("GPU.0", core=MadeCore())
    assert gpu.id == "Intel(R) Arc(TM) A770 Graphics (dGPU) (OpenVINO 24.39)"
    assert gpu.tile_class == "gpu-16g"
    assert described("NPU", core=MadeCore()).tile_class == "gpu-1g"
    assert described("CPU", core=MadeCore()) == CPU
