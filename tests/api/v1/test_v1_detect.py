"""``model=detect``: the answer says what the picture shows, and which model was chosen for that."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import pytest
from PIL import Image
from support import contents
from support.fakes import NearestEngine
from support.gateways import Start
from support.pictures import encoded, skimage_photo

from enlarger.engine.tile import ModelFacts

pytestmark = pytest.mark.asyncio(loop_scope="module")

X4PLUS, DRAWN = "realesrgan-x4plus", "realcugan-se-4x-conservative"

DRAWING = encoded(contents.drawing(0, side_px=160))
PHOTO = encoded(skimage_photo("chelsea.png")[100:180, 100:220])


@pytest.mark.parametrize(
    ("data", "content", "model"), [(DRAWING, "drawing", DRAWN), (PHOTO, "photo", X4PLUS)]
)
async def test_answers_say_what_was_found_and_chosen(
    start: Start, models: list[ModelFacts], data: bytes, content: str, model: str
) -> None:
    """In headers, in JSON, as a note, in the provenance, and by the estimate before."""
    gateway = await start(NearestEngine(models))
    params = {"model": "detect", "scale": "4", "provenance": "true"}
    async with gateway.http.post("/v1/estimate", params=params, data=data) as response:
        estimate = await response.json()
    assert (estimate["model"], estimate["content"]) == (model, content)
    assert estimate["content_basis"] == "pixels"
    async with gateway.http.post("/v1/upscale", params=params, data=data) as response:
        assert response.status == 200
        assert response.headers["X-Upscale-Content"] == content
        assert response.headers["X-Upscale-Model"] == model
        file = await response.read()
    with Image.open(BytesIO(file)) as image:
        comment = image.getexif().get_ifd(0x8769)[0x9286]
    assert f'"content": "{content}"' in comment.decode("latin-1")
    headers = {"Accept": "application/json"}
    async with gateway.http.post(
        "/v1/upscale", params=params, data=data, headers=headers
    ) as response:
        body = await response.json()
    assert (body["model"], body["input"]["content"]) == (model, content)
    assert {"code": "content_detected", "detail": f"{content}: {model}"} in body["notes"]


async def test_job_says_what_was_found(start: Start, models: list[ModelFacts]) -> None:
    """In its input, with the model that was chosen in its options."""
    gateway = await start(NearestEngine(models))
    async with gateway.http.post(
        "/v1/jobs", params={"model": "detect", "scale": "4"}, data=DRAWING
    ) as response:
        accepted = await response.json()
    url = accepted["links"]["self"]
    async with gateway.http.get(url, params={"wait": "30"}) as response:
        job = await response.json()
    assert job["input"]["content"] == "drawing"
    assert job["options"]["model"] == job["result"]["model"] == DRAWN


async def test_estimate_from_a_size_says_what_it_assumed(
    start: Start, models: list[ModelFacts]
) -> None:
    """There are no pixels to look at: a photo is assumed."""
    gateway = await start(NearestEngine(models))
    fields = {"input": {"width": 30, "height": 20}, "model": "detect"}
    async with gateway.http.post("/v1/estimate", json=fields) as response:
        body = await response.json()
    assert (body["content"], body["content_basis"], body["model"]) == ("photo", "assumed", X4PLUS)


async def test_nobody_looks_unless_asked(start: Start, models: list[ModelFacts]) -> None:
    """Requests that name a model, or leave it to ``auto``, state no content."""
    gateway = await start(NearestEngine(models))
    headers = {"Accept": "application/json"}
    async with gateway.http.post("/v1/upscale", data=DRAWING, headers=headers) as response:
        body = await response.json()
    assert (body["model"], body["input"]["content"]) == (X4PLUS, None)
    async with gateway.http.post("/v1/estimate", data=DRAWING) as response:
        estimate = await response.json()
    assert (estimate["content"], estimate["content_basis"]) == (None, None)


async def test_compatible_answer_keeps_its_keys(start: Start, models: list[ModelFacts]) -> None:
    """What was found is a note there."""
    gateway = await start(NearestEngine(models))
    picture = base64.b64encode(DRAWING).decode()

    async def answer(model: str) -> dict[str, Any]:
        fields = {"image_b64": picture, "model": model, "scale": 4}
        async with gateway.http.post("/upscale", json=fields) as response:
            assert response.status == 200
            body: dict[str, Any] = await response.json()
            return body

    usual, detected = await answer("auto"), await answer("detect")
    assert usual.keys() == detected.keys()
    assert detected["model"] == DRAWN
    assert "content_detected" in {note["code"] for note in detected["notes"]}


async def test_picture_over_a_limit_is_refused_before_its_pixels_are_read(
    start: Start, models: list[ModelFacts]
) -> None:
    """A file of few bytes may state many pixels."""
    gateway = await start(NearestEngine(models), max_image_dimension_px=100)
    async with gateway.http.post(
        "/v1/upscale", params={"model": "detect"}, data=DRAWING
    ) as response:
        assert response.status == 413
        assert (await response.json())["code"] == "image_too_large"
