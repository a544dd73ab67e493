"""Parts of enlarger as the benchmarks use them: tiles through an engine, a model server, a process's memory."""

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
"""What ``--precision`` may be."""


def precisions_of(model: Model) -> tuple[str, ...]:
    """What the model can be computed in on this processor; ``auto`` means the first.

    The processor may have int8 and the model no table of ranges for it, so the engine is asked, not the processor.
    """
    return OpenVINOEngine(Catalogue([model]), threads=1).facts().models[0].precisions


def precision_of(model: Model, wanted: str) -> str:
    """The precision that ``--precision`` asks for. The benchmark ends with a line of text where it is not available."""
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
    """Give all tiles to an engine at once; of each what is to be kept, or all."""
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
    """A model server that runs."""

    address: str
    pid: int


@contextlib.contextmanager
def model_server(precision: str, folder: Path, *, threads: int) -> Iterator[ServerProcess]:
    """Start a model server, and stop it on leaving. It loads while we go on.

    As the gateway starts its own: with less right to the cores than whoever serves and asks.
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
    """The most memory a process ever had in use, in MB (10^6 bytes): ``VmHWM`` of Linux."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / 1e6


def children(pid: int) -> list[int]:
    """The processes that a process started and that live, on Linux."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for thread in threads for child in (thread / "children").read_text().split()]
