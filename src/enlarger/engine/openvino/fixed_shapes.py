"""A network for a device that has to know the shape of each batch beforehand, as an NPU does."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any

Shape = tuple[int, ...]

_MOST_SHAPES = 12
"""Shapes that stay compiled: the tiles of a picture have up to nine."""


class FixedShapes:
    """Stands for a compiled network, and compiles it for each shape when the first batch of that shape comes.

    Args:
        compiled_for: compiles the network for a shape.
        most: number of shapes that stay compiled. The one that was not used for longest goes first.
    """

    def __init__(self, compiled_for: Callable[[Shape], Any], *, most: int = _MOST_SHAPES) -> None:
        self._compiled_for = compiled_for
        self._most = most
        self._by_shape: OrderedDict[Shape, Any] = OrderedDict()
        self._compiling = Lock()

    def create_infer_request(self) -> FixedShapeRequest:
        """Return a request that takes batches of any shape."""
        return FixedShapeRequest(self)

    def of(self, shape: Shape) -> Any:
        """Return the network that is compiled for a shape.

        Raises:
            RuntimeError: it cannot be compiled.
        """
        # One at a time: streams that need the same shape share it.
        with self._compiling:
            if shape not in self._by_shape:
                self._by_shape[shape] = self._compiled_for(shape)
            self._by_shape.move_to_end(shape)
            if len(self._by_shape) > self._most:
                self._by_shape.popitem(last=False)
            return self._by_shape[shape]


class FixedShapeRequest:
    """The part of ``openvino.InferRequest`` that ``Inference`` uses, for batches of any shape."""

    def __init__(self, network: FixedShapes) -> None:
        self._network = network
        self._compiled: Any = None
        self._request: Any = None

    def set_input_tensor(self, tensor: Any) -> None:
        """Take a batch; see ``openvino.InferRequest``, as for all that follow."""
        compiled = self._network.of(tuple(tensor.shape))
        if compiled is not self._compiled:
            self._compiled, self._request = compiled, compiled.create_infer_request()
        self._request.set_input_tensor(tensor)

    def infer(self) -> None:
        """Compute, and wait for the end."""
        self._request.infer()

    def start_async(self) -> None:
        """Begin to compute."""
        self._request.start_async()

    def wait_for(self, milliseconds: int) -> bool:
        """Wait for the end, and return whether it came."""
        return bool(self._request.wait_for(milliseconds))

    def cancel(self) -> None:
        """Stop computing."""
        self._request.cancel()

    def get_output_tensor(self) -> Any:
        """Return what was computed."""
        return self._request.get_output_tensor()
