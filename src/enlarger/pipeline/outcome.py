"""The outcome of a request, and the estimate of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from enlarger.engine.device import CPU, Device
from enlarger.errors import EnlargerError
from enlarger.picture.values import Content, Header, Note, Picture
from enlarger.pipeline.result_cache import Found
from enlarger.storage import StoredResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What was really computed for a picture."""

    model: str
    model_sha256: str
    engine: str
    precision: str
    tiles: int
    device: Device = CPU
    """What computed, with the class whose tiles it had."""

    computed_in: tuple[str, ...] = ()
    """All precisions that tiles were computed in, where that is not ``precision`` alone."""

    tiles_by_server: Counter[str] = field(default_factory=Counter)
    retried: int = 0
    """How often a tile had to be sent again."""

    repeated: Counter[str] = field(default_factory=Counter)
    """Tiles that were computed again, by reason."""

    reused: int = 0
    """Tiles that were equal to another one, so that they needed no computing."""

    denoise: int | None = None
    """The noise level of the model; None if it has no such choice."""

    infer_s: float = 0.0
    """Seconds of computing, summed over tiles."""

    color_delta: float = 0.0
    """Mean absolute difference in 8-bit steps between the input and the result averaged to its size. With two passes,
    that after the first; for an animation, the mean of its frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enlarged:
    """An enlarged picture, and what was computed for it."""

    picture: Picture
    ran: Ran
    content: Content | None = None
    """What the picture shows, if the model was chosen by that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A finished request. Its pixels are in its file only."""

    ran: Ran
    stored: StoredResult
    width_px: int
    height_px: int
    scale: float
    """How many times wider the whole result is than the whole picture."""

    notes: tuple[Note, ...]
    """Everything that was changed on the way."""

    kept: tuple[str, ...]
    """What the file preserves of the picture besides its pixels; see ``preserved``."""

    header: Header
    input_bytes: int
    found: Found = "miss"
    """Whether the result was computed for this request."""

    stages_s: Mapping[str, float] = field(default_factory=dict)
    """Seconds of this request by stage: ``fetch``, which includes planning, and, if the result was computed for this
    request, ``queue``, ``decode``, ``infer`` and ``encode``."""

    took_s: float = 0.0

    eta_s: float | None = None
    """Seconds that the request was estimated to take when it was admitted. None if no speed was known, or if the
    result was not computed for this request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The result and the cost of a request, if it came now."""

    width_px: int
    height_px: int
    model: str
    denoise: int | None
    """The noise level of the model; None if it has no such choice."""

    content: Content | None
    """What the picture shows, if the model was chosen by that."""

    content_basis: Literal["pixels", "assumed"] | None
    """Whether the pixels were looked at; None if ``content`` is."""

    precision: str | None
    """The precision that it would be computed in; None while no server has the model ready."""

    tiles: int
    """Tiles for the colours; alpha takes as many again."""

    mflop: float
    """Computing, including that for alpha if the file may have some."""

    held_bytes: int
    """Memory for the pixels."""

    waiting: int
    """Requests that are admitted and unfinished."""

    eta_s: float | None
    """Seconds until the request would be done; None while no speed is known."""

    wait_s: float | None
    """The part of ``eta_s`` for the requests before it; None while no speed is known."""

    refusal: EnlargerError | None
    """The error by which the request would be refused now; None if it would be admitted."""


def ran_as(device: Device, precisions: Iterable[str]) -> str:
    """Return a text that is equal where the samples are: empty for a CPU, whose pictures have always had that."""
    return (
        ""
        if device.is_cpu
        else f" {device.id} {device.tile_class} {'+'.join(sorted(set(precisions)))}"
    )


def preserved(picture: Picture, written: Picture) -> tuple[str, ...]:
    """Return the names of what the input had and the file of the result has as well.

    Args:
        picture: the input as it was decoded.
        written: what the file of the result holds.
    """
    by_name = {
        "alpha": picture.has_alpha and written.has_alpha,
        "gray": picture.is_gray and written.is_gray,
        "depth_16": picture.samples.itemsize == 2 and written.samples.itemsize == 2,
        # Not a profile that was made here from another statement of colours.
        "icc": bool(picture.icc and written.icc and picture.stated is None),
        "exif": bool(picture.exif and written.exif),
        "xmp": bool(picture.xmp and written.xmp),
        "iptc": bool(picture.iptc and written.iptc),
        "text": bool(picture.texts and written.texts),
        "dpi": bool(picture.dpi and written.dpi),
        "animation": bool(picture.motion and written.motion),
    }
    return tuple(name for name, is_preserved in by_name.items() if is_preserved)
