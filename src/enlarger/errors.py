"""Every error a caller can meet. A class knows its code, its status and whether a repeat may help.

EnlargerError
|-- ConfigError         at start-up; names what the operator typed
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
|   |-- JobNotFinished, JobWithoutResult, ResultExpired, IdempotencyKeyReused
|   `-- SourceUnreachable, SourceTimeout, SourceRefused, SourceFailed
|-- CapacityError       not now; most know when to come back
|   |-- NoEngineReady, QueueFull, RateLimited, Draining, OutOfMemory, StorageUnavailable
|   `-- DeadlineExceeded (DeadlineTooShort)
|-- TileError           between gateway and model server only; the pool answers these
|   `-- BadTile, ModelNotHere, TileTooLarge, Busy, Starting
|-- EngineError         ours: EngineFailed, WrongOutput, EngineLost
|-- StorageFull         ours: no room for the result
|-- UnwritableFile      in the shell: the result's file cannot be written
`-- ClientError         in the Python client: what no server answered
    `-- ServerUnreachable, TimedOut, UnexpectedAnswer
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

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
    """Stable name; programs match it. A class's, and in the client that of an answer with a code unknown here."""

    status: int = 500
    """HTTP status. The compatible routes answer 400 for every RequestError but 401."""

    retryable: bool = False
    """Whether the same call may succeed later or on another server."""

    request_id: str | None = None
    """In the client: of the request that was answered so; the server's log has it."""

    exit_status: ClassVar[int] = 1
    """Of a process that ends with it: the work was tried and failed, or the input cannot be used."""

    def __init__(
        self,
        message: str,
        *,
        limit: int | None = None,
        actual: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.limit = limit
        self.actual = actual
        self.retry_after_s = retry_after_s


class ConfigError(EnlargerError):
    """A setting that cannot be used. The text begins with the variable's name."""

    code = "config_error"

    exit_status = 2  # as shells count a wrong option


class BackendAway(ConfigError):
    """A database or a bucket that a setting names cannot be reached at the start; a later start may find it."""

    exit_status = 1


class WeightsError(EnlargerError):
    """A model's files are missing, damaged, or not those of the catalogue."""

    code = "weights_error"

    exit_status = 2  # a start that would fail again


class RequestError(EnlargerError):
    """The sender can mend it; the text says how."""

    code = "invalid_request"
    status = 422


class MissingBody(RequestError):
    """There is no JSON body, or it is empty."""

    code = "missing_body"
    status = 400


class MalformedJson(RequestError):
    """The body is not a JSON object in UTF-8."""

    code = "malformed_json"
    status = 400


class BodyTooSlow(RequestError):
    """The body did not come in time."""

    code = "request_timeout"
    status = 408
    retryable = True


class MalformedMultipart(RequestError):
    """The body is no multipart/form-data, or has too many parts."""

    code = "malformed_multipart"
    status = 400


class MalformedEncoding(RequestError):
    """The body is not in the encoding that its ``Content-Encoding`` names, or is cut short."""

    code = "malformed_encoding"
    status = 400


class UnsupportedEncoding(RequestError):
    """The body has a ``Content-Encoding`` that is not read here; the text names those that are."""

    code = "unsupported_encoding"
    status = 415


class NotAcceptable(RequestError):
    """Nothing that can be made is of a type that the request accepts."""

    code = "not_acceptable"
    status = 406


class NotFound(RequestError):
    """There is nothing of that name."""

    code = "not_found"
    status = 404


class InvalidOption(RequestError):
    """An option has a wrong type or value, or contradicts another."""

    code = "invalid_option"
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


_TOLD = re.compile(r"Invalid ([\w-]+): (.+)", re.DOTALL)


def _told_by(message: str, reason: Reason) -> tuple[Fault, ...]:
    told = _TOLD.fullmatch(message)
    return () if told is None else (Fault(told[1], reason, told[2]),)


class UnknownModel(RequestError):
    """No model of that name is installed."""

    code = "unknown_model"
    exit_status = 2


class AnimationUnsupported(RequestError):
    """The picture is an animation, and the request does not say what to do with it."""

    code = "animation_unsupported"


class MissingInput(RequestError):
    """The request names no picture."""

    code = "missing_input"


class InvalidUrl(RequestError):
    """The picture's URL is not an http or https URL, or carries a user name."""

    code = "invalid_url"


class FileTooLarge(RequestError):
    """The encoded picture has too many bytes."""

    code = "file_too_large"
    status = 413


class BodyTooLarge(FileTooLarge):
    """The request body as a whole has too many bytes."""


class DownloadTooLarge(FileTooLarge):
    """The picture behind the URL has too many bytes, declared or counted."""


class UnsupportedFormat(RequestError):
    """The bytes are no picture format that we read."""

    code = "unsupported_format"
    status = 415


class UnreadableImage(RequestError):
    """The picture is broken, cut short, or not what it says."""

    code = "unreadable_image"


class ImageTooLarge(RequestError):
    """A side of the picture is longer than this server accepts."""

    code = "image_too_large"
    status = 413


class OutputTooLarge(RequestError):
    """The result would have more pixels than this server makes."""

    code = "output_too_large"
    status = 413

    def __init__(
        self, message: str, *, limit: int, actual: int, details: dict[str, object]
    ) -> None:
        super().__init__(message, limit=limit, actual=actual)
        self.details = details
        """Further fields of the answer: ``original_size`` and ``scale``."""


class SourceUnreachable(RequestError):
    """The URL's host is unknown, not allowed, or refuses; which of these is only in the log."""

    code = "source_unreachable"


class SourceTimeout(RequestError):
    """The URL's host answers too slowly."""

    code = "source_timeout"
    status = 504
    retryable = True


class SourceRefused(RequestError):
    """The URL's host answers with an error below 500, or with a body we do not take."""

    code = "source_refused"


class SourceFailed(RequestError):
    """The URL's host answers with an error from 500 up."""

    code = "source_failed"
    status = 502
    retryable = True


class Unauthorized(RequestError):
    """The caller shows no key, or none that is known here."""

    code = "unauthorized"
    status = 401


class ListNeedsKeys(RequestError):
    """Jobs are listed for the API key that asked for them; without keys a job's id is the permission to see it."""

    code = "list_needs_keys"
    status = 403


class JobNotFinished(RequestError):
    """The job has no result yet; it comes when the job has succeeded."""

    code = "job_not_finished"
    status = 409
    retryable = True


class JobWithoutResult(RequestError):
    """The job has failed or was canceled, so there is no result."""

    code = "job_without_result"
    status = 409


class ResultExpired(RequestError):
    """The result was kept for its time and is deleted; ask for it again."""

    code = "result_expired"
    status = 410


class IdempotencyKeyReused(RequestError):
    """The idempotency key was first used for another request; use a new one."""

    code = "idempotency_key_reused"

    job_id: str | None = None
    """The job that has the key, where it is one."""


class SignatureInvalid(RequestError):
    """The link is not signed with a key that is known here, or is not as it was signed."""

    code = "signature_invalid"
    status = 403


class SignatureExpired(RequestError):
    """The time of a signed link has passed."""

    code = "signature_expired"
    status = 403


class CapacityError(EnlargerError):
    """Not now. ``retry_after_s`` says when, where that is known."""

    code = "no_capacity"
    status = 503
    retryable = True


class NoEngineReady(CapacityError):
    """No model server is ready and none is about to be."""

    code = "no_engine_ready"


class QueueFull(CapacityError):
    """As many requests wait as this server holds, or a new one would wait too long."""

    code = "queue_full"


class RateLimited(CapacityError):
    """The caller has asked for as much as it may within a time; ``retry_after_s`` says when it may again."""

    code = "rate_limited"
    status = 429


class Draining(CapacityError):
    """The server is stopping and takes nothing new."""

    code = "draining"


class OutOfMemory(CapacityError):
    """The device could not hold the tile; nothing was changed."""

    code = "out_of_memory"


class StorageUnavailable(CapacityError):
    """The database or the bucket of the jobs cannot be reached."""

    code = "storage_unavailable"


class DeadlineExceeded(CapacityError):
    """The deadline has passed; no answer will follow."""

    code = "deadline_exceeded"
    status = 504
    retryable = False


class DeadlineTooShort(DeadlineExceeded):
    """The work would not be done by its deadline, so it was not begun; the text says what would be."""


class TileError(EnlargerError):
    """A model server's refusal of one tile that is neither a failure nor the caller's fault."""


class BadTile(TileError):
    """The tile's headers and body do not fit together: a fault of the sending gateway."""

    code = "bad_tile"
    status = 400


class ModelNotHere(TileError):
    """The server does not have the model, or has it with other weights."""

    code = "model_not_here"
    status = 404
    retryable = True


class TileTooLarge(TileError):
    """The tile is larger than the server takes; ``limit`` is the longest side in pixels."""

    code = "tile_too_large"
    status = 413


class Busy(TileError):
    """All seats of the server are taken: a routing signal, never a strike."""

    code = "busy"
    status = 503
    retryable = True


class Starting(TileError):
    """The server is not ready yet."""

    code = "starting"
    status = 503
    retryable = True


class EngineError(EnlargerError):
    """An engine did not do its work."""

    code = "engine_error"
    retryable = True


class EngineFailed(EngineError):
    """The runtime raised while computing a tile."""

    code = "engine_failed"


class WrongOutput(EngineError):
    """The network's output is not a picture: NaN, infinite, or constant where the input is not."""

    code = "wrong_output"


class EngineLost(EngineError):
    """The engine went away or did not answer in time; the same tile may be sent elsewhere."""

    code = "engine_lost"
    status = 502


class StorageFull(EnlargerError):
    """The result could not be written."""

    code = "storage_full"
    status = 507


class UnwritableFile(EnlargerError):
    """The file that a shell user named cannot be written."""

    code = "unwritable_file"


class ClientError(EnlargerError):
    """The client has no answer that it could give."""

    code = "client_error"


class ServerUnreachable(ClientError):
    """There is no connection to the server, or it broke before the answer was there."""

    code = "server_unreachable"
    retryable = True

    is_refused: bool = False
    """Whether there was no connection at all: nobody listens there, or the name is unknown."""


class TimedOut(ClientError):
    """The call took longer than it may; a job goes on at the server."""

    code = "timed_out"


class UnexpectedAnswer(ClientError):
    """What answered does not speak as enlarger does: another server, or a proxy."""

    code = "unexpected_answer"


_LONGEST_REASON = 300

_PYTHON_VALUES = (
    (re.compile(r":?\s*<\w+.*>$"), ""),
    (re.compile(r"\[Errno -?\d+\] "), ""),
    (re.compile(r"\('([^']*)', (\d+)(?:, \d+)*\)"), r"\1 port \2"),
)
"""What libraries put into their texts for programmers, and what it reads as in words."""


def reason_of(error: BaseException) -> str:
    """Why something failed, in words for the log: one line, never empty, without class names and Python values."""
    text = _words(error)
    for pattern, words in _PYTHON_VALUES:
        text = pattern.sub(words, text)
    lines = text.strip().splitlines()
    text = lines[0].strip().rstrip(":") if lines else ""
    return (text or _class_in_words(error))[:_LONGEST_REASON]


def _words(error: BaseException) -> str:
    """The best text that an error has, perhaps none. Errors of libraries are told by what they have."""
    if isinstance(error, BaseExceptionGroup):
        return _words(error.exceptions[0])
    # aiohttp and SQLAlchemy carry the error of what they are built on.
    inner = getattr(error, "os_error", None) or getattr(error, "orig", None)
    if isinstance(inner, BaseException) and inner is not error:
        return reason_of(inner)
    if isinstance(error, OSError):
        return _words_of_system(error)
    if isinstance(error, KeyError) and error.args:
        return f"'{error.args[0]}' is missing"
    if hasattr(error, "url") and hasattr(error, "description"):
        return (
            error.description or "the URL is not valid"
        )  # its text is the URL, with whatever is secret in it
    message = getattr(error, "message", None)
    return message if isinstance(message, str) else str(error)


def _words_of_system(error: OSError) -> str:
    if getattr(error, "verify_message", None):
        return f"the certificate is not valid: {error.verify_message}"  # type: ignore[attr-defined]
    if getattr(error, "library", None) and getattr(error, "reason", None):
        return f"TLS failed: {error.reason.replace('_', ' ').lower()}"  # type: ignore[attr-defined]
    if error.errno is None:
        return str(error) or ("it took too long" if isinstance(error, TimeoutError) else "")
    # asyncio's texts show addresses as Python does. Numbers of name look-ups are not the system's.
    text = os.strerror(error.errno) if error.errno > 0 else error.strerror or ""
    return f"{text}: '{error.filename}'" if isinstance(error.filename, str) else text


def _class_in_words(error: BaseException) -> str:
    name = type(error).__name__.strip("_")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower()


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
