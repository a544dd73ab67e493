"""The life of one request: fetch -> probe -> admit -> decode -> enlarge -> encode -> store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import structlog

from enlarger.config import Settings
from enlarger.engine import Engine
from enlarger.errors import (
    DeadlineExceeded,
    Draining,
    FileTooLarge,
    ImageTooLarge,
    InvalidOption,
    OutputTooLarge,
    UnreadableImage,
)
from enlarger.fetch import Fetcher
from enlarger.job import SCALES, BytesSource, Job, Options
from enlarger.models import Catalogue, Model
from enlarger.picture import Header, Picture
from enlarger.picture.encode import check_kind, encode, kind_for, suffix_of
from enlarger.picture.workers import Decoders
from enlarger.pipeline.admission import Ledger, Load, MemoryBudget, admit, time_limit_s
from enlarger.pipeline.enlarging import (
    Enlarged,
    OnTile,
    Wanted,
    enlarge,
    plan_route,
    wanted_of,
)
from enlarger.pipeline.finishing import finished, kept
from enlarger.pipeline.passes import Route
from enlarger.store import Store, StoredFile
from enlarger.wire import ModelFacts

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A finished request."""

    enlarged: Enlarged
    written: Picture
    """What the file holds, with notes on all that was changed on the way."""

    kept: tuple[str, ...]
    """What the file has of the picture besides its pixels."""

    stored: StoredFile
    header: Header
    input_bytes: int
    took_s: float


class Pipeline:
    """All that happens to a picture between the socket and the disk. The composition root makes one."""

    def __init__(
        self,
        *,
        engine: Engine,
        catalogue: Catalogue,
        fetcher: Fetcher,
        decoders: Decoders,
        executor: ThreadPoolExecutor,
        store: Store,
        settings: Settings,
        draining: Callable[[], bool] = lambda: False,
    ) -> None:
        self._engine = engine
        self._catalogue = catalogue
        self._fetcher = fetcher
        self._decoders = decoders
        self._executor = executor
        self._store = store
        self._settings = settings
        self._ledger = Ledger()
        self._memory = MemoryBudget(settings.picture_memory_mib << 20)
        self._draining = draining

    @property
    def load(self) -> Load:
        """What is admitted now."""
        return Load(
            requests=self._ledger.requests,
            mflop=self._ledger.mflop,
            mflop_per_s=self._engine.facts().mflop_per_s,
        )

    @property
    def queued_px(self) -> int:
        """LR pixels of the pictures admitted and unfinished."""
        return self._ledger.lr_px

    async def run(self, job: Job, *, on_tile: OnTile | None = None) -> Outcome:
        """Make the picture that ``job`` asks for.

        Raises:
            RequestError: the job or its picture cannot be taken; the text says why.
            CapacityError: not now, or not in time.
            EngineError: the engines failed on it.
            StorageFull: the result could not be written.
        """
        started = time.monotonic()
        options = job.options
        if self._draining():
            raise Draining("the server is stopping", retry_after_s=10)
        self._catalogue.choose(options.model, scale=SCALES[0])
        data = await self._bytes(job)
        header = await self._decoders.probe(data)
        # Before anything is planned: a header may state millions of pixels a side, and planning takes its time.
        check_side(header, max_side_px=self._settings.max_image_dimension_px)
        wanted = wanted_of(options, header.width_px, header.height_px)
        model = choose_model(self._catalogue, options.model, header, wanted)
        way = plan_route(header.width_px, header.height_px, model=model, wanted=wanted)
        check_output(
            header,
            out_px=way.out.width_px * way.out.height_px,
            scale=wanted.size_px[0] / header.width_px,
            max_output_px=self._settings.output_limit_px,
        )
        kind = kind_for(options.format, header.format)
        check_kind(
            kind,
            size_px=(way.out.width_px, way.out.height_px),
            has_alpha=False,
            background=options.background_rgb,
        )
        mflop = model.mflop_per_px * way.lr_px
        load = self.load
        admit(load, queue_limit=self._settings.queue_limit, max_wait_s=self._settings.max_wait_s)
        if self._draining():
            raise Draining("the server is stopping", retry_after_s=10)
        limit_s = time_limit_s(load, mflop, setting=self._settings.deadline_s)
        deadline = asyncio.get_running_loop().time() + limit_s
        lr_px = header.width_px * header.height_px
        with self._ledger.entry(mflop=mflop, lr_px=lr_px) as entry:

            def progress(done: int, total: int) -> None:
                entry.progress(done, total)
                if on_tile is not None:
                    on_tile(done, total)

            try:
                async with (
                    asyncio.timeout_at(deadline),
                    self._memory.hold(pixel_bytes(way, lr_px, scale=model.scale)),
                ):
                    facts = await self._engine.ready_for(model.id, model.sha256)
                    picture = await self._decode(data, header, to_srgb=options.color == "srgb")
                    check_kind(
                        kind,
                        size_px=(way.out.width_px, way.out.height_px),
                        has_alpha=picture.has_alpha,
                        background=options.background_rgb,
                    )
                    enlarged = await enlarge(
                        picture,
                        model=facts,
                        wanted=wanted,
                        precision=self._precision(options, facts),
                        engine=self._engine,
                        executor=self._executor,
                        deadline=deadline,
                        request_id=job.request_id,
                        on_tile=progress,
                    )
                    written = finished(enlarged, options, kind=kind)
                    stored = await asyncio.get_running_loop().run_in_executor(
                        self._executor, self._keep, written, kind, options.quality
                    )
            except TimeoutError as error:
                raise DeadlineExceeded(f"deadline exceeded after {limit_s:.0f} s") from error
        outcome = Outcome(
            enlarged=enlarged,
            written=written,
            kept=kept(picture, written),
            stored=stored,
            header=header,
            input_bytes=len(data),
            took_s=time.monotonic() - started,
        )
        log.info(
            "picture_done",
            model=enlarged.model,
            precision=enlarged.precision,
            width_px=header.width_px,
            height_px=header.height_px,
            result_width_px=written.width_px,
            result_height_px=written.height_px,
            tiles=enlarged.tiles,
            retried=enlarged.retried,
            infer_s=round(enlarged.infer_s, 2),
            took_s=round(outcome.took_s, 2),
        )
        return outcome

    async def _bytes(self, job: Job) -> bytes:
        if not isinstance(job.source, BytesSource):
            return await self._fetcher.fetch(job.source.url)
        size, limit = len(job.source.data), self._settings.max_file_size_bytes
        if size > limit:
            raise FileTooLarge(
                f"Image too large: {size} bytes (max: {limit})", limit=limit, actual=size
            )
        return job.source.data

    async def _decode(self, data: bytes, header: Header, *, to_srgb: bool) -> Picture:
        picture = await self._decoders.decode(data, to_srgb=to_srgb)
        if (picture.width_px, picture.height_px) != (header.width_px, header.height_px):
            raise UnreadableImage("the pixels do not have the size that the header says")
        return picture

    def _precision(self, options: Options, facts: ModelFacts) -> str:
        wanted = self._settings.precision if options.precision == "auto" else options.precision
        if wanted == "auto":
            return facts.precisions[0]
        if wanted not in facts.precisions:
            raise InvalidOption(
                f"Invalid precision: {wanted} is not to be had on this server; there is {', '.join(facts.precisions)}"
            )
        return wanted

    def _keep(self, picture: Picture, kind: str, quality: int | None) -> StoredFile:
        """On a thread: encode into the store."""
        with self._store.writing() as aside:
            encode(picture, aside, kind=kind, quality=quality)
            return self._store.publish(aside, suffix=suffix_of(kind))


def choose_model(catalogue: Catalogue, model_id: str, header: Header, wanted: Wanted) -> Model:
    """The model for a result of that size: one of 2x is enough where there is one.

    Raises:
        UnknownModel: no such model is installed.
    """
    width, height = wanted.size_px
    doubled = width <= 2 * header.width_px and height <= 2 * header.height_px
    return catalogue.choose(model_id, scale=2 if doubled else 4)


def check_side(header: Header, *, max_side_px: int) -> None:
    """Hold the sides that a header states against the limit.

    Raises:
        ImageTooLarge: one is longer than allowed.
    """
    width, height = header.width_px, header.height_px
    if max(width, height) > max_side_px:
        raise ImageTooLarge(
            f"Image dimensions too large: {width}x{height} (max: {max_side_px})",
            limit=max_side_px,
            actual=max(width, height),
        )


def check_output(header: Header, *, out_px: int, scale: float, max_output_px: int) -> None:
    """Hold the size of a result against the limit.

    Raises:
        OutputTooLarge: it would have more pixels than allowed.
    """
    if out_px > max_output_px:
        raise OutputTooLarge(
            f"Upscaled image would be too large: ~{out_px * 3} bytes",
            limit=max_output_px,
            actual=out_px,
            details={
                "original_size": {"width": header.width_px, "height": header.height_px},
                "scale": int(scale) if scale == int(scale) else scale,
            },
        )


def pixel_bytes(way: Route, lr_px: int, *, scale: int) -> int:
    """Memory that samples take at the worst, with four channels of 16 bits."""
    # Source, canvases, result, and the result once more when alpha is joined to it.
    canvases = sum(step.made.width_px * step.made.height_px for step in way.passes) * scale**2
    return 4 * 2 * (lr_px + canvases + 2 * way.out.width_px * way.out.height_px)
