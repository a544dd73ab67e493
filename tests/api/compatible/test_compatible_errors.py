"""Errors of the compatible contract, as pure functions."""

from __future__ import annotations

from typing import Any

import pytest

from enlarger.api.compatible.errors import error_answer
from enlarger.api.compatible.texts import sentence
from enlarger.errors import (
    BadTile,
    BodyTooLarge,
    Busy,
    DeadlineExceeded,
    DeadlineTooShort,
    DownloadTooLarge,
    Draining,
    EngineFailed,
    EngineLost,
    EnlargerError,
    FileTooLarge,
    ImageTooLarge,
    InvalidOption,
    InvalidUrl,
    MalformedJson,
    MissingBody,
    MissingInput,
    ModelNotHere,
    NoEngineReady,
    OpenFilesExhausted,
    OutOfMemory,
    OutputTooLarge,
    QueueFull,
    SourceFailed,
    SourceRefused,
    SourceTimeout,
    SourceUnreachable,
    Starting,
    StorageFull,
    TileTooLarge,
    UnknownModel,
    UnreadableImage,
    UnsupportedFormat,
    WeightsError,
    WrongOutput,
)

SIZE = {"original_size": {"width": 90, "height": 80}, "scale": 4}
TABLE: list[tuple[EnlargerError, int, dict[str, Any]]] = [
    (
        BodyTooLarge("Request body too large (max: 10835288)", limit=10835288),
        400,
        {
            "error": "Request body too large (max: 10835288)",
            "code": "file_too_large",
            "limit": 10835288,
        },
    ),
    (
        MissingBody("No JSON data provided"),
        400,
        {"error": "No JSON data provided", "code": "missing_body"},
    ),
    (MalformedJson("Malformed JSON"), 400, {"error": "Malformed JSON", "code": "malformed_json"}),
    (
        InvalidOption("Scale must be 2 or 4"),
        400,
        {"error": "Scale must be 2 or 4", "code": "invalid_option"},
    ),
    (
        UnknownModel("'x' is not installed"),
        400,
        {"error": "Unknown model: 'x' is not installed", "code": "unknown_model"},
    ),
    (
        MissingInput("img_url is required"),
        400,
        {"error": "img_url is required", "code": "missing_input"},
    ),
    (
        InvalidUrl("Invalid img_url format"),
        400,
        {"error": "Invalid img_url format", "code": "invalid_url"},
    ),
    (
        UnreadableImage("not valid base64"),
        400,
        {"error": "Invalid image: not valid base64", "code": "unreadable_image"},
    ),
    (
        FileTooLarge("Image too large: 9 bytes (max: 8)", limit=8, actual=9),
        400,
        {
            "error": "Invalid image: Image too large: 9 bytes (max: 8)",
            "code": "file_too_large",
            "limit": 8,
            "actual": 9,
        },
    ),
    (
        SourceUnreachable("could not reach the source"),
        400,
        {
            "error": "Failed to download image: could not reach the source",
            "code": "source_unreachable",
        },
    ),
    (
        SourceTimeout("Timeout downloading image"),
        400,
        {"error": "Timeout downloading image", "code": "source_timeout", "retryable": True},
    ),
    (
        SourceRefused("HTTP 404: Failed to download image"),
        400,
        {
            "error": "Failed to download image: HTTP 404: Failed to download image",
            "code": "source_refused",
        },
    ),
    (
        SourceFailed("HTTP 500: Failed to download image"),
        400,
        {
            "error": "Failed to download image: HTTP 500: Failed to download image",
            "code": "source_failed",
            "retryable": True,
        },
    ),
    (
        DownloadTooLarge("Image too large: 9 bytes (max: 8)", limit=8, actual=9),
        400,
        {
            "error": "Failed to download image: Image too large: 9 bytes (max: 8)",
            "code": "file_too_large",
            "limit": 8,
            "actual": 9,
        },
    ),
    (
        UnsupportedFormat("not a picture"),
        400,
        {"error": "Invalid image: not a picture", "code": "unsupported_format"},
    ),
    (
        ImageTooLarge("Image dimensions too large: 4000x3000 (max: 2048)", limit=2048, actual=4000),
        400,
        {
            "error": "Invalid image: Image dimensions too large: 4000x3000 (max: 2048)",
            "code": "image_too_large",
            "limit": 2048,
            "actual": 4000,
        },
    ),
    (
        OutputTooLarge(
            "Upscaled image would be too large: ~345600 bytes",
            limit=100_000,
            actual=115_200,
            facts={"input_px": (90, 80), "scale": 4},
        ),
        400,
        {
            "error": "Upscaled image would be too large: ~345600 bytes",
            "code": "output_too_large",
            "limit": 100_000,
            "actual": 115_200,
            **SIZE,
        },
    ),
    (
        DeadlineExceeded("the deadline passed while the tile waited"),
        504,
        {"error": "Upscaling failed: deadline exceeded", "code": "deadline_exceeded"},
    ),
    (
        DeadlineTooShort("deadline exceeded before it began: use a quicker model"),
        504,
        {
            "error": "Upscaling failed: deadline exceeded before it began: use a quicker model",
            "code": "deadline_exceeded",
        },
    ),
    (
        EngineFailed("the runtime failed"),
        500,
        {
            "error": "Upscaling failed: the runtime failed",
            "code": "engine_failed",
            "retryable": True,
        },
    ),
    (
        EngineLost("it went away"),
        500,
        {"error": "Upscaling failed: it went away", "code": "engine_lost", "retryable": True},
    ),
    (
        WrongOutput("it is constant"),
        500,
        {"error": "Upscaling failed: it is constant", "code": "wrong_output", "retryable": True},
    ),
    (
        StorageFull("no room for the result"),
        500,
        {"error": "Upscaling failed: no room for the result", "code": "storage_full"},
    ),
]
"""The rows that need no ``Retry-After``: an error, its status, and its body."""


@pytest.mark.parametrize(("error", "status", "body"), TABLE, ids=lambda row: type(row).__name__)
def test_error_has_the_body_and_status_of_the_table(
    error: EnlargerError, status: int, body: dict[str, Any]
) -> None:
    """The body has the text, the code, whether a repeat makes sense, and the numbers if there are any. It has nothing else."""
    wanted = {"retryable": False, "request_id": "r-1", **body}
    assert error_answer(error, request_id="r-1") == (wanted, status, {})


def test_fields_of_an_error_have_their_order() -> None:
    """The fields have the order of the page of errors, because people read the sentence first."""
    error = FileTooLarge("too large", limit=1, actual=2)
    body, _, _ = error_answer(error, request_id="r-1")
    assert list(body) == ["error", "code", "retryable", "request_id", "limit", "actual"]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (FileTooLarge("9 bytes", limit=8, actual=9), "Image too large: 9 bytes (max: 8)"),
        (DownloadTooLarge("9 bytes", limit=8, actual=9), "Image too large: 9 bytes (max: 8)"),
        (BodyTooLarge("the body", limit=8, actual=9), "the body"),
        (
            ImageTooLarge("big", limit=8, actual=9, facts={"width_px": 9, "height_px": 5}),
            "Image dimensions too large: 9x5 (max: 8)",
        ),
        (ImageTooLarge("big", limit=8, actual=9), "big"),
        (
            OutputTooLarge(
                "big", limit=1, actual=9, facts={"rgb_bytes": 27, "hint": " in 3 frames"}
            ),
            "Upscaled image would be too large: ~27 bytes in 3 frames",
        ),
        (SourceTimeout("slow"), "Timeout downloading image"),
        (
            SourceRefused("no", facts={"source_status": 404, "reason": ""}),
            "HTTP 404: Failed to download image",
        ),
        (
            SourceFailed("no", facts={"source_status": 503, "reason": ""}),
            "HTTP 503: Failed to download image",
        ),
        (SourceRefused("no"), "no"),
        (EngineFailed("the runtime failed"), "the runtime failed"),
    ],
)
def test_sentences_are_those_of_the_original_service(error: EnlargerError, text: str) -> None:
    """The sentence is made from the facts of an error. An error without those facts keeps its own text."""
    assert sentence(error) == text


@pytest.mark.parametrize(
    ("cls", "code"),
    [
        (NoEngineReady, "no_engine_ready"),
        (QueueFull, "queue_full"),
        (Draining, "draining"),
        (OutOfMemory, "out_of_memory"),
        (OpenFilesExhausted, "open_files_exhausted"),
    ],
)
@pytest.mark.parametrize(
    ("retry_after_s", "header"),
    [(None, "1"), (0.0, "1"), (0.2, "1"), (7.0, "7"), (7.1, "8"), (120.0, "120"), (9e9, "120")],
)
def test_capacity_error_says_when_to_come_back(
    cls: type[EnlargerError], code: str, retry_after_s: float | None, header: str
) -> None:
    """503 has ``Retry-After`` in whole seconds, rounded up, from 1 to 120."""
    body, status, headers = error_answer(
        cls("not now", retry_after_s=retry_after_s), request_id="r-1"
    )
    assert body == {
        "error": "Upscaling failed: not now",
        "code": code,
        "retryable": True,
        "request_id": "r-1",
    }
    assert (status, headers) == (503, {"Retry-After": header})


@pytest.mark.parametrize(
    "error",
    [
        BadTile("Tile-Shape does not fit"),
        ModelNotHere("nearest is not here"),
        TileTooLarge("600 px", limit=512),
        Busy("2 of 2 seats taken"),
        Starting("not yet"),
        WeightsError("nearest.bin is damaged"),
        EnlargerError("what is this"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_error_that_the_table_does_not_know_is_internal(error: EnlargerError) -> None:
    """Errors between gateway and model servers are not shown to the caller."""
    body, status, headers = error_answer(error, request_id="r-1")
    assert body == {
        "error": "Internal server error",
        "code": "internal_error",
        "retryable": False,
        "request_id": "r-1",
    }
    assert (status, headers) == (500, {})
