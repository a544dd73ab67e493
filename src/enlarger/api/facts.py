"""The parts of answers that the compatible routes and ``/v1`` share."""

from __future__ import annotations

from datetime import UTC, datetime

from typing_extensions import TypedDict

from enlarger.jobs import RunFacts
from enlarger.pipeline.outcome import Outcome
from enlarger.pipeline.result_cache import Found


class Size(TypedDict):
    """A size in pixels."""

    width: int
    height: int


class Note(TypedDict):
    """A change that was made to the picture or its metadata."""

    code: str
    """A code such as ``resampled``; docs/reference/http-api.md lists all codes."""

    detail: str


class Tiles(TypedDict):
    """How the tiles of a picture were computed."""

    total: int
    servers: int
    """Model servers that computed tiles."""

    retried: int
    """Tiles that were sent again because a model server failed."""

    repeated: dict[str, int]
    """Tiles that were computed again because their output did not look right, by reason."""

    reused: int
    """Tiles that were equal to another one and needed no computation."""


class Facts(TypedDict):
    """How a result was computed."""

    model: str
    model_sha256: str
    engine: str
    precision: str
    device: str
    """Name and driver of the device that computed; ``cpu`` for every CPU."""

    device_class: str
    """Class of devices that decides how large tiles are, such as ``gpu-8g``."""

    tiles: Tiles
    kept: list[str]
    """What the file preserves of the picture besides its pixels: ``alpha``, ``gray``, ``depth_16``, ``icc``, ``exif``, ``xmp``, ``iptc``, ``text``, ``dpi``, ``animation``."""

    notes: list[Note]
    cache: Found
    """``miss``: the result was computed. ``hit``: it was in the cache. ``coalesced``: another request was already computing it."""

    color_delta: float
    """Mean difference between the picture and the result reduced to its size, in 8-bit steps."""


class Link(TypedDict):
    """Where a file can be fetched, and until when."""

    url: str
    """``/files/{token}.{ext}``; absolute if the operator set ``ENLARGER_PUBLIC_URL``."""

    expires_at: str


def facts_of(run: RunFacts) -> Facts:
    """Return how a result was computed."""
    return {
        "model": run.model,
        "engine": run.engine,
        "precision": run.precision,
        "device": run.device,
        "device_class": run.device_class,
        "tiles": {
            "total": run.tiles,
            "servers": run.servers,
            "retried": run.retried,
            "repeated": dict(run.repeated),
            "reused": run.reused,
        },
        "kept": list(run.kept),
        "notes": [{"code": note.code, "detail": note.detail} for note in run.notes],
        "cache": run.found,
        "color_delta": round(run.color_delta, 2),
        "model_sha256": run.model_sha256,
    }


def link(url_path: str, *, expires_at: float, public_url: str | None) -> Link:
    """Return the link to a file that expires at ``expires_at``, in seconds since the epoch."""
    return {"url": absolute(url_path, public_url), "expires_at": time_text(expires_at)}


def absolute(url_path: str, public_url: str | None) -> str:
    """A path of this service as others see it."""
    return f"{(public_url or '').rstrip('/')}{url_path}"


def time_text(epoch_s: float) -> str:
    """A time as RFC 3339 has it, in UTC, to the second."""
    shown = datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="seconds")
    return shown.replace("+00:00", "Z")


def server_timing(outcome: Outcome) -> str:
    """Milliseconds by stage, as browsers' tools show them (W3C Server Timing)."""
    stages = {**outcome.stages_s, "total": outcome.took_s}
    return ", ".join(f"{stage};dur={took_s * 1000:.0f}" for stage, took_s in stages.items())
