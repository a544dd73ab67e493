"""What the client returns: pictures, jobs, tiles, estimates and models, as values."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from enlarger.errors import (
    EnlargerError,
    InvalidOption,
    JobWithoutResult,
    ResultExpired,
    UnwritableFile,
)

_FINISHED = ("succeeded", "failed", "canceled", "expired")

_MEDIA_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
}
"""The format that each file name ending stands for."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer."""

    status: int
    headers: Mapping[str, str]
    """The names are in lower case."""

    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Upscaled:
    """An upscaled picture."""

    data: bytes = field(repr=False)
    """The bytes of the file."""

    media_type: str
    width_px: int
    height_px: int
    original_width_px: int
    original_height_px: int
    """Height of the picture that was sent, upright."""

    model: str
    precision: str
    """The precision that the server computed in."""

    tiles: int
    content: str | None
    """What the server found that the picture shows, if it was asked for ``model="detect"``."""

    notes: tuple[str, ...]
    """Codes of what was changed on the way, such as ``resampled``: see docs/reference/http-api.md."""

    sha256: str
    """Hash of the file, in hexadecimal digits."""

    request_id: str

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the file, completely or not at all, and return its path.

        Raises:
            InvalidOption: the name belongs to a format other than the picture's.
            UnwritableFile: the file cannot be written.
        """
        target = Path(path)
        self.check_name(target)
        # The temporary name is short and unique, because the target's name may already be as long as names can be.
        aside = target.with_name(f".enlarger-{secrets.token_hex(8)}")
        try:
            aside.write_bytes(self.data)
            aside.replace(target)
        except OSError as error:
            raise UnwritableFile(f"cannot write '{target}': {error.strerror}") from error
        finally:
            with suppress(OSError):
                aside.unlink()
        return target

    def check_name(self, path: str | os.PathLike[str]) -> None:
        """Check that a file of this name may hold the picture.

        Raises:
            InvalidOption: the name belongs to a format other than the picture's.
        """
        expected = _MEDIA_TYPES.get(Path(path).suffix.lower(), self.media_type)
        if expected != self.media_type:
            kind = expected.removeprefix("image/")
            raise InvalidOption(
                f"cannot write '{path}': the picture is {self.media_type}; ask for format=\"{kind}\""
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """The state of a job, as the server last reported it."""

    id: str
    state: str
    """``queued``, ``running``, ``succeeded``, ``failed``, ``canceled`` or ``expired``."""

    stage: str | None = None
    """Stage of a running job: ``fetch``, ``decode``, ``infer`` or ``encode``."""

    tiles_done: int = 0
    tiles_total: int | None = None
    """None until the picture is decoded."""

    fraction: float = 0.0
    """Share of the work that is done, from 0 to 1. It never decreases."""

    queue_position: int | None = None
    """1 for the job that runs next; None for a job that is not queued."""

    eta_s: float | None = None
    """Seconds until the job is done; None while unknown."""

    error: EnlargerError | None = None
    """The reason for the failure."""

    facts: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The whole job object, as the server sent it."""

    @property
    def is_finished(self) -> bool:
        """Whether the job has reached its final state."""
        return self.state in _FINISHED

    def check(self) -> None:
        """Raise the reason why there is no result, if the job has ended without one."""
        if self.error is not None:
            raise self.error
        if self.state == "expired":
            raise ResultExpired(f"the result of {self.id} is gone")
        if self.is_finished and self.state != "succeeded":
            raise JobWithoutResult(f"{self.id} was {self.state}")


@dataclass(frozen=True, slots=True)
class JobPage:
    """One page of a key's jobs, the newest first."""

    jobs: tuple[JobStatus, ...]
    next_cursor: str | None
    """Where the next page begins; None on the last page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A finished tile of a running job: its number and its place, in pixels of the result."""

    index: int
    x_px: int
    y_px: int
    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The expected cost of a request."""

    is_accepted: bool
    problem: EnlargerError | None
    """Why the server would refuse the request."""

    width_px: int | None
    height_px: int | None
    """Height of the result. This and all fields below are None if the request itself is wrong."""

    model: str | None
    content: str | None
    """What the picture shows, if the model is ``detect``; for a size alone, what the server assumes."""

    precision: str | None
    """The precision that the server would compute in; None also while no model server is ready."""

    tiles: int | None
    memory_bytes: int | None
    eta_s: float | None
    """None until the server has measured its own speed."""

    wait_s: float | None
    """The part of ``eta_s`` in which earlier requests are computed. Several pictures that are sent together wait once."""

    queue_position: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """A model on the server."""

    id: str
    title: str
    native_scale: int
    noise_levels: tuple[int, ...]
    """The values that ``denoise`` may have; empty if the model has no noise levels."""

    licence: str
    is_non_commercial: bool
    """Whether the licence forbids commercial use."""

    sha256: str
    precisions: tuple[str, ...]
    ready_on: int
    """Number of model servers that have the model loaded."""

    facts: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The whole model object, as the server sent it."""


@dataclass(frozen=True, slots=True)
class Models:
    """The models on the server."""

    models: tuple[ModelInfo, ...]
    default: Mapping[str, str]
    """The model that ``auto`` selects, by scale."""
