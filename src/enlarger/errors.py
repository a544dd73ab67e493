"""Every error that a caller can meet. A class knows its code, its status and whether the same call may succeed later.

EnlargerError
|-- ConfigError         at start-up; names what the operator typed
|   |-- WrongSettings   all settings that cannot be used
|   `-- BackendAway     what it names cannot be reached now
|-- WeightsError        a model's files are missing, damaged or not what the catalogue says
|-- RequestError        the sender can mend it
|   |-- BodyTooSlow, MissingBody, MalformedJson, MalformedMultipart, NotAcceptable, NotFound
|   |-- MalformedEncoding, UnsupportedEncoding
|   |-- InvalidOption, UnknownModel, MissingInput, InvalidUrl
|   |-- FileTooLarge (BodyTooLarge, DownloadTooLarge), ImageTooLarge, OutputTooLarge
|   |-- UnsupportedFormat, UnreadableImage, AnimationUnsupported
|   |-- Unauthorized, SignatureInvalid, SignatureExpired
|   |-- ListNeedsKeys
|   |-- JobNotFinished, JobWithoutResult, TilesGone, ResultExpired
|   |-- IdempotencyKeyReused
|   `-- SourceUnreachable, SourceTimeout, SourceRefused, SourceFailed
|-- CapacityError       not now; most know when to come back
|   |-- NoEngineReady, QueueFull, RateLimited, Draining, OutOfMemory, OpenFilesExhausted, StorageUnavailable
|   `-- DeadlineExceeded (DeadlineTooShort)
|-- TileError           between gateway and model server only; the pool answers these
|   `-- BadTile, ModelNotHere, TileTooLarge, Busy, Starting
|-- EngineError         ours: EngineFailed, WrongOutput, EngineLost (DeviceLost)
|-- StorageFull         ours: no room for the result
|   `-- ResultLost
|-- UnwritableFile      in the shell: the result's file cannot be written
`-- ClientError         in the Python client: what no server answered
    `-- ServerUnreachable, TimedOut, UnexpectedAnswer
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self

Reason = Literal["unknown", "type", "range", "conflict", "unsupported"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one option of a request."""

    option: str
    reason: Reason
    detail: str
    """What is allowed."""


class EnlargerError(Exception):
    """The root. ``str(error)`` is written by us for the caller: no path, address or exception text."""

    code: str = "internal_error"
    """A stable name that programs match. In the client an instance has the code of its answer, known or not."""

    status: int = 500
    """HTTP status on ``/v1``."""

    retryable: bool = False
    """Whether the same call may succeed later or on another server."""

    request_id: str | None = None
    """In the client, the id of the request that was answered with this error. The server's log has it."""

    exit_status: ClassVar[int] = 1
    """Exit status of a process that ends with this error: 1 where the work failed, 2 where the input is wrong."""

    def __init_subclass__(
        cls,
        *,
        code: str | None = None,
        status: int | None = None,
        retryable: bool | None = None,
    ) -> None:
        """Set what a class has of its own. A class inherits what is not given."""
        super().__init_subclass__()
        if code is not None:
            cls.code = code
        if status is not None:
            cls.status = status
        if retryable is not None:
            cls.retryable = retryable

    def __init__(
        self,
        message: str,
        *,
        limit: int | None = None,
        actual: int | None = None,
        retry_after_s: float | None = None,
        facts: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        super().__init__(message)
        self.limit = limit
        self.actual = actual
        self.retry_after_s = retry_after_s
        self.facts = facts
        """What else is known, for contracts that word this error in their own way."""


class ConfigError(EnlargerError, code="config_error"):
    """A setting that cannot be used. The text begins with the variable's name."""

    exit_status = 2  # as shells count a wrong option


class WrongSettings(ConfigError):
    """One or more settings cannot be used. The text names all of them on one line.

    Args:
        texts: what is wrong with each; each begins with the name of a variable.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        super().__init__(". Also wrong: ".join(texts))
        self.texts = tuple(texts)
        """What is wrong with each."""


class BackendAway(ConfigError):
    """A database or a bucket that a setting names cannot be reached at the start; a later start may find it."""

    exit_status = 1


class WeightsError(EnlargerError, code="weights_error"):
    """A model's files are missing, damaged, or not those of the catalogue. The text may quote them."""

    exit_status = 2  # a start that would fail again

    def __str__(self) -> str:
        # What it quotes comes from files of strangers: control characters would reach a terminal.
        return "".join(one if one.isprintable() else "?" for one in super().__str__())


class RequestError(EnlargerError, code="invalid_request", status=422):
    """The sender can mend it; the text says how."""


class MissingBody(RequestError, code="missing_body", status=400):
    """There is no JSON body, or it is empty."""


class MalformedJson(RequestError, code="malformed_json", status=400):
    """The body is not a JSON object in UTF-8."""


class BodyTooSlow(RequestError, code="request_timeout", status=408, retryable=True):
    """The body did not come in time."""


class MalformedMultipart(RequestError, code="malformed_multipart", status=400):
    """The body is no multipart/form-data, or has too many parts."""


class MalformedEncoding(RequestError, code="malformed_encoding", status=400):
    """The body is not in the encoding that its ``Content-Encoding`` names, or is cut short."""


class UnsupportedEncoding(RequestError, code="unsupported_encoding", status=415):
    """The body has a ``Content-Encoding`` that is not read here; the text names those that are."""


class NotAcceptable(RequestError, code="not_acceptable", status=406):
    """Nothing that can be made is of a type that the request accepts."""


class NotFound(RequestError, code="not_found", status=404):
    """There is nothing of that name."""


class InvalidOption(RequestError, code="invalid_option"):
    """An option has a wrong type or value, or contradicts another."""

    exit_status = 2

    def __init__(
        self,
        message: str,
        *,
        faults: Sequence[Fault] = (),
        reason: Reason = "range",
        limit: int | None = None,
        actual: int | None = None,
    ) -> None:
        super().__init__(message, limit=limit, actual=actual)
        self.faults = tuple(faults) or _told_by(message, reason)
        """All that is wrong with the options; the text names the first. Without ``faults`` it is the one in
        ``Invalid <option>: <detail>``, for ``reason``; none in a text of another form, which is the shell's."""

    @classmethod
    def of(cls, *faults: Fault) -> Self:
        """The error for these faults, of which the text tells the first."""
        first = faults[0]
        return cls(f"Invalid {first.option[:40]}: {first.detail}", faults=faults)


_TOLD = re.compile(r"Invalid ([\w-]+): (.+)", re.DOTALL)


def _told_by(message: str, reason: Reason) -> tuple[Fault, ...]:
    told = _TOLD.fullmatch(message)
    return () if told is None else (Fault(told[1], reason, told[2]),)


class UnknownModel(RequestError, code="unknown_model"):
    """No model of that name is installed."""

    exit_status = 2


class AnimationUnsupported(RequestError, code="animation_unsupported"):
    """The picture is an animation, and the request does not say what to do with it."""


class MissingInput(RequestError, code="missing_input"):
    """The request names no picture."""


class InvalidUrl(RequestError, code="invalid_url"):
    """The picture's URL is not an http or https URL, or carries a user name."""


class FileTooLarge(RequestError, code="file_too_large", status=413):
    """The encoded picture has too many bytes."""


class BodyTooLarge(FileTooLarge):
    """The request body as a whole has too many bytes."""


class DownloadTooLarge(FileTooLarge):
    """The picture behind the URL has too many bytes, declared or counted."""


class UnsupportedFormat(RequestError, code="unsupported_format", status=415):
    """The bytes are no picture format that we read."""


class UnreadableImage(RequestError, code="unreadable_image"):
    """The picture is broken, cut short, or not what it says."""


class ImageTooLarge(RequestError, code="image_too_large", status=413):
    """A side of the picture is longer than this server accepts."""


class OutputTooLarge(RequestError, code="output_too_large", status=413):
    """The result would have more pixels than this server makes."""


class SourceUnreachable(RequestError, code="source_unreachable"):
    """The URL's host is unknown, not allowed, or refuses; which of these is only in the log."""


class SourceTimeout(RequestError, code="source_timeout", status=504, retryable=True):
    """The URL's host answers too slowly."""


class SourceRefused(RequestError, code="source_refused"):
    """The URL's host answers with an error below 500, or with a body we do not take."""


class SourceFailed(RequestError, code="source_failed", status=502, retryable=True):
    """The URL's host answers with an error from 500 up."""


class Unauthorized(RequestError, code="unauthorized", status=401):
    """The caller shows no key, or none that is known here."""


class ListNeedsKeys(RequestError, code="list_needs_keys", status=403):
    """Jobs are listed for the API key that asked for them; without keys a job's id is the permission to see it."""


class JobNotFinished(RequestError, code="job_not_finished", status=409, retryable=True):
    """The job has no result yet; it comes when the job has succeeded."""


class JobWithoutResult(RequestError, code="job_without_result", status=409):
    """The job has failed or was canceled, so there is no result."""


class TilesGone(RequestError, code="tiles_gone", status=410):
    """The job has ended, and its tiles were deleted; its result, if there is one, is the whole picture."""


class ResultExpired(RequestError, code="result_expired", status=410):
    """The result was kept for its time and is deleted; ask for it again."""


class IdempotencyKeyReused(RequestError, code="idempotency_key_reused"):
    """The idempotency key was first used for another request; use a new one."""

    job_id: str | None = None
    """The job that has the key, where it is one."""


class SignatureInvalid(RequestError, code="signature_invalid", status=403):
    """The link is not signed with a key that is known here, or is not as it was signed."""


class SignatureExpired(RequestError, code="signature_expired", status=403):
    """The time of a signed link has passed."""


class CapacityError(EnlargerError, code="no_capacity", status=503, retryable=True):
    """Not now. ``retry_after_s`` says when, where that is known."""


class NoEngineReady(CapacityError, code="no_engine_ready"):
    """No model server is ready and none is about to be."""


class QueueFull(CapacityError, code="queue_full"):
    """As many requests wait as this server holds, or a new one would wait too long."""


class RateLimited(CapacityError, code="rate_limited", status=429):
    """The caller has asked for as much as it may within a time; ``retry_after_s`` says when it may again."""


class Draining(CapacityError, code="draining"):
    """The server is stopping and takes nothing new."""


class OutOfMemory(CapacityError, code="out_of_memory"):
    """The device could not hold the tile; nothing was changed."""


class OpenFilesExhausted(CapacityError, code="open_files_exhausted"):
    """The server can open no more files and connections."""


class StorageUnavailable(CapacityError, code="storage_unavailable"):
    """The database or the bucket of the jobs cannot be reached."""


class DeadlineExceeded(CapacityError, code="deadline_exceeded", status=504, retryable=False):
    """The deadline has passed, so there is no result."""


class DeadlineTooShort(DeadlineExceeded):
    """The work would not be done by its deadline, so it was not begun; the text says what would be."""


class TileError(EnlargerError):
    """A model server's refusal of one tile that is neither a failure nor the caller's fault."""


class BadTile(TileError, code="bad_tile", status=400):
    """The tile's headers and body do not fit together: a fault of the sending gateway."""


class ModelNotHere(TileError, code="model_not_here", status=404, retryable=True):
    """The server does not have the model, or has it with other weights."""


class TileTooLarge(TileError, code="tile_too_large", status=413):
    """The tile is larger than the server takes; ``limit`` is the longest side in pixels."""


class Busy(TileError, code="busy", status=503, retryable=True):
    """All seats of the server are taken: a routing signal, never a strike."""


class Starting(TileError, code="starting", status=503, retryable=True):
    """The server is not ready yet."""


class EngineError(EnlargerError, code="engine_error", retryable=True):
    """An engine did not do its work."""


class EngineFailed(EngineError, code="engine_failed"):
    """The runtime raised while computing a tile."""


class WrongOutput(EngineError, code="wrong_output"):
    """The network's output is not a picture: NaN, infinite, or constant where the input is not."""


class EngineLost(EngineError, code="engine_lost", status=502):
    """The engine went away or did not answer in time; the same tile may be sent elsewhere."""


class DeviceLost(EngineLost, code="device_lost"):
    """The device of an engine does not compute any more: its process must be started again."""

    exit_status = 75  # EX_TEMPFAIL of sysexits.h


class StorageFull(EnlargerError, code="storage_full", status=507):
    """The result could not be written."""


class ResultLost(StorageFull):
    """The result was deleted before it could be sent."""


class UnwritableFile(EnlargerError, code="unwritable_file"):
    """The file that a shell user named cannot be written."""


class ClientError(EnlargerError, code="client_error"):
    """The client has no answer that it could give."""


class ServerUnreachable(ClientError, code="server_unreachable", retryable=True):
    """There is no connection to the server, or it broke before the answer was there."""

    is_refused: bool = False
    """Whether there was no connection at all: nobody listens there, or the name is unknown."""


class TimedOut(ClientError, code="timed_out"):
    """The call took longer than it may; a job goes on at the server."""


class UnexpectedAnswer(ClientError, code="unexpected_answer"):
    """What answered does not speak as enlarger does: another server, or a proxy."""


def all_codes() -> dict[str, type[EnlargerError]]:
    """The class that owns each code."""
    found: dict[str, type[EnlargerError]] = {}
    pending: list[type[EnlargerError]] = [EnlargerError]
    while pending:
        cls = pending.pop()
        if "code" in cls.__dict__:
            found[cls.code] = cls
        pending += cls.__subclasses__()
    return found


def by_code(code: str) -> type[EnlargerError] | None:
    """The class that owns ``code``, or None; the way back from the wire to an exception."""
    return all_codes().get(code)
