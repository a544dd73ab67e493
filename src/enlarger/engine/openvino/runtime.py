"""OpenVINO as a runtime: networks are compiled for the device, or read from the cache of compiled networks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import numpy as np
import openvino as ov
import structlog

from enlarger.engine.device import Device
from enlarger.engine.local import LocalEngine
from enlarger.engine.openvino import graphs
from enlarger.engine.openvino.cache import Blob, CompiledNetwork
from enlarger.engine.openvino.devices import (
    choose_device,
    described,
    known_properties,
    needs_fixed_shapes,
)
from enlarger.engine.openvino.fixed_shapes import FixedShapes
from enlarger.engine.openvino.network import OpenVINONetwork
from enlarger.engine.openvino.processor import Processor, this_processor
from enlarger.engine.runtime import Network, Runtime, Tolerance
from enlarger.errors import EngineFailed
from enlarger.memory import keep_large_blocks_apart
from enlarger.models import Catalogue, Model

log = structlog.get_logger()

_MOST_STREAMS = 4
"""Each stream holds activations of a tile of its own, so memory grows with it."""

_LARGE_BYTES = 1 << 20
"""Blocks from here on are kept apart. With glibc's own choice x4plus holds 3.6 KB per LR pixel in f32 where 2.2 KB are
in use: its buffers grow with the tile."""

_STAND_IN = ".bin"
"""OpenVINO takes a file of this name in the current folder for the weights of every network that it imports, although a
compiled network contains its own. None of its settings that were tried prevents it (2026.4.1)."""

_TOLERANCES = MappingProxyType(
    {
        "f32": Tolerance(4, 0.15),
        "f16": Tolerance(8, 0.3),
        "bf16": Tolerance(16, 1.0),
        "int8": Tolerance(60, 2.5),
    }
)
"""Measured: f32 2 and 0.1, bf16 7 and 0.7 (x4plus 4 and 0.25), int8 25 and 0.8. f16 as with Vulkan: no device was there."""


class OpenVINORuntime(Runtime):
    """Networks on one device of OpenVINO.

    Args:
        threads: compute threads in all.
        cache_folder: folder for compiled networks; None keeps none.
        device: OpenVINO's name of the device.
        processor: what the networks will be compiled for; None describes the processor that this runs on.
        is_interruptible: whether a tile that nobody waits for any more is stopped while it is computed. Each stream then has
            a network of its own: with x4plus in bf16, each stream after the first takes 100 MB more.
        has_fixed_shapes: whether a network is compiled for each shape of a tile; None asks the device.
    """

    def __init__(
        self,
        *,
        threads: int,
        cache_folder: Path | None = None,
        device: str = "CPU",
        processor: Processor | None = None,
        is_interruptible: bool = True,
        has_fixed_shapes: bool | None = None,
    ) -> None:
        keep_large_blocks_apart(_LARGE_BYTES)
        self._device = device
        self._described = described(device)
        self._threads = threads
        self._cache_folder = cache_folder
        self._has_fixed_shapes = (
            needs_fixed_shapes(device) if has_fixed_shapes is None else has_fixed_shapes
        )
        self._is_interruptible = is_interruptible and not self._has_fixed_shapes
        self._precisions = (processor or this_processor(device)).precisions
        self._reading: dict[tuple[str, str], Future[list[Blob | None]]] = {}
        """Files that are being read, by model and precision."""

    @property
    def name(self) -> str:
        """See ``Runtime``."""
        return "openvino"

    @property
    def device(self) -> Device:
        """See ``Runtime``."""
        return self._described

    @property
    def precisions(self) -> tuple[str, ...]:
        """See ``Runtime``."""
        return self._precisions

    @property
    def streams(self) -> int:
        """See ``Runtime``. One-thread streams use a few cores best.

        Two of them compute 11.5 k LR px/s with x4plus in bf16 on two cores, one two-thread stream 10.7 k.
        """
        return min(self._threads, _MOST_STREAMS)

    @property
    def tolerances(self) -> Mapping[str, Tolerance]:
        """See ``Runtime``."""
        return _TOLERANCES

    def make(self, model: Model, precision: str, streams: int) -> Network:
        """See ``Runtime``."""
        ranges = model.read_ranges() if precision == "int8" else None
        in_float = self._arithmetic(precision)
        config = self._config(precision, streams)
        if self._has_fixed_shapes:
            return self._with_fixed_shapes(
                model, graphs.build(model, ranges, in_float), config, streams
            )
        parts = [
            graphs.build(model, ranges, in_float, part=part.name) for part in graphs.parts_of(model)
        ]

        def compiled() -> list[Any]:
            return [ov.Core().compile_model(part, self._device, config) for part in parts]

        try:
            copies, others = [compiled()], range(1, self._copies(streams))
            if others and _may_import(model, precision):
                blobs = [_tensor(part.export_model().getbuffer()) for part in copies[0]]
                copies += [self._imported(blobs, config) for _ in others]
            else:
                copies += [compiled() for _ in others]
        except RuntimeError as error:
            raise EngineFailed(
                f"{model.id} cannot be compiled for {self._device}; `enlarger doctor` examines the installation"
            ) from error
        return self._network(model, copies, streams)

    def keep(self, model: Model, precision: str, network: Network) -> None:
        """See ``Runtime``."""
        compiled = cast(OpenVINONetwork, network).compiled
        for file, part in zip(self._files(model, precision), compiled, strict=False):
            file.write(part.export_model())

    def begin_to_read(self, model: Model, precision: str, executor: Executor) -> None:
        """See ``Runtime``."""
        self._reading[model.id, precision] = executor.submit(self._read, model, precision)

    def restore(self, model: Model, precision: str, streams: int) -> Network | None:
        """See ``Runtime``."""
        if self._cache_folder is None or self._has_fixed_shapes:
            return None
        reading = self._reading.pop((model.id, precision), None)
        if reading is None or reading.cancel():  # one that waits may wait for this very thread
            blobs = self._read(model, precision)
        else:
            blobs = reading.result()
        with ThreadPoolExecutor(1) as aside:
            # Hashing the weights beside the import: both are done before anything is computed.
            verified = aside.submit(model.verify)
            try:
                network = self._import(model, precision, streams, blobs)
            except RuntimeError:
                log.warning("compiled_network_discarded", model=model.id, precision=precision)
                network = None
            verified.result()
        return network

    def _with_fixed_shapes(
        self, model: Model, graph: ov.Model, config: dict[str, Any], streams: int
    ) -> Network:
        """Return a network that is compiled for each shape of a tile, and not for blocks of it, which have many shapes."""

        def compiled_for(shape: tuple[int, ...]) -> Any:
            fixed = graph.clone()
            fixed.reshape(list(shape))
            return ov.Core().compile_model(fixed, self._device, config)

        (part, *_) = graphs.parts_of(model)
        return OpenVINONetwork(
            model.scale, model.frame, [part], [[FixedShapes(compiled_for)]], streams
        )

    def _network(
        self, model: Model, copies: Sequence[Sequence[Any]], streams: int
    ) -> OpenVINONetwork:
        return OpenVINONetwork(model.scale, model.frame, graphs.parts_of(model), copies, streams)

    def _copies(self, streams: int) -> int:
        """Return how often a network is loaded."""
        return streams if self._is_interruptible else 1

    def _imported(self, blobs: Sequence[Any], config: dict[str, Any]) -> list[Any]:
        """Return the compiled parts of a network that was exported.

        Raises:
            RuntimeError: a blob is damaged.
        """
        return [ov.Core().import_model(blob, self._device, config) for blob in blobs]

    def _files(self, model: Model, precision: str) -> list[CompiledNetwork]:
        """Return the files of a network's parts, whether they exist or not."""
        folder = self._cache_folder
        if folder is None or self._has_fixed_shapes:
            return []
        return [
            CompiledNetwork(folder, model, precision, part.name, device=self._device)
            for part in graphs.parts_of(model)
        ]

    def _read(self, model: Model, precision: str) -> list[Blob | None]:
        return [file.read() for file in self._files(model, precision)]

    def _import(
        self, model: Model, precision: str, streams: int, blobs: Sequence[Blob | None]
    ) -> Network | None:
        """Return the network of the blobs; None if one of them is missing, or if none can be imported here.

        Raises:
            RuntimeError: a blob is damaged.
        """
        if any(blob is None for blob in blobs) or not _may_import(model, precision):
            return None
        config, parts = self._config(precision, streams), [_tensor(blob) for blob in blobs]
        copies = [self._imported(parts, config) for _ in range(self._copies(streams))]
        return self._network(model, copies, streams)

    @property
    def _best_in_float(self) -> str:
        return self._precisions[0]

    def _arithmetic(self, precision: str) -> graphs.Float:
        """Return the arithmetic of all that is not int8."""
        if precision == "int8" and self._best_in_float == "bf16":
            return graphs.Float()  # bf16 by the hint: its rounding is small beside that of int8
        return graphs.in_precision(precision)

    def _config(self, precision: str, streams: int) -> dict[str, Any]:
        config = {
            # OpenVINO would choose bf16 by itself where the processor has it: always say which. A network in bf16
            # has its types in the graph, and f32 where it has no others.
            "INFERENCE_PRECISION_HINT": {"int8": self._best_in_float, "f16": "f16"}.get(
                precision, "f32"
            ),
            "NUM_STREAMS": streams // self._copies(streams),
            "INFERENCE_NUM_THREADS": self._threads // streams * (streams // self._copies(streams)),
            # Pinned, the threads of several model servers sit on the same cores.
            "ENABLE_CPU_PINNING": False,
        }
        return config if self._device == "CPU" else known_properties(self._device, config)


def _may_import(model: Model, precision: str) -> bool:
    """Return whether an imported network would have its own weights; see ``_STAND_IN``."""
    if not os.access(_STAND_IN, os.F_OK):
        return True
    log.warning("compiled_network_not_imported", model=model.id, precision=precision)
    return False


def _tensor(blob: Any) -> ov.Tensor:
    """Return a tensor over the bytes of a compiled network: from a stream, the runtime would copy them, more than once."""
    return ov.Tensor(np.frombuffer(blob, np.uint8))


class OpenVINOEngine(LocalEngine):
    """An engine over OpenVINO; see ``LocalEngine`` and ``OpenVINORuntime`` for the arguments."""

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        device: str = "CPU",
        threads: int,
        precision: str = "auto",
        cache_folder: Path | None = None,
        budget_bytes: int | None = None,
        one_picture: bool = False,
        processor: Processor | None = None,
    ) -> None:
        runtime = OpenVINORuntime(
            device=choose_device(device),
            threads=threads,
            cache_folder=cache_folder,
            processor=processor,
            # A process that enlarges one picture at a time ends when it is abandoned, and starts sooner with one network.
            is_interruptible=not one_picture,
        )
        super().__init__(
            catalogue,
            runtime,
            precision=precision,
            budget_bytes=budget_bytes,
            one_picture=one_picture,
        )
