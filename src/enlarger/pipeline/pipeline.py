"""The life of one request: fetch -> probe -> admit -> decode -> enlarge -> encode -> store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import structlog

from enlarger import tracing
from enlarger.config import LimitSettings, Precision
from enlarger.engine import Engine
from enlarger.engine.tile import ModelFacts
from enlarger.errors import (
    CapacityError,
    DeadlineExceeded,
    EnlargerError,
    FileTooLarge,
    UnreadableImage,
)
from enlarger.models import Catalogue, Model
from enlarger.options import SCALES, Options
from enlarger.picture.preview import preview
from enlarger.picture.sandbox.pool import Decoders
from enlarger.picture.values import Header, Picture
from enlarger.pipeline.admission import Admission, Charge, time_limit_s
from enlarger.pipeline.enlarging import enlarge
from enlarger.pipeline.keeping import Keeper
from enlarger.pipeline.ledger import Load
from enlarger.pipeline.memory_budget import MemoryBudget
from enlarger.pipeline.outcome import Estimate, Outcome
from enlarger.pipeline.plan import Limits, Plan, choose_precision, model_for
from enlarger.pipeline.plan import plan as plan_of
from enlarger.pipeline.progress import Listener, OnTile
from enlarger.pipeline.result_cache import Results
from enlarger.pipeline.size_limit import kept
from enlarger.pipeline.stopwatch import Stopwatch
from enlarger.request import BytesSource, UpscaleRequest
from enlarger.storage import ResultStore
from enlarger.threads import in_thread

if TYPE_CHECKING:  # a command line that fetches nothing need not load what that takes
    from enlarger.fetch import Fetcher

log = structlog.get_logger()

_PLACEHOLDER_BYTES = 8
"""Per pixel of a placeholder: resampled, on white, and written."""

_NOBODY = Listener()


class Pipeline:
    """All that happens to a picture between the socket and the disk. The composition root makes one.

    Args:
        engine: enlarges tiles.
        catalogue: the models.
        fetcher: gets pictures by URL.
        decoders: read files.
        executor: for short work. A thumbnail's tile must not wait there until a poster is encoded.
        encoders: write files.
        store: where results go.
        limits: those of the operator.
        precision: of requests that name none.
        draining: whether nothing new is taken.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        catalogue: Catalogue,
        fetcher: Fetcher,
        decoders: Decoders,
        executor: ThreadPoolExecutor,
        encoders: ThreadPoolExecutor,
        store: ResultStore,
        limits: LimitSettings,
        precision: Precision,
        draining: Callable[[], bool] = lambda: False,
    ) -> None:
        self._engine = engine
        self._catalogue = catalogue
        self._fetcher = fetcher
        self._decoders = decoders
        self._executor = executor
        self._keeper = Keeper(store, encoders=encoders)
        self._settings, self._usual_precision = limits, precision
        self._limits = Limits(
            max_side_px=limits.max_image_dimension_px,
            max_output_px=limits.output_limit_px,
            max_frames=limits.max_frames,
        )
        self._admission = Admission(
            engine, limits=limits, decoders=decoders.processes, draining=draining
        )
        self._memory = MemoryBudget(limits.picture_memory_mib << 20)
        self._results = Results(self._keeper.copy)

    @property
    def load(self) -> Load:
        """What is admitted now."""
        return self._admission.load

    @property
    def mflop_per_s(self) -> float | None:
        """Measured speed of all servers together: see ``Load``."""
        return self._admission.load.mflop_per_s

    @property
    def held_bytes(self) -> int:
        """Memory that is counted for pixels of the pictures here."""
        return self._memory.held_bytes

    @property
    def queued_px(self) -> int:
        """LR pixels of the pictures admitted and unfinished."""
        return self._admission.queued_px

    async def run(
        self, job: UpscaleRequest, *, listener: Listener = _NOBODY, charge: Charge | None = None
    ) -> Outcome:
        """Make the picture that ``job`` asks for.

        Args:
            job: what to make.
            listener: told of how it goes on.
            charge: told of the result's pixels before it is computed, if it is; what it raises ends the request.

        Raises:
            RequestError: the job or its picture cannot be taken; the text says why.
            CapacityError: not now, or not in time.
            EngineError: the engines failed on it.
            StorageFull: the result could not be written.
        """
        watch = Stopwatch()
        self._admission.check_open()
        self._catalogue.choose(job.options.model, scale=SCALES[0])
        come_bytes = len(job.source.data) if isinstance(job.source, BytesSource) else 0
        with self._admission.arrival(come_bytes) as holds:
            listener.stage("fetch")
            source = await self._source(job)
            data = source.data
            holds(len(data) - come_bytes)
            plan = await self._plan(data, job.options)
            listener.plan(plan.header, len(data), plan.cost(len(data)).mflop)
            key = await in_thread(self._executor, _key, source, job, plan.model)
            watch.lap("fetch")
            made, found = await self._results.get(
                key,
                partial(self._make, job, data, plan, charge, listener),
                skip_cache=job.skip_cache,
                on_tile=listener.tile,
            )
        stages_s = watch.stages_s | (dict(made.stages_s) if found == "miss" else {})
        outcome = replace(
            made,
            found=found,
            stages_s=stages_s,
            took_s=watch.total_s,
            eta_s=made.eta_s if found == "miss" else None,
        )
        log.info(
            "picture_done",
            model=outcome.ran.model,
            precision=outcome.ran.precision,
            width_px=outcome.header.width_px,
            height_px=outcome.header.height_px,
            result_width_px=outcome.width_px,
            result_height_px=outcome.height_px,
            frames=plan.frames,
            tiles=outcome.ran.tiles,
            reused=outcome.ran.reused,
            retried=outcome.ran.retried,
            found=found,
            infer_s=round(outcome.ran.infer_s, 2),
            took_s=round(outcome.took_s, 2),
        )
        tracing.note(model=outcome.ran.model, found=found, tiles=outcome.ran.tiles)
        return outcome

    async def header(self, job: UpscaleRequest) -> tuple[Header, int]:
        """What the job's picture says of itself, and the bytes of its file.

        Raises:
            RequestError: it cannot be had, or is none that is read here.
        """
        data = (await self._source(job)).data
        return await self._decoders.probe(data), len(data)

    async def placeholder(self, job: UpscaleRequest) -> bytes:
        """What is to be made, as plain resampling makes it: a JPEG file of its size, for who waits for the real one.

        Raises:
            RequestError: the job or its picture cannot be taken.
        """
        data = (await self._source(job)).data
        plan = await self._plan(data, job.options)
        out = plan.way.out
        async with self._memory.hold(_PLACEHOLDER_BYTES * out.width_px * out.height_px):
            picture = await self._decoders.decode(data, to_srgb=True, frames=1)
            show = partial(preview, picture.samples, plan.size_px, part=out)
            return await in_thread(self._executor, show)

    def estimate(self, header: Header, options: Options, *, input_bytes: int) -> Estimate:
        """What it would be to enlarge such a picture.

        Raises:
            RequestError: it would never be taken; the text says why.
        """
        plan = self._planned(header, options)
        cost = plan.cost(input_bytes)
        facts = self._engine.facts().meeting(plan.need)
        precision = None if facts is None else self._precision(header, options, facts)
        refusal: EnlargerError | None = None
        try:
            self._admission.admit(cost)
        except CapacityError as error:
            refusal = error
        return Estimate(
            width_px=plan.out_px[0],
            height_px=plan.out_px[1],
            model=plan.model.id,
            precision=precision,
            tiles=plan.tiles,
            mflop=cost.mflop,
            held_bytes=plan.held_bytes,
            waiting=self._admission.load.requests,
            eta_s=self._admission.eta_s(cost),
            refusal=refusal,
        )

    def model_id(self, options: Options, width_px: int, height_px: int) -> str:
        """The model that such a picture is enlarged by.

        Raises:
            RequestError: it would not be; there is no such model, or the size is not to be had.
        """
        return model_for(self._catalogue, options, (width_px, height_px)).id

    async def _plan(self, data: bytes, options: Options) -> Plan:
        return self._planned(await self._decoders.probe(data), options)

    def _planned(self, header: Header, options: Options) -> Plan:
        return plan_of(header, options, catalogue=self._catalogue, limits=self._limits)

    async def _make(
        self,
        job: UpscaleRequest,
        data: bytes,
        plan: Plan,
        charge: Charge | None,
        listener: Listener,
        on_tile: OnTile,
    ) -> Outcome:
        """Admit it, and do it."""
        options = job.options
        watch = Stopwatch()
        cost = plan.cost(len(data))
        eta = self._admission.admit(cost)
        if charge is not None:
            charge(cost.out_px)
        limit_s = time_limit_s(eta, setting=self._settings.deadline_s)
        admitted_at = asyncio.get_running_loop().time()
        deadline = admitted_at + limit_s
        log.info(
            "admitted",
            # Not left to the context: the work may be that of another request's task.
            request_id=job.request_id,
            eta_s=None if eta is None else round(eta, 2),
            mflop=round(cost.mflop),
            held_mb=round(plan.held_bytes / 1e6, 1),
        )
        with self._admission.entry(cost) as entry:

            def progress(done: int, total: int) -> None:
                entry.progress(done, total)
                on_tile(done, total)

            def begin(total: int) -> None:
                # In this order: a job that computes knows how many tiles it has.
                listener.total(total)
                listener.stage("infer")

            try:
                async with asyncio.timeout_at(deadline), self._memory.hold(plan.held_bytes):
                    facts = await self._engine.ready_for(plan.need)
                    watch.lap("queue")
                    entry.handled()
                    listener.stage("decode")
                    picture = await self._decode(data, plan, to_srgb=options.color == "srgb")
                    entry.rests()
                    plan.check_alpha(options, has_alpha=picture.has_alpha)
                    watch.lap("decode")
                    enlarged = await enlarge(
                        picture,
                        plan=plan,
                        precision=self._precision(plan.header, options, facts),
                        engine=listener.through(self._engine),
                        executor=self._executor,
                        deadline=deadline,
                        admitted_at=admitted_at,
                        request_id=job.request_id,
                        on_planes=entry.needs,
                        on_total=begin,
                        on_tile=progress,
                        on_piece=listener.piece,
                    )
                    watch.lap("infer")
                    listener.stage("encode")
                    written, stored = await self._keeper.keep(enlarged, options, plan)
                    entry.finished()
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
            kept=kept(picture, written),
            header=plan.header,
            input_bytes=len(data),
            stages_s=watch.stages_s,
            eta_s=eta,
        )

    async def _source(self, job: UpscaleRequest) -> BytesSource:
        """The picture that a request sent, or the one behind the URL that it named."""
        if not isinstance(job.source, BytesSource):
            return BytesSource(await self._fetcher.fetch(job.source.url))
        size, limit = len(job.source.data), self._settings.max_file_size_bytes
        if size > limit:
            raise FileTooLarge(
                f"Image too large: {size} bytes (max: {limit})", limit=limit, actual=size
            )
        return job.source

    async def _decode(self, data: bytes, plan: Plan, *, to_srgb: bool) -> Picture:
        header = plan.header
        picture = await self._decoders.decode(
            data, to_srgb=to_srgb, frames=plan.frames, kind=plan.kind
        )
        if (picture.width_px, picture.height_px) != (header.width_px, header.height_px):
            raise UnreadableImage("the pixels do not have the size that the header says")
        return picture

    def _precision(self, header: Header, options: Options, facts: ModelFacts) -> str:
        return choose_precision(
            options.precision,
            setting=self._usual_precision,
            depth_bits=header.depth_bits,
            model=facts,
        )


def _key(source: BytesSource, job: UpscaleRequest, model: Model) -> str:
    """Equal for requests of one owner that give the same file."""
    return f"{job.owner} {source.sha256} {model.id} {model.sha256} {job.options.model_dump_json()}"
