"""The pages about proxies: nginx and Caddy run with exactly the configuration of their page."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from structlog.testing import capture_logs
from support.doc_blocks import texts_on
from support.fakes import HeldEngine
from support.gateways import PNG, Running, Start
from support.places import DOCS
from support.proxies import caddy, free_port, nginx

from enlarger.engine.tile import ModelFacts

pytestmark = pytest.mark.packaging

SOON_S = 5
"""The ping that fills no buffer comes after 15 s; what is held back comes at the end."""

PAGES = DOCS / "how-to"


def the_block(page: str, language: str) -> str:
    """The only one of a page in its language."""
    (text,) = texts_on(PAGES / page, language)
    return text


def behind_nginx(folder: Path, port: int, gateway: int) -> AbstractContextManager[None]:
    """One with the page's ``location``."""
    text = the_block("behind-nginx.md", "nginx")
    return nginx(folder, port=port, location=text.replace(":8000", f":{gateway}"))


def behind_caddy(folder: Path, port: int, gateway: int) -> AbstractContextManager[None]:
    """One with the page's file, for a site without TLS."""
    text = the_block("behind-caddy.md", "caddyfile")
    assert text.startswith("example.com {")
    text = text.replace("example.com", f"http://127.0.0.1:{port}", 1)
    return caddy(folder, port=port, text=text.replace(":8000", f":{gateway}"))


Begin = Callable[[Path, int, int], AbstractContextManager[None]]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("begin", [behind_nginx, behind_caddy])
async def test_service_works_behind_the_proxy_of_the_page(
    begin: Begin, start: Start, models: list[ModelFacts], tmp_path: Path
) -> None:
    """Links lead back, events come as they happen, callers cannot choose their address, and batches fit."""
    engine, port = HeldEngine(models), free_port()
    url = f"http://127.0.0.1:{port}/enlarger"
    gateway: Running = await start(engine, public_url=url, trusted_proxies="127.0.0.1")
    with ExitStack() as stack:
        stack.enter_context(begin(tmp_path, port, gateway.port))
        async with aiohttp.ClientSession() as http:
            await check_links_and_events(http, url, engine)
            await check_addresses(http, url)
            await check_bodies(http, url)


async def check_links_and_events(http: aiohttp.ClientSession, url: str, engine: HeldEngine) -> None:
    """The first event arrives while the tile is held; the result is found by its link."""
    async with http.post(f"{url}/v1/jobs?scale=4", data=PNG) as response:
        job = await response.json()
    assert response.status == 202, job
    assert all(link.startswith(f"{url}/") for link in job["links"].values())
    async with http.get(job["links"]["events"]) as events:
        await engine.holds(1)
        async with asyncio.timeout(SOON_S):
            while not (line := await events.content.readline()).startswith(b"data: "):
                pass
        assert json.loads(line[6:])["state"] in ("queued", "running")
        engine.let_go()
        text = (await events.content.read()).decode()
    (last,) = re.findall(r"^data: (.*)$", text, re.MULTILINE)[-1:]
    assert json.loads(last)["state"] == "succeeded"
    async with http.get(json.loads(last)["links"]["result"]) as result:
        assert (result.status, result.content_type) == (200, "image/png")


async def check_addresses(http: aiohttp.ClientSession, url: str) -> None:
    """The log has the address that the proxy saw, whatever the caller claims."""
    claims = ("203.0.113.9", "203.0.113.9, 127.0.0.1")
    with capture_logs() as logs:

        def seen() -> list[str]:
            return [line["address"] for line in logs if line.get("path") == "/v1/models"]

        for claimed in claims:
            async with http.get(f"{url}/v1/models", headers={"X-Forwarded-For": claimed}) as one:
                assert one.status == 200
        # A line is written once its response has ended: soon, but not at once.
        loop = asyncio.get_running_loop()
        give_up = loop.time() + SOON_S
        while len(seen()) < len(claims) and loop.time() < give_up:  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(0.01)
    assert seen() == ["127.0.0.1"] * len(claims)


async def check_bodies(http: aiohttp.ClientSession, url: str) -> None:
    """The service refuses what is too large for it, with its own words; the proxy refuses what no batch has."""
    async with http.post(f"{url}/v1/upscale", data=BytesIO(bytes(12 << 20))) as response:
        assert response.status == 413
        assert (await response.json())["code"] == "file_too_large"
    too_large: Any = BytesIO(bytes(70 << 20))
    try:
        async with http.post(f"{url}/v1/batches", data=too_large) as response:
            assert response.status == 413
    except (aiohttp.ClientConnectionError, ConnectionError):
        pass  # it was closed before all was sent


def test_configuration_of_traefik_refers_to_its_own_parts() -> None:
    """Nobody runs it, and the page says so."""
    assert "Nobody ran this configuration" in (PAGES / "behind-traefik.md").read_text()
    http = yaml.safe_load(the_block("behind-traefik.md", "yaml"))["http"]
    (router,) = http["routers"].values()
    assert set(router["middlewares"]) == set(http["middlewares"])
    assert router["service"] in http["services"]
    (middleware,) = http["middlewares"].values()
    (prefix,) = middleware["stripPrefix"]["prefixes"]
    assert f"PathPrefix(`{prefix}/`)" in router["rule"]
    balancer = http["services"][router["service"]]["loadBalancer"]
    assert balancer["servers"] == [{"url": "http://127.0.0.1:8000"}]
    assert balancer["healthCheck"]["path"] == "/readyz"
