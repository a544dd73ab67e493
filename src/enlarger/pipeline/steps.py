"""The steps of one request, from its admission to its file: admit -> queue -> decode -> infer -> encode."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import structlog

from enlarger.engine import Engine
from enlarger.engine.device import Device
from enlarger.engine.tile import ModelFacts
from enlarger.errors import DeadlineExceeded
from enlarger.options import Options
from enlarger.picture.values import Picture
from enlarger.pipeline.admission import Admission, Charge, time_limit_s
from enlarger.pipeline.devices import Devices
from enlarger.pipeline.enlarging import enlarge
from enlarger.pipeline.inputs import Inputs
from enlarger.pipeline.ledger import Cost, Entry
from enlarger.pipeline.memory_budget import MemoryBudget
from enlarger.pipeline.outcome import Enlarged, Outcome, preserved
from enlarger.pipeline.plan import Plan, choose_precision
from enlarger.pipeline.progress import Listener, OnTile
from enlarger.pipeline.result_writer import ResultWriter
from enlarger.pipeline.stopwatch import Stopwatch
from enlarger.pipeline.within_memory import within_memory
from enlarger.precision import Precision
from enlarger.request import BytesSource, UpscaleRequest

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """A request whose file is here, with the plan for it."""

    asked: UpscaleRequest
    source: BytesSource
    """The file of the picture."""

    plan: Plan

    replan: Callable[[Device], Plan]
    """Plans the request for another device, or for another class of it."""

    @property
    def options(self) -> Options:
        """What was asked for."""
        return self.asked.options

    @property
    def cost(self) -> Cost:
        """What the request takes at most."""
        return self.plan.cost(len(self.source.data))

    def key(self, ran: str = "") -> str:
        """Return a text that is equal for requests of one owner whose results are the same file.

        Args:
            ran: what computes or has computed; see ``ran_as``.
        """
        model = self.plan.model
        options = self.options.model_dump_json(exclude={"device"})
        network = f"{model.id} {model.sha256} {model.graph_sha256}"
        return f"{self.asked.owner} {self.source.sha256} {network} {options}{ran}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Takes one planned request after the other through all steps."""

    engine: Engine
    admission: Admission
    memory: MemoryBudget
    inputs: Inputs
    writer: ResultWriter
    executor: ThreadPoolExecutor
    """Threads for short work."""

    deadline_s: float | None
    """The operator's; None: by estimate."""

    precision: Precision
    """That of requests that name none."""

    devices: Devices = field(default_factory=Devices)

    async def run(
        self, request: PlannedRequest, charge: Charge | None, listener: Listener, on_tile: OnTile
    ) -> Outcome:
        """Admit a request, and make its result.

        Args:
            request: what to make.
            charge: called with the result's pixels once the request is admitted; an error that it raises ends the
                request.
            listener: told how the request goes on, but not of finished tiles.
            on_tile: told of each finished tile.

        Raises:
            RequestError: the picture cannot be read, or the result cannot be written in its format.
            CapacityError: there is no room now, or the request would not be done in time.
            EngineError: the engines failed on the picture.
            StorageFull: the result could not be written.
        """
        plan, options, watch = request.plan, request.options, Stopwatch()
        eta_s = self.admission.admit(request.cost)
        limit_s = time_limit_s(eta_s, setting=self.deadline_s)
        admitted_at = asyncio.get_running_loop().time()
        with self.admission.entry(
            request.cost
        ) as entry:  # no await since `admit`: none takes the same place
            if charge is not None:
                await charge(request.cost.out_px)
            self._log_admitted(request, eta_s)
            try:
                async with (
                    asyncio.timeout_at(admitted_at + limit_s),
                    self.memory.hold(plan.held_bytes),
                ):
                    plan, model = await self._ready(request)
                    watch.lap("queue")
                    listener.stage("decode")
                    picture = await self._decode(request, entry)
                    watch.lap("decode")

                    def once(plan: Plan) -> Awaitable[Enlarged]:
                        return enlarge(
                            picture,
                            plan=plan,
                            precision=self._precision(options, plan, model),
                            engine=listener.through(self.engine),
                            executor=self.executor,
                            deadline=admitted_at + limit_s,
                            admitted_at=admitted_at,
                            request_id=request.asked.request_id,
                            on_planes=entry.needs,
                            on_total=listener.begin_infer,
                            on_tile=_both(entry.progress, on_tile),
                            on_piece=listener.piece,
                        )

                    enlarged, plan = await within_memory(once, plan, request.replan, self.devices)
                    watch.lap("infer")
                    listener.stage("encode")
                    written, stored = await self.writer.write(enlarged, options, plan)
                    entry.complete()
                    watch.lap("encode")
            except TimeoutError as error:
                raise DeadlineExceeded(f"deadline exceeded after {limit_s:.0f} s") from error
        return Outcome(
            ran=enlarged.ran,
            stored=stored,
            width_px=written.width_px,
            height_px=written.height_px,
            scale=plan.factor,
            notes=written.notes,
            kept=preserved(picture, written),
            header=plan.header,
            input_bytes=len(request.source.data),
            stages_s=watch.stages_s,
            eta_s=eta_s,
        )

    async def _ready(self, request: PlannedRequest) -> tuple[Plan, ModelFacts]:
        """Wait for a device that has the model; return the plan for it, and what the model can be computed in."""
        plan = request.plan
        if not self.engine.facts().ready:
            await self.engine.ready_for(replace(plan.need, device="", lr_px=0))
        device = self.devices.choose(self.engine.facts(), request.options.device)
        if device != plan.device:
            plan = request.replan(device)
        return plan, await self.engine.ready_for(plan.need)

    def _precision(self, options: Options, plan: Plan, model: ModelFacts) -> str:
        return choose_precision(
            options.precision,
            setting=self.precision,
            depth_bits=plan.header.depth_bits,
            model=model,
        )

    async def _decode(self, request: PlannedRequest, entry: Entry) -> Picture:
        """Decode the picture, and check that the format of the result can hold it."""
        options = request.options
        entry.begin_handling()
        picture = await self.inputs.decode(
            request.source.data, request.plan, to_srgb=options.color == "srgb"
        )
        entry.end_handling()
        request.plan.check_alpha(options, has_alpha=picture.has_alpha)
        return picture

    def _log_admitted(self, request: PlannedRequest, eta_s: float | None) -> None:
        log.info(
            "admitted",
            # Not left to the context: the work may run in the task of another request.
            request_id=request.asked.request_id,
            eta_s=None if eta_s is None else round(eta_s, 2),
            mflop=round(request.cost.mflop),
            held_mb=round(request.plan.held_bytes / 1e6, 1),
        )


def _both(first: OnTile, second: OnTile) -> OnTile:
    """Return a function that calls two others."""

    def on_tile(done: int, total: int) -> None:
        first(done, total)
        second(done, total)

    return on_tile
