"""``/v1`` over a real socket: each form of a request, each kind of answer, and its errors."""

from __future__ import annotations

import base64
import hashlib
from io import BytesIO
from typing import Any

import aiohttp
import numpy as np
import pytest
from fakes import NearestEngine, nearest
from gateways import B64, PNG, RED, Running, Start, samples
from sites import Site, page

from enlarger import errors
from enlarger.wire import ModelFacts

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROBLEM = "application/problem+json"


async def sent(
    gateway: Running, path: str = "/v1/upscale", **options: Any
) -> aiohttp.ClientResponse:
    """A POST, read to its end."""
    response = await gateway.http.post(path, **options)
    await response.read()
    return response


async def assert_enlarged(response: aiohttp.ClientResponse, scale: int = 4) -> None:
    """It is the usual picture, enlarged."""
    body = await response.read()
    assert response.status == 200, body[:300]
    assert np.array_equal(samples(body), nearest(RED, scale))


# Requests and answers


async def test_bytes_in_bytes_out(start: Start) -> None:
    """``curl --data-binary @cat.png "$U/v1/upscale?scale=4"``: the picture, with its facts in headers."""
    gateway = await start()
    response = await sent(gateway, params={"scale": 4}, data=PNG)
    await assert_enlarged(response)
    body = await response.read()
    found = {name.lower(): value for name, value in response.headers.items()}
    assert found["content-type"] == "image/png"
    assert found["content-length"] == str(len(body))
    assert found["etag"] == f'"sha256-{hashlib.sha256(body).hexdigest()}"'
    assert found["vary"] == "Accept, Prefer"
    assert found["content-disposition"] == 'inline; filename="upscaled.png"'
    assert found["x-content-type-options"] == "nosniff"
    assert found["x-upscale-engine"] == "nearest"
    assert found["x-upscale-scale"] == "4"
    assert found["x-upscale-tiles"] == "2;servers=1;retried=0;repeated=0;reused=0"
    assert (found["x-origin-width"], found["x-origin-height"]) == ("30", "20")
    assert (found["x-result-width"], found["x-result-height"]) == ("120", "80")
    assert found["x-upscale-cache"] == "miss"
    assert "total;dur=" in found["server-timing"]


async def test_form_of_a_page(start: Start) -> None:
    """The picture as a file, the options as texts."""
    form = aiohttp.FormData({"scale": "4"})
    form.add_field("image", PNG, filename="cat.png", content_type="image/png")
    await assert_enlarged(await sent(await start(), data=form))


@pytest.mark.parametrize(
    "fields", [{"image_b64": B64}, {"img_url": f"data:image/png;base64,{B64}"}]
)
async def test_json_in_bytes_out(start: Start, fields: dict[str, Any]) -> None:
    """Without an ``Accept``, the picture."""
    await assert_enlarged(await sent(await start(), json={**fields, "scale": 4}))


async def test_url_in_bytes_out(start: Start) -> None:
    """Under the rules for fetching."""
    async with Site({"/cat.png": page(PNG)}) as site:
        gateway = await start(fetch=site.address)
        await assert_enlarged(
            await sent(gateway, json={"img_url": site.url("/cat.png"), "scale": 4})
        )
        link = f"/v1/upscale?scale=4&url={site.url('/cat.png')}"
        async with gateway.http.get(link) as response:
            await assert_enlarged(response)
            assert response.headers["Cache-Control"] == "public, max-age=300"


async def test_json_out(start: Start) -> None:
    """Where the file is, what it is, and what was done; with the file itself if asked for."""
    gateway = await start(public_url="https://pictures.example/")
    options = {"image_b64": B64, "long_side": 75, "format": "webp"}
    response = await sent(gateway, json=options, headers={"Accept": "application/json"})
    body = await response.json()
    result = body["result"]
    assert (result["width"], result["height"], result["media_type"]) == (75, 50, "image/webp")
    assert result["scale"] == 2.5
    assert result["url"].startswith("https://pictures.example/files/")
    assert body["input"] == {"width": 30, "height": 20, "bytes": len(PNG), "format": "png"}
    assert [note["code"] for note in body["notes"]] == ["resampled"]
    assert "base64" not in result
    async with gateway.http.get(result["url"].removeprefix("https://pictures.example")) as file:
        data = await file.read()
    assert (len(data), hashlib.sha256(data).hexdigest()) == (result["bytes"], result["sha256"])

    response = await sent(
        gateway, json={**options, "inline": True}, headers={"Accept": "application/json"}
    )
    body = await response.json()
    assert base64.b64decode(body["result"]["base64"]) == data
    assert (body["cache"], body["result"]["sha256"]) == ("hit", result["sha256"])


async def test_accept_chooses_the_format(start: Start) -> None:
    """Of the picture."""
    gateway = await start()
    response = await sent(gateway, data=PNG, headers={"Accept": "image/webp"})
    assert response.headers["Content-Type"] == "image/webp"
    assert (await response.read())[8:12] == b"WEBP"


async def test_size_that_compatible_routes_do_not_have(start: Start) -> None:
    """Three times, by 4x and an exact reduction."""
    response = await sent(await start(), params={"scale": "3"}, data=PNG)
    assert samples(await response.read()).shape == (60, 90, 3)
    assert response.headers["X-Upscale-Notes"] == "resampled"


# Errors


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"json": {}}, 422, "missing_input"),
        ({"data": b""}, 422, "missing_input"),
        ({"data": b"no picture"}, 415, "unsupported_format"),
        ({"data": PNG[:60]}, 422, "unreadable_image"),
        ({"data": PNG, "params": {"scale": "9"}}, 422, "invalid_option"),
        ({"data": PNG, "params": {"sharpen": "1"}}, 422, "invalid_option"),
        ({"data": PNG, "params": {"model": "nope"}}, 422, "unknown_model"),
        ({"data": PNG, "headers": {"Accept": "text/html"}}, 406, "not_acceptable"),
        ({"data": b"{", "headers": {"Content-Type": "application/json"}}, 400, "malformed_json"),
        ({"data": b"", "headers": {"Content-Type": "application/json"}}, 400, "missing_body"),
        (
            {"data": b"x", "headers": {"Content-Type": "multipart/form-data"}},
            400,
            "malformed_multipart",
        ),
        ({"json": {"img_url": "http://127.0.0.1/x"}}, 422, "source_unreachable"),
    ],
)
async def test_fault_of_the_sender_is_a_problem(
    start: Start, options: dict[str, Any], status: int, code: str
) -> None:
    """RFC 9457, with our fields beside; ``error`` for clients of the compatible routes."""
    gateway = await start()
    headers = {**options.pop("headers", {}), "X-Request-Id": "mine"}
    response = await sent(gateway, **options, headers=headers)
    body = await response.json(content_type=PROBLEM)
    assert (response.status, body["status"], body["code"]) == (status, status, code)
    assert body["error"] == body["detail"] != ""
    assert (body["type"], body["retryable"]) == (f"/errors/{code}", False)
    assert body["request_id"] == response.headers["X-Request-Id"] == "mine"
    async with gateway.http.get(body["type"]) as page_:
        assert page_.status == 200
        assert (await page_.text()).startswith(code)


async def test_wrong_options_are_all_told(start: Start) -> None:
    """With what is allowed."""
    response = await sent(await start(), json={"image_b64": B64, "scale": 0.5, "quality": 101})
    body = await response.json(content_type=PROBLEM)
    assert body["errors"] == [
        {"option": "scale", "reason": "range", "detail": "it must be at least 1"},
        {"option": "quality", "reason": "range", "detail": "it must be at most 100"},
    ]


async def test_limits_are_told(start: Start) -> None:
    """As numbers, too."""
    response = await sent(await start(max_image_dimension_px=25), data=PNG)
    body = await response.json(content_type=PROBLEM)
    assert (response.status, body["limit"], body["actual"]) == (413, 25, 30)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/v1/models/nope", 404, "not_found"),
        ("DELETE", "/v1/upscale", 405, "method_not_allowed"),
        ("GET", "/v1/upscale", 422, "missing_input"),
    ],
)
async def test_http_faults_are_problems_too(
    start: Start, method: str, path: str, status: int, code: str
) -> None:
    """No route, no model, no such method, no URL."""
    gateway = await start()
    async with gateway.http.request(method, path) as response:
        assert (response.status, response.content_type) == (status, PROBLEM)
        assert (await response.json(content_type=PROBLEM))["code"] == code


async def test_refusals_before_the_body_are_problems_too(start: Start) -> None:
    """No key; a body that is too long."""
    gateway = await start(api_keys="a:sha256-" + "0" * 64)
    response = await sent(gateway, data=PNG)
    assert (response.status, response.content_type) == (401, PROBLEM)
    assert response.headers["WWW-Authenticate"] == "Bearer"
    gateway = await start(max_file_size_bytes=10)
    response = await sent(gateway, data=BytesIO(bytes(1 << 21)))
    assert (response.status, response.content_type) == (413, PROBLEM)


# Estimates


async def estimated(gateway: Running, **options: Any) -> dict[str, Any]:
    """The answer, which is always 200."""
    response = await gateway.http.post("/v1/estimate", **options)
    assert response.status == 200
    body: dict[str, Any] = await response.json()
    return body


async def test_estimate_says_what_a_request_would_take(
    start: Start, models: list[ModelFacts]
) -> None:
    """Of a picture, or of a size alone: the same. Nothing is computed."""
    engine = NearestEngine(models, mflop_per_s=1000)
    gateway = await start(engine)
    by_picture = await estimated(gateway, data=PNG, params={"long_side": 75})
    fields = {"input": {"width": 30, "height": 20}, "long_side": 75}
    by_size = await estimated(gateway, json=fields)
    for body in (by_picture, by_size):
        assert (body["accepted"], body["problem"]) == (True, None)
        assert body["output"] == {"width": 75, "height": 50}
        assert body["queue"] == {"position": 1, "length": 0}
        assert body["basis"] == "measured"
        assert body["memory_bytes"] == 8 * (600 + 16 * 600 + 75 * 50)
    assert by_size["tiles"] == by_picture["tiles"]
    assert by_size["eta_s"] == by_picture["eta_s"] >= 0
    assert engine.requests == []
    response = await sent(gateway, data=PNG, params={"long_side": 75})
    assert int(response.headers["X-Result-Width"]) == by_size["output"]["width"]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"json": {"input": {"width": 30, "height": 20}, "scale": 9}}, "invalid_option"),
        ({"json": {"input": {"width": 0, "height": 20}}}, "invalid_option"),
        ({"json": {"input": [30, 20]}}, "invalid_option"),
        ({"json": {"input": {"width": 3000, "height": 20}}}, "image_too_large"),
        ({"json": {"input": {"width": 30, "height": 20}, "model": "nope"}}, "unknown_model"),
        ({"json": {}}, "missing_input"),
        ({"data": b"no picture"}, "unsupported_format"),
    ],
)
async def test_estimate_says_why_a_request_would_be_refused(
    start: Start, options: dict[str, Any], code: str
) -> None:
    """With the problem that it would get."""
    body = await estimated(await start(), **options)
    assert (body["accepted"], body["problem"]["code"]) == (False, code)


# Models and errors


async def test_models_say_what_they_are(start: Start) -> None:
    """All that are installed, and what ``auto`` picks."""
    gateway = await start()
    body = (await gateway.call("GET", "/v1/models")).body
    models = {model["id"]: model for model in body["models"]}
    assert set(body["default"]) == {"2", "4"}
    assert set(body["default"].values()) <= set(models)
    best = models["realesrgan-x4plus"]
    assert (best["native_scale"], best["kind"], best["seams"]) == (4, "rrdb", "blended")
    assert (best["ready_on"], best["installed"], len(best["sha256"])) == (1, True, 64)
    assert (await gateway.call("GET", "/v1/models/realesrgan-x4plus")).body == best


async def test_every_code_has_a_page(start: Start) -> None:
    """Where the ``type`` of a problem leads; others are not there."""
    gateway = await start()
    codes = {
        value.code
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.EnlargerError)
    }
    for code in codes:
        async with gateway.http.get(f"/errors/{code}") as response:
            assert response.status == 200, code
    async with gateway.http.get("/errors/nope") as response:
        assert response.status == 404
