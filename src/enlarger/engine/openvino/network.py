"""A compiled network that computes tiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from queue import SimpleQueue
from threading import Event
from typing import Any

import numpy as np

from enlarger.engine.openvino.graphs import Part
from enlarger.engine.openvino.inference import Inference
from enlarger.engine.runtime import Abandoned
from enlarger.engine.samples import Floats, Output, to_floats
from enlarger.errors import EngineFailed
from enlarger.geometry.rect import Pixels, Rect
from enlarger.models.reach import Frame

_BLOCK_PX = 32
"""LR pixels of a side that a part computes at once where it is computed in blocks. With 64 a server holds 27 MB more."""

_LEAST_PX = 8
"""LR pixels of a side of a tile that any network can compute."""


class OpenVINONetwork:
    """See ``Network``.

    Args:
        scale: HR pixels per LR pixel along an edge.
        frame: what lies between a tile and what the network takes and makes.
        parts: the parts of the network.
        copies: the same, compiled: once for all streams, or once for each, so that each can be interrupted.
        streams: threads that use the network at the same time.

    Raises:
        RuntimeError: the runtime cannot compute with a part.
    """

    def __init__(
        self,
        scale: int,
        frame: Frame,
        parts: Sequence[Part],
        copies: Sequence[Sequence[Any]],
        streams: int,
    ) -> None:
        self.compiled = copies[0]
        self._scale = scale
        self._frame = frame
        self._parts = parts
        self._idle: SimpleQueue[list[Inference]] = SimpleQueue()
        is_alone = len(copies) == streams
        for number in range(streams):
            self._idle.put(
                [
                    Inference(
                        compiled.create_infer_request(),
                        part.channels,
                        least_px=_LEAST_PX + sum(frame.around_px(_LEAST_PX)),
                        step_px=frame.multiple_px,
                        is_alone=is_alone,
                    )
                    for part, compiled in zip(parts, copies[number % len(copies)], strict=True)
                ]
            )

    def enlarge(self, pixels: Pixels, keep: Rect, abandoned: Event | None = None) -> Output:
        """See ``Network``."""
        output = Output(keep.height_px * self._scale, keep.width_px * self._scale, pixels.dtype)
        inferences = self._idle.get()
        try:
            made = inferences[0].run(self._framed(to_floats(pixels)), abandoned)
            if len(inferences) == 1:
                output.take(made[_times(keep.slices, self._scale, self._frame.trim_px)])
            else:
                for band in self._bands(inferences[1], made, keep):
                    if abandoned is not None and abandoned.is_set():
                        raise Abandoned
                    output.take(band)
        except RuntimeError as error:
            raise EngineFailed("the runtime failed on a tile") from error
        finally:
            self._idle.put(inferences)
        return output

    def _framed(self, batch: Floats) -> Floats:
        """Return (1, H, W, 3) with mirrored pixels around it: inside a picture, the halo hides what they change."""
        rows, columns = map(self._frame.around_px, batch.shape[1:3])
        if not any((*rows, *columns)):
            return batch
        return np.pad(batch, ((0, 0), rows, columns, (0, 0)), "reflect")

    def _bands(self, tail: Inference, features: Floats, keep: Rect) -> Iterator[Floats]:
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
                made = tail.run(np.ascontiguousarray(features[:, above:below, before:behind]))
                inner = slice(top - above, bottom - above), slice(left - before, right - before)
                place = slice((left - keep.left) * scale, (right - keep.left) * scale)
                band[:, :, place] = made[_times(inner, scale)]
            yield band


def cuts(start: int, length: int) -> Iterator[tuple[int, int]]:
    """Return the blocks of a range, of at most 32 pixels each and as equal as possible."""
    count = -(-length // _BLOCK_PX)
    return pairwise([start + length * number // count for number in range(count + 1)])


def _times(part: tuple[slice, slice], scale: int, trim_px: int = 0) -> tuple[slice, ...]:
    """Return the enlargement of rows and columns in (1, H, W, C), of which ``trim_px`` come first that are none."""
    return slice(None), *(
        slice(side.start * scale + trim_px, side.stop * scale + trim_px) for side in part
    )
