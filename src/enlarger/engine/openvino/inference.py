"""One part of a network on one graph of the runtime, whose computation can be ended early."""

from __future__ import annotations

from itertools import count
from threading import Event
from typing import Any

import numpy as np
import openvino as ov

from enlarger.engine.runtime import Abandoned
from enlarger.engine.samples import Floats

_POLL_MS = 20
"""How often a computation looks whether anybody still waits for it."""


class Inference:
    """Computes one part of a network.

    The runtime ends a computation between two nodes of its graph, and leaves the nodes in two shapes: those that it had
    reached, and those that remember an earlier batch. In a batch of a remembered shape, such nodes take their outputs to be
    right, although these have the other shape. A batch of any other shape makes all nodes infer their shapes again. So the
    shapes since the last complete computation are known here, and a small batch is computed in between where it is needed.
    That works for a graph that nobody else uses, so only such a graph can be interrupted.

    Args:
        request: the runtime's request, made from a compiled network.
        channels: channels of what the part is given.
        least_px: the smallest side of a batch that the part can compute.
        step_px: it can compute sides that are longer by this, and by multiples of it.
        is_alone: whether the request has a graph of its own, so that it can be interrupted.
    """

    def __init__(
        self, request: Any, channels: int, *, least_px: int, step_px: int, is_alone: bool
    ) -> None:
        self._request = request
        self._channels = channels
        self._least_px = least_px
        self._step_px = step_px
        self._is_alone = is_alone
        self._is_whole = True
        """Whether the last computation was completed."""

        self._remembered: set[tuple[int, ...]] = set()
        """Shapes of the last complete computation and of those after it."""

    def run(self, batch: Floats, abandoned: Event | None = None) -> Floats:
        """Return what the part makes of ``batch``: a view that is valid until the next run.

        Args:
            batch: shape (1, H, W, C).
            abandoned: set when nobody waits for the result any more.

        Raises:
            Abandoned: ``abandoned`` was set before the end.
            RuntimeError: the runtime failed.
        """
        if not self._is_whole and batch.shape in self._remembered:
            self._compute(self._batch_of_new_shape(), None)
        self._compute(batch, abandoned if self._is_alone else None)
        made: Floats = self._request.get_output_tensor().data
        return made

    def _batch_of_new_shape(self) -> Floats:
        shapes = ((1, side, side, self._channels) for side in count(self._least_px, self._step_px))
        return np.zeros(
            next(shape for shape in shapes if shape not in self._remembered), np.float32
        )

    def _compute(self, batch: Floats, abandoned: Event | None) -> None:
        self._is_whole = False
        self._remembered.add(batch.shape)
        self._request.set_input_tensor(ov.Tensor(batch))
        if abandoned is None:
            self._request.infer()
        else:
            self._await(abandoned)
        self._is_whole = True
        self._remembered = {batch.shape}

    def _await(self, abandoned: Event) -> None:
        self._request.start_async()
        try:
            while not self._request.wait_for(_POLL_MS):
                if abandoned.is_set():
                    self._request.cancel()
        except RuntimeError as error:
            if abandoned.is_set():
                raise Abandoned from error
            raise
