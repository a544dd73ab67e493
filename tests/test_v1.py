"""``/v1`` over a real socket: each form of a request, each kind of answer, and its errors."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import time
from dataclasses import replace
from io import BytesIO
from typing import Any
from urllib.parse import quote

import aiohttp
import numpy as np
import pytest
from fakes import FailsFirst, HeldEngine, NearestEngine, nearest
from gateways import B64, PNG, RED, Running, Start, samples
from pictures import RGB, encoded, noise, png
from sites import Site, page
from yarl import URL

from enlarger import errors
from enlarger.api.signing import sign
from enlarger.api.v1.answers import FIDELITY_HEADERS
from enlarger.engine.tile import ModelFacts
from enlarger.options import Options

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


def kept_s(response: aiohttp.ClientResponse) -> int:
    """Seconds for which any cache may keep it."""
    match = re.fullmatch(r"public, max-age=(\d+)", response.headers["Cache-Control"])
    assert match is not None, response.headers["Cache-Control"]
    return int(match[1])


async def ended(gateway: Running, accepted: aiohttp.ClientResponse) -> dict[str, Any]:
    """The job of a 202, when it has ended."""
    assert accepted.status == 202
    async with gateway.http.get(accepted.headers["Location"], params={"wait": 30}) as response:
        job: dict[str, Any] = await response.json()
        return job


async def read_to_the_end(gateway: Running, taken: dict[str, Any]) -> None:
    """The events of a job or of a batch, which end with it."""
    async with gateway.http.get(taken["links"]["events"]) as response:
        await response.read()


# Requests and answers


async def test_bytes_in_bytes_out(start: Start) -> None:
    """``curl --data-binary @cat.png "$U/v1/upscale?scale=4"``: the picture, with its facts in headers."""
    gateway = await start()
    response = await sent(gateway, params={"scale": 4}, data=PNG)
    await assert_enlarged(response)
    body = await response.read()
    (model,) = (one for one in gateway.gateway.catalogue if one.id == "realesrgan-x4plus")
    expected = {
        "Content-Type": "image/png",
        "Content-Length": str(len(body)),
        "ETag": f'"sha256-{hashlib.sha256(body).hexdigest()}"',
        "Content-Disposition": 'inline; filename="upscaled.png"',
        "Vary": "Accept, Prefer",
        "X-Content-Type-Options": "nosniff",
        "X-Upscale-Model": model.id,
        "X-Upscale-Model-Sha256": model.sha256,
        "X-Upscale-Scale": "4",
        "X-Upscale-Engine": "nearest",
        "X-Upscale-Precision": "f32",
        "X-Upscale-Tiles": "1;servers=1;retried=0;repeated=0;reused=0",
        "X-Upscale-Notes": "",
        "X-Upscale-Kept": "",
        "X-Upscale-Cache": "miss",
        "X-Origin-Width": "30",
        "X-Origin-Height": "20",
        "X-Result-Width": "120",
        "X-Result-Height": "80",
    }
    assert {name: response.headers.get(name) for name in expected} == expected
    assert re.fullmatch(r"\d+\.\d\d", response.headers["X-Upscale-Color-Delta"])
    assert set(FIDELITY_HEADERS) <= {*expected, "X-Upscale-Color-Delta"}
    stages = re.findall(r"(\w+);dur=\d+(?:, |$)", response.headers["Server-Timing"])
    assert sorted(stages) == ["decode", "encode", "fetch", "infer", "queue", "total"]


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
            assert 290 <= kept_s(response) <= 300


async def test_link_is_kept_no_longer_than_its_result(
    start: Start, models: list[ModelFacts]
) -> None:
    """By caches, if it is the picture; of a job that has ended, the seconds that are left of that one's result."""
    engine = HeldEngine(models)
    async with Site({"/cat.png": page(PNG)}) as site:
        gateway = await start(engine, fetch=site.address, sync_limit_s=0.2, file_max_age_s=4)
        link = f"/v1/upscale?scale=4&url={site.url('/cat.png')}"
        waiting = await fetched(gateway, link)
        assert (waiting.status, waiting.headers["Cache-Control"]) == (202, "no-store")
        engine.let_go()
        assert (await ended(gateway, waiting))["state"] == "succeeded"
        first = await fetched(gateway, link)
        await asyncio.sleep(1.5)
        second = await fetched(gateway, link)
        await assert_enlarged(second)
        assert 0 <= kept_s(second) < kept_s(first) <= 4
        shown = await gateway.http.get(
            URL(link, encoded=True), headers={"Accept": "application/json"}
        )
        assert (shown.content_type, shown.headers["Cache-Control"]) == (
            "application/json",
            "no-store",
        )


@pytest.mark.parametrize("is_job", [False, True])
async def test_link_is_answered_as_caches_ask(
    start: Start, models: list[ModelFacts], is_job: bool
) -> None:
    """304 for what they have, and parts: RFC 9110. A POST knows neither."""
    engine = HeldEngine(models)
    async with Site({"/cat.png": page(PNG)}) as site:
        gateway = await start(engine, fetch=site.address, sync_limit_s=0.2 if is_job else 60)
        link = URL(f"/v1/upscale?scale=4&url={site.url('/cat.png')}", encoded=True)
        if is_job:
            waiting = await gateway.http.get(link)
            engine.let_go()
            await ended(gateway, waiting)
        engine.let_go()
        whole = await fetched(gateway, str(link))
        await assert_enlarged(whole)
        data, etag = await whole.read(), whole.headers["ETag"]
        assert whole.headers["Accept-Ranges"] == "bytes"
        for headers, status, body in (
            ({"If-None-Match": etag}, 304, b""),
            ({"If-None-Match": '"other"'}, 200, data),
            ({"Range": "bytes=10-19"}, 206, data[10:20]),
            ({"Range": "bytes=10-19", "If-Range": '"other"'}, 200, data),
            ({"Range": f"bytes={len(data)}-"}, 416, b""),
        ):
            response = await gateway.http.get(link, headers=headers)
            assert (response.status, await response.read()) == (status, body)
            assert response.headers["ETag"] == etag
            assert response.headers["Vary"] == "Accept, Prefer"
            assert kept_s(response) <= 300
        asked = {"Range": "bytes=10-19", "If-None-Match": etag}
        response = await sent(gateway, params={"scale": 4}, data=PNG, headers=asked)
        assert (response.status, await response.read()) == (200, data)
        assert response.headers["Cache-Control"] == "no-store"


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


@pytest.mark.parametrize(
    ("asked", "shown", "of_url"),
    [
        ({}, {"scale": 2, "format": "png"}, {"format": "png"}),
        ({"scale": 3, "format": "auto"}, {"scale": 3, "format": "webp"}, {"format": "auto"}),
        ({"long_side": 90, "format": "jpeg"}, {"scale": None}, {"format": "jpeg"}),
    ],
)
async def test_job_shows_what_its_options_come_to(
    start: Start,
    models: list[ModelFacts],
    asked: dict[str, Any],
    shown: dict[str, Any],
    of_url: dict[str, Any],
) -> None:
    """At once, where the picture came with the request: the same as when it is done. Of a URL then."""
    engine = HeldEngine(models)
    file = encoded(RED, "WEBP", lossless=True)
    async with Site({"/cat.webp": page(file)}) as site:
        gateway = await start(engine, fetch=site.address)
        sent_, named = (
            await sent(gateway, "/v1/jobs", data=file, params=asked),
            await sent(gateway, "/v1/jobs", json={"img_url": site.url("/cat.webp"), **asked}),
        )
        early, unknown = (await sent_.json())["options"], (await named.json())["options"]
        engine.let_go()
        late = [(await ended(gateway, accepted))["options"] for accepted in (sent_, named)]
    assert {name: early.get(name) for name in shown} == shown
    assert early["model"] == "realesrgan-x4plus"
    assert late == [early, early]
    assert unknown == {**early, "model": "auto", **of_url}


@pytest.mark.parametrize(
    ("accept", "options", "format_"),
    [
        ("image/webp", {}, "webp"),
        ("image/png;q=0.1, image/avif", {}, "avif"),
        ("application/json, image/webp;q=0.5", {}, "png"),
        ("image/webp", {"format": "jpeg"}, "jpeg"),
        ("image/*", {}, "png"),
        ("text/html", {}, "png"),
        ("nonsense", {}, "png"),
    ],
)
async def test_accept_chooses_the_format_of_a_job(
    start: Start, accept: str, options: dict[str, str], format_: str
) -> None:
    """As that of the picture; the answer is JSON, and no job is refused for it."""
    gateway = await start()
    response = await sent(gateway, "/v1/jobs", data=PNG, params=options, headers={"Accept": accept})
    job = await ended(gateway, response)
    assert job["options"]["format"] == format_
    assert job["result"]["media_type"] == f"image/{format_}"


async def test_batch_item_that_was_refused_shows_no_options(start: Start) -> None:
    """Nobody knows what it was asked with."""
    gateway = await start()
    batch = await (await sent(gateway, "/v1/batches", json={"items": [{"image_b64": "?"}]})).json()
    job = (await gateway.call("GET", f"/v1/jobs/{batch['items'][0]['job']}")).body
    assert (job["state"], job["options"]) == ("failed", {})


async def test_models_are_compared(start: Start) -> None:
    """The same part through each; as it is in the whole picture."""
    gateway = await start()
    form = aiohttp.FormData({"scale": "4", "region": "3,4,10,8"})
    form.add_field("image", PNG, filename="cat.png", content_type="image/png")
    response = await sent(gateway, "/v1/compare", data=form)
    body = await response.json()
    installed = [model.id for model in gateway.gateway.catalogue]
    assert [result["model"] for result in body["results"]] == installed
    for result in body["results"]:
        async with gateway.http.get(result["result"]["url"]) as file:
            assert np.array_equal(samples(await file.read()), nearest(RED[4:12, 3:13], 4))
    two = {"image_b64": B64, "region": [0, 0, 9, 9], "models": [installed[1], installed[0]]}
    body = await (await sent(gateway, "/v1/compare", json=two)).json()
    assert [result["model"] for result in body["results"]] == [installed[1], installed[0]]
    for bad, option in (
        ({"models": []}, "models"),
        ({"models": "x4,none"}, None),
        ({"models": 3}, "models"),
        ({"region": None}, "region"),
    ):
        response = await sent(gateway, "/v1/compare", json={**two, **bad})
        problem = await response.json(content_type=PROBLEM)
        assert response.status == 422
        assert [fault["option"] for fault in problem.get("errors", [])] == (
            [option] if option else []
        )


async def test_model_that_fails_leaves_the_others_their_results(
    start: Start, models: list[ModelFacts]
) -> None:
    """Its problem stands in its place."""
    gateway = await start(NearestEngine(models[:1]))
    two = {"image_b64": B64, "region": [0, 0, 9, 9], "models": [models[0].id, models[1].id]}
    body = await (await sent(gateway, "/v1/compare", json=two)).json()
    assert body["results"][0]["result"]["width"] == 18
    assert body["results"][1]["model"] == models[1].id
    assert body["results"][1]["problem"]["code"] == "no_engine_ready"


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


async def test_problem_of_a_job_is_an_instance_of_it(
    start: Start, models: list[ModelFacts]
) -> None:
    """Wherever it is told; what is wrong with a request alone is an instance of that one."""
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
    """E6 of the contract; also to one who waits for the picture."""
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


def key_hash(key: str) -> str:
    """As it stands in the setting."""
    return f"sha256-{hashlib.sha256(key.encode()).hexdigest()}"


# Signed links

SIGNING = "shop:sixteen-letters!,blog:and-another-one!"


def signed(target: str, *, for_s: float = 60) -> str:
    """By the second key."""
    expires_at = int(time.time() + for_s)
    return sign(target, kid="blog", secret="and-another-one!", expires_at=expires_at)


async def fetched(gateway: Running, target: str, method: str = "GET") -> aiohttp.ClientResponse:
    """A request of just this target, without a key."""
    response = await gateway.http.request(method, URL(target, encoded=True))
    await response.read()
    return response


async def test_page_shows_a_picture_by_a_signed_link(start: Start) -> None:
    """Without a key, and under the limits of the link's own key."""
    async with Site({"/cat.png": page(PNG)}) as site:
        gateway = await start(
            fetch=site.address,
            api_keys="a:sha256-" + "0" * 64,
            signing_keys=SIGNING,
            rate_limit="1mp/1000s",
        )
        asked = f"/v1/upscale?url={quote(site.url('/cat.png'), safe='')}&scale=4"
        link = signed(asked)
        await assert_enlarged(await fetched(gateway, link))
        response = await fetched(gateway, link)
        await assert_enlarged(response)
        assert response.headers["X-Upscale-Cache"] == "hit"
        assert response.headers["RateLimit"].startswith('"output-mp";r=0;')
        assert (await fetched(gateway, link, "HEAD")).status == 200
        assert (await fetched(gateway, asked)).status == 401
        assert (await fetched(gateway, link, "POST")).status == 401


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("/v1/models", 200, None),
        ("/v1/models/m%C3%B6del", 404, "not_found"),
        ("/v1/upscale", 422, "missing_input"),
        ("/v1/upscale?url=x&sig=y", 422, "invalid_option"),
        ("/v1/upscale?url=x&expires=1", 422, "invalid_option"),
    ],
)
async def test_signed_link_is_read_as_its_query_says(
    start: Start, target: str, status: int, code: str | None
) -> None:
    """Without what signed it, and with all else."""
    gateway = await start(api_keys="a:sha256-" + "0" * 64, signing_keys=SIGNING)
    response = await fetched(gateway, signed(target))
    assert response.status == status
    if code is not None:
        assert (await response.json(content_type=PROBLEM))["code"] == code


async def test_wrong_link_is_a_problem(start: Start) -> None:
    """403: late, or not as it was signed. Quoting a letter is a change as well, though it means the same."""
    gateway = await start(signing_keys=SIGNING)
    link = signed("/v1/models")
    for wrong, code in [
        (signed("/v1/models", for_s=-1), "signature_expired"),
        (link.replace("models", "m%6fdels"), "signature_invalid"),
        (f"{link}&sig=", "signature_invalid"),
        ("/v1/models?sig=x", "signature_invalid"),
    ]:
        response = await fetched(gateway, wrong)
        body = await response.json(content_type=PROBLEM)
        assert (response.status, body["code"]) == (403, code), wrong


# Rates


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("/v1/upscale", {"data": PNG, "params": {"scale": 4}}),
        ("/v1/jobs", {"data": PNG, "params": {"scale": 4}}),
        ("/v1/compare", {"json": {"image_b64": B64, "scale": 4, "region": [0, 0, 30, 20]}}),
        ("/v1/batches", {"json": {"items": [{"image_b64": B64}], "options": {"scale": 4}}}),
    ],
)
async def test_rate_is_told_wherever_it_is_charged(
    start: Start, path: str, options: dict[str, Any]
) -> None:
    """Also with a 202, which takes what is left: 9600 pixels; and with the 429 after it."""
    gateway = await start(rate_limit="0.009mp/3600s")
    response = await sent(gateway, path, **options)
    assert response.status in (200, 202)
    assert response.headers["RateLimit-Policy"] == '"output-mp";q=0.009;w=3600'
    if response.status == 202:
        await read_to_the_end(gateway, await response.json())
    response = await sent(gateway, path, **options, headers={"Cache-Control": "no-cache"})
    # A comparison tells of each model what became of it.
    assert response.status == (200 if path == "/v1/compare" else 429)
    match = re.fullmatch(r'"output-mp";r=0;t=(\d+)', response.headers["RateLimit"])
    assert match is not None
    assert int(match[1]) > 3500


# Pages of other origins

PAGE = "https://pages.example"


def may_read(response: aiohttp.ClientResponse) -> bool:
    """Whether the page gets to see the answer."""
    return response.headers.get("Access-Control-Allow-Origin") == PAGE


async def test_page_reads_a_picture_and_all_that_is_said_of_it(start: Start) -> None:
    """Every header of ours, and those that clients act on."""
    gateway = await start(cors_origins=f"{PAGE},http://localhost:3000", rate_limit="500mp/60s")
    response = await sent(gateway, params={"scale": 4}, data=PNG, headers={"Origin": PAGE})
    await assert_enlarged(response)
    assert may_read(response)
    assert response.headers.getall("Vary") == ["Accept, Prefer", "Origin"]
    exposed = set(response.headers["Access-Control-Expose-Headers"].lower().split(", "))
    found = {name.lower() for name in response.headers}
    ours = {name for name in found if name.startswith(("x-", "rate"))} - {"x-content-type-options"}
    assert {name.lower() for name in FIDELITY_HEADERS} <= ours <= exposed
    assert {"etag", "server-timing", "location", "retry-after", "preference-applied"} <= exposed


async def test_page_reads_why_it_was_refused(start: Start) -> None:
    """By whatever layer: else it would only see that there is no network."""
    gateway = await start(
        cors_origins=PAGE, api_keys="a:" + key_hash("enl_a"), max_file_size_bytes=10
    )
    page_, key = {"Origin": PAGE}, {"X-API-Key": "enl_a"}
    for status, response in [
        (401, await sent(gateway, data=PNG, headers=page_)),
        (413, await sent(gateway, data=BytesIO(bytes(1 << 21)), headers=page_ | key)),
        (422, await sent(gateway, data=PNG, params={"scale": "9"}, headers=page_ | key)),
        (404, await sent(gateway, "/v1/nothing", headers=page_ | key)),
        (400, await sent(gateway, "/upscale", headers=page_ | key)),
    ]:
        assert response.status == status
        assert may_read(response), status


async def test_browser_asks_without_a_key(start: Start) -> None:
    """What a page may send: keys, preferences and bodies of any type."""
    gateway = await start(cors_origins=PAGE, api_keys="a:" + key_hash("enl_a"))
    question = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "prefer"}
    async with gateway.http.options("/v1/upscale", headers={"Origin": PAGE, **question}) as answer:
        assert (answer.status, await answer.read()) == (204, b"")
        assert may_read(answer)
        assert {"GET", "HEAD", "POST", "DELETE"} == set(
            answer.headers["Access-Control-Allow-Methods"].split(", ")
        )
        assert {
            *("Authorization", "X-API-Key", "Content-Type", "Accept"),
            *("Prefer", "Idempotency-Key", "Last-Event-ID"),
        } <= set(answer.headers["Access-Control-Allow-Headers"].split(", "))
    # The connection serves on.
    assert (await sent(gateway, data=PNG, headers={"X-API-Key": "enl_a"})).status == 200


@pytest.mark.parametrize("origins", ["", "https://other.example"])
async def test_no_page_reads_unless_it_is_allowed(start: Start, origins: str) -> None:
    """By default nobody's."""
    gateway = await start(cors_origins=origins)
    response = await sent(gateway, data=PNG, headers={"Origin": PAGE})
    question = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    async with gateway.http.options("/v1/upscale", headers=question) as answer:
        for headers in (response.headers, answer.headers):
            assert not [name for name in headers if name.lower().startswith("access-control")]
    assert ("Origin" in response.headers.getall("Vary")) == bool(origins)


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
        assert body["precision"] == "f32"
        assert body["queue"] == {"position": 1, "length": 0}
        assert body["basis"] == "measured"
        assert body["memory_bytes"] == 8 * (600 + 16 * 600 + 75 * 50)
    assert by_size["tiles"] == by_picture["tiles"]
    assert by_size["eta_s"] == by_picture["eta_s"] >= 0
    assert engine.requests == []
    response = await sent(gateway, data=PNG, params={"long_side": 75})
    assert int(response.headers["X-Result-Width"]) == by_size["output"]["width"]


DEEP = png(noise(20, 30, 3).astype(np.uint16) * 257, colour=RGB, depth_bits=16)


@pytest.mark.parametrize(
    ("data", "asked", "expected", "notes"),
    [
        (PNG, "auto", "bf16", ""),
        (DEEP, "auto", "f32", ""),
        (DEEP, "bf16", "bf16", "depth_limited"),
    ],
    ids=["8 auto", "16 auto", "16 bf16"],
)
async def test_sixteen_bits_are_computed_in_f32_unless_another_one_is_named(
    start: Start, models: list[ModelFacts], data: bytes, asked: str, expected: str, notes: str
) -> None:
    """Said by the estimate and by the answer; the same by ``/v1/upscale``, as a job and by ``/upscale``."""
    engine = NearestEngine([replace(model, precisions=("bf16", "f32")) for model in models])
    gateway = await start(engine)
    params = {"scale": "4", "precision": asked}
    assert (await estimated(gateway, data=data, params=params))["precision"] == expected
    response = await sent(gateway, data=data, params=params)
    assert response.headers["X-Upscale-Precision"] == expected
    assert response.headers["X-Upscale-Notes"] == notes
    job = await ended(gateway, await sent(gateway, "/v1/jobs", data=data, params=params))
    assert job["result"]["precision"] == expected
    fields = {"image_b64": base64.b64encode(data).decode(), "scale": 4, "precision": asked}
    compatible = await gateway.http.post("/upscale", json=fields)
    assert (await compatible.json())["precision"] == expected
    assert {request.precision for request in engine.requests} == {expected}


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"json": {"input": {"width": 30, "height": 20}, "scale": 9}}, "invalid_option"),
        ({"json": {"input": {"width": 30, "height": 20}, "precision": "int8"}}, "invalid_option"),
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
    (model,) = (one for one in gateway.gateway.catalogue if one.id == best["id"])
    assert best["bytes"] == model.files.paths[-1].stat().st_size
    assert (
        {"scale", "region", "format"}
        <= set(best["options"])
        == set(Options.model_fields) - {"model"}
    )
    assert (await gateway.call("GET", "/v1/models/realesrgan-x4plus")).body == best


async def test_models_say_what_was_measured(start: Start, models: list[ModelFacts]) -> None:
    """Speed by the servers, seams by our measurements; null for what nobody measured."""
    none = {"megapixels_per_s": None, "engine": None, "precision": None, "at": None}
    gateway = await start(NearestEngine(models[:1], mflop_per_s=36_000))
    body = (await gateway.call("GET", "/v1/models")).body
    measured = {model["id"]: model["measured"] for model in body["models"]}
    assert models[0].id == "realesrgan-x4plus"
    # 36 GFLOP/s, and 35.9 MFLOP a pixel: docs/reference/models.md.
    x4plus = measured["realesrgan-x4plus"]
    assert x4plus["megapixels_per_s"] == pytest.approx(0.001, rel=0.01)
    assert x4plus["engine"] == "nearest"
    fields = {
        "seam_median_db": "median_db",
        "seam_worst_db": "worst_db",
        "seam_p999_diff": "p999_difference",
        "seam_max_diff": "max_difference",
    }
    for model in gateway.gateway.catalogue:
        for field, attribute in fields.items():
            assert measured[model.id][field] == getattr(model.seams, attribute, None)
    assert measured["nearest"]["seam_max_diff"] is None
    assert x4plus["seam_worst_db"] < x4plus["seam_median_db"]
    assert measured["realesr-animevideov3"]["seam_median_db"] is None
    assert measured["realesr-animevideov3"]["seam_max_diff"] == 0
    assert measured["realesrgan-x4plus-anime"]["engine"] is None
    gateway = await start(NearestEngine([]))
    (unknown,) = (
        model["measured"]
        for model in (await gateway.call("GET", "/v1/models")).body["models"]
        if model["id"] == "realesrgan-x4plus-anime"
    )
    seams = {name: value for name, value in unknown.items() if "seam_" in name}
    assert unknown == none | seams
    assert None not in seams.values()


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
    for other in ("im_a_teapot", "UNAUTHORIZED", "ok"):
        async with gateway.http.get(f"/errors/{other}") as response:
            assert response.status == 404
    async with gateway.http.get("/errors/nope") as response:
        assert response.status == 404
