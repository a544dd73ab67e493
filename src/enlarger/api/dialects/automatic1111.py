"""The dialect of AUTOMATIC1111's web UI: its upscaling of single pictures ("extras")."""

from __future__ import annotations

import html
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from quart import Response
from typing_extensions import TypeAliasType, TypedDict

from enlarger.api import upscaling
from enlarger.api.dialects.dialect import (
    fault_of,
    options_of,
    refuse_unknown,
    renamed,
    source_named,
    unsupported,
)
from enlarger.api.dialects.model_names import ALIASES, model_named
from enlarger.api.streaming import FileText
from enlarger.api.v1.problems import Problem
from enlarger.api.v1.reader import RequestReader
from enlarger.api.v1.requests import Form
from enlarger.models import Catalogue
from enlarger.options import Options
from enlarger.pipeline.ledger import Load
from enlarger.pipeline.outcome import Outcome
from enlarger.pipeline.progress import Listener
from enlarger.request import UpscaleRequest

_BY, _TO = 0, 1

_DEFAULT_SCALE = 2
"""``resize_mode``: by a factor, or to a size."""

COMMON = (
    *("resize_mode", "upscaling_resize", "upscaling_resize_w", "upscaling_resize_h"),
    *("upscaling_crop", "upscaler_1", "upscaler_2", "extras_upscaler_2_visibility"),
    *("gfpgan_visibility", "codeformer_visibility"),
    # These change nothing in a picture whose faces are not restored:
    *("codeformer_weight", "upscale_first", "show_extras_results"),
)
"""Fields of a request besides its pictures."""

_NAMES = {
    "scale": "upscaling_resize",
    "width": "upscaling_resize_w",
    "height": "upscaling_resize_h",
}

Tiles = tuple[int, int]
"""Tiles that are done, and all tiles."""


class ExtraImage(TypedDict):
    """The response of AUTOMATIC1111's ``extra-single-image``."""

    html_info: str
    image: FileText
    """Base64 of a PNG."""


class ExtraImages(TypedDict):
    """The response of AUTOMATIC1111's ``extra-batch-images``."""

    html_info: str
    images: list[FileText]


class Upscaler(TypedDict):
    """A model as AUTOMATIC1111 lists it."""

    name: str
    model_name: str
    model_path: None
    model_url: None
    scale: float


Upscalers = TypeAliasType("Upscalers", list[Upscaler])


class ExtrasState(TypedDict):
    """The work in progress, as AUTOMATIC1111 describes it."""

    skipped: bool
    interrupted: bool
    stopping_generation: bool
    job: str
    job_count: int
    job_timestamp: str
    job_no: int
    sampling_step: int
    sampling_steps: int


class ExtrasProgress(TypedDict):
    """The progress of the requests of this dialect."""

    progress: float
    eta_relative: float
    state: ExtrasState
    current_image: None
    textinfo: None


class ExtrasOptions(TypedDict):
    """The settings that AUTOMATIC1111's clients ask for to find out that the service runs."""

    samples_format: str


class ExtrasRefusal(TypedDict):
    """An error as AUTOMATIC1111 has it."""

    error: str
    detail: str
    body: str
    errors: str
    code: str
    request_id: str


def read_single(form: Form, catalogue: Catalogue) -> UpscaleRequest:
    """Read the body of ``extra-single-image``.

    Raises:
        RequestError: a field cannot be used. The text has the name that this dialect gives it.
    """
    refuse_unknown(form.fields, ("image", *COMMON))
    options = _options(form.fields, catalogue)
    return UpscaleRequest(source=source_named(form.fields.get("image"), "image"), options=options)


def read_batch(form: Form, catalogue: Catalogue) -> list[UpscaleRequest]:
    """Read the body of ``extra-batch-images``.

    Raises:
        RequestError: a field cannot be used. The text has the name that this dialect gives it.
    """
    refuse_unknown(form.fields, ("imageList", *COMMON))
    options = _options(form.fields, catalogue)
    pictures = form.fields.get("imageList")
    if not isinstance(pictures, list) or not all(isinstance(one, dict) for one in pictures):
        raise fault_of("imageList", "type", "it must be a list of objects with data and name")
    return [
        UpscaleRequest(
            source=source_named(one.get("data"), f"imageList[{number}].data"), options=options
        )
        for number, one in enumerate(pictures)
    ]


def _options(fields: Mapping[str, Any], catalogue: Catalogue) -> Options:
    for restorer in ("gfpgan", "codeformer"):
        if _visibility(fields, f"{restorer}_visibility"):
            raise unsupported(
                f"{restorer}_visibility", "faces are not restored here; only 0 can be had"
            )
    second = fields.get("upscaler_2", "None")
    if second not in ("None", None, "") and _visibility(fields, "extras_upscaler_2_visibility"):
        raise unsupported(
            "extras_upscaler_2_visibility",
            "results of two models are not mixed here; only 0 can be had",
        )
    values = {
        "model": model_named(fields.get("upscaler_1", "None"), catalogue, field="upscaler_1"),
        "format": "png",
        "frames": "first",  # as the web UI does; html_info says so
        **_size(fields),
    }
    if "scale" in values and "upscaling_resize" not in fields:
        values["scale"] = catalogue.default_scale(values["model"], _DEFAULT_SCALE)
    return options_of(values, names=_NAMES, strict=False)


def _size(fields: Mapping[str, Any]) -> dict[str, Any]:
    mode = fields.get("resize_mode", _BY)
    if mode not in (_BY, _TO):
        raise fault_of("resize_mode", "range", "it must be 0 (by a factor) or 1 (to a size)")
    if mode == _BY:
        return {"scale": fields.get("upscaling_resize", _DEFAULT_SCALE)}
    crop = fields.get("upscaling_crop", True)
    if crop not in (True, False):
        raise fault_of("upscaling_crop", "type", "it must be true or false")
    return {
        "width": fields.get("upscaling_resize_w", 512),
        "height": fields.get("upscaling_resize_h", 512),
        "fit": "cover" if crop else "outside",
    }


def _visibility(fields: Mapping[str, Any], name: str) -> float:
    value = fields.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise fault_of(name, "range", "it must be a number from 0 to 1")
    return value


def upscalers(catalogue: Catalogue) -> Upscalers:
    """``GET /sdapi/v1/upscalers``: each model by the name that the web UI has for it, if any, and by its id."""
    return [
        {
            "name": name,
            "model_name": model.id,
            "model_path": None,
            "model_url": None,
            "scale": float(model.scale),
        }
        for model in catalogue
        for name in (*ALIASES.get(model.id, ())[:1], model.id)
    ]


def progress(load: Load, followed: Collection[Tiles]) -> ExtrasProgress:
    """``GET /sdapi/v1/progress``: the share of this dialect's tiles that is done, and the estimate for the whole queue."""
    done, total = sum(done for done, _ in followed), sum(total for _, total in followed)
    busy = load.requests > 0
    return {
        "progress": min(0.99, 0.01 + (done / total if total else 0.0)) if busy else 0.0,
        "eta_relative": round(load.wait_s, 1),
        "state": {
            "skipped": False,
            "interrupted": False,
            "stopping_generation": False,
            "job": "extras" if busy else "",
            "job_count": load.requests,
            "job_timestamp": "0",
            "job_no": 0,
            "sampling_step": done,
            "sampling_steps": total,
        },
        "current_image": None,
        "textinfo": None,
    }


def html_info(outcome: Outcome) -> str:
    """The facts of a result as a line of HTML: its scale, what computed it, and its notes."""
    ran = outcome.ran
    facts = [
        f"Postprocess upscale by: {outcome.scale:.6g}",
        f"Postprocess upscaler: {ran.model}",
        f"{ran.engine} {ran.precision}",
        *(f"{note.code}: {note.detail}" for note in outcome.notes),
    ]
    return f"<p>{html.escape(', '.join(facts))}</p>"


def error_body(problem: Problem) -> ExtrasRefusal:
    """Return a problem as AUTOMATIC1111 writes errors."""
    return {
        "error": problem["title"],
        "detail": problem["detail"],
        "body": "",
        "errors": problem["detail"],
        "code": problem["code"],
        "request_id": problem["request_id"],
    }


@dataclass(kw_only=True)
class Automatic1111:
    """The handlers of the routes."""

    upscaler: upscaling.Upscaler
    reader: RequestReader
    _tiles: dict[object, Tiles] = field(default_factory=dict)
    """Progress of each running request, for ``GET /sdapi/v1/progress``."""

    async def single(self) -> Response:
        """``POST /sdapi/v1/extra-single-image``."""
        job = await self.reader.read(read_single, await self.reader.json_form())
        with self._followed() as listener, renamed(_NAMES):
            outcome = await self.upscaler.make(job, listener)
        body: ExtraImage = {
            "html_info": html_info(outcome),
            "image": await self.upscaler.text_of(outcome.stored),
        }
        return self.upscaler.answer(body, outcome)

    async def batch(self) -> Response:
        """``POST /sdapi/v1/extra-batch-images``: one picture after another. The first error ends it."""
        jobs = await self.reader.read(read_batch, await self.reader.json_form())
        with self._followed() as listener, renamed(_NAMES):
            outcomes = [await self.upscaler.make(job, listener) for job in jobs]
        body: ExtraImages = {
            "html_info": "".join(map(html_info, outcomes)),
            "images": [await self.upscaler.text_of(outcome.stored) for outcome in outcomes],
        }
        return self.upscaler.answer(body, *outcomes)

    async def upscalers(self) -> Upscalers:
        """``GET /sdapi/v1/upscalers``."""
        return upscalers(self.upscaler.catalogue)

    async def progress(self) -> ExtrasProgress:
        """``GET /sdapi/v1/progress``."""
        return progress(self.upscaler.pipeline.load, self._tiles.values())

    async def options(self) -> ExtrasOptions:
        """``GET /sdapi/v1/options``, with which clients check the connection."""
        return {"samples_format": "png"}

    @contextmanager
    def _followed(self) -> Iterator[Listener]:
        """Keep the progress of a request for ``progress`` while it runs."""
        key = object()

        def tile(done: int, total: int) -> None:
            self._tiles[key] = done, total

        try:
            yield Listener(tile=tile)
        finally:
            self._tiles.pop(key, None)
