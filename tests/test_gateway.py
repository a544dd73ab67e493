"""The composition root: in which order the service comes up, and what ends it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.fakes import NearestEngine
from support.results import FolderResults

from enlarger import config
from enlarger.asgi.server import Lifecycle
from enlarger.engine.shelf import Shelf
from enlarger.gateway import opened
from enlarger.models import Catalogue
from enlarger.picture.sandbox.pool import Decoders
from enlarger.pool.member import Member
from enlarger.pool.pool import Pool

START = """
import os, sys

SHOWN = {"aiohttp", "enlarger.api", "enlarger.pool.pool", "quart", "sqlalchemy"}

def show(event, arguments):
    name = arguments[0] if event == "import" else ""
    if event == "subprocess.Popen" and "model-server" in arguments[1]:
        print("model server", flush=True)
    elif name in SHOWN:
        print(name, flush=True)
    if name == "enlarger.api":
        os._exit(0)

sys.addaudithook(show)
sys.argv[1:] = ["serve", "--port", "0"]
from enlarger.__main__ import main
main()
"""
"""Begins to serve, prints which processes are started and what is imported, and ends at the gateway's own routes."""


def test_model_servers_come_up_while_the_gateway_imports(tmp_path: Path) -> None:
    """The quick start: their processes are started first, and only then what the gateway needs is imported."""
    environment = {"NUM_SERVERS": "2", "BASE_PORT": "0", "ENLARGER_CACHE_DIR": str(tmp_path)}
    output = subprocess.run(
        [sys.executable, "-c", START],
        cwd=tmp_path,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    events = output.splitlines()
    assert events[:2] == ["model server", "model server"]
    assert sorted(events[2:]) == ["aiohttp", "enlarger.api", "enlarger.pool.pool"]


async def test_leaving_ends_all_that_was_begun(tmp_path: Path) -> None:
    """No task and no thread for tiles outlives the gateway that `opened` made."""
    settings = config.load(upload_folder=tmp_path)
    before = asyncio.all_tasks()
    async with (
        Decoders(1) as decoders,
        opened(
            settings,
            engines=Pool([Member("one", NearestEngine())]),
            shelf=Shelf(Catalogue.installed(tmp_path / "none")),
            store=FolderResults(tmp_path, max_age_s=settings.server.file_max_age_s),
            decoders=decoders,
            service=Lifecycle(drain_s=1),
            workers=2,
        ) as gateway,
    ):
        assert asyncio.all_tasks() > before
        assert not gateway.sweeper.done()
    await asyncio.sleep(0)  # what was cancelled ends now
    assert asyncio.all_tasks() == before
    with pytest.raises(RuntimeError, match="after shutdown"):
        gateway.executor.submit(print)
