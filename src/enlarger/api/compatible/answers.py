"""Answers of the compatible contract."""

from __future__ import annotations

import os.path
import time
from pathlib import Path

from enlarger.api.compatible.schemas import Upscaled
from enlarger.api.facts import facts_of, link
from enlarger.config import ServerSettings
from enlarger.jobs import RunFacts
from enlarger.pipeline.outcome import Outcome


def answer(
    outcome: Outcome, *, scale: float, settings: ServerSettings, request_id: str, left_s: float
) -> Upscaled:
    """Return the JSON of a finished request, without ``base64``."""
    return {
        "success": True,
        "file_path": _file_path(settings.upload_folder, outcome.stored.file_name),
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
        **facts_of(RunFacts.of(outcome)),
        "request_id": request_id,
    }


def _file_path(place: Path | str, name: str) -> str:
    """Return the path of a result from the folder above ``UPLOAD_FOLDER``, or the URL of its object."""
    if isinstance(place, str):
        return f"{place.rstrip('/')}/{name}"
    # The path is not resolved: where the folder is a link, the name of the link counts.
    return f"{os.path.basename(os.path.abspath(place))}/{name}"  # noqa: PTH100, PTH119
