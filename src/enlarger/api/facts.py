"""What both contracts say of a finished request, in the same words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from enlarger.jobs import RunFacts
from enlarger.pipeline.outcome import Outcome


def facts_of(run: RunFacts) -> dict[str, Any]:
    """What ran, and what became of the picture on the way."""
    return {
        "model": run.model,
        "engine": run.engine,
        "precision": run.precision,
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


def link(url_path: str, *, expires_at: float, public_url: str | None) -> dict[str, Any]:
    """Where a file is, and until when, in seconds since the epoch."""
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
