"""What a processor, a GPU or an NPU computes in, decided from what it and OpenVINO say of it."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

import openvino as ov

_INT8_INSTRUCTIONS = {"avx512_vnni", "avx_vnni", "amx_int8"}
"""Instructions that add products of bytes in 32 bits. Without them sums of pairs may overflow 16 bits."""


@dataclass(frozen=True, slots=True)
class Processor:
    """A description of a processor, which tests make themselves."""

    capabilities: AbstractSet[str]
    """OpenVINO's ``OPTIMIZATION_CAPABILITIES``, such as ``BF16``. It states ``INT8`` on every x86 processor."""

    instructions: AbstractSet[str]
    """Linux's names of the instruction sets, such as ``avx512_vnni``; empty where the system does not tell."""

    device: str = "CPU"
    """OpenVINO's name of it."""

    @property
    def precisions(self) -> tuple[str, ...]:
        """What it computes in; ``auto`` means the first. Not every model has int8.

        On a CPU, bf16 stands first where there are instructions for it. f32 is always there, and is never after int8,
        which must be asked for. On other devices, f16 stands first, and an NPU has nothing else.
        """
        if self.device != "CPU":
            capabilities = (("f16", "FP16"), ("f32", "FP32"))
            return tuple(name for name, one in capabilities if one in self.capabilities) or ("f32",)
        in_float = ("bf16", "f32") if "BF16" in self.capabilities else ("f32",)
        return (*in_float, "int8") if _INT8_INSTRUCTIONS & self.instructions else in_float


def this_processor(device: str = "CPU") -> Processor:
    """Return the description of the processor that this process runs on.

    Args:
        device: OpenVINO's name of the device.
    """
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        cpuinfo = ""
    capabilities = ov.Core().get_property(device, "OPTIMIZATION_CAPABILITIES")
    return Processor(frozenset(capabilities), instructions(cpuinfo), device)


def instructions(cpuinfo: str) -> frozenset[str]:
    """The instruction sets that the first core of a ``/proc/cpuinfo`` lists; empty where it lists none."""
    for line in cpuinfo.splitlines():
        name, _, flags = line.partition(":")
        if name.strip() == "flags":
            return frozenset(flags.split())
    return frozenset()
