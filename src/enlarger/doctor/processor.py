"""The CPU, the precision that follows from it, and other devices."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from enlarger import config
from enlarger.config import Settings
from enlarger.doctor import system
from enlarger.doctor.finding import Finding

_TOLD = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
"""Instruction sets that decide how fast networks are computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorFacts:
    """What computes here."""

    name: str
    """Name of the CPU."""

    cores: int
    """Cores that this process may use."""

    quota: float | None
    """CPU time per second that a container may use; None without such a limit."""

    instructions: AbstractSet[str]
    """Linux's names of the instruction sets."""

    precisions: Sequence[str]
    """What the CPU computes in; ``auto`` means the first."""

    wanted: str
    """``ENLARGER_PRECISION``."""

    servers: int
    """Model servers that are started here; 0 if others run them."""

    devices: Sequence[tuple[str, str]]
    """OpenVINO's devices: short name, such as ``GPU``, and full name."""


def gather(settings: Settings | None) -> ProcessorFacts:
    """Ask OpenVINO and Linux; with the default precision if there are no settings."""
    import openvino as ov

    from enlarger.engine.openvino.processor import this_processor

    core, processor = ov.Core(), this_processor()
    devices = [
        (name, core.get_property(name, "FULL_DEVICE_NAME")) for name in core.available_devices
    ]
    here = settings is not None and not settings.pool.servers
    return ProcessorFacts(
        name=system.cpu_name() or dict(devices).get("CPU", "unknown"),
        cores=config.cores(),
        quota=system.cgroup().cpus,
        instructions=processor.instructions,
        precisions=processor.precisions,
        wanted="auto" if settings is None else settings.server.precision,
        servers=settings.pool.server_count if settings is not None and here else 0,
        devices=devices,
    )


def findings(facts: ProcessorFacts) -> list[Finding]:
    """Return what the CPU can do, and which settings do not fit it."""
    told = [name for name in _TOLD if name in facts.instructions]
    found = [
        Finding.ok(
            f"CPU: {facts.name}, {_count(facts.cores, 'core')}",
            "instructions: " + (", ".join(told) or "none that speed up networks, or unknown"),
        ),
        _precision(facts),
    ]
    if facts.quota is not None and facts.quota < facts.cores:
        found.append(
            Finding.warning(
                f"the container may use {facts.quota:g} of {facts.cores} cores",
                "model servers start one thread for each core, and then wait for one another",
                hint=f"give the container a set of {max(1, int(facts.quota))} cores (docker run --cpuset-cpus) in "
                "place of a quota",
            )
        )
    if facts.servers > facts.cores:
        found.append(
            Finding.warning(
                f"{facts.servers} model servers share {_count(facts.cores, 'core')}",
                hint=f"set NUM_SERVERS={facts.cores}, or auto",
            )
        )
    for name, full_name in facts.devices:
        if name != "CPU":
            found.append(Finding.ok(f"device {name}: {full_name}", "it is not used"))
    return found


def _precision(facts: ProcessorFacts) -> Finding:
    available = ", ".join(facts.precisions)
    if facts.wanted not in ("auto", *facts.precisions):
        return Finding.error(
            f"ENLARGER_PRECISION={facts.wanted}: this CPU does not have it",
            f"it has {available}",
            hint="set ENLARGER_PRECISION=auto",
        )
    best = facts.precisions[0] if facts.wanted == "auto" else facts.wanted
    return Finding.ok(f"precision: {best}", f"this CPU has {available}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
