"""Databases that earlier versions wrote, as this one reads them, and those of later versions."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from unittest.mock import patch

import pytest
from gateways import Json, Running, Start
from old_databases import KEYS, answer, stands_still
from stores import Cluster

from enlarger.jobs import Rows

OLD = Path(__file__).parent / "databases" / "version-1"
"""What ``tests/databases/write.py`` wrote at 3f56809."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """Of a database."""
    return str(request.param)


@pytest.fixture
def old_answers(kind: str) -> Json:
    """Paths by our name of jobs and batches, and what the old version answered."""
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
    """Of a running job, which goes by the clock."""
    return re.sub(r'"eta_s": [0-9.-]+', '"eta_s": 0', body)


async def test_old_jobs_are_answered_as_before(start_old: Start, old_answers: Json) -> None:
    """Byte for byte: jobs in each state, batches, results, lists, and the errors of what there is not."""
    with patch.object(Rows, "claim", stands_still):
        gateway = await start_old()
        for expected in old_answers["answers"]:
            found = await answer(gateway, expected["request"])
            assert without_eta(found.pop("body")) == without_eta(expected.pop("body"))
            assert found == expected
