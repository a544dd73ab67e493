"""Below a path of another site, behind a real nginx: every link that the service gives leads back to it."""

from __future__ import annotations

import asyncio
import json
import re
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import aiohttp
import pytest
import pytest_asyncio
from support.fakes import HeldEngine
from support.gateways import B64, PNG, Running, Start
from support.proxies import documented_location, free_port, nginx
from support.receivers import SECRET, Receiver
from support.sites import Site, page
from typer.testing import CliRunner
from yarl import URL

from enlarger import AsyncClient, Client, cli
from enlarger.api.document.page import ASSETS
from enlarger.engine.tile import ModelFacts

pytestmark = pytest.mark.asyncio(loop_scope="module")

LONG_S = 30
SIGNING_KEYS = "shop:0123456789abcdef"

PATHS_OF_OTHERS = {"file_path"}
"""Fields that look like links and are none."""


@dataclass(frozen=True)
class Below:
    """A gateway as its callers see it."""

    gateway: Running
    url: str
    http: aiohttp.ClientSession

    async def call(self, method: str, path: str, **options: Any) -> tuple[int, Any, Any]:
        """Status, headers and body, JSON if it is, of a request through the proxy."""
        url = path if path.startswith("http") else self.url + path
        async with self.http.request(method, URL(url, encoded=True), **options) as answer:
            data = await answer.read()
            is_json = "json" in answer.content_type
            return answer.status, answer.headers, json.loads(data) if is_json else data


Through = Callable[..., Any]


@pytest_asyncio.fixture(loop_scope="module")
async def through(start: Start, tmp_path: Path) -> AsyncIterator[Through]:
    """Starts a gateway below ``/enlarger/`` of an nginx."""
    stack = ExitStack()
    async with aiohttp.ClientSession() as http:

        async def begin(
            engine: Any = None, *, has_url: bool = True, left_out: str = "", **settings: Any
        ) -> Below:
            port = free_port()
            url = f"http://127.0.0.1:{port}/enlarger"
            if has_url:
                settings["public_url"] = f"{url}/"
            gateway = await start(engine, trusted_proxies="127.0.0.1", **settings)
            folder = tmp_path / "nginx"
            folder.mkdir()
            location = documented_location(gateway.port)
            assert left_out in location
            location = location.replace(left_out, "")
            stack.enter_context(nginx(folder, port=port, location=location))
            return Below(gateway, url, http)

        with stack:
            yield begin


LINKED_BEFORE = {"result": (409,), "results": (409,), "input": (404, 409, 410), "tiles": (410,)}
"""Statuses of links to what a job does not have yet, or no longer."""


def links(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """All links in an answer, with the names of their fields."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from links(part, key)
    elif isinstance(value, list):
        for part in value:
            yield from links(part, name)
    elif isinstance(value, str) and name not in PATHS_OF_OTHERS and re.match(r"/|https?:", value):
        yield name, value


async def check_links(site: Below, body: Any, *, expected: set[str]) -> None:
    """Each begins with the public URL, and leads to an answer; these fields have some."""
    found = set(links(body))
    assert {name for name, _ in found} == expected
    for name, link in found:
        assert link.startswith(f"{site.url}/"), (name, link)
        status, _, _ = await site.call("GET", link)
        # What is not there yet, or no longer, has its link all the same.
        assert status == 200 or status in LINKED_BEFORE.get(name, ()), (name, link, status)


async def ended(site: Below, body: dict[str, Any]) -> dict[str, Any]:
    """A job or a batch, once it has ended; by its own link."""
    async with asyncio.timeout(LONG_S):
        while body["state"] in ("queued", "running"):
            await asyncio.sleep(0.05)
            _, _, body = await site.call("GET", body["links"]["self"])
    return body


async def test_links_of_pictures_lead_back(through: Through) -> None:
    """On all routes that make one at once."""
    site = await through()
    fields = {"image_b64": B64, "scale": 4}
    for method, path, options in (
        ("POST", "/upscale", {"json": fields}),
        ("POST", "/v1/upscale", {"json": fields, "headers": {"Accept": "application/json"}}),
        ("POST", "/v1/images/upscale", {"json": {"image": B64, "response_format": "url"}}),
        ("POST", "/v1/compare", {"json": {**fields, "region": "0,0,8,8"}}),
    ):
        status, _, body = await site.call(method, path, **options)
        assert status == 200, body
        await check_links(site, body, expected={"url"})


async def test_links_of_jobs_lead_back(through: Through) -> None:
    """From the first answer to the events, also of one that fails, and to the webhook."""
    async with Receiver() as receiver:
        site = await through(webhook_secrets=SECRET, fetch=receiver.address)
        for data, expected in (
            (PNG, {"self", "events", "result", "input", "tiles", "url"}),
            (b"", {"self", "events", "result", "input", "tiles", "type", "instance"}),
        ):
            options: dict[str, Any] = {"data": data}
            path = f"/v1/jobs?scale=4&webhook={receiver.url}"
            if not data:
                fields = {"img_url": receiver.url, "webhook": receiver.url}
                path, options = "/v1/jobs", {"json": fields}
            status, headers, body = await site.call("POST", path, **options)
            assert status == 202, body
            assert headers["Location"] == body["links"]["self"]
            job = await ended(site, body)
            await check_links(site, job, expected=expected)
            _, _, text = await site.call("GET", job["links"]["events"])
            states = [json.loads(one) for one in re.findall(r"^data: (.*)$", text.decode(), re.M)]
            await check_links(site, states[-1], expected=expected)
        messages = [one for one in await receiver.came(3) if one.body]
    for told in (message.verified()["data"] for message in messages):
        await check_links(site, told, expected=set(dict(links(told))))


async def test_links_of_batches_lead_back(through: Through) -> None:
    """The links of the batch, its items, its events and its archive can all be followed."""
    site = await through()
    items = [{"image_b64": B64}, {"image_b64": "bm8gcGljdHVyZQ=="}]
    status, headers, body = await site.call("POST", "/v1/batches", json={"items": items})
    assert status == 202
    assert headers["Location"] == body["links"]["self"]
    expected = {"self", "events", "results", "url", "type", "instance"}
    batch = await ended(site, body)
    await check_links(site, batch, expected=expected)
    _, _, text = await site.call("GET", batch["links"]["events"])
    states = [json.loads(one) for one in re.findall(r"^data: (.*)$", text.decode(), re.M)]
    await check_links(site, states[-1], expected=expected)
    _, _, data = await site.call("GET", batch["links"]["results"])
    with zipfile.ZipFile(BytesIO(data)) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    await check_links(site, manifest, expected={"url", "type", "instance"})


async def test_links_of_errors_lead_back(through: Through) -> None:
    """It does not matter whether the route, HTTP itself or the limit on bodies refuses, or whether the error is a part of another response."""
    site = await through()
    wrong = {"image_b64": B64, "scale": 9}
    for method, path, options, status in (
        ("POST", "/v1/upscale", {"json": wrong}, 422),
        ("GET", "/v1/nothing", {}, 404),
        ("DELETE", "/v1/upscale", {}, 405),
        ("POST", "/v1/upscale", {"data": BytesIO(bytes(12 << 20))}, 413),
        ("POST", "/v1/estimate", {"json": wrong}, 200),
        ("POST", "/v1/estimate", {"json": {"input": {"width": 9999, "height": 1}}}, 200),
        ("POST", "/v1/compare", {"json": {"image_b64": "bm8=", "region": "0,0,8,8"}}, 200),
    ):
        found, _, body = await site.call(method, path, **options)
        assert found == status, body
        await check_links(site, body, expected={"type"})


async def test_error_of_a_key_that_is_another_jobs_leads_to_it(through: Through) -> None:
    """As ``instance``."""
    site = await through()
    headers = {"Idempotency-Key": "order-17"}
    _, _, job = await site.call("POST", "/v1/jobs?scale=4", data=PNG, headers=headers)
    status, _, body = await site.call("POST", "/v1/jobs?scale=2", data=PNG, headers=headers)
    assert (status, body["instance"]) == (422, job["links"]["self"])
    await check_links(site, body, expected={"type", "instance"})


async def test_missing_key_is_told_with_a_link(through: Through) -> None:
    """That answer does not come as far as the routes."""
    site = await through(api_keys=f"alice:sha256-{'0' * 64}")
    status, _, body = await site.call("GET", "/v1/models")
    assert (status, body["type"]) == (401, f"{site.url}/errors/unauthorized")


async def test_placeholder_is_followed_by_its_picture(through: Through) -> None:
    """At the same address, below the prefix; and where it becomes a job, that is found there."""
    async with Site({"/cat.png": page(PNG)}) as other:
        site = await through(fetch=other.address)
        path = f"/v1/upscale?url={other.url('/cat.png')}&scale=4"
        status, headers, _ = await site.call("GET", f"{path}&placeholder=true")
        assert (status, headers["Content-Type"][:6]) == (200, "image/")
        status, headers, _ = await site.call("GET", path)
        assert (status, headers["Content-Type"]) == (200, "image/png")


async def test_documents_lead_back(through: Through) -> None:
    """The page, the text and the OpenAPI document: links, examples and servers."""
    site = await through()
    await check_documents(site)
    _, _, document = await site.call("GET", "/openapi.json")
    assert document["servers"] == [{"url": site.url}]
    status, _, _ = await site.call("GET", f"{document['servers'][0]['url']}/v1/models")
    assert status == 200
    samples = json.dumps([each for path in document["paths"].values() for each in path.values()])
    _, _, text = await site.call("GET", "/llms.txt")
    for shown in (samples, text.decode()):
        assert f"{site.url}/v1/upscale" in shown
        assert "localhost:8000" not in shown
    for link in re.findall(r"\]\(([^)]+)\)", text.decode()):
        assert (await site.call("GET", link))[0] == 200


async def test_page_leads_back_also_where_nobody_said_where_it_is(through: Through) -> None:
    """Its links are relative."""
    await check_documents(await through(has_url=False))


async def check_documents(site: Below) -> None:
    """All that the pages load or link to is below the prefix."""
    for path, least in (("/docs", 2 + len(ASSETS)), ("/", 6)):
        status, _, text = await site.call("GET", path)
        assert status == 200
        found = set(re.findall(r'(?:href|src)="([^"]+)"', text.decode()))
        assert len(found) >= least
        for link in found:
            there = urljoin(f"{site.url}{path}", link)
            assert there.startswith(f"{site.url}/")
            assert (await site.call("GET", there))[0] == 200


@pytest.mark.parametrize("left_out", ["", "proxy_http_version 1.1;"])
async def test_events_come_as_they_happen(
    through: Through, models: list[ModelFacts], left_out: str
) -> None:
    """Nginx does not hold them back, also as it is by default; and links of tiles lead back."""
    engine = HeldEngine(models)
    site = await through(engine, left_out=left_out)
    _, _, job = await site.call("POST", "/v1/jobs?scale=4", data=PNG)
    async with asyncio.timeout(LONG_S), site.http.get(job["links"]["events"]) as answer:
        await engine.holds(1)
        while not (line := await answer.content.readline()).startswith(b"data: "):
            pass
        assert json.loads(line[6:])["links"]["self"] == job["links"]["self"]
        engine.let_go()
        async for line in answer.content:
            if line.startswith(b"data: ") and "index" in (tile := json.loads(line[6:])):
                assert tile["url"] == f"{job['links']['self']}/tiles/{tile['index']}"
    assert (await ended(site, job))["state"] == "succeeded"


async def test_clients_take_an_address_with_a_path(through: Through) -> None:
    """Both, with and without a slash at its end, for pictures and for jobs."""
    site = await through()

    def waiting() -> None:
        with Client(f"{site.url}/") as client:
            assert client.upscale(PNG, scale=4).width_px == 120
            assert client.submit(PNG, scale=4).result(LONG_S).width_px == 120
            assert client.models().models
            assert client.estimate(PNG).is_accepted

    await asyncio.to_thread(waiting)
    async with AsyncClient(site.url) as client:
        seen: list[str] = []
        made = await client.upscale(PNG, on_progress=lambda job: seen.append(job.state), scale=4)
        assert made.width_px == 120
        assert seen[-1] == "succeeded"


@pytest.mark.parametrize("knows_url", [True, False])
async def test_signed_link_is_followed_below_the_path(
    through: Through, monkeypatch: pytest.MonkeyPatch, knows_url: bool
) -> None:
    """The signature covers the path that the gateway sees, even if the link is made where ENLARGER_PUBLIC_URL is not set."""
    async with Site({"/cat.png": page(PNG)}) as other:
        site = await through(
            fetch=other.address,
            signing_keys=SIGNING_KEYS,
            api_keys=f"alice:sha256-{'0' * 64}",
        )
        monkeypatch.setenv("ENLARGER_SIGNING_KEYS", SIGNING_KEYS)
        if knows_url:
            monkeypatch.setenv("ENLARGER_PUBLIC_URL", site.url)
        link = f"{site.url}/v1/upscale?url={other.url('/cat.png')}&scale=4"
        result = CliRunner().invoke(cli.app, ["sign", link])
        signed = result.stdout.strip()
        assert signed.startswith(f"{link}&expires=")
        status, headers, _ = await site.call("GET", signed)
        assert (status, headers["Content-Type"]) == (200, "image/png")
        status, _, body = await site.call("GET", signed.replace("scale=4", "scale=2"))
        assert (status, body["type"]) == (403, f"{site.url}/errors/signature_invalid")
