"""Networks in this process, on the CPU, through OpenVINO."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import openvino as ov
import structlog

from enlarger.engine.openvino import graphs
from enlarger.engine.openvino.cache import Blob, CompiledNetwork
from enlarger.engine.openvino.processor import Processor, this_processor
from enlarger.engine.samples import Floats, Output, infer_checked, to_floats
from enlarger.engine.tile import EngineFacts, ModelFacts, Need, TileRequest, TileResult
from enlarger.errors import (
    ConfigError,
    DeadlineExceeded,
    EngineFailed,
    InvalidOption,
    ModelNotHere,
    NoEngineReady,
    WeightsError,
    WrongOutput,
)
from enlarger.geometry.rect import Pixels, Rect
from enlarger.memory import keep_large_blocks_apart
from enlarger.models import Catalogue, Model
from enlarger.models.golden import golden_input, read_golden

log = structlog.get_logger()

NAME = "openvino"

_MOST_STREAMS = 4
"""Each stream holds activations of a tile of its own, so memory grows with it."""

_BLOCK_PX = 32
"""LR pixels of a side that the tail of an rrdb network makes at once. With 64 a server holds 27 MB more."""

_LARGE_BYTES = 1 << 20
"""Blocks from here on are kept apart. With glibc's own choice x4plus holds 3.6 KB per LR pixel in f32 where 2.2 KB are
in use: its buffers grow with the tile."""

_GOLDEN_TOLERANCE = {"f32": (4, 0.15), "bf16": (16, 0.7), "int8": (60, 2.5)}
"""Largest and mean difference from the golden picture, in 8-bit code values. Measured: f32 2 and 0.1, bf16 (emulated) 4 and 0.25,
int8 25 and 0.8."""


class OpenVINOEngine:
    """Real-ESRGAN networks on this processor, a few tiles at once.

    Args:
        catalogue: models that may be asked for; each is loaded, and checked, when first used.
        threads: compute threads in all.
        precision: what ``auto`` means in ``facts``; ``auto`` takes the processor's best, and a model
            without int8 does so too.
        cache_folder: where compiled networks are kept between runs; None keeps none.
        one_picture: tiles come of one picture at a time: so that of a picture with a single tile gets all threads.
        processor: what the networks will be compiled for; None describes the processor that this runs on.

    Raises:
        ConfigError: the processor does not have ``precision``.
    """

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
        available = (processor or this_processor()).precisions
        if precision not in {"auto", *available}:
            raise ConfigError(
                f"ENLARGER_PRECISION: this processor has {' and '.join(available)}, not '{precision}'"
            )
        self._best_in_float = available[0]
        best = available[0] if precision == "auto" else precision
        self.precisions = tuple(sorted(available, key=lambda name: name != best))
        keep_large_blocks_apart(_LARGE_BYTES)
        # One-thread streams are the fastest way to use a few cores: two of them make 11.5 k LR px/s with
        # x4plus in bf16 on two cores, one two-thread stream 10.7 k.
        self.streams = min(threads, _MOST_STREAMS)
        self._threads = threads
        self._one_picture = one_picture
        self._models = {model.id: model for model in catalogue}
        self._cache_folder = cache_folder
        self._networks: dict[tuple[str, str, int], _Network] = {}
        """By model, precision and streams."""

        self._reading: dict[tuple[str, str], Future[list[Blob | None]]] = {}
        """What was begun to be read, by model and precision."""

        self._faults: dict[tuple[str, str], _Fault] = {}
        """By model and precision, what could not be loaded."""

        self._loading = threading.Lock()
        self._executor = ThreadPoolExecutor(self.streams, thread_name_prefix="infer")
        self._in_flight = 0
        self._mflop_per_s: float | None = None

    async def __aenter__(self) -> OpenVINOEngine:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)

    def facts(self) -> EngineFacts:
        """What it can do now."""
        return EngineFacts(
            engine=NAME,
            ready=True,
            models=tuple(
                self._model_facts(model)
                for model in self._models.values()
                if self._precisions(model)
            ),
            capacity=2 * self.streams,
            in_flight=self._in_flight,
            mflop_per_s=self._mflop_per_s,
            parallel=self.streams,
        )

    async def ready_for(self, need: Need) -> ModelFacts:
        """What to know of a model; see ``Engine``."""
        model = self._models.get(need.model)
        if model is None or not (facts := self._model_facts(model)).meets(need):
            raise NoEngineReady(
                f"{need.model} is not here at {need.scale}x with the weights {need.weights_sha256[:12]}, "
                f"or not for tiles of {need.lr_px} LR pixels"
            )
        if not facts.precisions:
            raise NoEngineReady(str(self._fault(model, self.precisions[0])))
        return facts

    def _model_facts(self, model: Model) -> ModelFacts:
        return model_facts(model, self._precisions(model))

    def _precisions(self, model: Model) -> tuple[str, ...]:
        """What a model can be computed in here, what ``auto`` means first."""
        return tuple(
            precision
            for precision in self.precisions
            if (precision != "int8" or model.ranges is not None)
            and self._fault(model, precision) is None
        )

    def _fault(self, model: Model, precision: str) -> str | None:
        """Why a model failed to load in a precision; None if it did not, or if its files have changed since."""
        fault = self._faults.get((model.id, precision))
        return fault.reason if fault is not None and fault.files == _state_of(model) else None

    def _disable(self, model: Model, precision: str, reason: str) -> None:
        """Offer a model no more whose files were found unusable, until one of them changes."""
        log.error("model_unusable", model=model.id, precision=precision, reason=reason)
        fault = _Fault(reason, _state_of(model))
        # What only int8 needs may be missing while all else is there.
        for one in (precision,) if precision == "int8" else self.precisions:
            self._faults[model.id, one] = fault

    async def load(self, model_id: str, precision: str | None = None) -> None:
        """Load a model and check it on its golden picture, ahead of the first tile.

        Raises:
            WeightsError: its files are missing or damaged.
            WrongOutput: it does not make the golden picture.
        """
        loop = asyncio.get_running_loop()
        model = self._models[model_id]
        await loop.run_in_executor(
            self._executor,
            self._network,
            model,
            precision or self._precisions(model)[0],
            self.streams,
        )

    def begin_to_read(self, model_id: str) -> None:
        """Read in the background what an earlier run kept of a model, while nobody knows yet how it will be computed."""
        model = self._models[model_id]
        precision = self._precisions(model)[0]
        self._reading[model.id, precision] = self._executor.submit(
            self._read_kept, model, precision
        )

    def begin_to_load(
        self, model_id: str, tiles: int | None = None, precision: str | None = None
    ) -> Future[object]:
        """Load a model in the background, as a picture of so many tiles needs it, or one of any number.

        Whoever uses it then waits until it is there; what fails will fail with that use, too.

        Args:
            model_id: one of the catalogue.
            tiles: of the picture; None if that is not known.
            precision: one that the model has here; None for what ``auto`` means.

        Returns:
            A future that ends when the model is loaded and checked.
        """
        model = self._models[model_id]
        precision, streams = precision or self._precisions(model)[0], self._streams_for(tiles)
        return self._executor.submit(self._network, model, precision, streams)

    async def enlarge(self, request: TileRequest) -> TileResult:
        """Enlarge one tile; see ``Engine``."""
        model = self._models.get(request.model)
        if model is None or model.sha256 != request.weights_sha256:
            raise ModelNotHere(
                f"{request.model} is not here with the weights {request.weights_sha256[:12]}"
            )
        fault = self._fault(model, request.precision)
        if fault is not None:
            raise ModelNotHere(fault)
        available = self._precisions(model)
        if request.precision not in available:
            raise InvalidOption(
                f"precision {request.precision} is not to be had here; there is {', '.join(available)}"
            )
        if request.options:
            raise InvalidOption(f"{model.id} takes no option {', '.join(sorted(request.options))}")
        loop = asyncio.get_running_loop()
        self._in_flight += 1
        # A thread cannot be interrupted: when the caller leaves, a tile still queued is dropped, and one
        # being computed keeps its thread until it is done.
        try:
            async with asyncio.timeout_at(request.deadline):
                # In the request's context, so that what is logged there has its id.
                return await loop.run_in_executor(
                    self._executor, copy_context().run, self._compute, model, request, loop
                )
        except TimeoutError as error:
            raise DeadlineExceeded("the deadline passed before the tile was done") from error
        finally:
            self._in_flight -= 1

    def _compute(
        self, model: Model, request: TileRequest, loop: asyncio.AbstractEventLoop
    ) -> TileResult:
        """On a thread of the executor. What has expired is dropped before each step that takes long."""
        infer_s = 0.0
        streams = self._streams_for(request.total)

        def check_time() -> None:
            if loop.time() >= request.deadline:
                raise DeadlineExceeded("the deadline passed before the tile was computed")

        def infer(precision: str) -> Output:
            nonlocal infer_s
            check_time()
            try:
                network = self._network(model, precision, streams)
            except (WeightsError, WrongOutput) as error:
                # Not a fault of the tile, nor of the server: others may have the files.
                self._disable(model, precision, str(error))
                raise ModelNotHere(str(error)) from error
            check_time()
            started = time.perf_counter()
            output = network.enlarge(request.pixels, request.kept)
            took_s = time.perf_counter() - started
            infer_s += took_s
            self._measure(model.mflop_per_px * request.lr_px / took_s)
            return output

        output, precision, repeated = infer_checked(request.core, request.precision, infer)
        if repeated is not None:
            log.warning("tile_repeated", model=model.id, reason=repeated, stands=precision)
        return TileResult(
            pixels=output.samples,
            engine=NAME,
            precision=precision,
            infer_s=infer_s,
            repeated=repeated,
        )

    def _streams_for(self, tiles: int | None) -> int:
        """Streams that a picture of so many tiles is computed in."""
        return 1 if self._one_picture and tiles == 1 else self.streams

    def _measure(self, mflop_per_s: float) -> None:
        """Follow the speed, newest tiles counting most."""
        self._mflop_per_s = (
            mflop_per_s
            if self._mflop_per_s is None
            else 0.7 * self._mflop_per_s + 0.3 * mflop_per_s
        )

    def _network(self, model: Model, precision: str, streams: int) -> _Network:
        """The compiled network, loaded and checked at its first use."""
        key = (model.id, precision, streams)
        with self._loading:
            if key not in self._networks:
                self._networks[key] = self._load(model, precision, streams)
                self._faults.pop((model.id, precision), None)
            return self._networks[key]

    def _load(self, model: Model, precision: str, streams: int) -> _Network:
        started = time.perf_counter()
        network = self._restore(model, precision, streams) if self._cache_folder else None
        if network is None:
            config = self._config(precision, streams)
            compiled = {
                part: _compile(model, graph, config)
                for part, graph in self._graphs(model, precision).items()
            }
            network = _Network(model.scale, list(compiled.values()), streams)
            self._measure(_compare_with_golden(model, precision, network))
            for part, file in self._kept(model, precision).items():
                file.write(compiled[part].export_model())
        log.info(
            "model_loaded",
            model=model.id,
            precision=precision,
            took_s=round(time.perf_counter() - started, 2),
        )
        return network

    def _graphs(self, model: Model, precision: str) -> dict[str, Callable[[], ov.Model]]:
        """What is compiled for a model, by the name of the part: all of it, or its trunk and its tail."""
        if model.architecture == "compact":
            return {"whole": partial(graphs.build, model, None, graphs.in_precision(precision))}
        ranges = model.read_ranges() if precision == "int8" else None
        if precision == "int8" and self._best_in_float == "bf16":
            arithmetic = graphs.Float()  # bf16 by the hint: beside int8 its rounding does not show
        else:
            arithmetic = graphs.in_precision(precision)
        return {
            "trunk": partial(graphs.build_trunk, model, arithmetic, ranges),
            "tail": partial(graphs.build_tail, model, arithmetic),
        }

    def _kept(self, model: Model, precision: str) -> dict[str, CompiledNetwork]:
        """The files of a network's parts, whether they are there or not."""
        folder = self._cache_folder
        if folder is None:
            return {}
        parts = self._graphs(model, precision)
        return {part: CompiledNetwork(folder, model, precision, part) for part in parts}

    def _read_kept(self, model: Model, precision: str) -> list[Blob | None]:
        return [file.read() for file in self._kept(model, precision).values()]

    def _restore(self, model: Model, precision: str, streams: int) -> _Network | None:
        """The network as an earlier run compiled it, or None. A damaged file costs a second, not the service."""
        reading = self._reading.pop((model.id, precision), None)
        if reading is None or reading.cancel():  # one that waits may wait for this very thread
            blobs = self._read_kept(model, precision)
        else:
            blobs = reading.result()
        with ThreadPoolExecutor(1) as aside:
            # Hashing the weights beside the import: both are done before anything is computed.
            verified = aside.submit(model.verify)
            parts = self._import(model, precision, streams, blobs)
            verified.result()
        if parts is None:
            return None
        try:
            network = _Network(model.scale, parts, streams)
            self._measure(_compare_with_golden(model, precision, network))
        except (RuntimeError, EngineFailed, WrongOutput):
            log.warning("compiled_network_discarded", model=model.id, precision=precision)
            return None
        return network

    def _import(
        self, model: Model, precision: str, streams: int, blobs: list[Blob | None]
    ) -> list[Any] | None:
        """The parts that the blobs hold, or None if one of them is missing or damaged."""
        core, config = ov.Core(), self._config(precision, streams)
        parts = []
        for blob in blobs:
            if blob is None:
                return None
            try:
                # A tensor over what was read: from a stream, the runtime would copy it, more than once.
                parts.append(core.import_model(ov.Tensor(blob), "CPU", config))
            except RuntimeError:
                log.warning("compiled_network_discarded", model=model.id, precision=precision)
                return None
        return parts

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


@dataclass(frozen=True, slots=True)
class _Fault:
    """Why a model could not be loaded."""

    reason: str
    files: tuple[object, ...]
    """What its files were like then."""


def _state_of(model: Model) -> tuple[object, ...]:
    """What changes when one of a model's files does."""
    return tuple(map(_stamp, (*model.files.paths, model.golden, model.ranges)))


def _stamp(file: Path | None) -> tuple[int, int, int] | None:
    try:
        facts = file.stat() if file is not None else None
    except OSError:
        return None
    return None if facts is None else (facts.st_ino, facts.st_size, facts.st_mtime_ns)


def _compile(model: Model, graph: Callable[[], ov.Model], config: dict[str, Any]) -> Any:
    network = graph()
    try:
        return ov.Core().compile_model(network, "CPU", config)
    except RuntimeError as error:
        raise EngineFailed(f"{model.id} cannot be compiled for this processor") from error


class _Network:
    """A compiled network, whole or as trunk and tail, with inference requests for each stream."""

    def __init__(self, scale: int, parts: list[Any], streams: int) -> None:
        self._scale = scale
        self._idle: SimpleQueue[list[Any]] = SimpleQueue()
        for _ in range(streams):
            self._idle.put([part.create_infer_request() for part in parts])

    def enlarge(self, pixels: Pixels, keep: Rect) -> Output:
        """The enlargement of a part of ``pixels``, (H, W, 3), all of which the network sees."""
        output = Output(keep.height_px * self._scale, keep.width_px * self._scale, pixels.dtype)
        requests = self._idle.get()
        try:
            made = _run(requests[0], to_floats(pixels))
            if len(requests) == 1:
                output.take(made[_times(keep.slices, self._scale)])
            else:
                for band in _bands(requests[1], made, keep, self._scale):
                    output.take(band)
        except RuntimeError as error:
            raise EngineFailed("the runtime failed on a tile") from error
        finally:
            self._idle.put(requests)
        return output


def _run(request: Any, batch: Floats) -> Floats:
    """What a part of a network makes of ``batch``: a view that lasts until its next run."""
    request.set_input_tensor(ov.Tensor(batch))
    request.infer()
    made: Floats = request.get_output_tensor().data
    return made


def _bands(tail: Any, features: Floats, keep: Rect, scale: int) -> Iterator[Floats]:
    """What the tail makes of features (1, H, W, C), a band of rows after the other, in blocks.

    A block sees what the tail sees around it, as far as there is anything: so blocks make the same samples as
    all at once. The tail holds 9 KB per LR pixel in f32, the trunk's output a quarter KB.
    """
    _, height, width, _ = features.shape
    reach = graphs.TAIL_REACH_PX
    for top, bottom in _cuts(keep.top, keep.height_px):
        band = np.empty((1, (bottom - top) * scale, keep.width_px * scale, 3), np.float32)
        above, below = max(0, top - reach), min(height, bottom + reach)
        for left, right in _cuts(keep.left, keep.width_px):
            before, behind = max(0, left - reach), min(width, right + reach)
            made = _run(tail, np.ascontiguousarray(features[:, above:below, before:behind]))
            inner = slice(top - above, bottom - above), slice(left - before, right - before)
            place = slice((left - keep.left) * scale, (right - keep.left) * scale)
            band[:, :, place] = made[_times(inner, scale)]
        yield band


def _cuts(start: int, length: int) -> Iterator[tuple[int, int]]:
    """Parts of at most ``_BLOCK_PX``, as equal as they can be."""
    count = -(-length // _BLOCK_PX)
    return pairwise([start + length * number // count for number in range(count + 1)])


def _times(part: tuple[slice, slice], scale: int) -> tuple[slice, ...]:
    """The enlargement of rows and columns in (1, H, W, C)."""
    return slice(None), *(slice(side.start * scale, side.stop * scale) for side in part)


def model_facts(model: Model, precisions: tuple[str, ...]) -> ModelFacts:
    """A catalogue row as engines state it."""
    return ModelFacts(
        id=model.id,
        scale=model.scale,
        halo_px=model.halo_px,
        halo_is_exact=model.halo_is_exact,
        max_tile_px=model.max_tile_px,
        mflop_per_px=model.mflop_per_px,
        sha256=model.sha256,
        precisions=precisions,
    )


def _compare_with_golden(model: Model, precision: str, network: _Network) -> float:
    """Speed in MFLOP/s on the golden picture.

    Raises:
        WeightsError: the golden picture is missing or damaged.
        WrongOutput: the network does not make the golden picture.
    """
    pixels = golden_input()
    started = time.perf_counter()
    whole = Rect.whole(pixels.shape[1], pixels.shape[0])
    output, _, _ = infer_checked(pixels, "f32", lambda _: network.enlarge(pixels, whole))
    took_s = time.perf_counter() - started
    if model.golden is not None:
        golden = read_golden(model.golden, scale=model.scale).astype(np.int16)
        difference = np.abs(output.samples - golden)
        most, mean = _GOLDEN_TOLERANCE[precision]
        if difference.max() > most or difference.mean() > mean:
            raise WrongOutput(
                f"{model.id} in {precision} differs from its golden picture by up to {difference.max()} "
                f"(mean {difference.mean():.2f}) code values; up to {most} ({mean}) is right"
            )
    return float(model.mflop_per_px * pixels.shape[0] * pixels.shape[1] / took_s)
