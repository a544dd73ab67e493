"""What both contracts say of a finished request, in the same words."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from enlarger.pipeline import Outcome


def facts_of(outcome: Outcome) -> dict[str, Any]:
    """What ran, and what became of the picture on the way."""
    ran = outcome.ran
    return {
        "model": ran.model,
        "engine": ran.engine,
        "precision": ran.precision,
        "tiles": {
            "total": ran.tiles,
            "servers": len(ran.tiles_by_server),
            "retried": ran.retried,
            "repeated": dict(ran.repeated),
            "reused": ran.reused,
        },
        "kept": list(outcome.kept),
        "notes": [{"code": note.code, "detail": note.detail} for note in outcome.notes],
        "cache": outcome.found,
        "color_delta": round(ran.color_delta, 2),
        "model_sha256": ran.model_sha256,
    }


def link_of(outcome: Outcome, *, left_s: float, public_url: str | None) -> dict[str, Any]:
    """Where the file is, and until when."""
    expires_at = datetime.fromtimestamp(time.time() + left_s, UTC)
    return {
        "url": f"{(public_url or '').rstrip('/')}{outcome.stored.url_path}",
        "expires_at": expires_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
    }


def server_timing(outcome: Outcome) -> str:
    """Milliseconds by stage, as browsers' tools show them (W3C Server Timing)."""
    stages = {**outcome.stages_s, "total": outcome.took_s}
    return ", ".join(f"{stage};dur={took_s * 1000:.0f}" for stage, took_s in stages.items())
