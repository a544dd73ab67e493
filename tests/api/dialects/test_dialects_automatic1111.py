"""AUTOMATIC1111's dialect: its fields, its responses, and an independent client."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import webuiapi
from PIL import Image
from support.fakes import HeldEngine, nearest
from support.gateways import B64, PNG, RED, Running, Start, samples

from enlarger.api.dialects.automatic1111 import progress, read_batch, read_single, upscalers
from enlarger.api.v1.requests import Form
from enlarger.engine.tile import ModelFacts
from enlarger.errors import InvalidOption, MissingInput, UnknownModel, UnreadableImage
from enlarger.models import Catalogue
from enlarger.pipeline.ledger import Load
from enlarger.request import BytesSource, UrlSource

ANIME = "R-ESRGAN 4x+ Anime6B"
PLUS = "R-ESRGAN 4x+"


@pytest.fixture(scope="module")
def catalogue(model_dir: Path) -> Catalogue:
    """The wheel's models and the made ones."""
    return Catalogue.installed(model_dir)


def form(**fields: Any) -> Form:
    """A body that names a model and has a picture, unless told otherwise."""
    given = {"image": B64, "upscaler_1": PLUS, **fields}
    return Form({name: value for name, value in given.items() if value != ...}, None, strict=True)


# Fields


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, {"scale": 2, "model": "realesrgan-x4plus"}),
        ({"upscaling_resize": 3.5}, {"scale": 3.5}),
        ({"upscaling_resize": "4"}, {"scale": 4}),
        ({"upscaling_resize_w": 7}, {"scale": 2, "width": None}),
        ({"resize_mode": 1}, {"width": 512, "height": 512, "fit": "cover", "scale": None}),
        (
            {"resize_mode": 1, "upscaling_resize_w": 80, "upscaling_crop": False},
            {"width": 80, "height": 512, "fit": "outside"},
        ),
        ({"upscaler_1": ANIME}, {"model": "realesrgan-x4plus-anime"}),
        ({"upscaler_1": "R-ESRGAN AnimeVideo"}, {"model": "realesr-animevideov3"}),
        ({"upscaler_1": "realesrgan-x4plus-anime"}, {"model": "realesrgan-x4plus-anime"}),
        ({"upscaler_1": "auto"}, {"model": "auto"}),
        ({"upscaler_2": ANIME, "extras_upscaler_2_visibility": 0}, {"scale": 2}),
        ({"upscaler_2": "None", "extras_upscaler_2_visibility": 0.5}, {"scale": 2}),
        ({"gfpgan_visibility": 0.0, "codeformer_weight": 0.7, "upscale_first": True}, {"scale": 2}),
        ({"show_extras_results": False}, {"format": "png", "frames": "first"}),
    ],
)
def test_fields_mean_our_options(
    catalogue: Catalogue, fields: dict[str, Any], wanted: dict[str, Any]
) -> None:
    """The fields are those of AUTOMATIC1111's modules/api/models.py, with its defaults."""
    options = read_single(form(**fields), catalogue).options
    assert {name: getattr(options, name) for name in wanted} == wanted


@pytest.mark.parametrize(
    ("image", "source"),
    [
        (B64, BytesSource(PNG)),
        (f"data:image/png;base64,{B64}", BytesSource(PNG)),
        ("https://example.com/a.png", UrlSource("https://example.com/a.png")),
    ],
)
def test_picture_is_base64_or_url(catalogue: Catalogue, image: str, source: object) -> None:
    """As in AUTOMATIC1111, it may also be a data URL."""
    assert read_single(form(image=image), catalogue).source == source


@pytest.mark.parametrize(
    ("fields", "option", "reason", "text"),
    [
        ({"gfpgan_visibility": 0.1}, "gfpgan_visibility", "unsupported", "faces are not restored"),
        ({"codeformer_visibility": 1}, "codeformer_visibility", "unsupported", "not restored"),
        ({"gfpgan_visibility": 2}, "gfpgan_visibility", "range", "from 0 to 1"),
        ({"gfpgan_visibility": True}, "gfpgan_visibility", "range", "a number"),
        (
            {"upscaler_2": ANIME, "extras_upscaler_2_visibility": 0.5},
            "extras_upscaler_2_visibility",
            "unsupported",
            "not mixed",
        ),
        ({"resize_mode": 2}, "resize_mode", "range", "0 .* or 1"),
        ({"resize_mode": 1, "upscaling_crop": "no"}, "upscaling_crop", "type", "true or false"),
        ({"resize_mode": 1, "upscaling_resize_w": 0}, "upscaling_resize_w", "range", "at least 1"),
        ({"upscaling_resize": 9}, "upscaling_resize", "range", "at most 8"),
        ({"upscaling_resize": 0.5}, "upscaling_resize", "range", "at least 1"),
        ({"upscaler_1": 4}, "upscaler_1", "range", "a string"),
        ({"upscaler_1": ...}, "upscaler_1", "range", "plain resampling"),
        *[
            ({"upscaler_1": name}, "upscaler_1", "range", f"{name} is plain resampling, which is")
            for name in ("None", "Lanczos", "Nearest")
        ],
        ({"sharpen": 1}, "sharpen", "unknown", "no such field"),
        ({"image": 7}, "image", "type", "base64"),
    ],
)
def test_what_cannot_be_had_is_refused_by_the_fields_name(
    catalogue: Catalogue, fields: dict[str, Any], option: str, reason: str, text: str
) -> None:
    """No field is ignored silently, and plain resampling never stands in for a model."""
    with pytest.raises(InvalidOption, match=rf"^Invalid {option}: .*{text}") as error:
        read_single(form(**fields), catalogue)
    assert [(fault.option, fault.reason) for fault in error.value.faults] == [(option, reason)]


def test_other_models_are_unknown(catalogue: Catalogue) -> None:
    """The text lists those that are here, by both names."""
    with pytest.raises(UnknownModel, match=r"'SwinIR 4x' .* R-ESRGAN 4x\+, "):
        read_single(form(upscaler_1="SwinIR 4x"), catalogue)


def test_picture_is_needed(catalogue: Catalogue) -> None:
    """By the field's name; that of a batch has its number."""
    with pytest.raises(MissingInput, match=r"^image is required"):
        read_single(form(image=""), catalogue)
    with pytest.raises(MissingInput, match=r"^imageList\[1\]\.data is required"):
        read_batch(form(image=..., imageList=[{"data": B64}, {"name": "b"}]), catalogue)
    with pytest.raises(UnreadableImage):
        read_single(form(image="no base64!"), catalogue)
    with pytest.raises(InvalidOption, match="imageList: it must be a list"):
        read_batch(form(image=...), catalogue)


# Answers


def test_upscalers_are_the_models(catalogue: Catalogue) -> None:
    """Models are listed by the names that clients send, and by their ids. Nothing else is listed."""
    listed = upscalers(catalogue)
    by_name = {row["name"]: row["model_name"] for row in listed}
    assert by_name[PLUS] == by_name["realesrgan-x4plus"] == "realesrgan-x4plus"
    assert by_name[ANIME] == "realesrgan-x4plus-anime"
    assert {row["model_name"] for row in listed} == {model.id for model in catalogue}
    assert all(
        set(row) == {"name", "model_name", "model_path", "model_url", "scale"} for row in listed
    )
    for name in by_name:
        read_single(form(upscaler_1=name), catalogue)


@pytest.mark.parametrize(
    ("requests", "followed", "wanted"),
    [
        (0, [], (0.0, 0)),
        (2, [], (0.01, 2)),
        (1, [(5, 10)], (0.51, 1)),
        (3, [(10, 10), (0, 10)], (0.51, 3)),
        (1, [(10, 10)], (0.99, 1)),
    ],
)
def test_progress_is_zero_only_when_nothing_runs(
    requests: int, followed: list[tuple[int, int]], wanted: tuple[float, int]
) -> None:
    """Clients use it to decide whether to wait."""
    answer = progress(Load(requests=requests, mflop=30, mflop_per_s=10), followed)
    assert (answer["progress"], answer["state"]["job_count"]) == pytest.approx(wanted)
    assert answer["eta_relative"] == 3.0


# Over a socket, with an independent client


def client(gateway: Running, **options: Any) -> webuiapi.WebUIApi:
    """The package ``webuiapi``."""
    return webuiapi.WebUIApi(baseurl=f"http://127.0.0.1:{gateway.port}/sdapi/v1", **options)


@pytest.mark.asyncio(loop_scope="module")
async def test_webuiapi_gets_the_picture_of_v1(start: Start) -> None:
    """Pixel by pixel, by a factor and to a size."""
    gateway = await start()
    api = await asyncio.to_thread(client, gateway)
    picture = Image.fromarray(RED)
    by_four = await asyncio.to_thread(
        api.extra_single_image, picture, upscaler_1=PLUS, upscaling_resize=4
    )
    assert np.array_equal(np.asarray(by_four.image), nearest(RED, 4))
    assert by_four.info.startswith("<p>Postprocess upscale by: 4, Postprocess upscaler: realesrgan")
    for size, crop, fit, shown in (
        ((60, 60), True, "cover", (60, 60)),
        ((60, 60), False, "outside", (90, 60)),
    ):
        made = await asyncio.to_thread(
            api.extra_single_image,
            picture,
            resize_mode=1,
            upscaling_resize_w=size[0],
            upscaling_resize_h=size[1],
            upscaling_crop=crop,
            upscaler_1=PLUS,
        )
        query: dict[str, str | int] = {
            "width": size[0],
            "height": size[1],
            "fit": fit,
            "model": "realesrgan-x4plus",
        }
        async with gateway.http.post("/v1/upscale", params=query, data=PNG) as response:
            assert response.status == 200
            file = await response.read()
        assert made.image.size == shown
        assert np.array_equal(np.asarray(made.image), samples(file))


@pytest.mark.asyncio(loop_scope="module")
async def test_webuiapi_gets_a_batch_in_its_order(start: Start) -> None:
    """Each picture, enlarged."""
    gateway = await start()
    api = await asyncio.to_thread(client, gateway)
    pictures = [RED, RED[::-1].copy(), RED[:, ::-1].copy()]
    made = await asyncio.to_thread(
        api.extra_batch_images,
        [Image.fromarray(one) for one in pictures],
        upscaler_1=ANIME,
        upscaling_resize=4,
    )
    assert len(made.images) == 3
    for one, image in zip(pictures, made.images, strict=True):
        assert np.array_equal(np.asarray(image), nearest(one, 4))


@pytest.mark.asyncio(loop_scope="module")
async def test_webuiapi_finds_models_and_progress(
    start: Start, models: list[ModelFacts], catalogue: Catalogue
) -> None:
    """Progress is checked before, during and after an upscale."""
    engine = HeldEngine(models)
    gateway = await start(engine)
    api = await asyncio.to_thread(client, gateway)
    assert await asyncio.to_thread(api.get_upscalers) == upscalers(catalogue)
    assert (await asyncio.to_thread(api.get_options))["samples_format"] == "png"
    await asyncio.to_thread(api.util_wait_for_ready)
    running = asyncio.create_task(
        asyncio.to_thread(api.extra_single_image, Image.fromarray(RED), upscaler_1=PLUS)
    )
    await engine.holds(2)
    watcher = await asyncio.to_thread(client, gateway)
    busy = await asyncio.to_thread(watcher.get_progress)
    assert busy["progress"] == 0.01
    assert busy["state"]["job_count"] == 1
    engine.let_go()
    await running
    assert (await asyncio.to_thread(api.get_progress))["progress"] == 0.0


@pytest.mark.asyncio(loop_scope="module")
async def test_webuiapi_shows_why_it_was_refused(start: Start) -> None:
    """It raises what it received: the status, and an error in AUTOMATIC1111's form."""
    gateway = await start()
    api = await asyncio.to_thread(client, gateway)
    with pytest.raises(RuntimeError) as error:
        await asyncio.to_thread(
            api.extra_single_image, Image.fromarray(RED), upscaler_1=PLUS, gfpgan_visibility=1
        )
    status, text = error.value.args
    assert status == 422
    assert "faces are not restored here" in text
    reply = await gateway.call("POST", "/sdapi/v1/extra-single-image", json={"image": B64})
    assert reply.status == 422
    assert set(reply.body) == {"error", "detail", "body", "errors", "code", "request_id"}
    assert (reply.body["error"], reply.body["code"]) == ("Invalid option", "invalid_option")
    missing = await gateway.call("POST", "/sdapi/v1/txt2img", json={})
    assert (missing.status, missing.body["detail"]) == (404, "Not found")


@pytest.mark.asyncio(loop_scope="module")
async def test_fault_that_only_the_picture_tells_has_the_fields_name(start: Start) -> None:
    """The sizes that are possible follow from the picture, which is read after the fields."""
    gateway = await start()
    body = {"image": B64, "upscaler_1": PLUS, "resize_mode": 1, "upscaling_resize_w": 1}
    reply = await gateway.call("POST", "/sdapi/v1/extra-single-image", json=body)
    assert reply.status == 422
    assert reply.body["detail"].startswith("Invalid upscaling_resize_w: the result would be ")


@pytest.mark.asyncio(loop_scope="module")
async def test_webuiapi_shows_its_key_as_the_password(start: Start) -> None:
    """The user name does not matter. Results and rates are separated by the name of the key."""
    keys = f"alice:sha256-{hashlib.sha256(b'enl_a').hexdigest()}"
    gateway = await start(api_keys=keys, rate_limit="0.001mp/1000s")
    stranger = await asyncio.to_thread(client, gateway, username="alice", password="enl_b")
    picture = Image.fromarray(RED)
    with pytest.raises(RuntimeError) as error:
        await asyncio.to_thread(stranger.extra_single_image, picture, upscaler_1=PLUS)
    assert error.value.args[0] == 401
    alice = await asyncio.to_thread(client, gateway, username="any", password="enl_a")
    made = await asyncio.to_thread(alice.extra_single_image, picture, upscaler_1=PLUS)
    assert made.image.size == (60, 40)
    with pytest.raises(RuntimeError) as error:
        await asyncio.to_thread(alice.extra_single_image, picture, upscaler_1=ANIME)
    assert error.value.args[0] == 429
    url = f"http://127.0.0.1:{gateway.port}/sdapi/v1/upscalers"
    refused = await asyncio.to_thread(requests.get, url, timeout=10)
    assert refused.headers["WWW-Authenticate"] == 'Basic realm="enlarger"'
