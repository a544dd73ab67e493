"""How much memory does a process need for a tile, and how long does the network take?

Each size runs in a process of its own, so the figures include interpreter, runtime and weights. There is one thread.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from pathlib import Path

from parts import PRECISIONS, precision_of
from record import photo, record

from enlarger.engine.openvino.runtime import OpenVINOEngine
from enlarger.engine.tile import TileRequest
from enlarger.geometry.rect import Rect
from enlarger.models import Catalogue


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="realesrgan-x4plus")
    parser.add_argument("--precision", default="auto", choices=PRECISIONS)
    parser.add_argument("--sides", type=int, nargs="+", default=[128, 256, 374])
    parser.add_argument("--record", action="store_true", help="append to results.jsonl")
    parser.add_argument("--here", action="store_true", help="measure one size, in this process")
    arguments = parser.parse_args()
    model_id = arguments.model
    model = Catalogue.installed(Path("models")).choose(model_id, scale=4)
    precision = precision_of(model, arguments.precision)
    if arguments.here:
        print(*measured(model_id, precision, arguments.sides[0]))
        return
    figures: dict[str, list[float]] = {"most_mb": [], "seconds": []}
    for side_px in arguments.sides:
        ran = subprocess.run(  # noqa: S603 - this file
            [
                *(sys.executable, __file__, "--here", "--sides", str(side_px)),
                *("--model", model_id, "--precision", precision),
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        most_mb, took_s = (float(word) for word in ran.stdout.splitlines()[-1].split())
        figures["most_mb"].append(most_mb)
        figures["seconds"].append(round(took_s, 2))
        print(f"{side_px}x{side_px}: {most_mb:.0f} MB, {took_s:.1f} s")
    if arguments.record:
        record(
            "tile_memory",
            {"model": model_id, "precision": precision, "sides_px": arguments.sides, **figures},
        )


def measured(model_id: str, precision: str, side_px: int) -> tuple[float, float]:
    """Return the peak memory of this process, in MB, and the seconds of the network for one tile of 16 bits."""
    model = Catalogue.installed(Path("models")).choose(model_id, scale=4)
    pixels = photo("retina.jpg")[400 : 400 + side_px, 400 : 400 + side_px].astype("uint16") * 257
    halo_px = min(model.halo_px, side_px // 4)
    core_px = side_px - 2 * halo_px

    async def run() -> float:
        engine = OpenVINOEngine(Catalogue([model]), threads=1, precision=precision)
        await engine.load(model.id)
        started = time.perf_counter()
        await engine.enlarge(
            TileRequest(
                pixels=pixels,
                model=model.id,
                weights_sha256=model.sha256,
                scale=model.scale,
                precision=precision,
                deadline=asyncio.get_running_loop().time() + 86_400,
                request_id="benchmark",
                keep=Rect.sized(halo_px, halo_px, core_px, core_px),
            )
        )
        return time.perf_counter() - started

    took_s = asyncio.run(run())
    lines = Path("/proc/self/status").read_text().splitlines()
    (most_kib,) = (int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return round(most_kib * 1024 / 1e6, 1), took_s


if __name__ == "__main__":
    main()
