"""The JSON of answers, as models for the OpenAPI document. Nothing is read or checked by them but in tests."""

from __future__ import annotations

from typing import Any, Literal

import pydantic

from enlarger.jobs.job import State
from enlarger.pipeline.progress import Stage
from enlarger.pipeline.result_cache import Found


class Json(pydantic.BaseModel):
    """An object. Fields may be added to it, and none is ever removed."""

    model_config = pydantic.ConfigDict(use_attribute_docstrings=True)


# What all pictures have


class Size(Json):
    """Pixels."""

    width: int
    height: int


class Note(Json):
    """Something that was changed."""

    code: str
    """Such as ``resampled``; docs/reference/http-api.md lists them."""

    detail: str


class Tiles(Json):
    """What became of the tiles."""

    total: int
    servers: int
    """Model servers that took part."""

    retried: int
    """Sent again, since a server failed."""

    repeated: dict[str, int]
    """Computed again, since the output did not look right; by reason."""

    reused: int
    """Equal to another one, so not computed."""


class Facts(Json):
    """What ran, and what became of the picture on the way."""

    model: str
    model_sha256: str
    engine: str
    precision: str
    tiles: Tiles
    kept: list[str]
    """What else the file has of the picture: ``alpha``, ``gray``, ``depth_16``, ``icc``, ``exif``, ``xmp``, ``iptc``, ``text``, ``dpi``, ``animation``."""

    notes: list[Note]
    cache: Found
    """Computed, found, or computed for somebody else at the same time."""

    color_delta: float
    """Mean difference from the picture in 8-bit steps, the result reduced to its size."""


class Input(Json):
    """What came in."""

    width: int
    height: int
    bytes: int
    format: str


class File(Json):
    """A result, and where it is until when."""

    url: str
    """``/files/{token}.{ext}``, absolute where the operator set ``ENLARGER_PUBLIC_URL``."""

    expires_at: str
    media_type: str
    bytes: int
    sha256: str
    width: int
    height: int
    scale: float


class FileWithBytes(File):
    """The same, with the file itself where it was asked for."""

    base64: str = ""
    """Only with ``inline``."""


# /v1


class Result(Facts):
    """A finished request."""

    result: FileWithBytes
    input: Input
    timing_ms: dict[str, int]
    """By stage, and ``total``."""

    request_id: str


class Compared(Json):
    """One model's part of a comparison that it could not make; else it is a ``Result``."""

    model: str
    problem: Problem


class Comparison(Json):
    """The same part of a picture by several models."""

    results: list[Result | Compared]
    request_id: str


class Fault(Json):
    """What is wrong with one option."""

    option: str
    reason: Literal["unknown", "type", "range", "conflict", "unsupported"]
    detail: str
    """What is allowed."""


class Problem(Json):
    """An error, as RFC 9457 has it. Programs match ``code``."""

    type: str
    """``/errors/{code}``, a page that says what it means."""

    title: str
    status: int
    detail: str
    instance: str
    """``/v1/jobs/{id}`` of a job's own error, and of a key that has a job; else the request."""

    code: str
    retryable: bool
    """Whether the same request may succeed later."""

    request_id: str
    error: str
    """The same as ``detail``."""

    errors: list[Fault] = []
    """All that is wrong with the options."""

    limit: int = 0
    """Where there is a number: what is allowed."""

    actual: int = 0
    """Where there is a number: what was found."""


class Progress(Json):
    """How far a job is."""

    tiles_done: int
    tiles_total: int | None
    fraction: float


class Queue(Json):
    """Who waits."""

    position: int | None
    """1 is the next. None where it does not wait."""

    length: int


class JobResult(File, Facts):
    """What a job made."""

    timing_ms: dict[str, int]


class Links(Json):
    """Where the parts of a job are."""

    self: str
    events: str
    result: str


class UpscaleRequest(Json):
    """A request that is worked on without its caller waiting."""

    id: str
    """``job_`` and 32 hexadecimal digits."""

    state: State
    stage: Stage | None
    """While it runs."""

    created_at: str
    started_at: str | None
    finished_at: str | None
    expires_at: str | None
    """Of the result."""

    progress: Progress
    queue: Queue
    eta_s: float | None
    """From the speed measured here; None while it is not known."""

    input: Input | None
    result: JobResult | None
    """While it is there."""

    error: Problem | None
    """Of a job that failed."""

    options: dict[str, Any]
    """What was asked for, with defaults; ``model`` and ``format`` are what they come to as soon as the picture is known."""

    links: Links
    request_id: str


class JobListLinks(Json):
    """Where more jobs are."""

    next: str | None
    """The next page; None on the last one."""


class JobList(Json):
    """A page of a key's own jobs, the newest first."""

    jobs: list[UpscaleRequest]
    next_cursor: str | None
    """For ``cursor`` of the next page; None on the last one."""

    links: JobListLinks
    request_id: str


class ShownTile(Json):
    """A tile that is done, in an event."""

    index: int
    x: int
    y: int
    w: int
    h: int
    url: str


class Advance(Json):
    """How far a job is, in an event."""

    stage: Stage | None
    progress: Progress
    queue: Queue
    eta_s: float | None


class BatchItem(Json):
    """A picture of a batch."""

    index: int
    id: str | None
    """As the batch names it."""

    job: str
    state: State
    error: Problem | None
    result: JobResult | None


class BatchLinks(Json):
    """Where more of a batch is."""

    self: str
    events: str
    results: str


class Batch(Json):
    """Many pictures."""

    id: str
    state: Literal["running", "finished", "canceled"]
    created_at: str
    counts: dict[str, int]
    """Pictures, by state."""

    items: list[BatchItem]
    links: BatchLinks
    request_id: str


class Estimate(Json):
    """What a request would make and take."""

    accepted: bool
    problem: Problem | None
    """Why it would be refused."""

    output: Size = Size(width=0, height=0)
    model: str = ""
    precision: str | None = None
    """What it would be computed in; None while no model server has the model ready."""

    tiles: int = 0
    memory_bytes: int = 0
    queue: Queue = Queue(position=None, length=0)
    eta_s: float | None = None
    basis: Literal["measured"] | None = None
    request_id: str


class Measured(Json):
    """What is known of a model from measurements."""

    megapixels_per_s: float | None
    """Of input, on all servers together, as their last tiles tell; None before the first."""

    seam_median_db: float | None
    """PSNR of pictures made of tiles against the same made in one piece, in f32 and without the colour lock: the median over photographs
    that are full of texture. None where nobody measured, and where tiles change nothing: then ``seam_max_diff`` is 0."""

    seam_worst_db: float | None
    """The same of the worst of these photographs."""

    seam_p999_diff: int | None
    """One in a thousand samples within 24 px of a border between tiles differs by more than this, of 255; None where nobody measured."""

    seam_max_diff: int | None
    """The largest difference of any sample on these photographs, of 255. Other photographs may have a larger one."""

    engine: str | None
    """The runtime here; None while no server has the model."""

    precision: str | None
    """None: the speed is followed over tiles of all precisions."""

    at: str | None
    """None: it is followed with each tile."""


class Model(Json):
    """A model."""

    id: str
    title: str
    kind: str
    """Its architecture."""

    native_scale: int
    options: list[str]
    """Names of those that a request may have."""

    precisions: list[str]
    licence: str
    sha256: str
    """Of the file of its weights."""

    bytes: int | None
    """Of that file; None where it is gone."""

    halo: int
    """Pixels around a tile that it looks at."""

    seams: Literal["none", "blended"]
    installed: bool
    ready_on: int
    """Model servers that have it."""

    measured: Measured


class Models(Json):
    """All models."""

    models: list[Model]
    default: dict[str, str]
    """What ``auto`` picks, by scale."""


# The compatible routes


class Refusal(Json):
    """An error of the compatible routes."""

    error: str
    code: str
    retryable: bool
    request_id: str
    limit: int = 0
    actual: int = 0
    original_size: Size = Size(width=0, height=0)
    """With ``output_too_large``."""

    scale: float = 0
    """With ``output_too_large``."""


class OriginalSize(Size):
    """What came in."""

    bytes: int


class UpscaledSize(Size):
    """What was made."""

    scale: int


class Upscaled(Facts):
    """A finished request of the compatible routes."""

    success: Literal[True]
    file_path: str
    base64: str | None
    """The file; None if ``inline`` is false."""

    original_size: OriginalSize
    upscaled_size: UpscaledSize
    processing_time: float
    """Seconds."""

    url: str
    expires_at: str
    request_id: str


class Swept(Json):
    """What a sweep did."""

    success: Literal[True]
    deleted_files: int
    errors: list[str]


# Operations


class Health(Json):
    """Whether pictures can be enlarged now."""

    status: Literal["healthy", "unhealthy"]
    timestamp: float
    max_file_size_mb: float
    max_dimension: int
    supported_scales: list[int]
    cleanup_interval_minutes: float
    file_max_age_minutes: float
    model_servers: int
    model_servers_ready: int
    reason: Literal["starting", "no_engine_ready", "draining"] | None
    version: str


class Alive(Json):
    """The process answers."""

    alive: Literal[True]


class Ready(Json):
    """Whether to send it work."""

    ready: bool
    reason: Literal["starting", "no_engine_ready", "draining"] | None
    servers_ready: int
    servers: int


class Document(Json):
    """An OpenAPI document."""

    model_config = pydantic.ConfigDict(extra="allow")

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]
    components: dict[str, Any]


class Folder(Json):
    """Results that are kept."""

    total_files: int
    total_size_mb: float


class Limits(Json):
    """What is set."""

    max_file_size_mb: float
    max_dimension: int
    cleanup_interval_minutes: float
    file_max_age_minutes: float


class Load(Json):
    """What is admitted and unfinished."""

    requests: int
    megapixels: float


class Server(Json):
    """A model server."""

    id: int
    name: str
    state: str
    tiles_in_flight: int
    tiles_done: int
    strikes: int
    rss_mb: float | None


class Status(Json):
    """What is configured, and what goes on."""

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


# Dialects


class ExtraImage(Json):
    """A picture of AUTOMATIC1111's ``extras``."""

    html_info: str
    image: str
    """Base64 of a PNG."""


class ExtraImages(Json):
    """Several of them."""

    html_info: str
    images: list[str]


class Upscaler(Json):
    """A model as AUTOMATIC1111 lists it."""

    name: str
    model_name: str
    model_path: None
    model_url: None
    scale: float


Upscalers = pydantic.RootModel[list[Upscaler]]


class ExtrasState(Json):
    """What is being done."""

    skipped: bool
    interrupted: bool
    stopping_generation: bool
    job: str
    job_count: int
    job_timestamp: str
    job_no: int
    sampling_step: int
    sampling_steps: int


class ExtrasProgress(Json):
    """How far what this dialect was asked for is."""

    progress: float
    eta_relative: float
    state: ExtrasState
    current_image: None
    textinfo: None


class ExtrasOptions(Json):
    """Somebody is there."""

    samples_format: str


class ExtrasRefusal(Json):
    """An error as AUTOMATIC1111 has it."""

    error: str
    detail: str
    body: str
    errors: str
    code: str
    request_id: str


class Prediction(Json):
    """A prediction of Cog that has ended."""

    id: str
    model: str
    version: str
    status: Literal["succeeded", "failed"]
    input: dict[str, Any]
    output: str | None
    """A data URL."""

    error: str | None
    logs: str
    metrics: dict[str, float]
    created_at: str
    started_at: str
    completed_at: str
    urls: dict[str, str]


class Version(Json):
    """A version of a model, as Replicate has it."""

    id: str
    model: str
    created_at: str
    cog_version: str
    openapi_schema: dict[str, Any]


class HealthCheck(Json):
    """Cog's health."""

    status: Literal["READY", "STARTING", "DEFUNCT"]
    version: dict[str, str]


class Place(Json):
    """A fault of an input, as Cog has it."""

    loc: list[str]
    msg: str
    type: str


class CogRefusal(Json):
    """An error as Cog has it: faults of the input as a list, all others as a text."""

    detail: str | list[Place]
    code: str
    request_id: str
    error: str = ""
    status: Literal["failed"] = "failed"


class MadeImage(Json):
    """One of the two, as ``response_format`` says."""

    url: str = ""
    b64_json: str = ""


class MadeImages(Json):
    """What OpenAI's image routes answer."""

    id: str
    created: int
    model: str
    data: list[MadeImage]


class MadeNot(Json):
    """The error within."""

    message: str
    type: Literal["invalid_request_error", "server_error"]
    param: str | None
    code: str


class OpenAIRefusal(Json):
    """An error as OpenAI has it."""

    error: MadeNot
    request_id: str
