"""What tools return."""

from __future__ import annotations

from pydantic import BaseModel


class ModelFacts(BaseModel):
    """A model that can be named in the options."""

    id: str
    purpose: str
    scale: int
    noise_levels: list[int]
    """The values that ``denoise`` may have."""

    licence: str
    is_non_commercial: bool
    """Whether the licence forbids commercial use."""


class EstimateFacts(BaseModel):
    """The expected cost of a picture."""

    width_px: int
    height_px: int
    """Height of the result."""

    format: str
    frames: int
    seconds: float | None
    """None while the speed is unknown."""

    memory_bytes: int | None
    file_bytes: int
    summary: str


class ResultFacts(BaseModel):
    """A file that was written."""

    result: str
    summary: str


class JobFacts(BaseModel):
    """A job and its progress."""

    id: str
    state: str
    """``queued``, ``running``, ``succeeded``, ``failed``, ``canceled`` or ``expired``."""

    fraction: float
    """Share of the tiles that are done, from 0 to 1."""

    seconds_left: float | None
    """None while unknown."""

    problem: str | None
    """Why the job failed."""
