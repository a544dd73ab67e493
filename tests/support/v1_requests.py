"""Requests to ``/v1`` for tests."""

from __future__ import annotations

from typing import Any

import aiohttp
import numpy as np
from yarl import URL

from support.fakes import nearest
from support.gateways import RED, Running, samples

PROBLEM = "application/problem+json"


async def sent(
    gateway: Running, path: str = "/v1/upscale", **options: Any
) -> aiohttp.ClientResponse:
    """Send a POST, and read its response to the end."""
    response = await gateway.http.post(path, **options)
    await response.read()
    return response


async def assert_enlarged(response: aiohttp.ClientResponse, scale: int = 4) -> None:
    """It is the usual picture, enlarged."""
    body = await response.read()
    assert response.status == 200, body[:300]
    assert np.array_equal(samples(body), nearest(RED, scale))


async def ended(gateway: Running, accepted: aiohttp.ClientResponse) -> dict[str, Any]:
    """Return the job of a 202 once it has ended."""
    assert accepted.status == 202
    async with gateway.http.get(accepted.headers["Location"], params={"wait": 30}) as response:
        job: dict[str, Any] = await response.json()
        return job


async def fetched(gateway: Running, target: str, method: str = "GET") -> aiohttp.ClientResponse:
    """Send a request for exactly this target, without a key."""
    response = await gateway.http.request(method, URL(target, encoded=True))
    await response.read()
    return response
