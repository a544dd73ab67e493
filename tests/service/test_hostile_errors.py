"""Errors of a real gateway tell nothing of its inside."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from running import RunningService
from support.pictures import encoded, noise
from support.strangers import (
    GOOD,
    PICTURE,
    Answer,
    assert_guarded,
    request,
    told,
)


@pytest.fixture(scope="module")
def service(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    """One model server, which may fetch from public addresses alone."""
    folder = tmp_path_factory.mktemp("secret-place")
    with RunningService(folder, environment | {"NUM_SERVERS": "1"}) as service:
        assert service.upscale(PICTURE, model="nearest")[0] == 200  # whatever is loaded once, is
        yield service


@pytest.fixture(autouse=True)
def _all_is_well_afterwards(service: RunningService) -> Iterator[None]:
    """Whatever happens in a test, the next request is served."""
    yield
    answer = told(service, request(GOOD))
    assert answer.status == 200, answer.body


def asked(**fields: Any) -> bytes:
    """A job."""
    return request(json.dumps(fields).encode())


def picture(data: bytes, **options: Any) -> bytes:
    """A job with a picture."""
    return asked(image_b64=base64.b64encode(data).decode(), model="nearest", **options)


def long_animation() -> bytes:
    """Two frames whose results together are too large."""
    frames = [Image.new("L", (2048, 2048), value) for value in (0, 255)]
    file = BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


PROVOKED: dict[str, bytes] = {
    "missing_body": request(b""),
    "malformed_json": request(b"{"),
    "missing_input": asked(scale=2),
    "invalid_option": asked(scale=3),
    "unknown_model": asked(model="../../etc/passwd"),
    "invalid_url": asked(img_url="file:///etc/passwd"),
    "file_too_large": request(content_length=str(1 << 30)),
    "image_too_large": picture(encoded(noise(1, 2049, 1))),
    "unsupported_format": picture(b"<svg/>"),
    "unreadable_image": picture(PICTURE[:60]),
    "source_unreachable": asked(img_url="http://127.0.0.1:1/"),
    "output_too_large": picture(long_animation(), scale=4, frames="all"),
    "not_found": b"GET /nothing HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n",
    "method_not_allowed": request(target="/health"),
}
"""A request for each error that a caller can provoke."""


def assert_tells_nothing(service: RunningService, answer: Answer) -> None:
    """No path, module, exception or address of ours."""
    text = (answer.body + repr(answer.headers).encode()).decode("latin1")
    ours = (
        str(service.folder),
        "secret-place",
        f"{Path.home()}/",
        sys.prefix,
        "site-packages",
    )
    for word in (
        *ours,
        "Traceback",
        "Error(",
        "Exception",
        "Errno",
        "enlarger.",
        ".py",
        "0x",
        "127.0.0.1",
    ):
        assert word not in text, text
    assert answer.json["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("code", PROVOKED)
def test_error_tells_nothing_of_the_inside(service: RunningService, code: str) -> None:
    """Its code and a text that was written for the caller."""
    answer = told(service, PROVOKED[code])
    assert answer.json["code"] == code
    assert 400 <= answer.status < 500
    assert_tells_nothing(service, answer)
    assert_guarded(answer)


def test_failure_of_ours_tells_nothing_of_the_inside(service: RunningService) -> None:
    """A file in the place of the folder of results; once that is back, all is well."""
    uploads, away = service.folder / "uploads", service.folder / "away"
    uploads.rename(away)
    uploads.touch()
    try:
        full = told(service, picture(noise_picture(), inline=False))
        swept = told(service, request(target="/cleanup"))
    finally:
        uploads.unlink()
        away.rename(uploads)
    assert (full.status, full.json["code"]) == (500, "storage_full")
    assert (swept.status, swept.json["code"]) == (500, "internal_error")
    for answer in (full, swept):
        assert_tells_nothing(service, answer)
        assert_guarded(answer)


def noise_picture() -> bytes:
    """One that was not enlarged before."""
    return encoded(noise(6, 5, 3, seed=77))
