"""Pictures in and pictures out of a gateway, over a real socket."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import time
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from support.fakes import NearestEngine, nearest
from support.gateways import B64, PNG, RED, Json, Start, samples
from support.oracles import lanczos
from support.pictures import encoded, noise, oriented, visible
from support.sites import Site, page
from yarl import URL

from enlarger.engine.tile import ModelFacts

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    "fields",
    [
        {"image_b64": B64},
        {"image_b64": f"data:image/png;base64,{B64}"},
        {"img_url": f"data:image/png;base64,{B64}"},
        {"img_url": f"data:image/jpeg;base64,{B64}"},
    ],
    ids=["base64", "base64-with-prefix", "data-url", "data-url-of-another-type"],
)
async def test_picture_in_the_request_comes_back_enlarged(start: Start, fields: Json) -> None:
    """Each pixel is where it belongs, in RGB order; content counts, not the declared type."""
    gateway = await start()
    assert np.array_equal(await gateway.picture(scale=4, **fields), nearest(RED, 4))


async def test_picture_behind_a_url_comes_back_enlarged(start: Start) -> None:
    """A source that the setting names."""
    async with Site({"/cat.png": page(PNG)}) as site:
        gateway = await start(fetch=site.address)
        reply = await gateway.upscale(img_url=site.url("/cat.png"), scale=4)
        assert np.array_equal(samples(base64.b64decode(reply.body["base64"])), nearest(RED, 4))
        assert reply.body["original_size"] == {"width": 30, "height": 20, "bytes": len(PNG)}


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
async def test_picture_keeps_its_channels(start: Start, channels: int) -> None:
    """Gray stays gray and alpha stays alpha."""
    pixels = visible(noise(20, 30, channels))
    stored = pixels[:, :, 0] if channels == 1 else pixels
    gateway = await start()
    made = await gateway.picture(image_b64=base64.b64encode(encoded(stored)).decode(), scale=4)
    assert np.array_equal(made, nearest(stored, 4))


async def test_double_size_is_the_model_s_picture_reduced(start: Start) -> None:
    """A model of 4x and Lanczos to 2x; the answer says so. It is the default."""
    gateway = await start()
    reply = await gateway.upscale(image_b64=B64)
    found = samples(base64.b64decode(reply.body["base64"]))
    assert np.abs(found - lanczos(nearest(RED, 4), 2)).max() <= 0.501
    assert reply.body["upscaled_size"] == {"width": 60, "height": 40, "scale": 2}
    assert [note["code"] for note in reply.body["notes"]] == ["resampled"]


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [("png", "png"), ("jpeg", "jpg"), ("webp", "webp"), ("avif", "avif"), ("tiff", "tif")],
)
async def test_result_is_of_the_format_that_is_asked_for(
    start: Start, kind: str, suffix: str
) -> None:
    """In the answer, in the file, and behind the URL, with its media type."""
    gateway = await start()
    reply = await gateway.upscale(image_b64=B64, scale=4, format=kind, quality=90)
    data = base64.b64decode(reply.body["base64"])
    with Image.open(BytesIO(data)) as image:
        assert (image.format or "").lower() == kind
        assert image.size == (120, 80)
    assert reply.body["url"].endswith(f".{suffix}")
    async with gateway.http.get(reply.body["url"]) as response:
        assert (response.status, response.content_type) == (200, f"image/{kind}")
        assert await response.read() == data


async def test_answer_states_what_was_done(start: Start, models: list[ModelFacts]) -> None:
    """All fields of the contract, in their types."""
    engine = NearestEngine(models)
    gateway = await start(engine)
    began = time.time()
    reply = await gateway.upscale(image_b64=B64, scale=4, model="nearest", precision="f32")
    body = reply.body
    assert reply.status == 200
    assert reply.headers["Cache-Control"] == "no-store"
    assert list(body) == [
        "success",
        "file_path",
        "base64",
        "original_size",
        "upscaled_size",
        "processing_time",
        "url",
        "expires_at",
        "model",
        "engine",
        "precision",
        "device",
        "device_class",
        "tiles",
        "kept",
        "notes",
        "cache",
        "color_delta",
        "model_sha256",
        "request_id",
    ]
    token = body["url"].removeprefix("/files/").removesuffix(".png")
    assert re.fullmatch("[0-9a-f]{32}", token)
    assert body["success"] is True
    assert body["file_path"] == f"uploads/upscaled_{token}.png"
    assert body["original_size"] == {"width": 30, "height": 20, "bytes": len(PNG)}
    assert body["upscaled_size"] == {"width": 120, "height": 80, "scale": 4}
    assert 0 <= body["processing_time"] <= time.time() - began + 0.01
    assert (body["model"], body["engine"], body["precision"]) == ("nearest", "nearest", "f32")
    assert body["tiles"] == {
        "total": len(engine.requests) + body["tiles"]["reused"],
        "servers": 1,
        "retried": 0,
        "repeated": {},
        "reused": body["tiles"]["reused"],
    }
    assert body["cache"] == "miss"
    assert (body["kept"], body["color_delta"]) == ([], 0.0)
    assert body["model_sha256"] == next(row.sha256 for row in models if row.id == "nearest")
    assert body["notes"] == []
    assert body["request_id"] == reply.headers["X-Request-Id"]
    assert {request.request_id for request in engine.requests} == {body["request_id"]}


async def test_size_is_that_of_the_picture_as_seen(start: Start) -> None:
    """Orientation is applied before anything is measured."""
    file = oriented(RED, 6, "PNG")
    gateway = await start()
    reply = await gateway.upscale(image_b64=base64.b64encode(file).decode(), scale=4)
    assert reply.body["original_size"] == {"width": 20, "height": 30, "bytes": len(file)}
    assert reply.body["upscaled_size"] == {"width": 80, "height": 120, "scale": 4}
    assert reply.body["notes"][0] == {
        "code": "orientation_applied",
        "detail": "EXIF orientation 6",
    }


async def test_base64_file_and_url_hold_the_same_bytes(start: Start) -> None:
    """The PNG is encoded once, and the route's headers are those of the contract."""
    gateway = await start()
    body = (await gateway.upscale(image_b64=B64, scale=4)).body
    data = base64.b64decode(body["base64"], validate=True)
    assert (gateway.store.folder.parent / body["file_path"]).read_bytes() == data
    async with gateway.http.get(body["url"]) as response:
        assert response.status == 200
        assert await response.read() == data
        headers = response.headers
    assert headers["Content-Type"] == "image/png"
    assert headers["Content-Length"] == str(len(data))
    assert headers["ETag"] == f'"sha256-{hashlib.sha256(data).hexdigest()}"'
    assert headers["Content-Disposition"] == "inline"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    match = re.fullmatch(r"private, max-age=(\d+), immutable", headers["Cache-Control"])
    assert match is not None
    assert 290 <= int(match.group(1)) <= 300
    async with gateway.http.head(body["url"]) as response:
        assert response.status == 200
        assert await response.read() == b""
        for name in ("Content-Type", "Content-Length", "ETag", "X-Content-Type-Options"):
            assert response.headers[name] == headers[name]


@pytest.mark.parametrize("width_px", [300, 301, 302])
async def test_base64_in_several_pieces_is_whole(start: Start, width_px: int) -> None:
    """The answer has the length that it declares, and the file's bytes, however many these are."""
    gateway = await start()
    file = encoded(noise(300, width_px, 3))
    async with gateway.http.post(
        "/upscale", json={"image_b64": base64.b64encode(file).decode(), "scale": 2}
    ) as response:
        raw = await response.read()
        assert response.headers["Content-Length"] == str(len(raw))
    body = json.loads(raw)
    data = base64.b64decode(body["base64"], validate=True)
    assert len(data) > 3 << 18  # one piece
    assert (gateway.store.folder.parent / body["file_path"]).read_bytes() == data


async def test_base64_is_left_out_on_request(start: Start) -> None:
    """``inline`` false leaves null; the file is there all the same."""
    gateway = await start()
    reply = await gateway.upscale(image_b64=B64, scale=4, inline=False)
    assert reply.body["base64"] is None
    assert reply.headers["Cache-Control"] == "no-store"
    file = (gateway.store.folder.parent / reply.body["file_path"]).read_bytes()
    assert np.array_equal(samples(file), nearest(RED, 4))


async def test_same_request_gives_the_same_bytes_under_another_name(start: Start) -> None:
    """Nothing random is in a picture, and no name is used twice."""
    gateway = await start()
    one, other = [(await gateway.upscale(image_b64=B64, scale=2)).body for _ in range(2)]
    assert one["base64"] == other["base64"]
    assert one["url"] != other["url"]


async def test_every_answer_belongs_to_its_request(start: Start) -> None:
    """Many at once, with distinct pictures: distinct names, and each picture its own."""
    gateway = await start()
    pictures = [noise(9 + number, 12, 3, seed=number) for number in range(24)]
    replies = await asyncio.gather(
        *(
            gateway.upscale(image_b64=base64.b64encode(encoded(pixels)).decode(), scale=4)
            for pixels in pictures
        )
    )
    for pixels, reply in zip(pictures, replies, strict=True):
        assert np.array_equal(samples(base64.b64decode(reply.body["base64"])), nearest(pixels, 4))
    assert len({reply.body["url"] for reply in replies}) == len(pictures)
    assert gateway.load() == 0


async def test_query_stands_for_the_body(start: Start) -> None:
    """``GET`` takes the same names."""
    gateway = await start()
    query = {"img_url": f"data:image/png;base64,{B64}", "scale": "4", "model": "nearest"}
    reply = await gateway.call("GET", str(URL("/upscale").with_query(query)))
    assert reply.status == 200
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.body["model"] == "nearest"
    assert np.array_equal(samples(base64.b64decode(reply.body["base64"])), nearest(RED, 4))


async def test_get_with_a_body_is_read_as_a_post(start: Start) -> None:
    """Where there is no query."""
    gateway = await start()
    reply = await gateway.call("GET", "/upscale", json={"image_b64": B64, "scale": 4})
    assert reply.status == 200
    assert reply.body["upscaled_size"] == {"width": 120, "height": 80, "scale": 4}


async def test_public_url_stands_before_the_paths(start: Start) -> None:
    """Taken from the setting, never from the ``Host`` header."""
    gateway = await start(public_url="https://cdn.example.com/")
    reply = await gateway.call(
        "POST", "/upscale", json={"image_b64": B64}, headers={"Host": "evil.example"}
    )
    assert re.fullmatch(r"https://cdn\.example\.com/files/[0-9a-f]{32}\.png", reply.body["url"])
