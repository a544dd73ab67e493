"""Jobs outlive the gateway, also one that is killed: real processes, real weights, one folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from running import RunningService
from support.pictures import encoded
from support.real_services import until

from enlarger.geometry.rect import Pixels

MODEL = "realesr-animevideov3"


def tiles(service: RunningService, event: str) -> list[int]:
    """Return the numbers of the tiles for which the log has this event."""
    lines = service.log.read_text(errors="replace").splitlines()
    found = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
    return sorted(entry["index"] for entry in found if entry["event"] == event)


def queued(service: RunningService, picture: bytes) -> dict[str, Any]:
    """Submit a job and return it."""
    url = f"{service.url}/v1/jobs?scale=4&model={MODEL}"
    request = urllib.request.Request(url, picture, {"Content-Type": "image/png"})
    with urllib.request.urlopen(request) as response:
        assert response.status == 202
        job: dict[str, Any] = json.load(response)
        return job


def ended(service: RunningService, job: dict[str, Any]) -> dict[str, Any]:
    """Return the job once it has ended."""
    path = job["links"]["self"]
    until(lambda: service.get(f"{path}?wait=10")[1]["state"] not in {"queued", "running"})
    return service.get(path)[1]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_gateway_that_ends_costs_no_finished_tile(
    environment: dict[str, str], photo: Pixels, tmp_path: Path, number: signal.Signals
) -> None:
    """In the middle of a job, however it ends: the next gateway on the folder finishes it.

    It computes only what is missing, and the picture is that of the command line.
    """
    picture = encoded(photo)
    settings = environment | {"NUM_SERVERS": "1"}
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    shared = settings | {
        "UPLOAD_FOLDER": str(tmp_path / "uploads"),
        "ENLARGER_DRAIN": "0",
    }
    with RunningService(folders[0], shared) as first:
        job = queued(first, picture)
        until(lambda: len(tiles(first, "tile_kept")) >= 2)
        first.process.send_signal(number)
        first.process.wait()
        kept = tiles(first, "tile_kept")
        assert not tiles(first, "tile_found")
    with RunningService(folders[1], shared) as second:
        done = ended(second, job)
        assert done["state"] == "succeeded"
        total = done["progress"]["tiles_total"]
        assert 2 <= len(kept) < total
        found = tiles(second, "tile_found")
        # One may have been kept in the moment between its blob and its line in the log.
        assert set(kept) <= set(found)
        assert len(found) <= len(kept) + 1
        assert sorted(found + tiles(second, "tile_kept")) == list(range(total))
        with urllib.request.urlopen(second.url + job["links"]["result"]) as response:
            result = response.read()
    source, target = tmp_path / "in.png", tmp_path / "out.png"
    source.write_bytes(picture)
    command = [sys.executable, "-m", "enlarger", "upscale", str(source), str(target)]
    subprocess.run(
        [*command, "--model", MODEL, "--scale", "4"],
        check=True,
        env={**os.environ, **environment},
        capture_output=True,
    )
    assert result == target.read_bytes()
