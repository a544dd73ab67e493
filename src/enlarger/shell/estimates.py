"""Estimates the time, memory and size of each result, for ``--dry-run``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from enlarger.shell.progress import span

_BYTES_PER_PX = {"png": 1.4, "tiff": 1.6, "jpeg": 0.27, "webp": 0.12, "avif": 0.1}
"""Bytes per pixel of photos upscaled four times, with 8 bits, three channels and the default quality.

PNG was measured with x4plus. The other formats follow from their ratios in benchmarks/encoders.py. Smooth pictures
need half as much, grainy ones twice as much.
"""

_DEEP = {"png": 3.0, "tiff": 2.0}
"""The factor by which a file with 16 bits per sample is larger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimated:
    """The estimate for one picture."""

    picture_px: tuple[int, int] | None
    """Width and height of the source; None if only the server knows them."""

    result_px: tuple[int, int]
    kind: str
    frames: int
    precision: str | None
    """The precision that the picture would be computed in; None if unknown."""

    seconds: float | None
    """None if the speed is unknown."""

    memory_bytes: int | None
    """None if unknown."""

    file_bytes: int

    @property
    def line(self) -> str:
        """Return the estimate as a line of text."""
        before = "" if self.picture_px is None else f"{self.picture_px[0]}x{self.picture_px[1]} to "
        frames = f", {self.frames} frames" if self.frames > 1 else ""
        precision = "" if self.precision is None else f" in {self.precision}"
        return (
            f"{before}{self.result_px[0]}x{self.result_px[1]} {self.kind}{frames}{precision}, "
            f"{_resources(self.seconds, self.memory_bytes, self.file_bytes)}"
        )


def total(estimates: Sequence[Estimated]) -> str:
    """Return the total for all pictures, one after the other, as a line of text."""
    seconds = [one.seconds for one in estimates]
    memory = [one.memory_bytes for one in estimates if one.memory_bytes is not None]
    pixels = sum(one.result_px[0] * one.result_px[1] * one.frames for one in estimates)
    return (
        f"{len(estimates)} {'picture' if len(estimates) == 1 else 'pictures'}, {pixels / 1e6:.1f} megapixels, "
        + _resources(
            None if None in seconds else sum(one for one in seconds if one is not None),
            max(memory) if memory else None,
            sum(one.file_bytes for one in estimates),
        )
    )


def _resources(seconds: float | None, memory_bytes: int | None, file_bytes: int) -> str:
    parts = ["time unknown" if seconds is None else f"about {span(seconds)}"]
    if memory_bytes is not None:
        parts.append(f"up to {size(memory_bytes)} of memory")
    return ", ".join([*parts, f"about {size(file_bytes)} on disk"])


def size(count_bytes: float) -> str:
    """Return a number of bytes as readable text, in powers of 1000, as file managers count."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count_bytes < 1000:
            return f"{_rounded(count_bytes)} {unit}"
        count_bytes /= 1000
    return f"{_rounded(count_bytes)} TB"


def _rounded(number: float) -> str:
    """Round to two digits: an estimate is not more exact than that."""
    return f"{float(f'{number:.2g}'):g}"


def file_bytes(
    kind: str,
    result_px: tuple[int, int],
    *,
    frames: int,
    depth_bits: int,
    channels: int,
    max_bytes: int | None,
) -> int:
    """Return the approximate size of a result's file."""
    deep = _DEEP.get(kind, 1.0) if depth_bits > 8 else 1.0
    bytes_ = _BYTES_PER_PX[kind] * result_px[0] * result_px[1] * frames * deep * channels / 3
    return int(bytes_ if max_bytes is None else min(bytes_, max_bytes))
