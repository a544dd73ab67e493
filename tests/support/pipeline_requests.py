"""Requests for the tests of the pipeline."""

from __future__ import annotations

from typing import Any

from enlarger.options import read_options
from enlarger.request import BytesSource, UpscaleRequest


def asking(data: bytes, **fields: Any) -> UpscaleRequest:
    """A job for the model ``nearest`` with these options."""
    options = read_options({"scale": 4, "model": "nearest", **fields}, strict=True)
    return UpscaleRequest(source=BytesSource(data), options=options)
