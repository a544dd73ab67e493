"""What ``/v1`` says before any work: estimates, models and errors."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.fakes import HeldEngine, NearestEngine
from support.gateways import PNG, Running, Start
from support.pictures import RGB, noise, png
from support.v1_jobs import picture, queued, shown, until
from support.v1_requests import ended, sent

from enlarger import errors
from enlarger.engine.tile import ModelFacts
from enlarger.options import Options

pytestmark = pytest.mark.asyncio(loop_scope="module")


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
    """A picture and its size alone lead to the same estimate. Nothing is computed."""
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


async def test_wait_for_others_is_told_apart(start: Start, models: list[ModelFacts]) -> None:
    """It passes once for all pictures that are sent together, so that a sum of times counts it once."""
    fields = {"input": {"width": 30, "height": 20}}
    unknown = await estimated(await start(HeldEngine(models)), json=fields)
    assert (unknown["eta_s"], unknown["wait_s"]) == (None, None)
    engine = HeldEngine(models)
    engine.mflop_per_s = 1000
    gateway = await start(engine)
    idle = await estimated(gateway, json=fields)
    assert idle["wait_s"] == 0
    job = await queued(gateway, picture(1, (60, 40)))
    await until(lambda: gateway.load() == 1)
    busy = await estimated(gateway, json=fields)
    assert busy["wait_s"] > idle["eta_s"]
    assert busy["eta_s"] - busy["wait_s"] == pytest.approx(idle["eta_s"], abs=0.2)
    engine.let_go()
    assert (await shown(gateway, job, wait=30))["state"] == "succeeded"


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
    """The estimate, ``/v1/upscale``, a job and ``/upscale`` all say so."""
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
    (model,) = (one for one in gateway.gateway.shelf.catalogue if one.id == best["id"])
    assert best["bytes"] == model.files.paths[-1].stat().st_size
    assert (
        {"scale", "region", "format"}
        <= set(best["options"])
        == set(Options.model_fields) - {"model", "denoise"}
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
    for model in gateway.gateway.shelf.catalogue:
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
