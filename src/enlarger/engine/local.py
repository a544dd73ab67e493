"""An engine in this process: seats, deadlines, precisions and facts are the same whatever runtime computes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from threading import Event
from typing import Self

import structlog

from enlarger.engine.device import Device
from enlarger.engine.half import Half
from enlarger.engine.networks import Networks
from enlarger.engine.offered import Offered
from enlarger.engine.runtime import Abandoned, Network, Runtime
from enlarger.engine.samples import Output, infer_checked
from enlarger.engine.tile import EngineFacts, ModelFacts, Need, TileRequest, TileResult
from enlarger.engine.versions import Versions
from enlarger.engine.within_memory import WithinMemory
from enlarger.errors import (
    ConfigError,
    DeadlineExceeded,
    EngineFailed,
    ModelNotHere,
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
        budget_bytes: memory that all loaded networks together may take; None is no limit.
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
        budget_bytes: int | None = None,
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
        self._versions = Versions(catalogue)
        self._networks = Networks(runtime, budget_bytes=budget_bytes)
        self._executor = ThreadPoolExecutor(self.streams, thread_name_prefix="infer")
        self._in_flight = 0
        self._half = Half(self.device.id, self._networks)
        self._offered = Offered(
            versions=self._versions,
            runtime=runtime,
            networks=self._networks,
            half=self._half,
            precisions=self.precisions,
        )
        self._within_memory = WithinMemory()

    @property
    def device(self) -> Device:
        """Device that computes."""
        return self._runtime.device

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)

    def offer(self, catalogue: Catalogue) -> None:
        """Offer these models from now on, and compute what was planned with others before; see ``Versions``."""
        self._versions.offer(catalogue)

    def facts(self) -> EngineFacts:
        """Return what it can do now; see ``Engine``."""
        return EngineFacts(
            engine=self._runtime.name,
            ready=True,
            models=self._offered.facts(),
            capacity=2 * self.streams,
            in_flight=self._in_flight,
            mflop_per_s=self._networks.mflop_per_s,
            parallel=self.streams,
            devices=(self.device,),
            networks=self._networks.counts,
        )

    async def ready_for(self, need: Need) -> ModelFacts:
        """Return the facts of a model; see ``Engine``."""
        return self._offered.meeting(need)

    async def load(self, model_id: str, precision: str | None = None) -> None:
        """Load a model and check it on its golden picture, ahead of the first tile.

        Raises:
            WeightsError: its files are missing or damaged.
            WrongOutput: it does not make the golden picture.
        """
        await asyncio.wrap_future(self.begin_to_load(model_id, precision=precision))

    async def check(self, model_id: str) -> None:
        """Have a model make its golden picture again, which loads the model if it is not loaded.

        Raises:
            WeightsError: its files are missing or damaged.
            WrongOutput: it does not make the golden picture any more.
            EngineFailed: the runtime failed.
        """
        model = self._versions.current(model_id)
        available = self._offered.available(model)
        if not available:
            raise EngineFailed(str(self._networks.fault(model, self.precisions[0])))
        await asyncio.get_running_loop().run_in_executor(
            self._executor, self._networks.check, model, available[0], self.streams
        )

    def begin_to_read(self, model_id: str) -> None:
        """Begin to read in the background what an earlier run kept of a model."""
        model = self._versions.current(model_id)
        self._runtime.begin_to_read(model, self._offered.available(model)[0], self._executor)

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
        model = self._versions.current(model_id)
        precision, streams = (
            precision or self._offered.available(model)[0],
            self._streams_for(tiles),
        )
        return self._executor.submit(self._load, model, precision, streams)

    def _load(self, model: Model, precision: str, streams: int) -> None:
        self._networks.load(model, self._half.settle(model, precision, streams), streams)

    async def enlarge(self, request: TileRequest) -> TileResult:
        """Enlarge one tile; see ``Engine``."""
        model = self._offered.asked(request)
        loop = asyncio.get_running_loop()
        self._in_flight += 1
        # When the caller leaves, a tile still queued is dropped, and the network is told to stop one that is being computed.
        abandoned = Event()
        try:
            async with asyncio.timeout_at(request.deadline):
                # In the request's context, so that what is logged there has its id.
                return await loop.run_in_executor(
                    self._executor,
                    copy_context().run,
                    self._compute,
                    model,
                    request,
                    loop,
                    abandoned,
                )
        except TimeoutError as error:
            raise DeadlineExceeded("the deadline passed before the tile was done") from error
        finally:
            abandoned.set()
            self._in_flight -= 1

    def _compute(
        self,
        model: Model,
        request: TileRequest,
        loop: asyncio.AbstractEventLoop,
        abandoned: Event,
    ) -> TileResult:
        """Compute a tile on a thread of the executor. Each long step begins only before the deadline."""
        infer_s = 0.0
        streams = self._streams_for(request.total)

        def check_time() -> None:
            if abandoned.is_set():
                raise Abandoned
            if loop.time() >= request.deadline:
                raise DeadlineExceeded("the deadline passed before the tile was computed")

        def infer(precision: str) -> Output:
            nonlocal infer_s
            check_time()
            with self._network(model, precision, streams, request.lr_px) as network:
                check_time()
                started = time.perf_counter()
                output = self._within_memory.enlarge(
                    network, model, precision, request.pixels, request.kept, abandoned
                )
                took_s = time.perf_counter() - started
            infer_s += took_s
            self._networks.measure(model.mflop_per_px * request.lr_px / took_s)
            return output

        try:
            asked = self._half.settle(model, request.precision, streams)
            output, precision, repeated = infer_checked(request.core, asked, infer)
        except WeightsError as error:
            self._disable(model, request.precision, str(error))
            raise ModelNotHere(str(error)) from error
        except (EngineFailed, WrongOutput) as error:
            if not self.device.is_cpu:
                self._networks.check_device(model, streams, error)
            raise
        self._half.judge(asked, precision, repeated)
        if repeated is not None:
            log.warning("tile_repeated", model=model.id, reason=repeated, stands=precision)
        return TileResult(
            pixels=output.samples,
            engine=self._runtime.name,
            precision=precision,
            infer_s=infer_s,
            repeated=repeated,
        )

    @contextmanager
    def _network(self, model: Model, precision: str, streams: int, lr_px: int) -> Iterator[Network]:
        """Return a network for one tile; see ``Networks.using``.

        Raises:
            ModelNotHere: its files cannot be used. Neither the tile nor this server is at fault: others may have them.
        """
        with ExitStack() as stack:
            try:
                network = stack.enter_context(
                    self._networks.using(model, precision, streams, tile_px=lr_px)
                )
            except (WeightsError, WrongOutput) as error:
                self._disable(model, precision, str(error))
                raise ModelNotHere(str(error)) from error
            yield network

    def _streams_for(self, tiles: int | None) -> int:
        """Return the streams that compute a picture of so many tiles."""
        return 1 if self._one_picture and tiles == 1 else self.streams

    def _disable(self, model: Model, precision: str, reason: str) -> None:
        """Stop offering a model whose files cannot be used, until one of them changes."""
        log.error("model_unusable", model=model.id, precision=precision, reason=reason)
        # The file that only int8 needs may be missing, or wrong, while the others are right.
        precisions = (precision,) if precision == "int8" else self.precisions
        self._networks.disable(model, precisions, reason)
