"""An engine in this process: seats, deadlines, precisions and facts are the same whatever runtime computes."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Self

import structlog

from enlarger.engine.networks import Networks
from enlarger.engine.runtime import Runtime
from enlarger.engine.samples import Output, infer_checked
from enlarger.engine.tile import EngineFacts, ModelFacts, Need, TileRequest, TileResult
from enlarger.errors import (
    ConfigError,
    DeadlineExceeded,
    InvalidOption,
    ModelNotHere,
    NoEngineReady,
    WeightsError,
    WrongOutput,
)
from enlarger.models import Catalogue, Model

log = structlog.get_logger()


class LocalEngine:
    """An ``Engine`` over a runtime of this process. It loads each model when it is first needed, and checks it.

    Args:
        catalogue: models that may be requested.
        runtime: what computes.
        precision: precision that ``auto`` stands for in ``facts``; ``auto`` takes the device's first, and so does a
            model that does not have it.
        one_picture: whether tiles belong to one picture at a time, so that the only tile of a picture gets the whole device.

    Raises:
        ConfigError: the device does not have ``precision``.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        runtime: Runtime,
        *,
        precision: str = "auto",
        one_picture: bool = False,
    ) -> None:
        available = runtime.precisions
        if precision not in {"auto", *available}:
            raise ConfigError(
                f"ENLARGER_PRECISION: this processor has {' and '.join(available)}, not '{precision}'"
            )
        best = available[0] if precision == "auto" else precision
        self.precisions = tuple(sorted(available, key=lambda name: name != best))
        self.streams = runtime.streams
        self._runtime = runtime
        self._one_picture = one_picture
        self._models = {model.id: model for model in catalogue}
        self._networks = Networks(runtime)
        self._executor = ThreadPoolExecutor(self.streams, thread_name_prefix="infer")
        self._in_flight = 0

    @property
    def device(self) -> str:
        """Device that computes, such as ``cpu``."""
        return self._runtime.device

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)

    def facts(self) -> EngineFacts:
        """Return what it can do now; see ``Engine``."""
        return EngineFacts(
            engine=self._runtime.name,
            ready=True,
            models=tuple(
                self._model_facts(model)
                for model in self._models.values()
                if self._available(model)
            ),
            capacity=2 * self.streams,
            in_flight=self._in_flight,
            mflop_per_s=self._networks.mflop_per_s,
            parallel=self.streams,
        )

    async def ready_for(self, need: Need) -> ModelFacts:
        """Return the facts of a model; see ``Engine``."""
        model = self._models.get(need.model)
        if model is None or not (facts := self._model_facts(model)).meets(need):
            raise NoEngineReady(
                f"{need.model} is not here at {need.scale}x with the weights {need.weights_sha256[:12]}, "
                f"or not for tiles of {need.lr_px} LR pixels"
            )
        if not facts.precisions:
            raise NoEngineReady(str(self._networks.fault(model, self.precisions[0])))
        return facts

    def _model_facts(self, model: Model) -> ModelFacts:
        return model_facts(model, self._available(model))

    def _available(self, model: Model) -> tuple[str, ...]:
        """Return the precisions that a model can be computed in now; ``auto`` means the first."""
        return tuple(
            precision
            for precision in self.precisions
            if self._runtime.has_precision(model, precision)
            and self._networks.fault(model, precision) is None
        )

    async def load(self, model_id: str, precision: str | None = None) -> None:
        """Load a model and check it on its golden picture, ahead of the first tile.

        Raises:
            WeightsError: its files are missing or damaged.
            WrongOutput: it does not make the golden picture.
        """
        model = self._models[model_id]
        loop, precision = asyncio.get_running_loop(), precision or self._available(model)[0]
        await loop.run_in_executor(
            self._executor, self._networks.get, model, precision, self.streams
        )

    def begin_to_read(self, model_id: str) -> None:
        """Begin to read in the background what an earlier run kept of a model."""
        model = self._models[model_id]
        self._runtime.begin_to_read(model, self._available(model)[0], self._executor)

    def begin_to_load(
        self, model_id: str, tiles: int | None = None, precision: str | None = None
    ) -> Future[object]:
        """Load a model in the background for a picture of so many tiles. Tiles wait for it, and fail if it fails.

        Args:
            model_id: a model of the catalogue.
            tiles: tiles of the picture; None if unknown.
            precision: a precision that the model has here; None for what ``auto`` means.

        Returns:
            A future that ends when the model is loaded and checked.
        """
        model = self._models[model_id]
        precision, streams = precision or self._available(model)[0], self._streams_for(tiles)
        return self._executor.submit(self._networks.get, model, precision, streams)

    async def enlarge(self, request: TileRequest) -> TileResult:
        """Enlarge one tile; see ``Engine``."""
        model = self._checked(request)
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

    def _checked(self, request: TileRequest) -> Model:
        """Return the model of a request that can be computed here.

        Raises:
            ModelNotHere, InvalidOption: the request cannot be computed here.
        """
        model = self._models.get(request.model)
        if model is None or model.sha256 != request.weights_sha256:
            raise ModelNotHere(
                f"{request.model} is not here with the weights {request.weights_sha256[:12]}"
            )
        fault = self._networks.fault(model, request.precision)
        if fault is not None:
            raise ModelNotHere(fault)
        available = self._available(model)
        if request.precision not in available:
            raise InvalidOption(
                f"precision {request.precision} is not available here; available: {', '.join(available)}"
            )
        if request.options:
            raise InvalidOption(f"{model.id} takes no option {', '.join(sorted(request.options))}")
        return model

    def _compute(
        self, model: Model, request: TileRequest, loop: asyncio.AbstractEventLoop
    ) -> TileResult:
        """Compute a tile on a thread of the executor. Each long step begins only before the deadline."""
        infer_s = 0.0
        streams = self._streams_for(request.total)

        def check_time() -> None:
            if loop.time() >= request.deadline:
                raise DeadlineExceeded("the deadline passed before the tile was computed")

        def infer(precision: str) -> Output:
            nonlocal infer_s
            check_time()
            try:
                network = self._networks.get(model, precision, streams)
            except (WeightsError, WrongOutput) as error:
                # Neither the tile nor this server is at fault: other servers may have the files.
                self._disable(model, precision, str(error))
                raise ModelNotHere(str(error)) from error
            check_time()
            started = time.perf_counter()
            output = network.enlarge(request.pixels, request.kept)
            took_s = time.perf_counter() - started
            infer_s += took_s
            self._networks.measure(model.mflop_per_px * request.lr_px / took_s)
            return output

        output, precision, repeated = infer_checked(request.core, request.precision, infer)
        if repeated is not None:
            log.warning("tile_repeated", model=model.id, reason=repeated, stands=precision)
        return TileResult(
            pixels=output.samples,
            engine=self._runtime.name,
            precision=precision,
            infer_s=infer_s,
            repeated=repeated,
        )

    def _streams_for(self, tiles: int | None) -> int:
        """Return the streams that compute a picture of so many tiles."""
        return 1 if self._one_picture and tiles == 1 else self.streams

    def _disable(self, model: Model, precision: str, reason: str) -> None:
        """Stop offering a model whose files cannot be used, until one of them changes."""
        log.error("model_unusable", model=model.id, precision=precision, reason=reason)
        # The file that only int8 needs may be missing, or wrong, while the others are right.
        precisions = (precision,) if precision == "int8" else self.precisions
        self._networks.disable(model, precisions, reason)


def model_facts(model: Model, precisions: tuple[str, ...]) -> ModelFacts:
    """Return the facts of a model that can be computed in ``precisions``."""
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
