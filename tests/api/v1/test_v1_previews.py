"""Small JPEG files of results, over a real socket."""

from __future__ import annotations

import asyncio
import base64
import time
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.fakes import nearest
from support.gateways import PNG, Running, Start
from support.v1_jobs import ended, picture, problem_of, queued

from enlarger.api.signing import sign
from enlarger.config import ApiKey, SigningKey

pytestmark = pytest.mark.asyncio(loop_scope="module")


def gradient(width: int, height: int) -> np.ndarray[Any, Any]:
    """A smooth picture, of which a JPEG file is nearly exact."""
    rows, columns = np.mgrid[0:height, 0:width]
    parts = (columns * 255 / width, rows * 255 / height, np.full((height, width), 90))
    return np.stack(parts, axis=2).astype(np.uint8)


def as_file(samples: np.ndarray[Any, Any]) -> bytes:
    """A PNG file of it."""
    file = BytesIO()
    Image.fromarray(samples).save(file, "PNG")
    return file.getvalue()


async def fetched(gateway: Running, url: str, **options: Any) -> tuple[Image.Image, Any]:
    """A preview, and the headers that it came with."""
    async with gateway.http.get(url, **options) as response:
        data = await response.read()
        assert (response.status, response.headers["Content-Type"]) == (200, "image/jpeg"), data[:99]
        assert response.headers["ETag"] == f'"sha256-{sha256(data).hexdigest()}"'
    image = Image.open(BytesIO(data))
    assert image.format == "JPEG"
    return image, response.headers


@pytest.mark.parametrize("format_", ["png", "tiff", "avif", "webp"])
async def test_preview_shows_the_whole_result(start: Start, format_: str) -> None:
    """In the size that was asked for, by both addresses; a result that is smaller keeps its size."""
    gateway = await start()
    samples = gradient(150, 100)
    job = await queued(gateway, as_file(samples), params={"format": format_, "scale": 4})
    done = await ended(gateway, job)
    whole = nearest(samples, 4)
    for url in (job["links"]["result"], done["result"]["url"]):
        for side, size in (
            (16, (16, 11)),
            (300, (300, 200)),
            (600, (600, 400)),
            (2048, (600, 400)),
        ):
            image, _ = await fetched(gateway, f"{url}?max_side={side}")
            assert image.size == size
            expected = Image.fromarray(whole).resize(size, Image.Resampling.BOX)
            difference = np.abs(np.asarray(image).astype(int) - np.asarray(expected).astype(int))
            assert difference.mean() < 4, (side, difference.mean())


async def test_preview_of_a_transparent_result_is_on_white(start: Start) -> None:
    """A JPEG file has no transparency."""
    gateway = await start()
    clear = np.zeros((40, 40, 4), np.uint8)
    job = await queued(gateway, as_file(clear))
    await ended(gateway, job)
    image, _ = await fetched(gateway, f"{job['links']['result']}?max_side=32")
    assert image.mode == "RGB"
    assert np.asarray(image).min() > 250


async def test_one_preview_is_kept_whatever_is_asked_for(start: Start) -> None:
    """Beside the result, and it goes with it. Requests at the same time make it once."""
    gateway = await start()
    job = await queued(gateway)
    done = await ended(gateway, job)
    url = done["result"]["url"]
    found = await asyncio.gather(
        *(fetched(gateway, f"{url}?max_side={side}") for side in range(16, 60, 4))
    )
    assert {image.size[0] for image, _ in found} == set(range(16, 60, 4))
    (path,) = previews(gateway)
    with Image.open(path) as image:
        assert image.size == (120, 80)
    async with gateway.http.delete(job["links"]["self"]) as response:
        assert (await response.json())["state"] == "expired"
    assert previews(gateway) == []
    async with gateway.http.get(f"{job['links']['result']}?max_side=32") as response:
        await problem_of(response, 410, "result_expired")


def previews(gateway: Running) -> list[Path]:
    """The files of previews, wherever results are."""
    folders = [Path(gateway.gateway.settings.server.upload_folder)]
    folders.append(Path(gateway.gateway.settings.blobs_place) / "results")
    return [path for folder in folders for path in folder.glob("upscaled_*.result.jpg")]


async def test_preview_of_a_request_without_a_job(start: Start) -> None:
    """By its file's address; a client that has it already gets 304, and HEAD only the headers."""
    gateway = await start()
    reply = await gateway.upscale(img_url=f"data:image/png;base64,{base64.b64encode(PNG).decode()}")
    url = f"{reply.body['url']}?max_side=20"
    image, headers = await fetched(gateway, url)
    assert image.size == (20, 13)
    assert "private, max-age=" in headers["Cache-Control"]
    async with gateway.http.get(url, headers={"If-None-Match": headers["ETag"]}) as response:
        assert (response.status, await response.read()) == (304, b"")
    async with gateway.http.head(url) as response:
        assert response.headers["Content-Length"] == headers["Content-Length"]


async def test_sizes_are_checked(start: Start) -> None:
    """In the words of each contract."""
    gateway = await start()
    job = await queued(gateway)
    done = await ended(gateway, job)
    for text in ("15", "2049", "0", "-1", "abc", "", "1e3", "99999999999999999999", "\u0663\u0663"):
        async with gateway.http.get(job["links"]["result"], params={"max_side": text}) as response:
            body = await problem_of(response, 422, "invalid_option")
            assert body["errors"][0]["option"] == "max_side"
        async with gateway.http.get(done["result"]["url"], params={"max_side": text}) as response:
            assert (response.status, (await response.json())["code"]) == (400, "invalid_option")


async def test_preview_is_fetched_at_another_gateway(start: Start) -> None:
    """Any gateway serves it, whichever one made it."""
    runs, other = await start(), await start()
    job = await queued(runs, picture(7))
    await ended(runs, job)
    first, _ = await fetched(runs, f"{job['links']['result']}?max_side=64")
    second, _ = await fetched(other, f"{job['links']['result']}?max_side=64")
    assert np.array_equal(np.asarray(first), np.asarray(second))
    assert len(previews(runs)) == 1


async def test_signed_link_shows_a_preview(start: Start) -> None:
    """The link is valid for the size that was signed, and for no other."""
    key = ApiKey("alice", sha256(b"alice").hexdigest())
    gateway = await start(api_keys=(key,), signing_keys="page:" + "s" * 40)
    job = await queued(gateway, headers={"X-API-Key": "alice"})
    async with gateway.http.get(
        job["links"]["self"], headers={"X-API-Key": "alice"}, params={"wait": 20}
    ) as response:
        assert (await response.json())["state"] == "succeeded"
    (signing,) = gateway.gateway.settings.access.signing_keys
    assert isinstance(signing, SigningKey)
    target = sign(
        f"{job['links']['result']}?max_side=40",
        kid=signing.kid,
        secret=signing.secret.get_secret_value(),
        expires_at=int(time.time()) + 60,
    )
    async with gateway.http.get(target) as response:
        assert (response.status, response.headers["Content-Type"]) == (200, "image/jpeg")
    async with gateway.http.get(target.replace("max_side=40", "max_side=50")) as response:
        await problem_of(response, 403, "signature_invalid")
