"""Parts of enlarger that the benchmarks share: tiles through an engine, a model server, a process's memory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np

from enlarger.engine import Engine
from enlarger.engine.openvino.runtime import OpenVINOEngine
from enlarger.engine.tile import TileRequest
from enlarger.geometry.rect import Pixels, Rect
from enlarger.models import Catalogue, Model

PRECISIONS = ("auto", "f32", "bf16", "int8")
"""The choices of ``--precision``."""


def precisions_of(model: Model) -> tuple[str, ...]:
    """Return the precisions that the model supports on this CPU; ``auto`` means the first.

    The CPU may support int8 while the model has no table of ranges for it, so the engine is asked, not the CPU.
    """
    return OpenVINOEngine(Catalogue([model]), threads=1).facts().models[0].precisions


def precision_of(model: Model, wanted: str) -> str:
    """Return the precision that ``--precision`` selects. If it is not available, the benchmark ends with a line of text."""
    available = precisions_of(model)
    if wanted not in {"auto", *available}:
        raise SystemExit(
            f"{model.id} is computed here in {' or '.join(available)}, not in {wanted}"
        )
    return available[0] if wanted == "auto" else wanted


async def enlarge_all(
    engine: Engine,
    model: Model,
    precision: str,
    tiles: Sequence[Pixels],
    keeps: Sequence[Rect | None] | None = None,
) -> list[Pixels]:
    """Send all tiles to an engine at once, and return the kept part of each, or all of it."""
    deadline = asyncio.get_running_loop().time() + 86_400
    results = await asyncio.gather(
        *(
            engine.enlarge(
                TileRequest(
                    pixels=np.ascontiguousarray(tile),
                    model=model.id,
                    weights_sha256=model.sha256,
                    scale=model.scale,
                    precision=precision,
                    deadline=deadline,
                    request_id="benchmark",
                    keep=keep,
                )
            )
            for tile, keep in zip(tiles, keeps or repeat(None, len(tiles)), strict=True)
        )
    )
    return [result.pixels for result in results]


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A running model server."""

    address: str
    pid: int


@contextlib.contextmanager
def model_server(precision: str, folder: Path, *, threads: int) -> Iterator[ServerProcess]:
    """Start a model server, and stop it on leaving. It loads while the caller continues.

    It runs with a lower priority than the gateway and the clients, as in the service.
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen(  # noqa: S603 - enlarger itself
        [
            *(sys.executable, "-m", "enlarger", "model-server"),
            *("--port", str(port), "--threads", str(threads), "--exit-with-parent"),
        ],
        stdin=subprocess.PIPE,
        process_group=0,
        env={**os.environ, "ENLARGER_PRECISION": precision},
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield ServerProcess(f"127.0.0.1:{port}", process.pid)
    finally:
        process.terminate()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()


def peak_rss_mb(pid: int) -> float:
    """Return the peak memory of a process, in MB (10^6 bytes): ``VmHWM`` of Linux."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / 1e6


def children(pid: int) -> list[int]:
    """Return the running child processes of a process, on Linux."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for thread in threads for child in (thread / "children").read_text().split()]
