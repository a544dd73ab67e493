"""The life of one request: fetch -> probe -> admit -> decode -> enlarge -> encode -> store."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeVar

import structlog

from enlarger import tracing
from enlarger.config import Settings
from enlarger.engine import Engine
from enlarger.errors import (
    CapacityError,
    DeadlineExceeded,
    Draining,
    EnlargerError,
    FileTooLarge,
    UnreadableImage,
)
from enlarger.job import SCALES, BytesSource, Job, Options
from enlarger.models import Catalogue, Model
from enlarger.picture.encode import check_kind, kind_for, suffix_of
from enlarger.picture.preview import preview
from enlarger.picture.values import Header, Note, Picture
from enlarger.picture.workers import Decoders
from enlarger.pipeline.admission import (
    INPUT_SHARE,
    Arrivals,
    Cost,
    Handling,
    Ledger,
    Load,
    MemoryBudget,
    admit,
    eta_s,
    time_limit_s,
)
from enlarger.pipeline.enlarging import (
    Enlarged,
    OnPiece,
    OnTile,
    Ran,
    Wanted,
    enlarge,
    plan_route,
    wanted_of,
)
from enlarger.pipeline.finishing import kept
from enlarger.pipeline.fitting import write
from enlarger.pipeline.passes import Route
from enlarger.pipeline.planning import (
    check_output,
    check_side,
    choose_model,
    choose_precision,
    frame_count,
    least_size_px,
    pixel_bytes,
)
from enlarger.pipeline.results import Found, Results
from enlarger.store import Store, StoredFile
from enlarger.threads import in_thread
from enlarger.wire import ModelFacts

if TYPE_CHECKING:  # a command line that fetches nothing need not load what that takes
    from enlarger.fetch import Fetcher

log = structlog.get_logger()

_PLACEHOLDER_BYTES = 8
"""Per pixel of a placeholder: resampled, on white, and written."""

_ARRIVALS_PER_PLACE = 2
_ARRIVALS_SHARE = 2
"""All who are here may be twice as many as are admitted, and hold half of the memory for pixels in files."""

Charge = Callable[[int], None]
"""Takes output pixels from what a caller may still ask for."""

Stage = Literal["fetch", "decode", "infer", "encode"]

T = TypeVar("T")


def _ignore(*_: object) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Who wants to know of a request while it runs. All are called on the event loop."""

    plan: Callable[[Header, int, float], None] = _ignore
    """Told what has to be done: what the file says, its bytes, and the computing in mflop."""

    stage: Callable[[Stage], None] = _ignore
    """Told of each stage as it begins."""

    total: Callable[[int], None] = _ignore
    """Told how many tiles there are, before ``infer`` begins."""

    tile: OnTile = _ignore
    """Told of each finished tile."""

    piece: OnPiece | None = None
    """Given the pixels of each finished tile. Only who computes has them, not who shares what another one makes."""

    through: Callable[[Engine], Engine] = lambda engine: engine
    """Puts something between a request and the engine, such as a memory of finished tiles."""


_NOBODY = Listener()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A finished request. Pixels are in its file alone."""

    ran: Ran
    stored: StoredFile
    width_px: int
    height_px: int
    scale: float
    """How many times wider the whole result is than the whole picture."""

    notes: tuple[Note, ...]
    """All that was changed on the way."""

    kept: tuple[str, ...]
    """What the file has of the picture besides its pixels."""

    header: Header
    input_bytes: int
    found: Found = "miss"
    """Whether it was computed for this request."""

    stages_s: Mapping[str, float] = field(default_factory=dict)
    """Seconds of this request by stage: ``fetch`` (and plan), and if it was computed for it ``queue``, ``decode``,
    ``infer`` and ``encode``."""

    took_s: float = 0.0

    eta_s: float | None = None
    """Seconds that it was expected to take when it was admitted; None if no speed was known, or if it was not
    computed for this request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What is to be done with a file, before any of it is."""

    header: Header
    frames: int
    wanted: Wanted
    model: Model
    way: Route
    kind: str
    """Format of the result."""

    @property
    def held_bytes(self) -> int:
        """Memory for its pixels."""
        lr_px = self.header.width_px * self.header.height_px
        return pixel_bytes(self.way, lr_px, scale=self.model.scale, frames=self.frames)

    def cost(self, input_bytes: int) -> Cost:
        """What it takes at most, with a file of that size."""
        # Alpha goes through the network like another picture, unless it is the same everywhere: pixels tell, later.
        planes = self.frames * (2 if self.header.may_be_transparent else 1)
        return Cost(
            mflop=self.model.mflop_per_px * self.way.lr_px * planes,
            tile_mflop=self.model.mflop_per_px * self.way.tile_lr_px,
            planes=planes,
            lr_px=self.header.width_px * self.header.height_px * self.frames,
            out_px=self.way.out.width_px * self.way.out.height_px * self.frames,
            input_bytes=input_bytes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a request would make and take, if it came now."""

    width_px: int
    height_px: int
    model: str
    precision: str | None
    """What it would be computed in; None while no server has the model ready."""

    tiles: int
    """For its colours; alpha takes as many again."""

    mflop: float
    """Computing, with that for alpha where the file may have some."""

    held_bytes: int
    """Memory for its pixels."""

    waiting: int
    """Requests that are here."""

    eta_s: float | None
    """Seconds until it would be done; None while no speed is known."""

    refusal: EnlargerError | None
    """Why it would be refused now, if it would."""


class _Watch:
    """Seconds from one lap to the next."""

    def __init__(self) -> None:
        self._started = self._lapped = time.monotonic()
        self.stages_s: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        """What was done since the last lap was this stage."""
        now = time.monotonic()
        self.stages_s[stage] = now - self._lapped
        self._lapped = now
        tracing.record(stage, self.stages_s[stage])

    @property
    def total_s(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._started


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
        settings: the limits.
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
        store: Store,
        settings: Settings,
        draining: Callable[[], bool] = lambda: False,
    ) -> None:
        self._engine = engine
        self._catalogue = catalogue
        self._fetcher = fetcher
        self._decoders = decoders
        self._executor = executor
        self._encoders = encoders
        self._store = store
        self._settings = settings
        self._ledger = Ledger(Handling(decoders.processes))
        self._memory = MemoryBudget(settings.picture_memory_mib << 20)
        self._arrivals = Arrivals(
            limit=_ARRIVALS_PER_PLACE * settings.queue_limit,
            limit_bytes=(settings.picture_memory_mib << 20) // _ARRIVALS_SHARE,
        )
        self._draining = draining
        self._results = Results(self._copy)

    @property
    def load(self) -> Load:
        """What is admitted now."""
        return self._ledger.load(self._engine.facts().all_mflop_per_s)

    @property
    def mflop_per_s(self) -> float | None:
        """Measured speed of all servers together: see ``Load``."""
        return self._engine.facts().all_mflop_per_s

    @property
    def held_bytes(self) -> int:
        """Memory that is counted for pixels of the pictures here."""
        return self._memory.held_bytes

    @property
    def queued_px(self) -> int:
        """LR pixels of the pictures admitted and unfinished."""
        return self._ledger.lr_px

    async def run(
        self, job: Job, *, listener: Listener = _NOBODY, charge: Charge | None = None
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
        watch = _Watch()
        if self._draining():
            raise Draining("the server is stopping", retry_after_s=10)
        self._catalogue.choose(job.options.model, scale=SCALES[0])
        come_bytes = len(job.source.data) if isinstance(job.source, BytesSource) else 0
        load = self.load
        one_s = load.wait_s / max(1, load.requests)
        with self._arrivals.arrival(come_bytes, retry_after_s=one_s) as holds:
            listener.stage("fetch")
            data = await self._bytes(job)
            holds(len(data) - come_bytes)
            plan = await self._plan(data, job.options)
            listener.plan(plan.header, len(data), plan.cost(len(data)).mflop)
            key = await in_thread(self._executor, _key, data, job, plan.model)
            watch.lap("fetch")
            made, found = await self._results.get(
                key,
                partial(self._make, job, data, plan, charge, listener),
                anew=job.anew,
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

    async def header(self, job: Job) -> tuple[Header, int]:
        """What the job's picture says of itself, and the bytes of its file.

        Raises:
            RequestError: it cannot be had, or is none that is read here.
        """
        data = await self._bytes(job)
        return await self._decoders.probe(data), len(data)

    async def placeholder(self, job: Job) -> bytes:
        """What is to be made, as plain resampling makes it: a JPEG file of its size, for who waits for the real one.

        Raises:
            RequestError: the job or its picture cannot be taken.
        """
        data = await self._bytes(job)
        plan = await self._plan(data, job.options)
        out, header = plan.way.out, plan.header
        column = header.width_px / plan.wanted.size_px[0]
        row = header.height_px / plan.wanted.size_px[1]
        box = (out.left * column, out.top * row, out.right * column, out.bottom * row)
        out_px = out.width_px * out.height_px
        async with self._memory.hold(_PLACEHOLDER_BYTES * out_px):
            picture = await self._decoders.decode(data, to_srgb=True, frames=1)
            show = partial(preview, picture.samples, (out.width_px, out.height_px), box=box)
            return await in_thread(self._executor, show)

    def estimate(self, header: Header, options: Options, *, input_bytes: int) -> Estimate:
        """What it would be to enlarge such a picture.

        Raises:
            RequestError: it would never be taken; the text says why.
        """
        plan = self._plan_of(header, options)
        cost = plan.cost(input_bytes)
        facts = self._engine.facts().model(plan.model.id)
        precision = None if facts is None else self._precision(header, options, facts)
        refusal: EnlargerError | None = None
        try:
            self._admit(cost)
        except CapacityError as error:
            refusal = error
        return Estimate(
            width_px=plan.way.out.width_px,
            height_px=plan.way.out.height_px,
            model=plan.model.id,
            precision=precision,
            tiles=sum(len(step.boxes) for step in plan.way.passes) * plan.frames,
            mflop=cost.mflop,
            held_bytes=plan.held_bytes,
            waiting=self._ledger.requests,
            eta_s=eta_s(self.load, self._load_of(cost)),
            refusal=refusal,
        )

    def model_id(self, options: Options, width_px: int, height_px: int) -> str:
        """The model that such a picture is enlarged by.

        Raises:
            RequestError: it would not be; there is no such model, or the size is not to be had.
        """
        wanted = wanted_of(options, width_px, height_px)
        return choose_model(self._catalogue, options.model, (width_px, height_px), wanted).id

    async def _plan(self, data: bytes, options: Options) -> _Plan:
        return self._plan_of(await self._decoders.probe(data), options)

    def _plan_of(self, header: Header, options: Options) -> _Plan:
        # Before anything is planned: a header may state millions of pixels a side, and planning takes its time.
        check_side(header, max_side_px=self._settings.max_image_dimension_px)
        frames = frame_count(options, header, limit=self._settings.max_frames)
        wanted = wanted_of(options, header.width_px, header.height_px)
        size_px = (header.width_px, header.height_px)
        model = choose_model(self._catalogue, options.model, size_px, wanted)
        way = plan_route(header.width_px, header.height_px, model=model, wanted=wanted)
        check_output(
            header,
            out_px=way.out.width_px * way.out.height_px,
            frames=frames,
            scale=wanted.size_px[0] / header.width_px,
            max_output_px=self._settings.output_limit_px,
        )
        kind = kind_for(options.format, header.format)
        plan = _Plan(header=header, frames=frames, wanted=wanted, model=model, way=way, kind=kind)
        _check_kind(plan, options, has_alpha=False)
        return plan

    async def _make(
        self,
        job: Job,
        data: bytes,
        plan: _Plan,
        charge: Charge | None,
        listener: Listener,
        on_tile: OnTile,
    ) -> Outcome:
        """Admit it, and do it."""
        options = job.options
        watch = _Watch()
        cost = plan.cost(len(data))
        eta = self._admit(cost)
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
        with self._ledger.entry(cost) as entry:

            def progress(done: int, total: int) -> None:
                entry.progress(done, total)
                on_tile(done, total)

            def begin(total: int) -> None:
                # In this order: a job that computes knows how many tiles it has.
                listener.total(total)
                listener.stage("infer")

            try:
                async with asyncio.timeout_at(deadline), self._memory.hold(plan.held_bytes):
                    facts = await self._engine.ready_for(plan.model.id, plan.model.sha256)
                    watch.lap("queue")
                    entry.handled()
                    listener.stage("decode")
                    picture = await self._decode(data, plan, to_srgb=options.color == "srgb")
                    entry.rests()
                    _check_kind(plan, options, has_alpha=picture.has_alpha)
                    watch.lap("decode")
                    enlarged = await enlarge(
                        picture,
                        model=facts,
                        wanted=plan.wanted,
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
                    keep = partial(self._keep, enlarged, options, plan)
                    written, stored = await self._file(self._encoders, keep, lambda kept: kept[1])
                    entry.finished()
                    watch.lap("encode")
            except TimeoutError as error:
                raise DeadlineExceeded(f"deadline exceeded after {limit_s:.0f} s") from error
        return Outcome(
            ran=enlarged.ran,
            stored=stored,
            width_px=written.width_px,
            height_px=written.height_px,
            scale=plan.wanted.size_px[0] / plan.header.width_px,
            notes=written.notes,
            kept=kept(picture, written),
            header=plan.header,
            input_bytes=len(data),
            stages_s=watch.stages_s,
            eta_s=eta,
        )

    def _load_of(self, cost: Cost) -> Load:
        """What one more request would be."""
        facts = self._engine.facts()
        return self._ledger.load_of(cost, facts.all_mflop_per_s, parallel=facts.parallel)

    def _admit(self, cost: Cost) -> float | None:
        """Let it in; gives the estimate of how long it will take."""
        here, new = self.load, self._load_of(cost)
        admit(
            here,
            new,
            queue_limit=self._settings.queue_limit,
            max_wait_s=self._settings.max_wait_s,
            input_limit_bytes=(self._settings.picture_memory_mib << 20) // INPUT_SHARE,
            deadline_s=self._settings.deadline_s,
        )
        if self._draining():
            raise Draining("the server is stopping", retry_after_s=10)
        return eta_s(here, new)

    async def _copy(self, outcome: Outcome) -> Outcome | None:
        """The same result for another request, in a file of its own."""
        copy = partial(self._store.copy, outcome.stored)
        stored = await self._file(self._executor, copy, lambda copied: copied)
        return None if stored is None else replace(outcome, stored=stored)

    async def _bytes(self, job: Job) -> bytes:
        if not isinstance(job.source, BytesSource):
            return await self._fetcher.fetch(job.source.url)
        size, limit = len(job.source.data), self._settings.max_file_size_bytes
        if size > limit:
            raise FileTooLarge(
                f"Image too large: {size} bytes (max: {limit})", limit=limit, actual=size
            )
        return job.source.data

    async def _decode(self, data: bytes, plan: _Plan, *, to_srgb: bool) -> Picture:
        header = plan.header
        picture = await self._decoders.decode(data, to_srgb=to_srgb, frames=plan.frames)
        if (picture.width_px, picture.height_px) != (header.width_px, header.height_px):
            raise UnreadableImage("the pixels do not have the size that the header says")
        return picture

    def _precision(self, header: Header, options: Options, facts: ModelFacts) -> str:
        return choose_precision(
            options.precision,
            setting=self._settings.precision,
            depth_bits=header.depth_bits,
            model=facts,
        )

    def _keep(
        self, enlarged: Enlarged, options: Options, plan: _Plan
    ) -> tuple[Picture, StoredFile]:
        """On a thread: encode into the store."""
        least_px = least_size_px(plan.wanted, plan.header, plan.way)
        return self._store.put(
            lambda aside: write(enlarged, options, aside, kind=plan.kind, least_px=least_px),
            suffix=suffix_of(plan.kind),
        )

    async def _file(
        self,
        executor: ThreadPoolExecutor,
        make: Callable[[], T],
        file_of: Callable[[T], StoredFile | None],
    ) -> T:
        """On a thread, which cannot be interrupted: a file made for one who has gone meanwhile is deleted."""

        def discard(done: Future[T]) -> None:
            if not done.cancelled() and done.exception() is None:
                file = file_of(done.result())
                if file is not None:
                    self._store.delete(file)

        # In the request's context, so that what is logged there has its id.
        making = executor.submit(copy_context().run, make)
        try:
            return await asyncio.wrap_future(making)
        except asyncio.CancelledError:
            making.add_done_callback(discard)
            raise


def _key(data: bytes, job: Job, model: Model) -> str:
    """Equal for requests of one owner that give the same file."""
    content = hashlib.sha256(data).hexdigest()
    return f"{job.owner} {content} {model.id} {model.sha256} {job.options.model_dump_json()}"


def _check_kind(plan: _Plan, options: Options, *, has_alpha: bool) -> None:
    check_kind(
        plan.kind,
        size_px=(plan.way.out.width_px, plan.way.out.height_px),
        has_alpha=has_alpha,
        background=options.background_rgb,
        frames=plan.frames,
    )
