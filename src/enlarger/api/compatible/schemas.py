"""The JSON of the compatible contract, as types. The OpenAPI document is derived from them."""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from enlarger.api.facts import Facts, Link, Size
from enlarger.api.probes import Reason
from enlarger.api.streaming import FileText


class Refusal(TypedDict):
    """An error of the compatible routes."""

    error: str
    code: str
    retryable: bool
    request_id: str
    limit: NotRequired[int]
    """The highest value that is allowed, if the error is about a number."""

    actual: NotRequired[int]
    """The value that was found, if the error is about a number."""

    original_size: NotRequired[Size]
    """Present only with ``output_too_large``."""

    scale: NotRequired[float]
    """Present only with ``output_too_large``."""


class OriginalSize(Size):
    """The size of the input, in pixels and bytes."""

    bytes: int


class UpscaledSize(Size):
    """The size of the result in pixels, and its scale."""

    scale: int


class Upscaled(Facts, Link):
    """A finished request of the compatible routes."""

    success: Literal[True]
    file_path: str
    base64: FileText | None
    """The file; null if ``inline`` is false."""

    original_size: OriginalSize
    upscaled_size: UpscaledSize
    processing_time: float
    """Seconds."""

    request_id: str


class Swept(TypedDict):
    """What a cleanup has deleted."""

    success: Literal[True]
    deleted_files: int
    errors: list[str]


class Limits(TypedDict):
    """The limits that are configured."""

    max_file_size_mb: float
    max_dimension: int
    cleanup_interval_minutes: float
    file_max_age_minutes: float


class Health(Limits):
    """Whether pictures can be upscaled now."""

    status: Literal["healthy", "unhealthy"]
    timestamp: float
    supported_scales: list[int]
    model_servers: int
    model_servers_ready: int
    reason: Reason | None
    version: str


class Folder(TypedDict):
    """The results that are stored."""

    total_files: int
    total_size_mb: float


class Load(TypedDict):
    """The requests that are admitted and not finished."""

    requests: int
    megapixels: float


class Server(TypedDict):
    """A model server."""

    id: int
    name: str
    state: str
    tiles_in_flight: int
    tiles_done: int
    strikes: int
    device: str | None
    """Name and driver of its device; null while it has not answered."""

    device_class: str | None
    rss_mb: float | None


class Status(TypedDict):
    """The configuration and the current work of the service."""

    status: Literal["running"]
    model_servers: int
    thread_pool_workers: int
    supported_formats: list[str]
    cleanup_task_running: bool
    upload_folder_stats: Folder
    limits: Limits
    model_servers_ready: int
    queue: Load
    version: str
    servers: list[Server]
