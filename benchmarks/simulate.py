"""What would a cluster do on a day of traffic, and does the simulator say what the real service does?

Without arguments: a thousand GPUs for a day. ``--real`` sends Poisson traffic to a real service on this machine, simulates the same
arrivals with the measured speed, and compares the medians of the total times; the limit is 20 %.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from PIL import Image
from record import record
from running import RunningService
from simulation import Nodes, Outcome, Traffic, arrivals, simulate

LIMIT = 0.2
"""Medians of the simulator and of the service may differ by as much."""

_PAGE = (50, 95, 99, 99.9)


def report(outcome: Outcome) -> dict[str, Any]:
    """Return the figures of a day."""
    waits = dict(zip(map(str, _PAGE), outcome.percentiles(*_PAGE), strict=True))
    return {
        "arrived": outcome.arrived,
        "refused": outcome.refused,
        "wait_s": {point: round(wait_s, 2) for point, wait_s in waits.items()},
        "node_hours": round(outcome.node_s / 3600),
        "most_nodes": outcome.most_nodes,
        "failed_nodes": outcome.lost_nodes,
        "reclaimed_nodes": outcome.reclaimed_nodes,
        "repeated": outcome.repeated,
        "cost": round(outcome.cost, 1),
        "cost_per_1000_mpx": round(1000 * outcome.cost / outcome.mpx, 3) if outcome.mpx else None,
    }


def picture(mpx: float, seed: int) -> bytes:
    """Return a BMP file of about so many megapixels, unlike any other."""
    side = max(8, round((mpx * 1e6) ** 0.5))
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, "BMP")
    return file.getvalue()


async def _timed(http: aiohttp.ClientSession, model: str, data: bytes) -> float:
    began = time.perf_counter()
    query = {"scale": "4", "model": model, "format": "jpeg"}
    async with http.post("/v1/upscale", data=data, params=query) as response:
        body = await response.read()
        assert response.status == 200, body[:300]
    return time.perf_counter() - began


async def _real(
    url: str, model: str, times: list[float], sizes: list[float]
) -> tuple[Nodes, list[float]]:
    """Measure the speed of an idle service, then send the traffic; return the speed, and seconds of each request."""
    timeout = aiohttp.ClientTimeout(total=3600)
    async with aiohttp.ClientSession(url, timeout=timeout) as http:
        few = sorted(sizes)[:: max(1, len(sizes) // 8)]
        await _timed(http, model, picture(few[0], seed=1))  # the first tile loads the network
        alone = [await _timed(http, model, picture(size, 1000 + n)) for n, size in enumerate(few)]
        per_mpx_s, overhead_s = (float(one) for one in np.polyfit(few, alone, 1))
        nodes = Nodes(
            least=1,
            most=1,
            mpx_per_s=1 / max(per_mpx_s, 1e-6),
            overhead_s=max(0.0, overhead_s),
            failures_per_node_day=0,
            reclaims_per_node_day=0,
            spot_share=0,
        )
        pictures = [picture(size, 2000 + n) for n, size in enumerate(sizes)]
        began = time.perf_counter()

        async def one(at_s: float, data: bytes) -> float:
            await asyncio.sleep(max(0.0, at_s - (time.perf_counter() - began)))
            return await _timed(http, model, data)

        calls = [one(at_s, data) for at_s, data in zip(times, pictures, strict=True)]
        return nodes, await asyncio.gather(*calls)


def compare(traffic: Traffic, model: str, seed: int) -> dict[str, Any]:
    """Send traffic to a real service with one model server, and simulate the same."""
    times, sizes = (one.tolist() for one in arrivals(traffic, seed))
    with tempfile.TemporaryDirectory() as folder:
        settings = {"NUM_SERVERS": "1", "MODEL_DIR": str(Path("models").resolve())}
        with RunningService(Path(folder), settings) as service:
            nodes, took_s = asyncio.run(_real(service.url, model, times, sizes))
    simulated = simulate(traffic, nodes, seed=seed)
    real_s, model_s = statistics.median(took_s), statistics.median(simulated.totals_s)
    return {
        "pictures": len(times),
        "mpx_per_s": round(nodes.mpx_per_s, 4),
        "overhead_s": round(nodes.overhead_s, 3),
        "real_median_s": round(real_s, 3),
        "simulated_median_s": round(model_s, 3),
        "ratio": round(model_s / real_s, 3),
    }


def main() -> int:
    """Simulate, and print; with ``--real`` fail if the simulator is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--gpus", type=int, default=1000, help="the most nodes")
    parser.add_argument("--mpx-per-s", type=float, default=0.25, help="of a node")
    parser.add_argument("--pictures-per-s", type=float, help="default: 45 %% of all nodes")
    parser.add_argument("--start-s", type=float, default=180.0, help="autoscaling lag")
    parser.add_argument("--spot", type=float, default=0.5, help="part of spot nodes")
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--real", action="store_true", help="compare with a real service")
    parser.add_argument("--model", default="realesr-animevideov3", help="with --real")
    parser.add_argument("--median-mpx", type=float, help="default: 0.8, or 0.02 with --real")
    parser.add_argument("--record", action="store_true", help="append to results.jsonl")
    arguments = parser.parse_args()
    if arguments.real:
        traffic = Traffic(
            pictures_per_s=arguments.pictures_per_s or 0.5,
            wave=0,
            bursts_per_day=0,
            median_mpx=arguments.median_mpx or 0.02,
            spread=0.5,
            most_mpx=0.25,
            duration_s=3600 * min(arguments.hours, 0.05),
        )
        compared = compare(traffic, arguments.model, arguments.seed)
        print(compared)
        if arguments.record:
            record("simulator against reality", compared)
        return int(abs(compared["ratio"] - 1) > LIMIT)
    nodes = Nodes(
        least=max(1, arguments.gpus // 20),
        most=arguments.gpus,
        mpx_per_s=arguments.mpx_per_s,
        start_s=arguments.start_s,
        spot_share=arguments.spot,
    )
    usual = Traffic(pictures_per_s=1.0, median_mpx=arguments.median_mpx or 0.8)
    each_s = nodes.overhead_s + float(np.mean(arrivals(usual, 0)[1])) / nodes.mpx_per_s
    traffic = Traffic(
        pictures_per_s=arguments.pictures_per_s or 0.45 * arguments.gpus / each_s,
        median_mpx=usual.median_mpx,
        duration_s=3600 * arguments.hours,
    )
    figures = report(simulate(traffic, nodes, seed=arguments.seed))
    for name, value in figures.items():
        print(f"{name}: {value}")
    if arguments.record:
        record("a day of a cluster", {"gpus": arguments.gpus, **figures})
    return 0


if __name__ == "__main__":
    sys.exit(main())
