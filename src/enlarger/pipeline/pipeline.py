"""The life of one request: fetch -> plan -> cache, or all of ``steps`` -> outcome."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal

import structlog

from enlarger import tracing
from enlarger.config import LimitSettings
from enlarger.engine import Engine
from enlarger.engine.device import Device
from enlarger.engine.shelf import Shelf
from enlarger.engine.tile import ModelFacts
from enlarger.errors import CapacityError, EnlargerError
from enlarger.models import ASSUMED_CONTENT
from enlarger.options import Options
from enlarger.picture.sandbox.pool import Decoders
from enlarger.picture.values import Content, Header
from enlarger.pipeline.admission import Admission, Charge
from enlarger.pipeline.devices import Devices
from enlarger.pipeline.inputs import Inputs
from enlarger.pipeline.ledger import NOWHERE, Elsewhere, Load
from enlarger.pipeline.limits import Limits
from enlarger.pipeline.memory_budget import MemoryBudget
from enlarger.pipeline.outcome import Estimate, Outcome, ran_as
from enlarger.pipeline.plan import Plan, choose_precision, model_for
from enlarger.pipeline.plan import plan as plan_of
from enlarger.pipeline.previews import Previews
from enlarger.pipeline.progress import Listener
from enlarger.pipeline.result_cache import Results, SharedResults
from enlarger.pipeline.result_writer import ResultWriter
from enlarger.pipeline.steps import PlannedRequest, Steps
from enlarger.pipeline.stopwatch import Stopwatch
from enlarger.precision import Precision
from enlarger.request import BytesSource, UpscaleRequest
from enlarger.storage import ResultStore
from enlarger.threads import in_thread

if TYPE_CHECKING:  # a command line that fetches nothing need not load what that takes
    from enlarger.fetch.fetcher import Fetcher

log = structlog.get_logger()

_NOBODY = Listener()


class Pipeline:
    """Everything that happens to a picture between the socket and the disk. ``gateway.py`` makes one.

    Args:
        engine: enlarges tiles.
        shelf: the models that are offered now.
        fetcher: gets pictures by URL.
        decoders: read files.
        executor: threads for short work: the tile of a thumbnail must not wait until a poster is encoded.
        encoders: threads that write files.
        store: where results go.
        limits: the operator's limits.
        precision: the precision of requests that name none.
        draining: returns whether the gateway takes no new requests.
        elsewhere: returns what other gateways have admitted for the same engine.
        shared: the results of other gateways.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        shelf: Shelf,
        fetcher: Fetcher,
        decoders: Decoders,
        executor: ThreadPoolExecutor,
        encoders: ThreadPoolExecutor,
        store: ResultStore,
        limits: LimitSettings,
        precision: Precision,
        draining: Callable[[], bool] = lambda: False,
        elsewhere: Callable[[], Elsewhere] = lambda: NOWHERE,
        shared: SharedResults[Outcome] | None = None,
    ) -> None:
        self._engine = engine
        self._shelf = shelf
        self._executor = executor
        self._usual_precision = precision
        self._limits = Limits(
            max_side_px=limits.max_image_dimension_px,
            max_output_px=limits.output_limit_px,
            max_frames=limits.max_frames,
        )
        self._inputs = Inputs(fetcher, decoders, max_bytes=limits.max_file_size_bytes)
        self._admission = Admission(
            engine,
            limits=limits,
            decoders=decoders.processes,
            draining=draining,
            elsewhere=elsewhere,
        )
        self._memory = MemoryBudget(limits.picture_memory_mib << 20)
        self.previews = Previews(self._inputs, self._memory, executor)
        """Makes small pictures of files."""

        writer = ResultWriter(store, encoders=encoders)
        self._results = Results(writer.copy, shared)
        self._devices = Devices()
        self._steps = Steps(
            devices=self._devices,
            engine=engine,
            admission=self._admission,
            memory=self._memory,
            inputs=self._inputs,
            writer=writer,
            executor=executor,
            deadline_s=limits.deadline_s,
            precision=precision,
        )

    @property
    def load(self) -> Load:
        """The work that is admitted now."""
        return self._admission.load

    @property
    def mflop_per_s(self) -> float | None:
        """Measured speed of all servers together: see ``Load``."""
        return self._admission.load.mflop_per_s

    @property
    def held_bytes(self) -> int:
        """Memory that is counted for the pixels of all running pictures."""
        return self._memory.held_bytes

    @property
    def queued_px(self) -> int:
        """LR pixels of all admitted and unfinished pictures."""
        return self._admission.queued_px

    async def run(
        self, job: UpscaleRequest, *, listener: Listener = _NOBODY, charge: Charge | None = None
    ) -> Outcome:
        """Make the picture that a request asks for, or reuse the result of an identical request.

        Args:
            job: what to make.
            listener: told how the request goes on.
            charge: called with the result's pixels before the result is computed, if it is; an error that it raises
                ends the request.

        Raises:
            RequestError: the request or its picture cannot be taken; the text says why.
            CapacityError: there is no room now, or the request would not be done in time.
            EngineError: the engines failed on the picture.
            StorageFull: the result could not be written.
        """
        watch = Stopwatch()
        self._admission.check_open()
        self._shelf.catalogue.check(job.options)
        come_bytes = len(job.source.data) if isinstance(job.source, BytesSource) else 0
        with self._admission.arrival(come_bytes) as holds:
            listener.stage("fetch")
            source = await self._inputs.read(job)
            holds(len(source.data) - come_bytes)
            header = await self._header(source.data, job.options)
            request = PlannedRequest(
                job,
                source,
                self._planned(header, job.options),
                partial(self._on, header, job.options),
            )
            listener.read(source)
            listener.plan(request.plan.header, len(source.data), request.cost.mflop)
            expected = ran_as(
                request.plan.device, self._expected_precisions(request.plan, job.options)
            )
            key = await in_thread(self._executor, request.key, expected)
            watch.lap("fetch")
            made, found = await self._results.get(
                key,
                partial(self._steps.run, request, charge, listener),
                skip_cache=job.skip_cache,
                on_tile=listener.tile,
                key_of=lambda outcome: request.key(
                    ran_as(outcome.ran.device, outcome.ran.computed_in)
                ),
            )
        is_computed = found == "miss"
        outcome = replace(
            made,
            found=found,
            stages_s=watch.stages_s | (dict(made.stages_s) if is_computed else {}),
            took_s=watch.total_s,
            eta_s=made.eta_s if is_computed else None,
        )
        _log_done(outcome, frames=request.plan.frames)
        tracing.note(model=outcome.ran.model, found=found, tiles=outcome.ran.tiles)
        return outcome

    async def header(self, job: UpscaleRequest) -> tuple[Header, int]:
        """Return the header of a request's picture, and the bytes of its file.

        Raises:
            RequestError: the picture cannot be fetched, or is not an image that can be read here.
        """
        data = (await self._inputs.read(job)).data
        return await self._header(data, job.options), len(data)

    async def placeholder(self, job: UpscaleRequest) -> bytes:
        """Return a JPEG file of the result's size, made by plain resampling, to show until the result is ready.

        Raises:
            RequestError: the request or its picture cannot be taken.
        """
        data = (await self._inputs.read(job)).data
        plan = self._planned(await self._header(data, job.options), job.options)
        return await self.previews.placeholder(data, plan.size_px, plan.way.out)

    def estimate(self, header: Header, options: Options, *, input_bytes: int) -> Estimate:
        """Estimate the result and the cost of a request.

        Raises:
            RequestError: the request would never be taken; the text says why.
        """
        plan = self._planned(header, options)
        cost = plan.cost(input_bytes)
        model = self._engine.facts().meeting(plan.need)
        refusal: EnlargerError | None = None
        try:
            self._admission.admit(cost)
        except CapacityError as error:
            refusal = error
        return Estimate(
            width_px=plan.out_px[0],
            height_px=plan.out_px[1],
            model=plan.model_id,
            denoise=plan.noise_level,
            content=(header.content or ASSUMED_CONTENT) if options.looks_at_pixels else None,
            content_basis=_content_basis(header, options),
            precision=None if model is None else self._precision_of(header, options, model),
            tiles=plan.tiles,
            mflop=cost.mflop,
            held_bytes=plan.held_bytes,
            waiting=self._admission.load.requests,
            eta_s=self._admission.eta_s(cost),
            wait_s=self._admission.wait_s,
            refusal=refusal,
        )

    def model_id(
        self, options: Options, width_px: int, height_px: int, content: Content | None = None
    ) -> str:
        """Return the id of the model for a picture of this size that shows ``content``.

        Raises:
            RequestError: there is no such model, or the result cannot have the size that was asked for.
        """
        return model_for(self._shelf.catalogue, options, (width_px, height_px), content).id

    async def _header(self, data: bytes, options: Options) -> Header:
        """Return the header of a file, with what its pixels show if the plan depends on that."""
        header = await self._inputs.header(data)
        if not options.looks_at_pixels:
            return header
        self._planned(
            header, options
        )  # refuses a picture that is over a limit, before its pixels are read
        return replace(header, content=await self._inputs.content(data))

    def _planned(self, header: Header, options: Options) -> Plan:
        """Plan a request for the device that would compute it now."""
        return self._on(header, options, self._devices.choose(self._engine.facts(), options.device))

    def _on(self, header: Header, options: Options, device: Device) -> Plan:
        return plan_of(
            header, options, catalogue=self._shelf.catalogue, limits=self._limits, device=device
        )

    def _expected_precisions(self, plan: Plan, options: Options) -> list[str]:
        """Return the precision that a GPU would compute in now; empty while it does not have the model."""
        model = None if plan.device.is_cpu else self._engine.facts().meeting(plan.need)
        return [] if model is None else [self._precision_of(plan.header, options, model)]

    def _precision_of(self, header: Header, options: Options, model: ModelFacts) -> str:
        return choose_precision(
            options.precision,
            setting=self._usual_precision,
            depth_bits=header.depth_bits,
            model=model,
        )


def _content_basis(header: Header, options: Options) -> Literal["pixels", "assumed"] | None:
    if not options.looks_at_pixels:
        return None
    return "assumed" if header.content is None else "pixels"


def _log_done(outcome: Outcome, *, frames: int) -> None:
    ran = outcome.ran
    log.info(
        "picture_done",
        model=ran.model,
        precision=ran.precision,
        width_px=outcome.header.width_px,
        height_px=outcome.header.height_px,
        result_width_px=outcome.width_px,
        result_height_px=outcome.height_px,
        frames=frames,
        tiles=ran.tiles,
        reused=ran.reused,
        retried=ran.retried,
        found=outcome.found,
        infer_s=round(ran.infer_s, 2),
        took_s=round(outcome.took_s, 2),
    )
