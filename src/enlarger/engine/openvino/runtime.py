"""OpenVINO as a runtime: networks are compiled for the device, or read from the cache of compiled networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import openvino as ov
import structlog

from enlarger.engine.local import LocalEngine
from enlarger.engine.openvino import graphs
from enlarger.engine.openvino.cache import Blob, CompiledNetwork
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

_TOLERANCES = MappingProxyType(
    {"f32": Tolerance(4, 0.15), "bf16": Tolerance(16, 0.7), "int8": Tolerance(60, 2.5)}
)
"""Measured: f32 2 and 0.1, bf16 4 and 0.25, int8 25 and 0.8."""


class OpenVINORuntime(Runtime):
    """Networks on one device of OpenVINO.

    Args:
        threads: compute threads in all.
        cache_folder: folder for compiled networks; None keeps none.
        device: OpenVINO's name of the device.
        processor: what the networks will be compiled for; None describes the processor that this runs on.
    """

    def __init__(
        self,
        *,
        threads: int,
        cache_folder: Path | None = None,
        device: str = "CPU",
        processor: Processor | None = None,
    ) -> None:
        keep_large_blocks_apart(_LARGE_BYTES)
        self._device = device
        self._threads = threads
        self._cache_folder = cache_folder
        self._precisions = (processor or this_processor(device)).precisions
        self._reading: dict[tuple[str, str], Future[list[Blob | None]]] = {}
        """Files that are being read, by model and precision."""

    @property
    def name(self) -> str:
        """See ``Runtime``."""
        return "openvino"

    @property
    def device(self) -> str:
        """See ``Runtime``."""
        return self._device.lower()

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

    def has_precision(self, model: Model, precision: str) -> bool:
        """See ``Runtime``."""
        return super().has_precision(model, precision) and graphs.has_precision(model, precision)

    def make(self, model: Model, precision: str, streams: int) -> Network:
        """See ``Runtime``."""
        ranges = model.read_ranges() if precision == "int8" else None
        in_float = self._arithmetic(precision)
        config = self._config(precision, streams)
        compiled = []
        for part in graphs.parts_of(model):
            graph = graphs.build(model, ranges, in_float, part=part.name)
            try:
                compiled.append(ov.Core().compile_model(graph, self._device, config))
            except RuntimeError as error:
                raise EngineFailed(f"{model.id} cannot be compiled for this processor") from error
        return self._network(model, compiled, streams)

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
        if self._cache_folder is None:
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

    def _network(self, model: Model, compiled: Sequence[Any], streams: int) -> OpenVINONetwork:
        return OpenVINONetwork(
            model.scale, model.margin_px, graphs.parts_of(model), compiled, streams
        )

    def _files(self, model: Model, precision: str) -> list[CompiledNetwork]:
        """Return the files of a network's parts, whether they exist or not."""
        folder = self._cache_folder
        if folder is None:
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
        """Return the network of the blobs; None if one of them is missing.

        Raises:
            RuntimeError: a blob is damaged.
        """
        core, config = ov.Core(), self._config(precision, streams)
        parts = []
        for blob in blobs:
            if blob is None:
                return None
            # A tensor over what was read: from a stream, the runtime would copy it, more than once.
            parts.append(core.import_model(ov.Tensor(blob), self._device, config))
        return self._network(model, parts, streams)

    @property
    def _best_in_float(self) -> str:
        return self._precisions[0]

    def _arithmetic(self, precision: str) -> graphs.Float:
        """Return the arithmetic of all that is not int8."""
        if precision == "int8" and self._best_in_float == "bf16":
            return graphs.Float()  # bf16 by the hint: its rounding is small beside that of int8
        return graphs.in_precision(precision)

    def _config(self, precision: str, streams: int) -> dict[str, Any]:
        return {
            # OpenVINO would choose bf16 by itself where the processor has it: always say which. A network in bf16
            # has its types in the graph, and f32 where it has no others.
            "INFERENCE_PRECISION_HINT": self._best_in_float if precision == "int8" else "f32",
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": self._threads // streams * streams,
            # Pinned, the threads of several model servers sit on the same cores.
            "ENABLE_CPU_PINNING": False,
        }


class OpenVINOEngine(LocalEngine):
    """An engine over OpenVINO; see ``LocalEngine`` and ``OpenVINORuntime`` for the arguments."""

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        threads: int,
        precision: str = "auto",
        cache_folder: Path | None = None,
        one_picture: bool = False,
        processor: Processor | None = None,
    ) -> None:
        runtime = OpenVINORuntime(threads=threads, cache_folder=cache_folder, processor=processor)
        super().__init__(catalogue, runtime, precision=precision, one_picture=one_picture)
