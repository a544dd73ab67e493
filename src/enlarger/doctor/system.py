"""What Linux says of this machine and of the container around this process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/")


@dataclass(frozen=True, slots=True)
class Cgroup:
    """The limits of the control group that this process runs in; None where there is no limit."""

    memory_bytes: int | None
    memory_used_bytes: int
    cpus: float | None
    """CPU time per second."""


def cgroup(root: Path = _ROOT) -> Cgroup:
    """Return the tightest limits of this process's control groups, of version 2 or 1.

    Args:
        root: folder that has ``proc`` and ``sys``.
    """
    memory: list[tuple[int, int]] = []
    cpus: list[float] = []
    for folder in _folders(root):
        limit = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
        if limit is not None and limit < 1 << 60:  # version 1 has a huge number for none
            used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes")
            memory.append((limit, used or 0))
        quota, _, period = _text(folder / "cpu.max").partition(" ")
        quota = quota or _text(folder / "cpu.cfs_quota_us")
        period = period or _text(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit():
            cpus.append(int(quota) / int(period))
    limit_bytes, used_bytes = min(memory, default=(None, 0), key=lambda pair: pair[0] - pair[1])
    return Cgroup(limit_bytes, used_bytes, min(cpus, default=None))


def memory_bytes(root: Path = _ROOT) -> tuple[int, int] | None:
    """Return the memory of this machine and what of it is available, in bytes; None where Linux does not say."""
    lines = dict(
        line.split(":", 1) for line in _text(root / "proc/meminfo").splitlines() if ":" in line
    )
    try:
        total, available = (
            int(lines[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable")
        )
    except (KeyError, ValueError, IndexError):
        return None
    return total, available


def cpu_name(root: Path = _ROOT) -> str:
    """Return the name of the CPU, or an empty text."""
    for line in _text(root / "proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return ""


def file_system(path: Path, root: Path = _ROOT) -> str:
    """Return the kind of the file system that a path is on, such as ``ext4``; empty where Linux does not say."""
    best, kind = -1, ""
    for line in _text(root / "proc/mounts").splitlines():
        parts = line.split(" ")
        if len(parts) < 3:
            continue
        mounted = Path(parts[1].replace("\\040", " "))
        if path.is_relative_to(mounted) and len(mounted.parts) >= best:
            best, kind = len(mounted.parts), parts[2]
    return kind


def _folders(root: Path) -> list[Path]:
    """Return the folders of this process's control groups and of those above them."""
    base = root / "sys/fs/cgroup"
    found = {base, base / "memory", base / "cpu"}
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        for top in {base, *(base / name for name in controllers.split(",") if name)}:
            group = top / path.lstrip("/")
            found.update(folder for folder in (group, *group.parents) if base in folder.parents)
    return sorted(found)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isdigit() else None
