"""A network that ncnn computes on a Vulkan device."""

from __future__ import annotations

from threading import Event
from typing import Any

import numpy as np

from enlarger.engine.runtime import Abandoned
from enlarger.engine.samples import Floats, Output
from enlarger.engine.vulkan.devices import load_ncnn
from enlarger.errors import EngineFailed, OutOfMemory, WrongOutput
from enlarger.geometry.rect import Pixels, Rect
from enlarger.models.reach import Frame

_NO_MEMORY = -100
"""What ncnn returns where a tensor cannot be allocated."""


_NO_FRAME = Frame()


class VulkanNetwork:
    """See ``Network``. Several threads may use it: each tile has an extractor of its own.

    Args:
        net: the loaded network.
        scale: HR pixels per LR pixel along an edge.
        frame: what lies between a tile and what the network takes and makes.
        most_tile_px: LR pixels of the largest tile that is tried; None for no limit.
        black: what the network takes, and makes, for black.
        white: what it takes, and makes, for white.
    """

    def __init__(
        self,
        net: Any,
        *,
        scale: int,
        frame: Frame = _NO_FRAME,
        most_tile_px: int | None = None,
        black: float = 0.0,
        white: float = 1.0,
    ) -> None:
        self._net = net
        self._scale = scale
        self._frame = frame
        self._most_tile_px = most_tile_px
        self._black, self._span = black, white - black
        (self._input,), (self._output,) = net.input_names(), net.output_names()

    def enlarge(self, pixels: Pixels, keep: Rect, abandoned: Event | None = None) -> Output:
        """See ``Network``. ncnn cannot be interrupted: a tile that has begun is computed to its end.

        Raises:
            Abandoned: ``abandoned`` was set before.
            OutOfMemory: the device cannot hold the tile.
            EngineFailed: ncnn failed.
            WrongOutput: the result has another size.
        """
        if abandoned is not None and abandoned.is_set():
            raise Abandoned
        if (
            self._most_tile_px is not None
            and pixels.shape[0] * pixels.shape[1] > self._most_tile_px
        ):
            raise OutOfMemory(f"a tile of {pixels.shape[1]}x{pixels.shape[0]} px does not fit")
        height, width, _ = pixels.shape
        made = self._run(_framed(pixels, self._frame))
        trim_px = self._frame.trim_px
        made = made[
            :, trim_px : trim_px + height * self._scale, trim_px : trim_px + width * self._scale
        ]
        wanted = (3, height * self._scale, width * self._scale)
        if made.shape != wanted:
            raise WrongOutput(f"ncnn makes {made.shape} of a tile where {wanted} is right")
        output = Output(keep.height_px * self._scale, keep.width_px * self._scale, pixels.dtype)
        rows, columns = keep.times(self._scale).slices
        if self._span != 1:
            made = (made - np.float32(self._black)) / np.float32(self._span)
        output.take(made[:, rows, columns].transpose(1, 2, 0)[np.newaxis])
        return output

    def _run(self, pixels: Pixels) -> Floats:
        """Return what the network makes of (H, W, 3): a view (3, H, W) of memory that nobody else uses."""
        height, width, _ = pixels.shape
        # Its planes are aligned. Those of an array are not, and Vulkan reads them at the wrong place.
        batch = load_ncnn().Mat(width, height, 3)
        planes = pixels.transpose(2, 0, 1)
        given = batch.numpy()
        np.divide(planes, np.iinfo(pixels.dtype).max / self._span, out=given, dtype=np.float32)
        if self._black:
            given += np.float32(self._black)
        extractor = self._net.create_extractor()
        status = extractor.input(self._input, batch)
        if status == 0:
            status, made = extractor.extract(self._output)
            if status == 0 and not made.empty():
                result: Floats = made.numpy()
                return result
        if status in (0, _NO_MEMORY):
            raise OutOfMemory(f"the device has no memory for a tile of {width}x{height} px")
        raise EngineFailed(f"Vulkan failed on a tile (ncnn returned {status})")


def _framed(pixels: Pixels, frame: Frame) -> Pixels:
    """Return (H, W, 3) with mirrored pixels around it: the halo hides what they change."""
    rows, columns = map(frame.around_px, pixels.shape[:2])
    if not any((*rows, *columns)):
        return pixels
    return np.pad(pixels, (rows, columns, (0, 0)), "reflect")
