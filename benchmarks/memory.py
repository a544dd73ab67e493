"""How much memory do a model server and the gateway need at most?

- a model server that computes as many tiles of the largest size as it can at once: at most 700 MB;
- the gateway that upscales 2048 x 2048 to 8192 x 8192, relative to the 8-bit samples of the result: at most
  2.5 times, and 4 times if the response contains the file.

The figures are peaks of resident memory, as Linux counts them, of each process since its start.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import tempfile
from io import BytesIO
from pathlib import Path

import aiohttp
from parts import PRECISIONS, children, enlarge_all, model_server, peak_rss_mb, precision_of
from PIL import Image
from record import photo, record
from running import RunningService

from enlarger import config
from enlarger.errors import EnlargerError
from enlarger.models import Catalogue, Model
from enlarger.pool.remote import RemoteEngine

SERVER_BAR_MB = 700
GATEWAY_BARS = {False: 2.5, True: 4.0}
"""Limits in multiples of the result's raw bytes, by whether the response contains the file."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server-model", default="realesrgan-x4plus")
    parser.add_argument("--gateway-model", default="realesr-animevideov3")
    parser.add_argument("--precision", default="auto", choices=PRECISIONS)
    parser.add_argument(
        "--threads", type=int, default=max(1, config.cores() // 2), help="threads of a model server"
    )
    parser.add_argument("--servers", type=int, default=2, help="model servers of the gateway")
    parser.add_argument(
        "--side", type=int, default=2048, help="side of the gateway's picture in pixels"
    )
    parser.add_argument("--record", action="store_true", help="append to results.jsonl")
    arguments = parser.parse_args()

    catalogue = Catalogue.installed(Path("models"))
    model = catalogue.choose(arguments.server_model, scale=4)
    precision = precision_of(model, arguments.precision)
    with tempfile.TemporaryDirectory() as folder:
        server = server_mb(model, precision, arguments.threads, Path(folder))
    ratios = {"server / allowed": round(server["after tiles"] / SERVER_BAR_MB, 3)}
    print(f"model server, {model.id} {precision}: {server} MB")

    model = catalogue.choose(arguments.gateway_model, scale=4)
    raw_mb = 3 * (4 * arguments.side) ** 2 / 1e6
    gateway = {}
    for inline, bar in GATEWAY_BARS.items():
        with tempfile.TemporaryDirectory() as folder:
            peaks = gateway_mb(
                model, arguments.side, Path(folder), inline=inline, servers=arguments.servers
            )
        name = "gateway, inline" if inline else "gateway"
        gateway[name] = peaks
        ratios[f"{name} / result"] = round(peaks["after"] / raw_mb, 3)
        print(f"{name}, {model.id}: {peaks} MB, result {raw_mb:.0f} MB, allowed {bar} times that")
    for name, value in ratios.items():
        print(f"  {name}: {value:.3f}")
    if arguments.record:
        record(
            "memory",
            {
                "server_model": arguments.server_model,
                "gateway_model": arguments.gateway_model,
                "precision": precision,
                "threads": arguments.threads,
                "side_px": arguments.side,
                "ratios": ratios,
                "server_mb": server,
                "gateway_mb": gateway,
            },
        )


def server_mb(model: Model, precision: str, threads: int, folder: Path) -> dict[str, float]:
    """Return peaks of a model server: when it is ready, and after its largest tiles."""
    side_px = math.isqrt(model.max_tile_px)
    tile = photo()[:side_px, :side_px]

    async def run(address: str, pid: int) -> dict[str, float]:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
            engine = RemoteEngine(address, session)
            while (await engine.probe()).facts is None:  # noqa: ASYNC110 - it is another process's state
                await asyncio.sleep(0.2)
            ready = peak_rss_mb(pid)
            try:
                await enlarge_all(engine, model, precision, [tile] * engine.facts().capacity)
            except EnlargerError as error:
                raise SystemExit(f"the model server refused: {error}") from error
            return {"ready": round(ready, 1), "after tiles": round(peak_rss_mb(pid), 1)}

    with model_server(precision, folder, threads=threads) as server:
        return asyncio.run(run(server.address, server.pid))


def gateway_mb(
    model: Model, side_px: int, folder: Path, *, inline: bool, servers: int
) -> dict[str, float]:
    """Return peaks of the gateway, before and after a picture, and the sum of those of its child processes."""
    file = BytesIO()
    picture = Image.fromarray(photo()).resize((side_px, side_px), Image.Resampling.LANCZOS)
    picture.save(file, "JPEG", quality=90)
    with RunningService(folder, {"NUM_SERVERS": str(servers)}) as running:
        pid = running.process.pid
        before = peak_rss_mb(pid)
        status, answer = running.upscale(file.getvalue(), scale=4, model=model.id, inline=inline)
        assert status == 200, answer
        assert bool(answer.get("base64")) is inline
        return {
            "before": round(before, 1),
            "after": round(peak_rss_mb(pid), 1),
            "started": round(sum(peak_rss_mb(child) for child in children(pid)), 1),
        }


if __name__ == "__main__":
    main()
