"""Writes the database of this version, and what its gateway answers of it: what later versions must read and answer.

``.venv/bin/python tests/databases/write.py FOLDER`` at the commit that is to be remembered makes in FOLDER

- ``jobs.sqlite3`` and ``postgresql.sql``: the rows, while jobs run, as a gateway that is killed leaves them;
- ``jobs``: the files of these jobs (of both databases);
- ``answers.json``: for each database, and each request, what that version's gateway answers.

All times in rows are those of a clock that goes wrong by 80 years: so no job expires when it is read. Results are files in
``jobs/results``, whose age is that of the file: a test that reads them dates its copies anew.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[1]))

import enlarger.storage

_true_time = time.time
time.time = lambda: _true_time() + 80 * 365.25 * 86400
import enlarger.jobs  # noqa: E402 - its classes take the clock as they find it now

time.time = _true_time

from support.fakes import NEAREST, FailsFirst, HeldEngine, NearestEngine  # noqa: E402
from support.gateways import Json, Running, running  # noqa: E402
from support.old_databases import KEY, KEYS, SECRET, answer, stands_still  # noqa: E402
from support.pictures import encoded, noise  # noqa: E402
from support.sites import Site, page  # noqa: E402
from support.stores import postgresql_cluster  # noqa: E402

from enlarger import config, errors  # noqa: E402
from enlarger.engine import Engine  # noqa: E402
from enlarger.models import Catalogue  # noqa: E402
from enlarger.picture.sandbox.pool import Decoders  # noqa: E402
from enlarger.pool.member import Member  # noqa: E402
from enlarger.pool.pool import Pool  # noqa: E402

HOOK = "http://127.0.0.1:9/hook"
"""Nobody listens there: messages stay to be sent."""


def picture(seed: int, size_px: tuple[int, int] = (30, 20)) -> bytes:
    """A small file of its own."""
    return encoded(noise(size_px[1], size_px[0], 3, seed=seed))


class Writer:
    """Makes jobs at gateways, one gateway after the other, on the same database."""

    def __init__(self, folder: Path, database: str, decoders: Decoders) -> None:
        self.folder = folder
        self.database = database
        self.decoders = decoders
        empty = folder / "models"
        empty.mkdir(parents=True, exist_ok=True)
        self.catalogue = Catalogue.installed(empty)
        self.models = [
            replace(NEAREST, id=row.id, sha256=row.sha256, max_tile_px=row.max_tile_px)
            for row in self.catalogue
        ]
        self.paths: dict[str, str] = {}
        """The paths of jobs and batches, by the names that this script gives them."""

    def gateway(self, engine: Engine | None = None, **settings: Any) -> Any:
        """One that runs until the end of the block."""
        chosen = {
            "upload_folder": self.folder / "uploads",
            "database": self.database,
            "blobs": str(self.folder / "jobs"),
            "api_keys": KEYS,
            **settings,
        }
        pool = Pool([Member("one", engine or NearestEngine(self.models))])
        return running(pool, self.catalogue, self.decoders, config.load(**chosen))

    async def ask(
        self,
        gateway: Running,
        name: str,
        given: bytes | Json,
        *,
        key: str | None = None,
        **query: Any,
    ) -> None:
        """Queue a job, or a batch where ``given`` has items."""
        headers = {**KEY, "X-Request-Id": f"r-{name}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        kind = "batches" if isinstance(given, dict) and "items" in given else "jobs"
        body = {"json": given} if isinstance(given, dict) else {"data": given}
        path = f"/v1/{kind}"
        async with gateway.http.post(path, params=query, headers=headers, **body) as reply:
            answer = await reply.json()
            assert reply.status == 202, answer
        self.paths[name] = f"{path}/{answer['id']}"

    async def state(self, gateway: Running, name: str) -> str:
        """Return the state of a job or batch."""
        async with gateway.http.get(self.paths[name], headers=KEY) as reply:
            return str((await reply.json())["state"])

    async def done(self, gateway: Running, *names: str) -> None:
        """Wait for their ends."""
        async with asyncio.timeout(30):
            for name in names:
                while await self.state(gateway, name) in ("queued", "running"):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)

    async def delete(self, gateway: Running, name: str) -> None:
        """Cancel it, or delete its result."""
        async with gateway.http.delete(self.paths[name], headers=KEY) as reply:
            assert reply.status == 200, await reply.text()

    @asynccontextmanager
    async def written(self) -> AsyncIterator[None]:
        """All kinds of jobs. As long as the block lasts three of them run, and others wait."""
        async with Site({"/cat.png": page(picture(9))}) as site:
            cat = {"img_url": site.url("/cat.png")}
            shared: Json = {"fetch": f"{site.address},127.0.0.1:9", "webhook_secrets": SECRET}
            async with self.gateway(**shared) as gateway:
                await self.ask(gateway, "succeeded", picture(1), key="k1", scale=4, webhook=HOOK)
                await self.ask(gateway, "webp", picture(2), scale=2, format="webp")
                await self.ask(gateway, "auto", picture(3), format="auto", long_side=77)
                await self.ask(gateway, "url", {**cat, "scale": 4, "region": "1,2,9,8"})
                await self.ask(gateway, "refused", {"img_url": site.url("/none.png")})
                await self.ask(gateway, "untold", picture(4), webhook=HOOK)
                await self.ask(gateway, "expired", picture(5), scale=4)
                items: list[Json] = [
                    item(6, id="good"),
                    item(7, scale=99, id="faulty"),
                    {"image_b64": "AAAA", "id": "no picture"},
                    {},
                ]
                batch = {"items": items, "options": {"format": "jpeg"}, "webhook": HOOK}
                await self.ask(gateway, "finished", batch, key="k2")
                await self.done(gateway, *self.paths)
                await self.delete(gateway, "expired")
            error = errors.EngineFailed("the runtime gave up")
            failing = FailsFirst(NearestEngine(self.models), failures=100, error=error)
            async with self.gateway(failing, **shared) as gateway:
                await self.ask(gateway, "failed", picture(10), webhook=HOOK)
                await self.done(gateway, "failed")
            async with self.gateway(max_image_dimension_px=25, **shared) as gateway:
                await self.ask(gateway, "large", cat)
                await self.done(gateway, "large")
            engine = HeldEngine(self.models)
            async with self.gateway(engine, **shared) as gateway:
                await self.ask(gateway, "canceled", picture(11), webhook=HOOK)
                await self.delete(gateway, "canceled")
                await self.ask(gateway, "running", picture(12, (300, 20)), key="k3", scale=4)
                await engine.holds(2)
                engine.let_go(1)
                await self.ask(
                    gateway, "running batch", {"items": [item(13, id="a"), item(14), cat]}
                )
                await self.ask(
                    gateway, "queued", picture(15), key="k4", format="auto", webhook=HOOK
                )
                await self.ask(gateway, "queued url", cat)
                await asyncio.sleep(5)  # longer than a beat: how far they are is in their rows
                yield

    async def answers(self) -> list[Json]:
        """What the gateway says of all that, if it begins nothing."""
        asked = [f"GET {path}" for path in self.paths.values()]
        asked += [f"GET {path}/result" for path in self.paths.values() if "jobs" in path]
        asked += ["GET /v1/jobs?limit=100", "GET /v1/jobs?state=failed&limit=2"]
        with patch.object(enlarger.jobs.rows.Queue, "claim", stands_still):
            async with self.gateway() as gateway:
                return [await answer(gateway, one) for one in asked]


def item(seed: int, **fields: Any) -> Json:
    """A picture of a batch."""
    return {"image_b64": base64.b64encode(picture(seed)).decode(), **fields}


def run(*command: str | Path) -> str:
    """What a program prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def kept_sqlite(database: str, file: Path, statement: str) -> None:
    """Copy a database that is in use, and change the copy."""
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(file)) as target:
        source.backup(target)
        target.execute(statement)
        target.commit()
        target.execute("PRAGMA journal_mode = DELETE")
        target.execute("VACUUM")


def kept_postgresql(database: str, file: Path, statement: str) -> None:
    """The same, as what ``psql`` reads."""
    run("psql", database, "-c", statement)
    dump = run("pg_dump", "--inserts", "--no-owner", database)
    # Earlier releases of psql do not know these commands.
    file.write_text(re.sub(r"^\\(un)?restrict .*\n", "", dump, flags=re.MULTILINE))


async def main(folder: Path) -> None:
    """Write all of it."""
    work = folder / "work"
    folder.mkdir(parents=True)  # noqa: ASYNC240
    answers: Json = {}
    with postgresql_cluster() as cluster:
        async with Decoders(2) as decoders:
            for kind in ("sqlite", "postgresql"):
                is_file = kind == "sqlite"
                database = str(work / "jobs.sqlite3") if is_file else cluster.new_database()
                kept = folder / ("jobs.sqlite3" if is_file else "postgresql.sql")
                writer = Writer(work, database, decoders)
                async with writer.written():
                    # A gateway that is killed between the end of a job and its message leaves it so.
                    job = writer.paths["untold"].rpartition("/")[2]
                    statement = f"DELETE FROM enlarger_deliveries WHERE id = 'msg_{job}'"  # noqa: S608
                    (kept_sqlite if is_file else kept_postgresql)(database, kept, statement)
                    files = shutil.ignore_patterns("pieces", "tiles")
                    shutil.copytree(
                        work / "jobs", folder / "jobs", dirs_exist_ok=True, ignore=files
                    )
                if is_file:
                    writer.database = str(work / "copy.sqlite3")
                    shutil.copy(kept, writer.database)
                else:
                    writer.database = cluster.new_database()
                    run("psql", "-v", "ON_ERROR_STOP=1", writer.database, "-f", kept)
                answers[kind] = {"paths": writer.paths, "answers": await writer.answers()}
    (folder / "answers.json").write_text(json.dumps(answers, indent=1) + "\n")
    shutil.rmtree(work)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
