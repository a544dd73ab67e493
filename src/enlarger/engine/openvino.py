"""Networks in this process, on the CPU, through OpenVINO."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import openvino as ov
import structlog
from PIL import Image

from enlarger.engine import networks
from enlarger.engine.compiled import CompiledNetwork
from enlarger.engine.samples import Floats, enlarge_surely, to_floats, to_samples
from enlarger.errors import (
    ConfigError,
    DeadlineExceeded,
    EngineFailed,
    InvalidOption,
    ModelNotHere,
    NoEngineReady,
    WrongOutput,
)
from enlarger.models import Catalogue, Model
from enlarger.models.catalogue import GOLDEN_FOLDER
from enlarger.wire import EngineFacts, ModelFacts, TileRequest, TileResult

log = structlog.get_logger()

NAME = "openvino"

_MOST_STREAMS = 4
"""Each stream holds activations of a tile of its own, so memory grows with it."""

_GOLDEN_TOLERANCE = {"f32": (4, 0.15), "bf16": (24, 1.0)}
"""Largest and mean difference from the golden picture, in 8-bit code values. Measured: f32 2 and 0.1, bf16 9 and 0.4."""


def precisions() -> tuple[str, ...]:
    """What this processor computes in, best first."""
    capabilities = ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ("bf16", "f32") if "BF16" in capabilities else ("f32",)


class OpenVINOEngine:
    """Real-ESRGAN networks on this processor, a few tiles at once.

    Args:
        catalogue: models that may be asked for; each is loaded, and checked, when first used.
        threads: compute threads in all.
        precision: what ``auto`` means in ``facts``; ``auto`` takes the processor's best.
        cache_folder: where compiled networks are kept between runs; None keeps none.

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
    ) -> None:
        available = precisions()
        if precision not in {"auto", *available}:
            raise ConfigError(
                f"ENLARGER_PRECISION: this processor has {' and '.join(available)}, not '{precision}'"
            )
        best = available[0] if precision == "auto" else precision
        self.precisions = tuple(sorted(available, key=lambda name: name != best))
        # One-thread streams are the fastest way to use a few cores: two of them make 11.5 k LR px/s with
        # x4plus in bf16 on two cores, one two-thread stream 10.7 k.
        self.streams = min(threads, _MOST_STREAMS)
        self._threads_per_stream = threads // self.streams
        self._models = {model.id: model for model in catalogue}
        self._cache_folder = cache_folder
        self._networks: dict[tuple[str, str], _Network] = {}
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
            models=tuple(model_facts(model, self.precisions) for model in self._models.values()),
            capacity=2 * self.streams,
            in_flight=self._in_flight,
            mflop_per_s=self._mflop_per_s,
            parallel=self.streams,
        )

    async def ready_for(self, model_id: str, weights_sha256: str) -> ModelFacts:
        """What to know of a model; see ``Engine``."""
        model = self._models.get(model_id)
        if model is None or model.sha256 != weights_sha256:
            raise NoEngineReady(f"{model_id} is not here with the weights {weights_sha256[:12]}")
        return model_facts(model, self.precisions)

    async def load(self, model_id: str, precision: str | None = None) -> None:
        """Load a model and check it on its golden picture, ahead of the first tile.

        Raises:
            WeightsError: its files are missing or damaged.
            WrongOutput: it does not make the golden picture.
        """
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(
            self._executor, self._network, self._models[model_id], precision or self.precisions[0]
        )

    async def enlarge(self, request: TileRequest) -> TileResult:
        """Enlarge one tile; see ``Engine``."""
        model = self._models.get(request.model)
        if model is None or model.sha256 != request.weights_sha256:
            raise ModelNotHere(
                f"{request.model} is not here with the weights {request.weights_sha256[:12]}"
            )
        if request.precision not in self.precisions:
            raise InvalidOption(
                f"precision {request.precision} is not to be had here; there is {', '.join(self.precisions)}"
            )
        if request.options:
            raise InvalidOption(f"{model.id} takes no option {', '.join(sorted(request.options))}")
        loop = asyncio.get_running_loop()
        self._in_flight += 1
        # A thread cannot be interrupted: when the caller leaves, a tile still queued is dropped, and one
        # being computed keeps its thread until it is done.
        try:
            async with asyncio.timeout_at(request.deadline):
                return await loop.run_in_executor(
                    self._executor, self._compute, model, request, loop
                )
        except TimeoutError as error:
            raise DeadlineExceeded("the deadline passed before the tile was done") from error
        finally:
            self._in_flight -= 1

    def _compute(
        self, model: Model, request: TileRequest, loop: asyncio.AbstractEventLoop
    ) -> TileResult:
        """On a thread of the executor."""
        if loop.time() >= request.deadline:
            raise DeadlineExceeded("the deadline passed before the tile began")
        batch = to_floats(request.pixels)
        infer_s = 0.0

        def infer(precision: str) -> Floats:
            nonlocal infer_s
            network = self._network(model, precision)
            started = time.perf_counter()
            output = network.infer(batch)
            took_s = time.perf_counter() - started
            infer_s += took_s
            self._measure(model.mflop_per_px * request.lr_px / took_s)
            return output

        output, precision, repeated = enlarge_surely(request.pixels, request.precision, infer)
        if repeated is not None:
            log.warning("tile_repeated", model=model.id, reason=repeated, stands=precision)
        return TileResult(
            pixels=to_samples(output, request.pixels.dtype),
            engine=NAME,
            precision=precision,
            infer_s=infer_s,
            repeated=repeated,
        )

    def _measure(self, mflop_per_s: float) -> None:
        """Follow the speed, newest tiles counting most."""
        self._mflop_per_s = (
            mflop_per_s
            if self._mflop_per_s is None
            else 0.7 * self._mflop_per_s + 0.3 * mflop_per_s
        )

    def _network(self, model: Model, precision: str) -> _Network:
        """The compiled network, loaded and checked at its first use."""
        with self._loading:
            network = self._networks.get((model.id, precision))
            if network is None:
                network = self._networks[model.id, precision] = self._load(model, precision)
            return network

    def _load(self, model: Model, precision: str) -> _Network:
        started = time.perf_counter()
        kept = self._cache_folder and CompiledNetwork(self._cache_folder, model, precision)
        network = self._restore(model, kept) if kept else None
        if network is None:
            compiled = self._compile(model, precision)
            network = _Network(compiled, self.streams)
            self._measure(_compare_with_golden(model, precision, network))
            if kept:
                kept.write(compiled.export_model())
        log.info(
            "model_loaded",
            model=model.id,
            precision=precision,
            took_s=round(time.perf_counter() - started, 2),
        )
        return network

    def _restore(self, model: Model, kept: CompiledNetwork) -> _Network | None:
        """The network as an earlier run compiled it, or None. A damaged file costs a second, not the service."""
        model.verify()
        blob = kept.read()
        if blob is None:
            return None
        try:
            network = _Network(
                ov.Core().import_model(BytesIO(blob), "CPU", self._config(kept.precision)),
                self.streams,
            )
            self._measure(_compare_with_golden(model, kept.precision, network))
        except (RuntimeError, WrongOutput):
            log.warning("compiled_network_discarded", model=model.id, precision=kept.precision)
            return None
        return network

    def _compile(self, model: Model, precision: str) -> Any:
        graph = networks.build(model)
        try:
            return ov.Core().compile_model(graph, "CPU", self._config(precision))
        except RuntimeError as error:
            raise EngineFailed(f"{model.id} cannot be compiled for this processor") from error

    def _config(self, precision: str) -> dict[str, Any]:
        return {
            # OpenVINO would choose bf16 by itself where the processor has it: always say which.
            "INFERENCE_PRECISION_HINT": precision,
            "NUM_STREAMS": self.streams,
            "INFERENCE_NUM_THREADS": self.streams * self._threads_per_stream,
            # Pinned, the threads of several model servers sit on the same cores.
            "ENABLE_CPU_PINNING": False,
        }


class _Network:
    """A compiled network with one inference request per stream."""

    def __init__(self, compiled: Any, streams: int) -> None:
        self._idle: SimpleQueue[Any] = SimpleQueue()
        for _ in range(streams):
            self._idle.put(compiled.create_infer_request())

    def infer(self, batch: Floats) -> Floats:
        """Run on (1, H, W, 3) in [0, 1]; gives (1, H * scale, W * scale, 3), not clamped."""
        request = self._idle.get()
        try:
            # A copy, since the next tile overwrites the request's own memory.
            return np.array(request.infer([batch])[0])
        except RuntimeError as error:
            raise EngineFailed("the runtime failed on a tile") from error
        finally:
            self._idle.put(request)


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
        WrongOutput: the network does not make the golden picture.
    """
    with Image.open(GOLDEN_FOLDER / "input.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    started = time.perf_counter()
    output, _, _ = enlarge_surely(pixels, "f32", lambda _: network.infer(to_floats(pixels)))
    took_s = time.perf_counter() - started
    if model.golden is not None:
        with Image.open(model.golden) as image:
            golden = np.asarray(image.convert("RGB")).astype(np.int16)
        difference = np.abs(to_samples(output, pixels.dtype) - golden)
        most, mean = _GOLDEN_TOLERANCE[precision]
        if difference.max() > most or difference.mean() > mean:
            raise WrongOutput(
                f"{model.id} in {precision} differs from its golden picture by up to {difference.max()} "
                f"(mean {difference.mean():.2f}) code values; up to {most} ({mean}) is right"
            )
    return float(model.mflop_per_px * pixels.shape[0] * pixels.shape[1] / took_s)
