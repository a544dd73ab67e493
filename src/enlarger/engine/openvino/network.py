"""A compiled network that computes tiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from queue import SimpleQueue
from typing import Any

import numpy as np
import openvino as ov

from enlarger.engine.openvino.graphs import Part
from enlarger.engine.samples import Floats, Output, to_floats
from enlarger.errors import EngineFailed
from enlarger.geometry.rect import Pixels, Rect

_BLOCK_PX = 32
"""LR pixels of a side that a part computes at once where it is computed in blocks. With 64 a server holds 27 MB more."""


class OpenVINONetwork:
    """See ``Network``.

    Args:
        scale: HR pixels per LR pixel along an edge.
        margin_px: LR pixels at each side of which the network makes no pixels.
        parts: the parts of the network.
        compiled: the same, compiled.
        streams: threads that use the network at the same time.

    Raises:
        RuntimeError: the runtime cannot compute with a part.
    """

    def __init__(
        self,
        scale: int,
        margin_px: int,
        parts: Sequence[Part],
        compiled: Sequence[Any],
        streams: int,
    ) -> None:
        self.compiled = compiled
        self._scale = scale
        self._margin_px = margin_px
        self._parts = parts
        self._idle: SimpleQueue[list[Any]] = SimpleQueue()
        for _ in range(streams):
            self._idle.put([part.create_infer_request() for part in compiled])

    def enlarge(self, pixels: Pixels, keep: Rect) -> Output:
        """See ``Network``."""
        output = Output(keep.height_px * self._scale, keep.width_px * self._scale, pixels.dtype)
        requests = self._idle.get()
        try:
            made = _run(requests[0], self._with_margin(to_floats(pixels)))
            if len(requests) == 1:
                output.take(made[_times(keep.slices, self._scale)])
            else:
                for band in self._bands(requests[1], made, keep):
                    output.take(band)
        except RuntimeError as error:
            raise EngineFailed("the runtime failed on a tile") from error
        finally:
            self._idle.put(requests)
        return output

    def _with_margin(self, batch: Floats) -> Floats:
        """Return (1, H, W, 3) with mirrored pixels around it: inside a picture, the halo hides what they change."""
        margin = self._margin_px
        if not margin:
            return batch
        return np.pad(batch, ((0, 0), (margin, margin), (margin, margin), (0, 0)), "reflect")

    def _bands(self, request: Any, features: Floats, keep: Rect) -> Iterator[Floats]:
        """Yield the result of the second part for features (1, H, W, C), in bands of rows that are computed in blocks.

        A block sees as far around it as the part does, so blocks make the same samples as the whole. The tail of an RRDB
        network holds 9 KB per LR pixel in f32, the trunk's output a quarter KB.
        """
        _, height, width, _ = features.shape
        reach, scale = self._parts[1].reach_px or 0, self._scale
        for top, bottom in cuts(keep.top, keep.height_px):
            band = np.empty((1, (bottom - top) * scale, keep.width_px * scale, 3), np.float32)
            above, below = max(0, top - reach), min(height, bottom + reach)
            for left, right in cuts(keep.left, keep.width_px):
                before, behind = max(0, left - reach), min(width, right + reach)
                made = _run(request, np.ascontiguousarray(features[:, above:below, before:behind]))
                inner = slice(top - above, bottom - above), slice(left - before, right - before)
                place = slice((left - keep.left) * scale, (right - keep.left) * scale)
                band[:, :, place] = made[_times(inner, scale)]
            yield band


def cuts(start: int, length: int) -> Iterator[tuple[int, int]]:
    """Return the blocks of a range, of at most 32 pixels each and as equal as possible."""
    count = -(-length // _BLOCK_PX)
    return pairwise([start + length * number // count for number in range(count + 1)])


def _run(request: Any, batch: Floats) -> Floats:
    """Return what a part makes of ``batch``: a view that is valid until its next run."""
    request.set_input_tensor(ov.Tensor(batch))
    request.infer()
    made: Floats = request.get_output_tensor().data
    return made


def _times(part: tuple[slice, slice], scale: int) -> tuple[slice, ...]:
    """Return the enlargement of rows and columns in (1, H, W, C)."""
    return slice(None), *(slice(side.start * scale, side.stop * scale) for side in part)
