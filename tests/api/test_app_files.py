"""Files of results, as a gateway serves them from a folder or a bucket."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import time

import pytest
from structlog.testing import capture_logs
from support.app_calls import fault, fields_of
from support.gateways import B64, Start
from support.results import FolderResults

from enlarger.storage import StoredResult, storage_at

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_file_that_is_not_there_is_404(start: Start) -> None:
    """The token is unknown, or a known one is spelled differently."""
    gateway = await start()
    url = (await gateway.upscale(image_b64=B64)).body["url"]
    token = url.removeprefix("/files/").removesuffix(".png")
    fields_of(gateway.store.folder, "notes.txt")
    fields_of(gateway.store.folder.parent, "outside.png")
    for name in (
        "0" * 32 + ".png",
        token,
        f"{token}.jpg",
        f"{token}.png.png",
        f"{token}.png%00",
        f"{token}.png%0a",
        f"{token[:-1]}.png",
        f"upscaled_{token}.png",
        "notes.txt",
        "..%2foutside.png",
        "%2e%2e%2foutside.png",
        f"..%2fuploads%2fupscaled_{token}.png",
        f"%2e%2f{token}.png",
    ):
        reply = await gateway.call("GET", f"/files/{name}")
        assert fault(reply) == (404, "not_found", "Not found"), name
    for name in ("..", "%2e%2e", "../uploads"):  # clients take this for / or /uploads themselves
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(f"GET /files/{name} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        assert (await reader.read()).startswith(b"HTTP/1.1 404 "), name
        writer.close()
        await writer.wait_closed()


async def test_gateways_share_results_in_a_bucket(start: Start, bucket: str) -> None:
    """Each serves, sweeps and counts what another one has made, without a common folder."""
    settings = {"upload_folder": bucket, "blobs": f"{bucket}/jobs", "file_max_age_s": 300}
    one, other = await start(**settings), await start(**settings)
    body = (await one.upscale(image_b64=B64)).body
    assert body["file_path"] == f"{bucket}/upscaled_{body['url'].removeprefix('/files/')}"
    data = base64.b64decode(body["base64"])
    async with other.http.get(body["url"]) as response:
        assert (response.status, await response.read()) == (200, data)
        etag = response.headers["ETag"]
        assert etag == f'"sha256-{hashlib.sha256(data).hexdigest()}"'
        assert response.headers["Content-Type"] == "image/png"
    async with other.http.get(body["url"], headers={"If-None-Match": etag}) as response:
        assert (response.status, await response.read()) == (304, b"")
    async with other.http.get(body["url"], headers={"Range": "bytes=5-9"}) as response:
        assert (response.status, await response.read()) == (206, data[5:10])
        assert response.headers["Content-Range"] == f"bytes 5-9/{len(data)}"
    async with other.http.head(body["url"]) as response:
        assert (response.status, response.headers["Content-Length"]) == (200, str(len(data)))
    again = (await one.upscale(image_b64=B64)).body
    assert (again["cache"], again["base64"]) == ("hit", body["base64"])
    assert again["file_path"] != body["file_path"]
    stats = (await other.call("GET", "/status")).body["upload_folder_stats"]
    assert stats["total_files"] == 2
    assert (await other.call("POST", "/cleanup")).body["deleted_files"] == 0


async def test_results_in_a_bucket_expire(start: Start, bucket: str) -> None:
    """For all gateways, and the sweep of any of them deletes them."""
    settings = {"upload_folder": bucket, "blobs": f"{bucket}/jobs", "file_max_age_s": 1}
    one, other = await start(**settings), await start(**settings)
    body = (await one.upscale(image_b64=B64)).body
    await asyncio.sleep(2.1)  # a bucket counts whole seconds
    for gateway in (one, other):
        assert (await gateway.call("GET", body["url"])).status == 404
    assert (await other.call("POST", "/cleanup")).body["deleted_files"] == 1
    assert await one.gateway.store.usage() == []


async def test_results_of_requests_stay_in_the_folder_where_only_jobs_have_a_bucket(
    start: Start, bucket: str
) -> None:
    """``file_path`` is what it was, and leads to the file."""
    gateway = await start(blobs=bucket)
    body = (await gateway.upscale(image_b64=B64)).body
    assert body["file_path"] == f"uploads/upscaled_{body['url'].removeprefix('/files/')}"
    path = gateway.store.folder.parent / body["file_path"]
    assert path.read_bytes() == base64.b64decode(body["base64"])
    assert await storage_at(bucket).keys("") == []


WAYS_TO_ASK: list[tuple[str, dict[str, str]]] = [
    ("GET", {}),
    ("HEAD", {}),
    ("GET", {"Range": "bytes=5-9"}),
    ("GET", {"If-None-Match": "*"}),
]


@pytest.mark.parametrize("kind", ["folder", "bucket"])
async def test_file_that_was_deleted_is_not_found(
    start: Start, kind: str, request: pytest.FixtureRequest
) -> None:
    """Every form of request is 404. No header promises bytes that do not exist."""
    place = {"upload_folder": request.getfixturevalue("bucket")} if kind == "bucket" else {}
    gateway = await start(**place)
    url = (await gateway.upscale(image_b64=B64)).body["url"]
    await gateway.store.delete(url.removeprefix("/files/"))
    for method, headers in WAYS_TO_ASK:
        async with gateway.http.request(method, url, headers=headers) as response:
            assert response.status == 404
            await response.read()


class LosingResults(FolderResults):
    """Loses each file between finding it and opening it."""

    async def find(self, name: str, *, sha256: str | None = None) -> StoredResult | None:
        """Delete the file that was found."""
        found = await super().find(name, sha256=sha256)
        await self.delete(name)
        return found


async def test_file_that_is_deleted_while_it_is_asked_for_is_not_found(start: Start) -> None:
    """It is opened before the headers are sent."""
    gateway = await start(store=LosingResults)
    for headers in ({}, {"Range": "bytes=5-9"}):
        url = (await gateway.upscale(image_b64=B64, no_cache=True)).body["url"]
        with capture_logs() as logs:
            async with gateway.http.get(url, headers=headers) as response:
                assert (response.status, (await response.json())["code"]) == (404, "not_found")
        assert [entry["event"] for entry in logs if entry["log_level"] != "info"] == ["result_lost"]


async def test_bucket_that_is_away_is_told(
    start: Start, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cleanup is refused as anything else that needs the bucket; the status has the last count."""
    gateway = await start(upload_folder=bucket)
    await gateway.upscale(image_b64=B64)
    before = (await gateway.call("GET", "/status")).body["upload_folder_stats"]
    assert before["total_files"] == 1
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    gateway.store.storage.store = storage_at(bucket).store
    reply = await gateway.call("POST", "/cleanup")
    text = "Manual cleanup failed: the server's bucket cannot be reached now; try again later"
    assert fault(reply) == (503, "storage_unavailable", text)
    assert (reply.body["retryable"], reply.headers["Retry-After"]) == (True, "5")
    assert (await gateway.call("GET", "/status")).body["upload_folder_stats"] == before


async def test_file_is_served_until_it_expires(start: Start) -> None:
    """From that moment on it is gone, swept or not."""
    gateway = await start(file_max_age_s=300)
    body = (await gateway.upscale(image_b64=B64)).body
    path = gateway.store.folder.parent / body["file_path"]
    now = time.time()
    os.utime(path, (now - 290, now - 290))
    async with gateway.http.get(body["url"]) as response:
        assert response.status == 200
        assert response.headers["Cache-Control"] in {
            f"private, max-age={left}, immutable" for left in range(11)
        }
    os.utime(path, (now - 300, now - 300))
    assert fault(await gateway.call("GET", body["url"])) == (404, "not_found", "Not found")
    assert path.exists()
