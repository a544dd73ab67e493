"""Databases that earlier versions wrote, as this one reads them, and those of later versions."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sqlite3
import sys
import time
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import pytest
from pydantic import SecretStr
from sqlalchemy import Connection, inspect, update
from support.gateways import Json, Running, Start
from support.old_databases import KEY, KEYS, SECRET, answer, stands_still
from support.pictures import encoded, noise
from support.places import TESTS
from support.stores import Cluster

from enlarger.api.v1.answers import batch_object, job_object
from enlarger.errors import ConfigError, ModelNotHere
from enlarger.fetch.fetcher import Fetcher
from enlarger.jobs import Rows, View, Webhooks
from enlarger.jobs.rows import Queue, tables
from enlarger.jobs.rows.engines import engine_of
from enlarger.jobs.rows.migrations import STEPS, VERSION

OLD = TESTS / "databases" / "version-1"
"""What ``tests/databases/write.py`` wrote at 3f56809."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """Return the kind of database."""
    return str(request.param)


@pytest.fixture
def old_answers(kind: str) -> Json:
    """Return the paths of jobs and batches by the names that the script gave them, and the responses of the old version."""
    answers: Json = json.loads((OLD / "answers.json").read_text())[kind]
    return answers


@pytest.fixture
def old_database(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A copy of what the old version wrote."""
    if kind == "sqlite":
        return str(shutil.copy(OLD / "jobs.sqlite3", tmp_path / "old.sqlite3"))
    cluster: Cluster = request.getfixturevalue("postgresql")
    return cluster.loaded(OLD / "postgresql.sql")


@pytest.fixture
def start_old(start: Start, old_database: str, tmp_path: Path) -> Start:
    """Starts a gateway over that copy."""
    shutil.copytree(OLD / "jobs", tmp_path / "old_jobs")

    async def begin(**settings: object) -> Running:
        return await start(
            database=old_database, blobs=str(tmp_path / "old_jobs"), api_keys=KEYS, **settings
        )

    return begin


def without_eta(body: str) -> str:
    """Replace the estimate of a running job, which depends on the time."""
    return re.sub(r'"eta_s": [0-9.-]+', '"eta_s": 0', body)


def old_path(old_answers: Json, name: str) -> str:
    """Return the path of the job or batch that the script gave this name."""
    return str(old_answers["paths"][name])


def job_id(old_answers: Json, name: str) -> str:
    """Return the id of the job that the script gave this name."""
    return old_path(old_answers, name).rpartition("/")[2]


def old_part(new: Any, old: Any) -> Any:
    """The part of an answer that the old version knew: without the fields that have been added since."""
    if isinstance(old, dict) and isinstance(new, dict):
        return {name: old_part(value, old[name]) for name, value in new.items() if name in old}
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [old_part(*pair) for pair in zip(new, old, strict=True)]
    return new


def read(body: str) -> Any:
    """JSON where it is JSON; fields keep their order."""
    try:
        return json.loads(without_eta(body))
    except ValueError:
        return body


async def test_old_jobs_are_answered_as_before(start_old: Start, old_answers: Json) -> None:
    """The responses cover jobs in each state, batches, results, lists, and errors for what does not exist.

    They are equal byte for byte, except for fields that have been added since.
    """
    with patch.object(Queue, "claim", stands_still):
        gateway = await start_old()
        for expected in old_answers["answers"]:
            found = await answer(gateway, expected["request"])
            body, old = read(found.pop("body")), read(expected.pop("body"))
            assert json.dumps(old_part(body, old)) == json.dumps(old)
            assert found == expected


async def test_old_jobs_go_on(start_old: Start, old_answers: Json, old_database: str) -> None:
    """A queued job is run. So is a job that was running, once the lease of its gateway has expired."""
    async with Rows(old_database) as rows:
        running = job_id(old_answers, "running")
        assert await rows.jobs.update(running, leased_until=0.0) is not None
    gateway = await start_old()
    for name in ("queued", "running"):
        path = old_path(old_answers, name)
        async with gateway.http.get(path, params={"wait": 30}, headers=KEY) as reply:
            job = await reply.json()
        assert job["state"] == "succeeded", job
        async with gateway.http.get(f"{path}/result", headers=KEY) as reply:
            assert sha256(await reply.read()).hexdigest() == job["result"]["sha256"]


async def test_old_keys_are_kept(start_old: Start, old_answers: Json) -> None:
    """A repeated request finds the job of the old version. Another request with the same key is refused."""
    with patch.object(Queue, "claim", stands_still):
        gateway = await start_old()
        headers = {**KEY, "Idempotency-Key": "k3"}
        given = encoded(noise(20, 300, 3, seed=12))
        async with gateway.http.post(
            "/v1/jobs", params={"scale": 4}, data=given, headers=headers
        ) as reply:
            assert (reply.status, reply.headers["Idempotency-Replayed"]) == (202, "true")
            assert (await reply.json())["id"] == job_id(old_answers, "running")
        async with gateway.http.post("/v1/jobs", data=given, headers=headers) as reply:
            assert (await reply.json(content_type=None))["code"] == "idempotency_key_reused"


class Posts:
    """Takes the place of the sender, and accepts every message."""

    def __init__(self) -> None:
        self.bodies: dict[str, Json] = {}

    async def post(self, url: str, body: bytes, headers: Json, **_: object) -> int:
        """Return 204, as a receiver does that has understood the message."""
        assert url == "http://127.0.0.1:9/hook"
        self.bodies[headers["webhook-id"]] = json.loads(body)
        return 204


async def test_old_webhooks_are_sent(old_database: str, old_answers: Json) -> None:
    """Messages that waited for another attempt are sent unchanged. A message that the old gateway could not write any more is sent as well."""
    posts = Posts()
    names = {"succeeded", "failed", "canceled", "untold", "finished"}
    awaited = {f"msg_{job_id(old_answers, name)}" for name in names}
    async with (
        Rows(old_database) as rows,
        Webhooks(
            rows=rows,
            fetcher=cast(Fetcher, posts),
            secrets=[SecretStr(SECRET)],
            job_json=lambda job: job_object(View(job=job), public_url=None, model_of=no_model),
            batch_json=partial(batch_object, public_url=None),
            clock=lambda: time.time() + 100 * 365 * 86400,  # all are due
        ),
        asyncio.timeout(20),
    ):
        while posts.bodies.keys() < awaited:  # noqa: ASYNC110 - a receiver tells nobody
            await asyncio.sleep(0.02)
    assert posts.bodies.keys() == awaited
    answers = {one["request"]: one["body"] for one in old_answers["answers"]}
    for name in names:
        told = posts.bodies[f"msg_{job_id(old_answers, name)}"]
        old = json.loads(answers[f"GET {old_path(old_answers, name)}"])
        assert old_part(told["data"], old) == old


def no_model(*_: object) -> str:
    """No job here needs one to be chosen."""
    raise ModelNotHere("none is installed")


def shape(connection: Connection) -> Json:
    """Return the columns, keys and indexes of all tables."""
    found = inspect(connection)
    return {
        name: [
            {
                column["name"]: (str(column["type"]), column["nullable"])
                for column in found.get_columns(name)
            },
            found.get_pk_constraint(name)["constrained_columns"],
            sorted(
                (str(one["name"]), one["column_names"], bool(one["unique"]))
                for one in found.get_indexes(name)
            ),
        ]
        for name in found.get_table_names()
    }


async def shape_of(database: str) -> Json:
    """The same, of a database that this version has opened."""
    async with Rows(database):
        pass
    engine = engine_of(database)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(shape)
    finally:
        await engine.dispose()


async def test_migrated_tables_are_those_of_a_new_database(
    kind: str, old_database: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """So the next migration need not know how a database was made."""
    new = str(tmp_path / "new.sqlite3")
    if kind == "postgresql":
        new = request.getfixturevalue("postgresql").new_database()
    assert await shape_of(old_database) == await shape_of(new)


OPENS = """
import asyncio, sys
from enlarger.jobs.rows import Rows

async def main():
    rows = Rows(sys.argv[1])
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    async with rows:
        print((await rows.jobs.counts())["queued"])

asyncio.run(main())
"""


async def test_gateways_that_start_at_once_migrate_once(old_database: str) -> None:
    """The other gateways wait, and find the database migrated."""
    command = (sys.executable, "-c", OPENS, old_database)
    processes = [
        await asyncio.create_subprocess_exec(*command, stdin=-1, stdout=-1) for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    outputs = await asyncio.gather(*(process.communicate(b"\n") for process in processes))
    texts = [output.decode() for output, _ in outputs]
    assert sorted(text.splitlines()[-1] for text in texts) == ["3"] * 4
    assert sum(text.count("database_migrated") for text in texts) == 1


async def test_migration_that_fails_changes_nothing(old_database: str, old_answers: Json) -> None:
    """The next start finds the old tables unchanged, and migrates them."""

    def fails(connection: Connection) -> None:
        STEPS[0](connection)
        raise sqlite3.OperationalError("no room")

    with (
        patch("enlarger.jobs.rows.migrations.STEPS", (fails,)),
        pytest.raises(ConfigError, match="no room"),
    ):
        async with Rows(old_database):
            pass
    async with Rows(old_database) as rows:
        job = await rows.jobs.get(job_id(old_answers, "succeeded"))
    assert job is not None
    assert job.result is not None
    assert (job.result.width_px, job.result.height_px) == (120, 80)


async def test_database_of_a_later_version_is_refused(old_database: str) -> None:
    """The operator reads what to do, and nothing is changed."""
    async with Rows(old_database):
        pass
    engine = engine_of(old_database)
    async with engine.begin() as connection:
        later = update(tables.schema).values(version=VERSION + 1)
        await connection.execute(later)
    await engine.dispose()
    with pytest.raises(ConfigError) as refusal:
        async with Rows(old_database):
            pass
    assert re.fullmatch(
        rf"ENLARGER_DATABASE: a later version of enlarger made its tables \(version {VERSION + 1}; this one knows those up "
        rf"to {VERSION}\); start that version or a later one, or name another database: the jobs stay in this one",
        str(refusal.value),
    )


@pytest.mark.parametrize("broken", ["[3", "[1, 2]", '{"code": 1}'])
async def test_row_that_cannot_be_read_stops_the_start(tmp_path: Path, broken: str) -> None:
    """With a line that says what to do; the tables stay as they are, so that a repaired copy can be migrated."""
    path = shutil.copy(OLD / "jobs.sqlite3", tmp_path / "old.sqlite3")
    with sqlite3.connect(path) as database:
        database.execute(
            "UPDATE enlarger_jobs SET problem = ? WHERE problem IS NOT NULL", (broken,)
        )
    with pytest.raises(ConfigError, match=r"^ENLARGER_DATABASE: a row .* version 1; restore"):
        async with Rows(str(path)):
            pass
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT version FROM enlarger_schema").fetchone() == (1,)
