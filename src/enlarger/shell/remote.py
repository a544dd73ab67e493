"""Upscales pictures on a server, with the same rules for names and the same messages, but without an engine here."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from typing import cast

from enlarger.client import AsyncClient, JobStatus, Upscaled, UpscaleOptions
from enlarger.errors import (
    AnimationUnsupported,
    EnlargerError,
    InvalidOption,
    ServerUnreachable,
    Unauthorized,
    UnexpectedAnswer,
    UnreadableImage,
)
from enlarger.options import Options
from enlarger.picture.formats import MEDIA_TYPES, holds_frames, kind_for, suffix_of
from enlarger.picture.sandbox.pool import Decoders
from enlarger.picture.values import Header
from enlarger.shell import names
from enlarger.shell.estimates import Estimated, file_bytes
from enlarger.shell.progress import Follower
from enlarger.shell.sources import Reader, Source
from enlarger.shell.targets import Work
from enlarger.shell.writing import written_aside


async def native_scale(client: AsyncClient, model_id: str) -> int | None:
    """Return the scale of a model; None if it has none of its own, or if the server does not know it.

    This is asked once for the whole run, so that a server that is away, or does not accept the key, is reported once.

    Raises:
        ServerUnreachable: the server does not answer.
        Unauthorized: the server does not accept the key. Other errors are reported with the pictures.
    """
    try:
        models = (await client.models()).models
    except (ServerUnreachable, Unauthorized):
        raise
    except EnlargerError:
        return None
    return next((model.native_scale for model in models if model.id == model_id), None)


class RemoteWorker:
    """Upscales pictures on a server; see ``run.Worker``.

    Args:
        client: the server.
        decoders: processes that read headers, for what must be known before a picture is sent.
        reader: reads the pictures' files; the server fetches URLs itself.
        is_watched: whether a user watches the progress, for which the server needs to make a job.
    """

    def __init__(
        self, client: AsyncClient, decoders: Decoders, reader: Reader, *, is_watched: bool
    ) -> None:
        self._client = client
        self._decoders = decoders
        self._reader = reader
        self._is_watched = is_watched

    async def own_kind(self, source: Source) -> str:
        """See ``run.Worker``."""
        if names.is_url(source.name):
            raise InvalidOption(
                f"Invalid format: the server fetches '{names.shown(source.name)}', so its format is not known here; "
                "give --format, or a file as OUT"
            )
        header = await self._decoders.probe(await self._reader.read(source))
        return kind_for("auto", header.format)

    async def estimate(self, item: Work, options: Options) -> Estimated:
        """See ``run.Worker``."""
        picture = await self._picture(item.source)
        header = await self._header(picture)
        fields = _fields(options, item.kind)
        try:
            estimate = await self._client.estimate(picture, **cast(UpscaleOptions, fields))
        except AnimationUnsupported:
            fields["frames"] = "all" if holds_frames(item.kind) else "first"
            estimate = await self._client.estimate(picture, **cast(UpscaleOptions, fields))
        if estimate.problem is not None:
            raise estimate.problem
        if estimate.width_px is None or estimate.height_px is None:
            raise UnexpectedAnswer("an estimate without the size of the result")
        frames = header.frames if header and fields.get("frames") == "all" else 1
        size_px = (estimate.width_px, estimate.height_px)
        return Estimated(
            picture_px=(header.width_px, header.height_px) if header else None,
            result_px=size_px,
            kind=item.kind,
            frames=frames,
            precision=estimate.precision,
            seconds=estimate.eta_s,
            memory_bytes=estimate.memory_bytes,
            file_bytes=file_bytes(
                item.kind,
                size_px,
                frames=frames,
                depth_bits=header.depth_bits if header else 8,
                channels=3 + (header is not None and header.may_be_transparent),
                max_bytes=options.max_bytes,
            ),
        )

    async def enlarge(
        self, item: Work, options: Options, shown: Follower, *, overwrite: bool
    ) -> str:
        """See ``run.Worker``."""
        started = time.monotonic()
        source = await self._picture(item.source)
        shown.stage("at the server")
        shown.plan(0, await self._expected_s(source, item, options))
        shown.stage("at the server")
        picture = await self._upscaled(source, _fields(options, item.kind), item.kind, shown)
        if MEDIA_TYPES[suffix_of(item.kind)] != picture.media_type:
            raise UnexpectedAnswer(
                f"the server made {picture.media_type}, and {item.kind} was asked for"
            )
        with written_aside(item.target, overwrite=overwrite) as aside:
            aside.write_bytes(picture.data)
        return line_of(picture, item.shown_target, took_s=time.monotonic() - started)

    async def submit(self, item: Work, options: Options) -> JobStatus:
        """Submit a picture as a job, which continues at the server, and return its state."""
        picture = await self._picture(item.source)
        fields = _fields(options, item.kind)
        header = await self._header(picture)
        if header is not None and header.is_animation and options.frames is None:
            fields["frames"] = "all" if holds_frames(item.kind) else "first"
        job = await self._client.submit(picture, **cast(UpscaleOptions, fields))
        return await job.status()

    async def _picture(self, source: Source) -> bytes | str:
        """Return what is sent to the server: a picture's bytes, or its URL."""
        if names.is_url(source.name):
            return source.name
        picture = await self._reader.read(source)
        if not picture:
            raise UnreadableImage("the file is empty")
        return picture

    async def _header(self, picture: bytes | str) -> Header | None:
        """Return the header of a file; None if it cannot be read here, so that the server decides."""
        if isinstance(picture, bytes):
            with suppress(EnlargerError):
                return await self._decoders.probe(picture)
        return None

    async def _expected_s(self, picture: bytes | str, item: Work, options: Options) -> float | None:
        """Return the expected seconds at the server; None if unknown. Errors are left to the request itself."""
        header = await self._header(picture)
        if header is None or header.is_animation:
            return None
        with suppress(EnlargerError):
            size_px = (header.width_px, header.height_px)
            fields = cast(UpscaleOptions, _fields(options, item.kind))
            return (await self._client.estimate(size_px=size_px, **fields)).eta_s
        return None

    async def _upscaled(
        self, source: bytes | str, fields: dict[str, object], kind: str, shown: Follower
    ) -> Upscaled:
        on_progress = partial(_tell, shown) if self._is_watched else None
        try:
            return await self._client.upscale(
                source, on_progress=on_progress, **cast(UpscaleOptions, fields)
            )
        except AnimationUnsupported:
            # All frames are the default if the result's format holds them, as without a server.
            fields["frames"] = "all" if holds_frames(kind) else "first"
            return await self._client.upscale(
                source, on_progress=on_progress, **cast(UpscaleOptions, fields)
            )


def _fields(options: Options, kind: str) -> dict[str, object]:
    return {**options.model_dump(exclude_defaults=True, exclude_none=True), "format": kind}


def _tell(shown: Follower, job: JobStatus) -> None:
    if job.tiles_total:
        shown.on_tile(job.tiles_done, job.tiles_total)
    if job.eta_s is not None:
        shown.expect(job.eta_s)


def line_of(picture: Upscaled, target: object, *, took_s: float | None = None) -> str:
    """Return the line of text that reports a result."""
    took = "" if took_s is None else f", {took_s:.1f} s"
    notes = "".join(f"\n  {code}" for code in picture.notes)
    shows = f", detected as {picture.content}" if picture.content else ""
    return (
        f"{target}: {picture.original_width_px}x{picture.original_height_px} to "
        f"{picture.width_px}x{picture.height_px}, {picture.model} {picture.precision}, "
        f"{picture.tiles} tiles{took}{shows}{notes}"
    )
