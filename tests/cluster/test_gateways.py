"""Two gateways on one PostgreSQL and one S3 server, behind a real nginx: any of them answers for any job."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.clusters import Cluster, ask, ask_again, cluster
from support.fakes import nearest
from support.pictures import encoded, noise
from support.stores import Cluster as PostgreSQL

pytestmark = pytest.mark.cluster

JOBS = 200
KILLED_AFTER = 60
"""Finished jobs."""

CLIENTS = 8
LEASE_S = 15


@pytest.fixture
def settings(environment: dict[str, str], postgresql: PostgreSQL, bucket: str) -> dict[str, str]:
    """Settings of gateways that share a new database and an empty place in a bucket."""
    return environment | {
        "ENLARGER_DATABASE": postgresql.new_database(),
        "UPLOAD_FOLDER": bucket,
        "FILE_MAX_AGE": "600",
    }


@pytest.fixture
def two(settings: dict[str, str], tmp_path: Path) -> Iterator[Cluster]:
    """Two gateways."""
    with cluster(tmp_path, settings) as running:
        yield running


def picture(seed: int) -> bytes:
    """A file of its own, of 100 x 80 px, which is cut into six tiles."""
    return encoded(noise(80, 100, 3, seed=seed))


def is_right(result: bytes, seed: int) -> bool:
    """Whether it is the picture of this seed, enlarged by the network ``nearest``."""
    with Image.open(BytesIO(result)) as image:
        return np.array_equal(np.asarray(image), nearest(noise(80, 100, 3, seed=seed), 4))


def follow(url: str, last_id: int) -> tuple[list[int], bytes]:
    """Follow a job as browsers do: connect again if a response ends before the job has.

    Returns:
        The ids of its events, and the data of the last one.
    """
    ids: list[int] = []
    data = b""
    give_up = time.monotonic() + 120
    while not any(state in data for state in (b'"succeeded"', b'"failed"', b'"canceled"')):
        assert time.monotonic() < give_up, (ids, data)
        headers = {"Last-Event-ID": str(ids[-1] if ids else last_id)}
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=120
        ) as events:
            for line in events:
                if line.startswith(b"id: "):
                    ids.append(int(line[4:]))
                if line.startswith(b"data: ") and b'"state": ' in line:
                    data = line
    return ids, data


def send(two: Cluster, seed: int) -> str:
    """Send a job, once more if a gateway is gone; returns its path."""
    headers = {
        "Content-Type": "image/png",
        "Idempotency-Key": f"k-{seed}",
        "X-Request-Id": f"r-{seed}",
    }
    answer = ask_again(f"{two.url}/v1/jobs?scale=4&model=nearest", picture(seed), headers)
    assert answer.status == 202, answer.body
    return str(answer.json()["links"]["self"])


def ended(two: Cluster, path: str) -> dict[str, object]:
    """A job, when it has come to its end."""
    give_up = time.monotonic() + 200
    while time.monotonic() < give_up:
        job: dict[str, object] = ask_again(f"{two.url}{path}?wait=10").json()
        if job["state"] not in ("queued", "running"):
            return job
    pytest.fail(f"{path} does not end")


def test_killed_gateway_loses_no_job(two: Cluster) -> None:
    """200 jobs through nginx, a gateway killed in the middle: all are right, and no tile is computed more than twice."""
    finished, enough = Counter[str](), threading.Event()

    def one(seed: int) -> bool:
        path = send(two, seed)
        job = ended(two, path)
        finished[str(job["state"])] += 1
        if sum(finished.values()) >= KILLED_AFTER:
            enough.set()
        return is_right(ask_again(f"{two.url}{path}/result").body, seed)

    with ThreadPoolExecutor(CLIENTS) as clients:
        results = [clients.submit(one, seed) for seed in range(JOBS)]
        assert enough.wait(200)
        two.gateways[0].process.kill()
        killed_at = time.monotonic()
        assert all(result.result() for result in results)
        took_s = time.monotonic() - killed_at
    assert finished == {"succeeded": JOBS}
    computed = two.tiles()
    assert {request for request, _ in computed} == {f"r-{seed}" for seed in range(JOBS)}
    assert len(computed) >= JOBS * 6
    assert max(computed.values()) <= 2
    assert took_s < 200
    begun = Counter(entry["attempt"] for entry in two.logged("job_begun"))
    assert set(begun) <= {1, 2}


def test_file_links_work_at_both(two: Cluster) -> None:
    """Those of a request that waits, and of a job."""
    first, second = two.gateways
    answer = ask(
        f"{first.url}/v1/upscale?scale=4&model=nearest",
        picture(1),
        {"Content-Type": "image/png", "Accept": "application/json"},
    )
    assert answer.status == 200, answer.body
    path = answer.json()["result"]["url"]
    assert is_right(ask(second.url + path).body, 1)
    assert is_right(ask(first.url + path).body, 1)


def test_identical_requests_are_computed_once(two: Cluster) -> None:
    """At the same time at both gateways, and later at the one that did not compute."""
    data = picture(2)
    headers = {"Content-Type": "image/png", "Accept": "application/json", "X-Request-Id": "same"}

    def one(number: int) -> str:
        url = two.gateways[number % 2].url
        answer = ask(f"{url}/v1/upscale?scale=4&model=nearest", data, headers)
        assert answer.status == 200, answer.body
        return str(answer.json()["cache"])

    with ThreadPoolExecutor(CLIENTS) as clients:
        found = Counter(clients.map(one, range(CLIENTS)))
    assert found["miss"] == 1, found
    assert one(0) == one(1) == "hit"
    assert set(two.tiles().values()) == {1}


def test_rate_limit_holds_over_both(settings: dict[str, str], tmp_path: Path) -> None:
    """Within a tenth, for a caller who asks as fast as nginx passes it on."""
    # A slow machine reaches this limit as well: two pictures in each second.
    limit_mp, seconds = 2.0, 10.0
    size_mp = 400 * 320 / 1e6
    limited = settings | {"ENLARGER_RATE_LIMIT": f"{limit_mp:g}mp/{seconds:g}s"}
    with cluster(tmp_path, limited) as two:
        began, made, refused = time.monotonic(), Counter[str](), Counter[str]()
        end = began + seconds

        def caller(number: int) -> None:
            at = 0
            while time.monotonic() < end:
                at += 1
                answer = ask(
                    f"{two.url}/v1/upscale?scale=4&model=nearest",
                    picture(100 + number * 1000 + at),
                    {"Content-Type": "image/png", "Cache-Control": "no-cache"},
                )
                (made if answer.status == 200 else refused)[str(answer.status)] += 1
                if answer.status == 429:
                    assert "RateLimit" in answer.headers
                    time.sleep(0.05)

        with ThreadPoolExecutor(4) as clients:
            list(clients.map(caller, range(4)))
        took_s = time.monotonic() - began
        counts = [one.log.read_text().count('"event": "picture_done"') for one in two.gateways]
    assert set(made) == {"200"}
    assert set(refused) == {"429"}
    assert min(counts) > 2, "both gateways served the caller"
    allowed_mp = limit_mp + limit_mp * took_s / seconds
    assert made["200"] * size_mp == pytest.approx(allowed_mp, rel=0.1)


def test_events_continue_at_the_other_gateway(settings: dict[str, str], tmp_path: Path) -> None:
    """The gateway that ran the job is killed while a client follows: the other one goes on with it, and tells the rest."""
    with cluster(tmp_path, settings, servers=1) as two:
        first, second = two.gateways
        data = encoded(noise(600, 600, 3, seed=3))
        # Placed at the first: the second takes nothing while it stands still.
        answer = ask(
            f"{first.url}/v1/upscale?scale=4&model=tiny-rrdb",
            data,
            {"Content-Type": "image/png", "Idempotency-Key": "slow", "Prefer": "wait=0"},
        )
        assert answer.status == 202, answer.body
        links = answer.json()["links"]
        last_id = 0
        with urllib.request.urlopen(first.url + links["events"], timeout=60) as events:
            for line in events:
                if line.startswith(b"id: "):
                    last_id = int(line[4:])
                if line.startswith(b"event: tile"):
                    break
        first.process.kill()
        killed_at = time.monotonic()
        ids, last_data = follow(two.url + links["events"], last_id)
        took_s = time.monotonic() - killed_at
        assert ids == sorted(set(ids))
        assert ids[0] >= last_id
        assert b'"succeeded"' in last_data
        assert took_s < LEASE_S + 60
        assert ask(two.url + links["result"]).status == 200
        # A client that has seen the end is told so by either gateway.
        seen = ask(second.url + links["events"], headers={"Last-Event-ID": str(ids[-1])})
        assert seen.status == 204
        begun = [one.log.read_text().count('"event": "job_begun"') for one in two.gateways]
        assert begun == [1, 1]
