"""Files that a server enlarges: the same rules for names, the same words, no engine here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import cast

from rich.console import Console

from enlarger.client import AsyncClient, JobStatus, Upscaled, UpscaleOptions
from enlarger.errors import AnimationUnsupported, UnexpectedAnswer
from enlarger.files import Work
from enlarger.job import Options
from enlarger.picture.encode import MEDIA_TYPES, holds_frames
from enlarger.shell.run import (
    OnTile,
    check_folder,
    is_there,
    named_kind,
    read,
    run,
    written_aside,
)


class RemoteShell:
    """Has files enlarged by a server, and tells on a console how it goes.

    Args:
        client: the server.
        console: where progress, results and failures are shown.
    """

    def __init__(self, client: AsyncClient, console: Console) -> None:
        self._client = client
        self._console = console

    async def run(self, work: Sequence[Work], options: Options, *, skip_existing: bool) -> int:
        """Enlarge all; gives the exit status. A picture that fails never stops those after it."""
        return await run(
            work,
            self._console,
            lambda item, on_tile: self._one(item, options, on_tile),
            is_there=partial(is_there, options=options) if skip_existing else None,
        )

    async def _one(self, item: Work, options: Options, on_tile: OnTile) -> str:
        """Enlarge one picture; gives what to say of it."""
        started = time.monotonic()
        data = read(item.source)
        kind = named_kind(item, options)
        check_folder(item, item.stem)
        picture = await self._upscaled(data, options, kind or options.format, on_tile)
        target = item.target(_suffix(picture))
        with written_aside(target) as aside:
            aside.write_bytes(picture.data)
        return line_of(picture, target, took_s=time.monotonic() - started)

    async def _upscaled(
        self, data: bytes, options: Options, kind: str | None, on_tile: OnTile
    ) -> Upscaled:
        fields = {**options.model_dump(exclude_defaults=True, exclude_none=True), "format": kind}
        # News make the server keep a job, which only somebody who looks is worth.
        on_progress = partial(_tell, on_tile) if self._console.is_terminal else None
        try:
            return await self._client.upscale(
                data, on_progress=on_progress, **cast(UpscaleOptions, fields)
            )
        except AnimationUnsupported:
            # As without a server: all frames where the result's format holds them.
            is_moving = kind in (None, "auto") or holds_frames(kind or "png")
            fields["frames"] = "all" if is_moving else "first"
            return await self._client.upscale(
                data, on_progress=on_progress, **cast(UpscaleOptions, fields)
            )


def _tell(on_tile: OnTile, job: JobStatus) -> None:
    if job.tiles_total:
        on_tile(job.tiles_done, job.tiles_total)


def _suffix(picture: Upscaled) -> str:
    for suffix, media_type in MEDIA_TYPES.items():
        if media_type == picture.media_type:
            return suffix
    raise UnexpectedAnswer(f"a picture of a type that is not known here: {picture.media_type}")


def line_of(picture: Upscaled, target: object, *, took_s: float | None = None) -> str:
    """What to say of a result."""
    took = "" if took_s is None else f", {took_s:.1f} s"
    notes = "".join(f"\n  {code}" for code in picture.notes)
    return (
        f"{target}: {picture.original_width_px}x{picture.original_height_px} to "
        f"{picture.width_px}x{picture.height_px}, {picture.model} {picture.precision}, "
        f"{picture.tiles} tiles{took}{notes}"
    )
