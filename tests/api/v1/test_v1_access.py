"""Access to ``/v1``: signed links, rates, and pages of other origins."""

from __future__ import annotations

import hashlib
import re
import time
from io import BytesIO
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from support.gateways import B64, PNG, Running, Start
from support.sites import Site, page
from support.v1_requests import PROBLEM, assert_enlarged, fetched, sent

from enlarger.api.signing import sign
from enlarger.api.v1.answers import FIDELITY_HEADERS

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def read_to_the_end(gateway: Running, taken: dict[str, Any]) -> None:
    """The events of a job or of a batch, which end with it."""
    async with gateway.http.get(taken["links"]["events"]) as response:
        await response.read()


# Errors


def key_hash(key: str) -> str:
    """Return the hash of a key, in the form of the setting."""
    return f"sha256-{hashlib.sha256(key.encode()).hexdigest()}"


# Signed links


SIGNING = "shop:sixteen-letters!,blog:and-another-one!"


def signed(target: str, *, for_s: float = 60) -> str:
    """By the second key."""
    expires_at = int(time.time() + for_s)
    return sign(target, kid="blog", secret="and-another-one!", expires_at=expires_at)


async def test_page_shows_a_picture_by_a_signed_link(start: Start) -> None:
    """Without a key, and under the limits of the link's own key."""
    async with Site({"/cat.png": page(PNG)}) as site:
        gateway = await start(
            fetch=site.address,
            api_keys="a:sha256-" + "0" * 64,
            signing_keys=SIGNING,
            rate_limit="1mp/1000s",
        )
        asked = f"/v1/upscale?url={quote(site.url('/cat.png'), safe='')}&scale=4"
        link = signed(asked)
        await assert_enlarged(await fetched(gateway, link))
        response = await fetched(gateway, link)
        await assert_enlarged(response)
        assert response.headers["X-Upscale-Cache"] == "hit"
        assert response.headers["RateLimit"].startswith('"output-mp";r=0;')
        assert (await fetched(gateway, link, "HEAD")).status == 200
        assert (await fetched(gateway, asked)).status == 401
        assert (await fetched(gateway, link, "POST")).status == 401


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("/v1/models", 200, None),
        ("/v1/models/m%C3%B6del", 404, "not_found"),
        ("/v1/upscale", 422, "missing_input"),
        ("/v1/upscale?url=x&sig=y", 422, "invalid_option"),
        ("/v1/upscale?url=x&expires=1", 422, "invalid_option"),
    ],
)
async def test_signed_link_is_read_as_its_query_says(
    start: Start, target: str, status: int, code: str | None
) -> None:
    """Without what signed it, and with all else."""
    gateway = await start(api_keys="a:sha256-" + "0" * 64, signing_keys=SIGNING)
    response = await fetched(gateway, signed(target))
    assert response.status == status
    if code is not None:
        assert (await response.json(content_type=PROBLEM))["code"] == code


async def test_wrong_link_is_a_problem(start: Start) -> None:
    """403: late, or not as it was signed. Quoting a letter is a change as well, though it means the same."""
    gateway = await start(signing_keys=SIGNING)
    link = signed("/v1/models")
    for wrong, code in [
        (signed("/v1/models", for_s=-1), "signature_expired"),
        (link.replace("models", "m%6fdels"), "signature_invalid"),
        (f"{link}&sig=", "signature_invalid"),
        ("/v1/models?sig=x", "signature_invalid"),
    ]:
        response = await fetched(gateway, wrong)
        body = await response.json(content_type=PROBLEM)
        assert (response.status, body["code"]) == (403, code), wrong


# Rates


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("/v1/upscale", {"data": PNG, "params": {"scale": 4}}),
        ("/v1/jobs", {"data": PNG, "params": {"scale": 4}}),
        ("/v1/compare", {"json": {"image_b64": B64, "scale": 4, "region": [0, 0, 30, 20]}}),
        ("/v1/batches", {"json": {"items": [{"image_b64": B64}], "options": {"scale": 4}}}),
    ],
)
async def test_rate_is_told_wherever_it_is_charged(
    start: Start, path: str, options: dict[str, Any]
) -> None:
    """This includes a 202, which takes the 9600 pixels that are left, and the 429 after it."""
    gateway = await start(rate_limit="0.009mp/3600s")
    response = await sent(gateway, path, **options)
    assert response.status in (200, 202)
    assert response.headers["RateLimit-Policy"] == '"output-mp";q=0.009;w=3600'
    if response.status == 202:
        await read_to_the_end(gateway, await response.json())
    response = await sent(gateway, path, **options, headers={"Cache-Control": "no-cache"})
    # A comparison tells of each model what became of it.
    assert response.status == (200 if path == "/v1/compare" else 429)
    match = re.fullmatch(r'"output-mp";r=0;t=(\d+)', response.headers["RateLimit"])
    assert match is not None
    assert int(match[1]) > 3500


# Pages of other origins


PAGE = "https://pages.example"


def may_read(response: aiohttp.ClientResponse) -> bool:
    """Whether the page gets to see the answer."""
    return response.headers.get("Access-Control-Allow-Origin") == PAGE


async def test_page_reads_a_picture_and_all_that_is_said_of_it(start: Start) -> None:
    """Every header of ours, and those that clients act on."""
    gateway = await start(cors_origins=f"{PAGE},http://localhost:3000", rate_limit="500mp/60s")
    response = await sent(gateway, params={"scale": 4}, data=PNG, headers={"Origin": PAGE})
    await assert_enlarged(response)
    assert may_read(response)
    assert response.headers.getall("Vary") == ["Accept, Prefer", "Origin"]
    exposed = set(response.headers["Access-Control-Expose-Headers"].lower().split(", "))
    found = {name.lower() for name in response.headers}
    ours = {name for name in found if name.startswith(("x-", "rate"))} - {"x-content-type-options"}
    assert {name.lower() for name in FIDELITY_HEADERS} <= ours <= exposed
    assert {"etag", "server-timing", "location", "retry-after", "preference-applied"} <= exposed


async def test_page_reads_why_it_was_refused(start: Start) -> None:
    """This holds for each layer that can refuse. Otherwise the page would only see a network error."""
    gateway = await start(
        cors_origins=PAGE, api_keys="a:" + key_hash("enl_a"), max_file_size_bytes=10
    )
    page_, key = {"Origin": PAGE}, {"X-API-Key": "enl_a"}
    for status, response in [
        (401, await sent(gateway, data=PNG, headers=page_)),
        (413, await sent(gateway, data=BytesIO(bytes(1 << 21)), headers=page_ | key)),
        (422, await sent(gateway, data=PNG, params={"scale": "9"}, headers=page_ | key)),
        (404, await sent(gateway, "/v1/nothing", headers=page_ | key)),
        (400, await sent(gateway, "/upscale", headers=page_ | key)),
    ]:
        assert response.status == status
        assert may_read(response), status


async def test_browser_asks_without_a_key(start: Start) -> None:
    """What a page may send: keys, preferences and bodies of any type."""
    gateway = await start(cors_origins=PAGE, api_keys="a:" + key_hash("enl_a"))
    question = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "prefer"}
    async with gateway.http.options("/v1/upscale", headers={"Origin": PAGE, **question}) as answer:
        assert (answer.status, await answer.read()) == (204, b"")
        assert may_read(answer)
        assert {"GET", "HEAD", "POST", "DELETE"} == set(
            answer.headers["Access-Control-Allow-Methods"].split(", ")
        )
        assert {
            *("Authorization", "X-API-Key", "Content-Type", "Accept"),
            *("Prefer", "Idempotency-Key", "Last-Event-ID"),
        } <= set(answer.headers["Access-Control-Allow-Headers"].split(", "))
    # The connection serves on.
    assert (await sent(gateway, data=PNG, headers={"X-API-Key": "enl_a"})).status == 200


@pytest.mark.parametrize("origins", ["", "https://other.example"])
async def test_no_page_reads_unless_it_is_allowed(start: Start, origins: str) -> None:
    """By default, no page of another origin may read responses."""
    gateway = await start(cors_origins=origins)
    response = await sent(gateway, data=PNG, headers={"Origin": PAGE})
    question = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    async with gateway.http.options("/v1/upscale", headers=question) as answer:
        for headers in (response.headers, answer.headers):
            assert not [name for name in headers if name.lower().startswith("access-control")]
    assert ("Origin" in response.headers.getall("Vary")) == bool(origins)
