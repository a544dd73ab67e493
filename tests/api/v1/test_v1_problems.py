"""Errors of ``/v1`` are problems, over a real socket."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from support.fakes import FailsFirst, NearestEngine
from support.gateways import B64, PNG, Start
from support.v1_requests import PROBLEM, ended, sent

from enlarger import errors
from enlarger.engine.tile import ModelFacts

pytestmark = pytest.mark.asyncio(loop_scope="module")


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


async def test_problem_of_a_job_is_an_instance_of_it(
    start: Start, models: list[ModelFacts]
) -> None:
    """Every response that shows it has the job as its instance. The instance of an error of the request is the request."""
    lost = errors.EngineFailed("the runtime gave up")
    gateway = await start(FailsFirst(NearestEngine(models), failures=100, error=lost))
    waiting = await sent(gateway, "/v1/jobs", data=PNG, params={"scale": 4})
    job = await ended(gateway, waiting)
    assert (job["error"]["code"], job["error"]["instance"]) == (
        "engine_failed",
        job["links"]["self"],
    )

    batch = await (await sent(gateway, "/v1/batches", json={"items": [{"image_b64": "?"}]})).json()
    (item,) = batch["items"]
    assert item["error"]["instance"] == f"/v1/jobs/{item['job']}"

    for headers, kind in (
        ({}, "urn:enlarger:request:mine"),
        ({"Idempotency-Key": "a"}, "/v1/jobs/"),
    ):
        response = await sent(gateway, data=PNG, headers={"X-Request-Id": "mine", **headers})
        body = await response.json(content_type=PROBLEM)
        assert (body["code"], body["request_id"]) == ("engine_failed", "mine")
        assert body["instance"].startswith(kind)


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/upscale"])
async def test_key_that_is_used_names_its_job(start: Start, path: str) -> None:
    """This is E6 of the contract. It also applies to a request that waits for its picture."""
    gateway = await start()
    headers = {"Idempotency-Key": "order-17"}
    first = await sent(gateway, "/v1/jobs", data=PNG, params={"scale": 4}, headers=headers)
    job = await ended(gateway, first)
    response = await sent(gateway, path, data=PNG, params={"scale": 3}, headers=headers)
    body = await response.json(content_type=PROBLEM)
    assert (response.status, body["code"]) == (422, "idempotency_key_reused")
    assert body["instance"] == job["links"]["self"]
    assert body["detail"] == body["error"] == "order-17 was first used for another request"


async def test_wrong_options_are_all_told(start: Start) -> None:
    """With what is allowed."""
    response = await sent(await start(), json={"image_b64": B64, "scale": 0.5, "quality": 101})
    body = await response.json(content_type=PROBLEM)
    assert body["errors"] == [
        {"option": "scale", "reason": "range", "detail": "it must be at least 1"},
        {"option": "quality", "reason": "range", "detail": "it must be at most 100"},
    ]


async def test_limits_are_told(start: Start) -> None:
    """The limit and the actual value are numbers, too."""
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
