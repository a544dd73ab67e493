"""Answers of the compatible contract."""

from __future__ import annotations

import os.path
import time
from typing import Any

from enlarger.api.facts import facts_of, link
from enlarger.config import ServerSettings
from enlarger.pipeline.outcome import Outcome


def answer(
    outcome: Outcome, *, scale: float, settings: ServerSettings, request_id: str, left_s: float
) -> dict[str, Any]:
    """The JSON of a 200, with ``base64`` still empty."""
    return {
        "success": True,
        # Not resolved: where the folder is a link, its own name is the one that counts.
        "file_path": f"{os.path.basename(os.path.abspath(settings.upload_folder))}/{outcome.stored.path.name}",  # noqa: PTH100, PTH119
        "base64": None,
        "original_size": {
            "width": outcome.header.width_px,
            "height": outcome.header.height_px,
            "bytes": outcome.input_bytes,
        },
        "upscaled_size": {
            "width": outcome.width_px,
            "height": outcome.height_px,
            "scale": int(scale),
        },
        "processing_time": round(outcome.took_s, 2),
        **link(
            outcome.stored.url_path,
            expires_at=time.time() + left_s,
            public_url=settings.public_url,
        ),
        **facts_of(outcome),
        "request_id": request_id,
    }
