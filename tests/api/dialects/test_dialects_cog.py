"""Cog's dialect: its fields, its answers, and Replicate's client against it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from replicate.client import Client
from replicate.exceptions import ModelError, ReplicateError
from replicate.helpers import FileOutput
from replicate.prediction import Prediction
from support.fakes import FailsFirst, NearestEngine, nearest
from support.gateways import B64, PNG, RED, Running, Start, samples
from support.sites import Site, page

from enlarger.api.dialects.cog import check_preferences, health, read, version_named
from enlarger.api.v1.requests import Form
from enlarger.engine.tile import ModelFacts
from enlarger.errors import (
    EngineFailed,
    InvalidOption,
    InvalidUrl,
    MissingInput,
    NotAcceptable,
    OutOfMemory,
    UnknownModel,
)
from enlarger.models import Catalogue
from enlarger.request import BytesSource, UrlSource

DATA_URL = f"data:image/png;base64,{B64}"
PUBLISHED = "f121d640bd286e1fdc67f9799164c1d5be36ff74576ee11c803ae5b665dd46aa"


@pytest.fixture(scope="module")
def catalogue(model_dir: Path) -> Catalogue:
    """The wheel's models and the made ones."""
    return Catalogue.installed(model_dir)


def form(body: dict[str, Any] | None = None, **fields: Any) -> Form:
    """A body whose input has a picture, unless told otherwise."""
    given = {"image": DATA_URL, **fields}
    input_ = {name: value for name, value in given.items() if value != ...}
    return Form({"input": input_, **(body or {})}, None, strict=True)


# Fields


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, {"scale": 4, "model": "auto", "format": None}),
        ({"scale": 2.5, "face_enhance": False, "tile": 400}, {"scale": 2.5}),
        ({"long_side": 90}, {"scale": None, "long_side": 90}),
        ({"version": "Anime - anime6B"}, {"model": "realesrgan-x4plus-anime"}),
        ({"version": "General - RealESRGANplus"}, {"model": "realesrgan-x4plus"}),
        ({"model": "realesr-animevideov3"}, {"model": "realesr-animevideov3"}),
        ({"format": "webp", "quality": 80}, {"scale": 4, "format": "webp", "quality": 80}),
    ],
)
def test_input_means_our_options(
    catalogue: Catalogue, fields: dict[str, Any], wanted: dict[str, Any]
) -> None:
    """The fields are those of the published Real-ESRGAN predictors, with their defaults, and all of ours."""
    options = read(form(**fields), catalogue).job.options
    assert {name: getattr(options, name) for name in wanted} == wanted


@pytest.mark.parametrize(
    ("fields", "source"),
    [
        ({"image": DATA_URL}, BytesSource(PNG)),
        ({"image": f"data:application/octet-stream;base64,{B64}"}, BytesSource(PNG)),
        ({"image": ..., "img": DATA_URL}, BytesSource(PNG)),
        ({"image": "https://example.com/a.png"}, UrlSource("https://example.com/a.png")),
    ],
)
def test_picture_is_a_url(catalogue: Catalogue, fields: dict[str, Any], source: object) -> None:
    """It is of a kind that Cog accepts. Clients declare a file without a name as ``application/octet-stream``."""
    assert read(form(**fields), catalogue).job.source == source


def test_input_is_shown_without_the_picture_that_came_with_it(catalogue: Catalogue) -> None:
    """A URL is still shown."""
    assert read(form(scale=2), catalogue).shown == {"scale": 2}
    url = "https://example.com/a.png"
    assert read(form(image=url), catalogue).shown == {"image": url}


@pytest.mark.parametrize(
    ("body", "fields", "option", "reason"),
    [
        ({}, {"face_enhance": True}, "face_enhance", "unsupported"),
        ({}, {"scale": 10}, "scale", "range"),
        ({}, {"scale": "4"}, "scale", "type"),
        ({}, {"prompt": "a cat"}, "prompt", "unknown"),
        ({}, {"img": DATA_URL}, "image", "conflict"),
        ({}, {"image": 5}, "image", "type"),
        ({"webhook": "https://example.com"}, {}, "webhook", "unsupported"),
        ({"stream": True}, {}, "stream", "unsupported"),
        ({"output_file_prefix": "https://example.com"}, {}, "output_file_prefix", "unsupported"),
        ({"id": "a/b"}, {}, "id", "range"),
        ({"input": [1]}, {}, "input", "type"),
        ({"version": PUBLISHED}, {"model": "realesr-animevideov3"}, "model", "conflict"),
    ],
)
def test_what_cannot_be_had_is_refused_by_the_fields_name(
    catalogue: Catalogue, body: dict[str, Any], fields: dict[str, Any], option: str, reason: str
) -> None:
    """Cog ignores inputs that it does not know. Here they are refused, because they may be meant to change the picture."""
    with pytest.raises(InvalidOption, match=f"^Invalid {option}: ") as error:
        read(form(body, **fields), catalogue)
    assert [(fault.option, fault.reason) for fault in error.value.faults] == [(option, reason)]


def test_picture_is_needed(catalogue: Catalogue) -> None:
    """In the input, by a scheme that is read here."""
    with pytest.raises(MissingInput, match=r"^image is required"):
        read(Form({}, None, strict=True), catalogue)
    with pytest.raises(InvalidUrl, match=r"^Invalid image format"):
        read(form(image="s3://bucket/key"), catalogue)


def test_versions_are_models(catalogue: Catalogue) -> None:
    """By id, by the hash of the weights, or as others have published the same weights."""
    model = catalogue.choose("realesrgan-x4plus", scale=4)
    for name in (
        "realesrgan-x4plus",
        "enlarger/realesrgan-x4plus",
        "R-ESRGAN 4x+",
        model.sha256,
        PUBLISHED,
        "nightmareai/real-esrgan",
        f"nightmareai/real-esrgan:{PUBLISHED}",
    ):
        assert version_named(name, catalogue) == model.id
    for name in ("stability-ai/sdxl", "0" * 63, f"nightmareai/real-esrgan:{'1' * 64}"):
        with pytest.raises(UnknownModel):
            version_named(name, catalogue)
    assert read(form({"version": PUBLISHED}), catalogue).job.options.model == model.id
    named = read(form(version="AnimeVideo - v3"), catalogue, named="xinntao/realesrgan")
    assert named.job.options.model == "realesr-animevideov3"


@pytest.mark.parametrize(
    "prefer", ["respond-async", "Respond-Async, wait=5", "wait; respond-async"]
)
def test_predictions_are_not_answered_before_they_are_done(prefer: str) -> None:
    """A client that asks for that would wait for a webhook that never comes."""
    with pytest.raises(InvalidOption, match=r"^Invalid Prefer: respond-async is not to be had"):
        check_preferences(prefer, None)


def test_other_preferences_are_met_by_waiting() -> None:
    """A client that accepts only events is refused, because the response is JSON."""
    for prefer in (None, "wait", "wait=60"):
        check_preferences(prefer, "*/*")
    with pytest.raises(NotAcceptable):
        check_preferences(None, "text/event-stream")


def test_health_has_cogs_words() -> None:
    """Each reason for not being ready has a word of Cog's."""
    words = {reason: health(reason) for reason in (None, "starting", "draining", "no_engine_ready")}
    assert list(words.values()) == ["READY", "STARTING", "DEFUNCT", "DEFUNCT"]


# Over a socket

in_module = pytest.mark.asyncio(loop_scope="module")


@in_module
async def test_prediction_has_cogs_fields(start: Start) -> None:
    """The picture is a data URL, with the pixels and the bytes of ``/v1/upscale``."""
    gateway = await start()
    body = {"id": "wjx3whax6rf4vphkegkhcvpv6a", "input": {"image": DATA_URL, "scale": 4}}
    reply = await gateway.call("POST", "/predictions", json=body)
    assert reply.status == 200
    assert reply.headers["Cache-Control"] == "no-store"
    made = reply.body
    assert (made["id"], made["status"], made["error"]) == (body["id"], "succeeded", None)
    assert made["input"] == {"scale": 4}
    assert made["metrics"]["predict_time"] > 0
    assert made["created_at"] <= made["started_at"] <= made["completed_at"]
    prefix, _, encoded = made["output"].partition(",")
    assert prefix == "data:image/png;base64"
    file = base64.b64decode(encoded, validate=True)
    assert np.array_equal(samples(file), nearest(RED, 4))
    async with gateway.http.post("/v1/upscale", params={"scale": 4}, data=PNG) as response:
        assert await response.read() == file


@in_module
async def test_faults_of_the_input_have_their_place(start: Start) -> None:
    """422 with a list, as a Cog container answers."""
    gateway = await start()
    fields = {"image": DATA_URL, "face_enhance": True}
    reply = await gateway.call("POST", "/predictions", json={"input": fields})
    assert reply.status == 422
    assert reply.body["detail"] == [
        {
            "loc": ["body", "input", "face_enhance"],
            "msg": "faces are not enhanced here; only false can be had",
            "type": "unsupported",
        }
    ]
    reply = await gateway.call("POST", "/predictions", json={"input": {}})
    assert (reply.status, reply.body["detail"][0]["msg"]) == (422, "image is required")
    headers = {"Prefer": "respond-async"}
    reply = await gateway.call("POST", "/predictions", json={"input": fields}, headers=headers)
    assert (reply.status, reply.body["detail"][0]["loc"][-1]) == (422, "Prefer")
    reply = await gateway.call("GET", "/predictions")
    assert (reply.status, reply.body["code"]) == (405, "method_not_allowed")


@in_module
async def test_work_that_fails_is_a_failed_prediction(
    start: Start, models: list[ModelFacts]
) -> None:
    """The response is 200 with the reason. The metrics count it as a failure."""
    broken = FailsFirst(NearestEngine(models), failures=99, error=EngineFailed("it broke"))
    gateway = await start(broken)
    for image, text, code in (
        (f"data:image/png;base64,{B64[:200]}", "", "unreadable_image"),
        (DATA_URL, "it broke", "engine_failed"),
    ):
        reply = await gateway.call("POST", "/predictions", json={"input": {"image": image}})
        assert (reply.status, reply.body["status"]) == (200, "failed")
        assert reply.body["output"] is None
        assert text in reply.body["error"]
        async with gateway.http.get("/metrics") as metrics:
            assert f'enlarger_requests_total{{end="{code}"}} 1.0' in await metrics.text()


@in_module
async def test_no_capacity_is_no_prediction(start: Start, models: list[ModelFacts]) -> None:
    """Without capacity, or without a valid key, the request is refused with the status that all routes use."""
    full = FailsFirst(NearestEngine(models), failures=99, error=OutOfMemory("it does not fit"))
    gateway = await start(full)
    reply = await gateway.call("POST", "/predictions", json={"input": {"image": DATA_URL}})
    assert (reply.status, reply.body["status"]) == (503, "failed")
    assert reply.body["error"] == reply.body["detail"]
    assert "Retry-After" in reply.headers
    keys = f"alice:sha256-{hashlib.sha256(b'enl_a').hexdigest()}"
    gateway = await start(api_keys=keys)
    reply = await gateway.call("POST", "/predictions", json={"input": {"image": DATA_URL}})
    assert (reply.status, reply.body["code"]) == (401, "unauthorized")
    assert (await gateway.call("GET", "/health-check")).body["status"] == "READY"


# With an independent client


@contextmanager
def client(gateway: Running, key: str = "any") -> Iterator[Client]:
    """The package ``replicate``. It never closes its transport."""
    with httpx.HTTPTransport() as transport:
        yield Client(
            api_token=key, base_url=f"http://127.0.0.1:{gateway.port}", transport=transport
        )


async def ran(gateway: Running, ref: str, **fields: Any) -> Any:
    """``replicate.run``."""
    strategy: Any = {"file_encoding_strategy": "base64"}
    with client(gateway) as api:
        return await asyncio.to_thread(api.run, ref, input=fields, **strategy)


async def created(gateway: Running, version: str, key: str = "any", **fields: Any) -> Prediction:
    """``replicate.predictions.async_create``."""
    async with httpx.AsyncHTTPTransport() as transport:
        api = Client(
            api_token=key, base_url=f"http://127.0.0.1:{gateway.port}", transport=transport
        )
        return await api.predictions.async_create(version=version, input=fields)


@in_module
@pytest.mark.parametrize(
    "ref",
    [
        "nightmareai/real-esrgan",
        f"nightmareai/real-esrgan:{PUBLISHED}",
        "enlarger/realesrgan-x4plus",
    ],
)
async def test_replicate_runs_a_model(start: Start, ref: str) -> None:
    """With a file, or with a data URL of its own; the pixels are those of the model."""
    gateway = await start()
    for image in (BytesIO(PNG), DATA_URL):
        output = await ran(gateway, ref, image=image, scale=4)
        assert isinstance(output, FileOutput)
        assert np.array_equal(samples(output.read()), nearest(RED, 4))


@in_module
async def test_replicate_makes_predictions_of_a_version(start: Start) -> None:
    """The asynchronous client upscales a picture from a URL, and receives every field of the prediction."""
    async with Site({"/cat.png": page(PNG)}) as site:
        gateway = await start(fetch=site.address)
        url = site.url("/cat.png")
        made = await created(gateway, "realesrgan-x4plus-anime", image=url, scale=2)
    assert (made.status, made.model) == ("succeeded", "enlarger/realesrgan-x4plus-anime")
    assert made.input == {"image": url, "scale": 2}
    assert made.logs == "resampled: 4x model, 2x result\n"
    assert made.metrics is not None
    assert made.metrics["predict_time"] > 0


@in_module
async def test_replicate_tells_failed_from_refused(start: Start) -> None:
    """A file that is not a picture raises the client's error for models. A request that is refused raises its error for the API. Both have our text."""
    gateway = await start()
    with pytest.raises(ModelError, match="not a picture"):
        await ran(gateway, "nightmareai/real-esrgan", image=BytesIO(b"no picture"))
    with pytest.raises(ReplicateError) as refused:
        await ran(gateway, "nightmareai/real-esrgan", image=DATA_URL, face_enhance=True)
    assert refused.value.status == 422
    assert "faces are not enhanced" in str(refused.value.detail)
    with pytest.raises(ReplicateError) as unknown:
        await ran(gateway, "stability-ai/sdxl", image=DATA_URL)
    assert (unknown.value.status, unknown.value.title) == (422, "Unknown model")


@in_module
async def test_replicates_token_is_the_key(start: Start) -> None:
    """The client sends it as a bearer token."""
    keys = f"alice:sha256-{hashlib.sha256(b'enl_a').hexdigest()}"
    gateway = await start(api_keys=keys)
    assert (await created(gateway, "auto", "enl_a", image=DATA_URL)).status == "succeeded"
    with pytest.raises(ReplicateError) as refused:
        await created(gateway, "auto", "enl_b", image=DATA_URL)
    assert refused.value.status == 401
