"""The JSON of ``/v1``, as types. Type checks hold the builders to them, and the OpenAPI document is derived from them."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from enlarger.api.facts import Facts, Link, Size
from enlarger.api.streaming import FileText
from enlarger.api.v1.problems import Problem
from enlarger.jobs.job import State
from enlarger.picture.values import Content
from enlarger.pipeline.progress import Stage


class Input(TypedDict):
    """The picture of the request, as its header describes it."""

    width: int
    height: int
    bytes: int
    format: str
    content: Content | None
    """What its pixels show, if the request has ``model=detect``."""


class FileFacts(TypedDict):
    """The contents of a result's file."""

    media_type: str
    bytes: int
    sha256: str
    width: int
    height: int
    scale: float


class File(Link, FileFacts):
    """A file, and where it can be fetched until it expires."""


class FileWithBytes(File):
    """A file, where it can be fetched until it expires, and its bytes if the request asked for them."""

    base64: NotRequired[FileText]
    """Present only if the request set ``inline``."""


class _Timed(Facts):
    denoise: int | None
    """The noise level of the model; null if it has no such choice."""

    input: Input
    timing_ms: dict[str, int]
    """Milliseconds by stage, and ``total``."""


class Made(_Timed):
    """A finished request, without a link to its file."""

    result: FileFacts


class Result(_Timed):
    """A finished request."""

    result: FileWithBytes
    request_id: str


class Compared(TypedDict):
    """The part of a comparison for a model that failed. A model that succeeded has a ``Result`` instead."""

    model: str
    problem: Problem


class Comparison(TypedDict):
    """The same part of a picture, upscaled by several models."""

    results: list[Result | Compared]
    request_id: str


class Progress(TypedDict):
    """The progress of a job."""

    tiles_done: int
    tiles_total: int | None
    fraction: float
    """From 0 to 1."""


class Queue(TypedDict):
    """The place of a request in the queue."""

    position: int | None
    """1 is the next request to run; null if the request is not queued."""

    length: int


class Ahead(TypedDict):
    """The progress of a job, and what it waits for."""

    progress: Progress
    queue: Queue
    eta_s: float | None
    """Seconds left, estimated from the measured speed of this service; null while that is unknown."""


class Advance(Ahead):
    """The data of a ``progress`` event."""

    stage: Stage | None


class ShownTile(TypedDict):
    """A finished tile, and its place in the result in pixels. It is the data of a ``tile`` event."""

    index: int
    x: int
    y: int
    w: int
    h: int
    url: str


class ShownTiles(TypedDict):
    """The finished tiles of an unfinished job."""

    tiles: list[ShownTile]
    """By ``index``. Empty if the picture has only one tile."""

    request_id: str


class JobResult(File, Facts):
    """The result of a job."""

    denoise: int | None
    """The noise level of the model; null if it has no such choice."""

    timing_ms: dict[str, int]
    """Milliseconds by stage, and ``total``."""


class Links(TypedDict):
    """The URLs of a job."""

    self: str
    input: str
    """A preview of the picture; see ``max_side``."""

    events: str
    tiles: str
    """The finished tiles, while the job is queued or running."""

    result: str


class Job(Ahead):
    """A request that is processed without its client waiting."""

    id: str
    """``job_`` and 32 hexadecimal digits."""

    state: State
    stage: Stage | None
    """Null unless the job is running."""

    created_at: str
    started_at: str | None
    finished_at: str | None
    expires_at: str | None
    """When the result will be deleted."""

    input: Input | None
    result: JobResult | None
    """Null unless the job has succeeded and its result has not expired."""

    error: Problem | None
    """Null unless the job has failed."""

    options: dict[str, Any]
    """The options of the request, with defaults. ``model`` and ``format`` have their resolved values once the picture is known."""

    links: Links
    request_id: str


class JobListLinks(TypedDict):
    """The URLs of a page of jobs."""

    next: str | None
    """The next page; null on the last one."""


class JobList(TypedDict):
    """A page of the jobs of an API key, newest first."""

    jobs: list[Job]
    next_cursor: str | None
    """The ``cursor`` of the next page; null on the last one."""

    links: JobListLinks
    request_id: str


class BatchItem(TypedDict):
    """One picture of a batch."""

    index: int
    id: str | None
    """The name that the request gave it."""

    job: str
    state: State
    error: Problem | None
    result: JobResult | None


class BatchLinks(TypedDict):
    """The URLs of a batch."""

    self: str
    events: str
    results: str


class Batch(TypedDict):
    """Several pictures of one request."""

    id: str
    state: Literal["running", "finished", "canceled"]
    created_at: str
    counts: dict[str, int]
    """Number of pictures by state."""

    items: list[BatchItem]
    links: BatchLinks
    request_id: str


class Estimate(TypedDict):
    """What a request would produce, and how long it would take. A refusal says only why the request would be refused."""

    accepted: bool
    problem: Problem | None
    """Why the request would be refused; null if it would be accepted."""

    output: NotRequired[Size]
    model: NotRequired[str]
    denoise: NotRequired[int | None]
    """The noise level of the model; null if it has no such choice."""

    content: NotRequired[Content | None]
    """What the picture shows, by which ``detect`` chooses the model; null if the request names a model, or ``auto``."""

    content_basis: NotRequired[Literal["pixels", "assumed"] | None]
    """``assumed``: the request has a size alone, so that nobody can look at pixels. Null if ``content`` is."""

    precision: NotRequired[str | None]
    """The precision of the computation; null while no model server has the model ready."""

    tiles: NotRequired[int]
    memory_bytes: NotRequired[int]
    queue: NotRequired[Queue]
    eta_s: NotRequired[float | None]
    wait_s: NotRequired[float | None]
    """The part of ``eta_s`` in which earlier requests are computed. It passes once for several pictures; null if ``eta_s`` is."""

    basis: NotRequired[Literal["measured"] | None]
    """How ``eta_s`` was found; null if there is none."""

    request_id: str


class Measured(TypedDict):
    """Measurements of a model."""

    megapixels_per_s: float | None
    """Input megapixels per second of all model servers together, from their latest tiles; null before the first tile."""

    seam_median_db: float | None
    """PSNR of pictures computed in tiles against the same pictures computed in one piece, in f32 and without the colour lock: the median
    over photographs that are full of texture. Null if it was not measured, and if tiles change nothing: then ``seam_max_diff`` is 0."""

    seam_worst_db: float | None
    """The lowest PSNR among these photographs."""

    seam_p999_diff: int | None
    """One in a thousand samples within 24 px of a tile border differs by more than this, of 255; null if it was not measured."""

    seam_max_diff: int | None
    """The largest difference of any sample in these photographs, of 255. Other photographs may have a larger one."""

    engine: str | None
    """The runtime of the model servers; null while none has the model ready."""

    precision: str | None
    """Always null: the speed is measured over tiles of all precisions."""

    at: str | None
    """Always null: the speed is updated with each tile."""


class Model(TypedDict):
    """A model."""

    id: str
    title: str
    kind: str
    """The architecture of its network."""

    native_scale: int
    """1 for a model that removes noise at the size that the picture has."""

    noise_levels: list[int]
    """The values that ``denoise`` may have; empty if the model has no such choice."""

    default_noise_level: int | None
    """The level without ``denoise``; null if the model then leaves noise alone, or has no levels."""

    options: list[str]
    """Names of the options that a request for this model may have."""

    precisions: list[str]
    licence: str
    non_commercial: bool
    """Whether the licence forbids commercial use."""

    source: str
    """Where the weights come from."""

    mflop_per_px: float
    """Computing for one pixel of the picture, in million floating-point operations."""

    sha256: str
    """SHA-256 of the file with its weights."""

    bytes: int | None
    """Size of the file with its weights; null if the file is missing."""

    halo: int
    """Input pixels around a tile that the network needs as context."""

    seams: Literal["none", "blended"]
    installed: bool
    ready_on: int
    """Number of model servers that have it ready."""

    devices: list[str]
    """Names and drivers of the devices that these compute on."""

    measured: Measured


class LeftOut(TypedDict):
    """A row of ``MODEL_DIR`` that is not offered as it is now."""

    row: str
    """Name of its file."""

    reason: str
    """What is wrong, and what to do."""

    still_offered: str | None
    """Id of the model that is still offered for it, as it was before; null if there is none."""


class Models(TypedDict):
    """All models."""

    models: list[Model]
    default: dict[str, str]
    """The model that ``auto`` selects, by scale."""

    left_out: list[LeftOut]
