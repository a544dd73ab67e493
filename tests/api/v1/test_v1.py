"""``/v1`` over a real socket: each form of a request and each kind of response."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from typing import Any

import aiohttp
import numpy as np
import pytest
from support.fakes import HeldEngine, NearestEngine, nearest
from support.gateways import B64, PNG, RED, Start, samples
from support.pictures import encoded
from support.sites import Site, page
from support.v1_requests import PROBLEM, assert_enlarged, ended, fetched, sent
from yarl import URL

from enlarger.api.v1.answers import FIDELITY_HEADERS
from enlarger.engine.tile import ModelFacts

pytestmark = pytest.mark.asyncio(loop_scope="module")


def kept_s(response: aiohttp.ClientResponse) -> int:
    """Seconds for which any cache may keep it."""
    match = re.fullmatch(r"public, max-age=(\d+)", response.headers["Cache-Control"])
    assert match is not None, response.headers["Cache-Control"]
    return int(match[1])


async def test_bytes_in_bytes_out(start: Start) -> None:
    """``curl --data-binary @cat.png "$U/v1/upscale?scale=4"``: the picture, with its facts in headers."""
    gateway = await start()
    response = await sent(gateway, params={"scale": 4}, data=PNG)
    await assert_enlarged(response)
    body = await response.read()
    (model,) = (one for one in gateway.gateway.shelf.catalogue if one.id == "realesrgan-x4plus")
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
        "X-Upscale-Device": "cpu",
        "X-Upscale-Device-Class": "cpu",
        "X-Upscale-Tiles": "1;servers=1;retried=0;repeated=0;reused=0",
        "X-Upscale-Notes": "",
        "X-Upscale-Kept": "",
        "X-Upscale-Cache": "miss",
        "X-Upscale-Content": "",
        "X-Upscale-Denoise": "",
        "X-Origin-Width": "30",
        "X-Origin-Height": "20",
        "X-Result-Width": "120",
        "X-Result-Height": "80",
    }
    assert {name: response.headers.get(name) for name in expected} == expected
    assert re.fullmatch(r"\d+\.\d\d", response.headers["X-Upscale-Color-Delta"])
    ours = re.compile("x-(upscale|origin|result)-")
    found = {name for name in map(str.lower, response.headers) if ours.match(name)}
    assert found == {name.lower() for name in FIDELITY_HEADERS}
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
    """Caches may keep the picture. For a job that has ended, they may keep it for the seconds that its result has left."""
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
    """A GET supports conditions (304) and ranges of bytes: RFC 9110. A POST supports neither."""
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
    assert body["input"] == {
        "width": 30,
        "height": 20,
        "bytes": len(PNG),
        "format": "png",
        "content": None,
    }
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
    """If the picture came with the request, the options are shown at once, as they are when the job is done. For a URL they are known only then."""
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
    """It sets the format of the picture. The response is JSON, and the job is not refused because of it."""
    gateway = await start()
    response = await sent(gateway, "/v1/jobs", data=PNG, params=options, headers={"Accept": accept})
    job = await ended(gateway, response)
    assert job["options"]["format"] == format_
    assert job["result"]["media_type"] == f"image/{format_}"


async def test_batch_item_that_was_refused_shows_no_options(start: Start) -> None:
    """Its options were never parsed."""
    gateway = await start()
    batch = await (await sent(gateway, "/v1/batches", json={"items": [{"image_b64": "?"}]})).json()
    job = (await gateway.call("GET", f"/v1/jobs/{batch['items'][0]['job']}")).body
    assert (job["state"], job["options"]) == ("failed", {})


async def test_models_are_compared(start: Start) -> None:
    """The same part through each that changes the size; as it is in the whole picture."""
    gateway = await start()
    form = aiohttp.FormData({"scale": "4", "region": "3,4,10,8"})
    form.add_field("image", PNG, filename="cat.png", content_type="image/png")
    response = await sent(gateway, "/v1/compare", data=form)
    body = await response.json()
    installed = [model.id for model in gateway.gateway.shelf.catalogue if model.scale > 1]
    assert [result["model"] for result in body["results"]] == installed
    native = {model.id for model in gateway.gateway.shelf.catalogue if model.scale == 4}
    for result in body["results"]:
        async with gateway.http.get(result["result"]["url"]) as file:
            part = samples(await file.read())
        assert part.shape == (32, 40, 3)
        # Others are resampled to that size.
        if result["model"] in native:
            assert np.array_equal(part, nearest(RED[4:12, 3:13], 4))
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
    """Its place in the list has its problem."""
    gateway = await start(NearestEngine(models[:1]))
    two = {"image_b64": B64, "region": [0, 0, 9, 9], "models": [models[0].id, models[1].id]}
    body = await (await sent(gateway, "/v1/compare", json=two)).json()
    assert body["results"][0]["result"]["width"] == 18
    assert body["results"][1]["model"] == models[1].id
    assert body["results"][1]["problem"]["code"] == "no_engine_ready"


async def test_accept_chooses_the_format(start: Start) -> None:
    """It sets the format of the picture."""
    gateway = await start()
    response = await sent(gateway, data=PNG, headers={"Accept": "image/webp"})
    assert response.headers["Content-Type"] == "image/webp"
    assert (await response.read())[8:12] == b"WEBP"


async def test_size_that_compatible_routes_do_not_have(start: Start) -> None:
    """A factor of 3 is made by 4x and an exact reduction."""
    response = await sent(await start(), params={"scale": "3"}, data=PNG)
    assert samples(await response.read()).shape == (60, 90, 3)
    assert response.headers["X-Upscale-Notes"] == "resampled"
