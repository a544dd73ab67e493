"""Helpers of the tests of the compatible contract."""

from __future__ import annotations

from typing import Any

from enlarger.api.compatible.errors import error_answer
from enlarger.api.compatible.requests import parse_job
from enlarger.errors import (
    EnlargerError,
)
from enlarger.models import Catalogue
from enlarger.request import UpscaleRequest

URL = "https://example.com/cat.jpg"


def parsed(catalogue: Catalogue, **fields: Any) -> UpscaleRequest:
    """The job of these fields."""
    return parse_job(fields, catalogue=catalogue, request_id="r-1")[0]


def text_of(error: EnlargerError) -> str:
    """What the caller reads."""
    return str(error_answer(error, request_id="r-1")[0]["error"])
