"""``GET /v1/jobs``: a key's own jobs, page by page, and nobody else's."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import pytest
from support.gateways import B64, PNG, Running, Start
from yarl import URL

from enlarger import AsyncClient, Client, errors
from enlarger.api.signing import sign

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYS = ",".join(
    f"{name}:sha256-{hashlib.sha256(name.encode()).hexdigest()}" for name in ("alice", "bob")
)
"""Each key is its name."""


def key(name: str) -> dict[str, str]:
    """Headers of a caller."""
    return {"Authorization": f"Bearer {name}"}


async def submitted(gateway: Running, name: str, count: int = 1) -> list[str]:
    """Ids of new jobs, which are done, in their order."""
    ids = []
    for _ in range(count):
        async with gateway.http.post("/v1/jobs", data=PNG, headers=key(name)) as response:
            job = await response.json()
            ids.append(job["id"])
        url = f"/v1/jobs/{job['id']}?wait=30"
        async with gateway.http.get(url, headers=key(name)) as response:
            assert (await response.json())["state"] == "succeeded"
    return ids


async def listed(
    gateway: Running, path: str = "/v1/jobs", *, name: str = "alice"
) -> dict[str, Any]:
    """A page."""
    reply = await gateway.call("GET", path, headers=key(name))
    assert reply.status == 200, reply.body
    assert reply.headers["Cache-Control"] == "no-store"
    return reply.body


def ids_of(page: dict[str, Any]) -> list[str]:
    """Return the ids of a page's jobs."""
    return [job["id"] for job in page["jobs"]]


async def test_key_has_the_list_of_its_own_jobs(start: Start) -> None:
    """The newest first, each as it is shown alone; another key's are not among them."""
    gateway = await start(api_keys=KEYS)
    alices = await submitted(gateway, "alice", 3)
    bobs = await submitted(gateway, "bob", 2)
    page = await listed(gateway)
    assert ids_of(page) == alices[::-1]
    assert ids_of(await listed(gateway, name="bob")) == bobs[::-1]
    assert (page["next_cursor"], page["links"]) == (None, {"next": None})
    alone = await gateway.call("GET", f"/v1/jobs/{alices[0]}", headers=key("alice"))
    assert page["jobs"][-1] == alone.body


async def test_list_is_paged(start: Start) -> None:
    """Links lead from page to page; what comes meanwhile shifts nothing."""
    gateway = await start(api_keys=KEYS, public_url="https://example.com/e")
    ids = await submitted(gateway, "alice", 5)
    first = await listed(gateway, "/v1/jobs?limit=2")
    assert first["next_cursor"] == ids[3]
    assert first["links"]["next"] == f"https://example.com/e/v1/jobs?limit=2&cursor={ids[3]}"
    await submitted(gateway, "alice")
    await submitted(gateway, "bob")
    second = await listed(gateway, first["links"]["next"].removeprefix("https://example.com/e"))
    third = await listed(gateway, f"/v1/jobs?limit=2&cursor={second['next_cursor']}")
    assert ids_of(first) + ids_of(second) + ids_of(third) == ids[::-1]
    assert third["next_cursor"] is None
    exact = await listed(gateway, f"/v1/jobs?limit=2&cursor={ids[2]}")
    assert (ids_of(exact), exact["next_cursor"]) == ([ids[1], ids[0]], None)


async def test_list_is_told_by_state(start: Start) -> None:
    """One state or several; a page of them leads to the next of them."""
    gateway = await start(api_keys=KEYS)
    ids = await submitted(gateway, "alice", 3)
    async with gateway.http.delete(f"/v1/jobs/{ids[1]}", headers=key("alice")) as response:
        assert response.status == 200
    assert ids_of(await listed(gateway, "/v1/jobs?state=succeeded")) == [ids[2], ids[0]]
    assert ids_of(await listed(gateway, "/v1/jobs?state=expired")) == [ids[1]]
    assert ids_of(await listed(gateway, "/v1/jobs?state=expired,succeeded")) == ids[::-1]
    assert ids_of(await listed(gateway, "/v1/jobs?state=queued&state=running")) == []
    page = await listed(gateway, "/v1/jobs?state=succeeded&limit=1")
    assert page["links"]["next"] == f"/v1/jobs?state=succeeded&limit=1&cursor={ids[2]}"
    assert ids_of(await listed(gateway, page["links"]["next"])) == [ids[0]]


async def test_job_of_another_key_is_no_cursor(start: Start) -> None:
    """Its id is refused like one that does not exist."""
    gateway = await start(api_keys=KEYS)
    (bobs,) = await submitted(gateway, "bob")
    answers = []
    for cursor in (bobs, f"job_{'0' * 32}"):
        reply = await gateway.http.get(f"/v1/jobs?cursor={cursor}", headers=key("alice"))
        problem = await reply.json()
        assert (reply.status, problem["code"]) == (422, "invalid_option")
        assert [fault["option"] for fault in problem["errors"]] == ["cursor"]
        answers.append(problem["detail"])
    assert answers[0] == answers[1]


@pytest.mark.parametrize("headers", [{}, key("alice")], ids=["nobody", "a key that means nothing"])
async def test_without_keys_there_is_no_list(start: Start, headers: dict[str, str]) -> None:
    """A code of its own says why: a job's id is the permission to see it."""
    gateway = await start()
    async with gateway.http.get("/v1/jobs", headers=headers) as response:
        problem = await response.json()
    assert (response.status, problem["code"]) == (403, "list_needs_keys")
    assert problem["retryable"] is False
    assert "id is the permission to see it" in problem["detail"]
    async with gateway.http.get("/errors/list_needs_keys") as page:
        assert "id is the permission" in await page.text()


async def test_anonymous_caller_never_learns_of_another_ones_job(start: Start) -> None:
    """A response contains the id of a job only if the request names it, and no error reveals one."""
    gateway = await start()
    body = {"image_b64": B64, "scale": 4}
    async with gateway.http.post("/v1/jobs", json=body, headers={"X-Request-Id": "a"}) as response:
        theirs = (await response.json())["id"]
    async with gateway.http.post("/v1/batches", json={"items": [body]}) as response:
        batch = (await response.json())["id"]
    asked = [
        *("/v1/jobs", "/v1/jobs/", "/v1/jobs?limit=100", f"/v1/jobs?cursor={theirs}"),
        *("/v1/jobs?state=queued", "/v1/jobs/%25", "/v1/jobs/job_", "/v1/jobs/*", "/v1/batches"),
        *("/status", "/metrics", "/health", "/readyz", "/sdapi/v1/progress", "/v1/models"),
        f"/v1/jobs/{theirs[:-1]}",
    ]
    for path in asked:
        for method in ("GET", "HEAD", "DELETE", "POST"):
            async with gateway.http.request(method, path) as response:
                shown = await response.text() + str(response.headers)
                assert theirs not in shown.replace(path, ""), (method, path)
                assert batch not in shown, (method, path)
    # The same picture from another caller is another job.
    async with gateway.http.post("/v1/jobs", json=body) as response:
        assert theirs not in await response.text()


async def test_signed_link_leads_to_no_list(start: Start) -> None:
    """A signed link identifies no caller whose jobs could be listed."""
    gateway = await start(api_keys=KEYS, signing_keys="kid:a-secret-of-a-test")
    await submitted(gateway, "alice")
    target = sign("/v1/jobs", kid="kid", secret="a-secret-of-a-test", expires_at=2**31)
    async with gateway.http.get(URL(target, encoded=True)) as response:
        problem = await response.json()
    assert (response.status, problem["code"]) == (403, "list_needs_keys")


async def test_list_needs_the_key(start: Start) -> None:
    """If keys are set, a missing or wrong one is 401, as on other routes."""
    gateway = await start(api_keys=KEYS)
    for headers in ({}, key("mallory")):
        async with gateway.http.get("/v1/jobs", headers=headers) as response:
            assert response.status == 401


async def test_clients_list_all_pages(start: Start) -> None:
    """Both clients; a server without keys is the error of its code."""
    gateway = await start(api_keys=KEYS)
    ids = await submitted(gateway, "alice", 3)
    url = f"http://127.0.0.1:{gateway.port}"
    async with AsyncClient(url, api_key="alice") as client:
        found = [job.id async for job in client.jobs.list()]
        none = [job.id async for job in client.jobs.list("queued", "running")]
    assert (found, none) == (ids[::-1], [])

    def waited() -> list[str]:
        with Client(url, api_key="alice") as client:
            return [job.id for job in client.jobs.list("succeeded")]

    assert await asyncio.to_thread(waited) == ids[::-1]
    open_to_all = await start()
    async with AsyncClient(f"http://127.0.0.1:{open_to_all.port}") as client:
        with pytest.raises(errors.ListNeedsKeys):
            await anext(client.jobs.list())
