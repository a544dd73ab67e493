"""LocalAI's dialect: its fields, its answers, and OpenAI's client against it."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import openai
import pytest
from openai.types import ImagesResponse
from support.fakes import FailsFirst, NearestEngine, nearest
from support.gateways import B64, PNG, RED, Running, Start, samples

from enlarger.api.dialects.localai import read
from enlarger.api.v1.requests import Form
from enlarger.engine.tile import ModelFacts
from enlarger.errors import InvalidOption, MissingInput, OutOfMemory, UnknownModel
from enlarger.models import Catalogue
from enlarger.request import BytesSource, UrlSource


@pytest.fixture(scope="module")
def catalogue(model_dir: Path) -> Catalogue:
    """The wheel's models and the made ones."""
    return Catalogue.installed(model_dir)


def multipart(**fields: str) -> Form:
    """A form of texts with a file."""
    return Form(fields, PNG, strict=False)


def in_json(**fields: Any) -> Form:
    """A JSON body with a picture, unless told otherwise."""
    given = {"image": B64, **fields}
    return Form({name: value for name, value in given.items() if value != ...}, None, strict=True)


# Fields


@pytest.mark.parametrize(
    ("form", "wanted", "carrier"),
    [
        (multipart(), {"scale": None, "model": "auto"}, "url"),
        (multipart(model="realesrgan-x4plus", scale="4"), {"scale": 4}, "url"),
        (multipart(response_format="b64_json"), {"scale": None}, "b64_json"),
        (in_json(), {"scale": None}, "b64_json"),
        (
            in_json(model="RealESRGAN-x4plus-anime"),
            {"model": "realesrgan-x4plus-anime"},
            "b64_json",
        ),
        (in_json(response_format="url", width=70, format="webp"), {"width": 70}, "url"),
    ],
)
def test_fields_mean_our_options(
    catalogue: Catalogue, form: Form, wanted: dict[str, Any], carrier: str
) -> None:
    """``model`` and ``scale`` as in LocalAI, and all of ours; a form is answered by a link, JSON by base64."""
    request = read(form, catalogue)
    assert {name: getattr(request.job.options, name) for name in wanted} == wanted
    assert request.carrier == carrier
    assert request.job.source == BytesSource(PNG)


def test_picture_may_be_fetched(catalogue: Catalogue) -> None:
    """A URL in place of the base64."""
    url = "https://example.com/a.png"
    assert read(in_json(image=url), catalogue).job.source == UrlSource(url)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("https://example.com/a.png", UrlSource("https://example.com/a.png")),
        (B64, BytesSource(PNG)),
        (f"data:image/png;base64,{B64}", BytesSource(PNG)),
    ],
)
def test_part_of_a_form_may_name_the_picture(
    catalogue: Catalogue, text: str, source: UrlSource | BytesSource
) -> None:
    """A part without a file name is read like the field of JSON: it holds a URL or base64."""
    assert read(Form({}, text.encode(), strict=False), catalogue).job.source == source


@pytest.mark.parametrize(
    ("form", "option", "reason"),
    [
        (multipart(scale="9"), "scale", "range"),
        (multipart(scale="two"), "scale", "type"),
        (multipart(prompt="a cat"), "prompt", "unknown"),
        (multipart(model="Lanczos"), "model", "range"),
        (multipart(response_format="png"), "response_format", "range"),
        (multipart(image=B64), "image", "conflict"),
        (in_json(scale="4"), "scale", "type"),
        (in_json(image=5), "image", "type"),
    ],
)
def test_what_cannot_be_had_is_refused_by_the_fields_name(
    catalogue: Catalogue, form: Form, option: str, reason: str
) -> None:
    """Nothing is left out in silence."""
    with pytest.raises(InvalidOption, match=f"^Invalid {option}: ") as error:
        read(form, catalogue)
    assert [(fault.option, fault.reason) for fault in error.value.faults] == [(option, reason)]


def test_model_and_picture_must_be_there(catalogue: Catalogue) -> None:
    """The name of one of LocalAI's models does not silently select another model."""
    with pytest.raises(UnknownModel, match="'stable-diffusion-x4-upscaler' is not installed"):
        read(multipart(model="stable-diffusion-x4-upscaler"), catalogue)
    with pytest.raises(MissingInput, match=r"^image is required"):
        read(in_json(image=...), catalogue)


# Over a socket

in_module = pytest.mark.asyncio(loop_scope="module")


@in_module
async def test_form_is_answered_by_a_link(start: Start) -> None:
    """As in LocalAI, the link is absolute if the operator has set the public URL."""
    gateway = await start(public_url="https://pictures.example/")
    form = aiohttp.FormData({"model": "realesrgan-x4plus", "scale": "4"})
    form.add_field("image", PNG, filename="cat.png", content_type="image/png")
    reply = await gateway.call("POST", "/v1/images/upscale", data=form)
    assert (reply.status, reply.headers["Cache-Control"]) == (200, "no-store")
    assert reply.body["created"] > 1_700_000_000
    ((name, url),) = reply.body["data"][0].items()
    assert name == "url"
    path = url.removeprefix("https://pictures.example")
    async with gateway.http.get(path) as response:
        assert np.array_equal(samples(await response.read()), nearest(RED, 4))


@in_module
async def test_errors_are_those_of_openai(start: Start) -> None:
    """An error names the option. Errors of HTTP itself have the same form."""
    gateway = await start()
    reply = await gateway.call("POST", "/v1/images/upscale", json={"image": B64, "scale": 9})
    assert reply.status == 422
    assert reply.body["error"] == {
        "message": "Invalid scale: it must be at most 8",
        "type": "invalid_request_error",
        "param": "scale",
        "code": "invalid_option",
    }
    reply = await gateway.call("GET", "/v1/images/upscale")
    assert (reply.status, reply.body["error"]["code"]) == (405, "method_not_allowed")


# With an independent client


def client(gateway: Running, key: str = "any") -> openai.AsyncOpenAI:
    """The package ``openai``."""
    return openai.AsyncOpenAI(
        api_key=key,
        base_url=f"http://127.0.0.1:{gateway.port}/v1",
        max_retries=0,
    )


@in_module
async def test_openai_gets_the_picture_of_v1(start: Start) -> None:
    """The same bytes, in the object of its other image calls: from JSON, and from a form."""
    gateway = await start()
    async with gateway.http.post("/v1/upscale", params={"scale": 4}, data=PNG) as response:
        file = await response.read()
    async with client(gateway) as api:
        made = await api.post(
            "/images/upscale", body={"image": B64, "scale": 4}, cast_to=ImagesResponse
        )
        form = await api.post(
            "/images/upscale",
            body={"scale": 4, "response_format": "b64_json"},
            files={"image": ("cat.png", PNG, "image/png")},
            options={"headers": {"Content-Type": "multipart/form-data"}},
            cast_to=ImagesResponse,
        )
    for answer in (made, form):
        assert answer.data is not None
        assert base64.b64decode(answer.data[0].b64_json or "", validate=True) == file


@in_module
async def test_openai_raises_what_it_is_answered(start: Start, models: list[ModelFacts]) -> None:
    """It raises its own class for each status, with our code."""
    gateway = await start()
    async with client(gateway) as api:
        for body, kind, code in (
            ({"image": B64, "scale": 9}, openai.UnprocessableEntityError, "invalid_option"),
            ({"image": B64, "model": "gpt"}, openai.UnprocessableEntityError, "unknown_model"),
            ({"image": "AAAA"}, openai.APIStatusError, "unsupported_format"),
        ):
            with pytest.raises(kind) as error:
                await api.post("/images/upscale", body=body, cast_to=ImagesResponse)
            assert error.value.code == code
    full = FailsFirst(NearestEngine(models), failures=99, error=OutOfMemory("it does not fit"))
    gateway = await start(full)
    async with client(gateway) as api:
        with pytest.raises(openai.InternalServerError) as busy:
            await api.post("/images/upscale", body={"image": B64}, cast_to=ImagesResponse)
    assert (busy.value.status_code, busy.value.type) == (503, "server_error")


@in_module
async def test_openais_key_is_ours(start: Start) -> None:
    """The client sends it as a bearer token."""
    keys = f"alice:sha256-{hashlib.sha256(b'enl_a').hexdigest()}"
    gateway = await start(api_keys=keys)
    for key, refused in (("enl_a", False), ("enl_b", True)):
        async with client(gateway, key) as api:
            call = api.post("/images/upscale", body={"image": B64}, cast_to=ImagesResponse)
            if refused:
                with pytest.raises(openai.AuthenticationError):
                    await call
            else:
                assert (await call).data
