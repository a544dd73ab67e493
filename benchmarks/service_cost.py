"""What the service costs per megapixel of its results if the network costs nothing: ``service.py --fake``.

A gateway works over two model servers with an engine of ``fake_engine.py``. CPU seconds are counted, so that the figures
also mean something on a machine that others use.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fake_engine import fake_server
from parts import children
from record import photo, record
from running import RunningService
from stages import FILE_VARIABLE, LOOP
from throughput import png, send

from enlarger.geometry.route import tiles_of
from enlarger.models import Model

LR_PX_PER_S = 10e6
"""The speed of all model servers together."""

SERVERS = 2
CLIENTS = 2
IDLE_S = 5
CORES = 16
"""The report says what would bind on so many cores."""

ENCODER, DECODERS, MODEL_SERVERS = "PNG", "decoders", "model servers"

PerStage = dict[str, float]
"""CPU seconds by stage, or per megapixel of results."""


def measure(model: Model, *, side: int, pictures: int, rounds: int, recorded: bool) -> None:
    """Measure, print, and record if asked."""
    picture = photo()[:side, :side]
    tiles = tiles_of(picture.shape[1], picture.shape[0], model)
    lr_px = sum(box.lr_px for box in tiles)
    made_mp = pictures * CLIENTS * picture.shape[0] * picture.shape[1] * model.scale**2 / 1e6
    share = [png(picture)] * pictures
    per_round: list[PerStage] = []
    seconds: list[float] = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = [
            stack.enter_context(fake_server(model, LR_PX_PER_S / SERVERS)) for _ in range(SERVERS)
        ]
        counts = folder / "stages.json"
        here = Path(__file__).parent
        paths = os.pathsep.join([str(here), *filter(None, sys.path)])
        running = stack.enter_context(
            RunningService(
                folder,
                {
                    "ENLARGER_SERVERS": ",".join(server.address for server in servers),
                    "PYTHONPATH": paths,
                    FILE_VARIABLE: str(counts),
                },
                command=(sys.executable, "-c", "import stages; stages.main()"),
            )
        )
        clients = stack.enter_context(ThreadPoolExecutor(CLIENTS))

        def counted() -> PerStage:
            return {
                **_stages(running.process.pid, counts),
                DECODERS: sum(_cpu_s(pid) for pid in children(running.process.pid)),
                MODEL_SERVERS: sum(
                    _cpu_s(server.pid) - server.making_s.value for server in servers
                ),
            }

        def difference(work: Callable[[], object]) -> tuple[PerStage, float]:
            before, started = counted(), time.perf_counter()
            work()
            took_s, after = time.perf_counter() - started, counted()
            return {stage: after[stage] - before.get(stage, 0.0) for stage in after}, took_s

        def busy() -> None:
            list(clients.map(lambda _: send(running, model.id, share), range(CLIENTS)))

        busy()  # fill caches
        # Probes and the database take the same time per second, whatever else is done.
        spent, took_s = difference(lambda: time.sleep(IDLE_S))
        idle = {stage: cost / took_s for stage, cost in spent.items()}
        for number in range(1, rounds + 1):
            spent, took_s = difference(busy)
            seconds.append(took_s)
            per_round.append(
                {
                    stage: max(0.0, cost - idle.get(stage, 0.0) * took_s) / made_mp
                    for stage, cost in spent.items()
                }
            )
            print(f"round {number}: {sum(per_round[-1].values()):.4f} CPU s/MP, {took_s:.2f} s")

    per_mp = {
        stage: round(statistics.median(one[stage] for one in per_round), 5)
        for stage in per_round[0]
    }
    total = sum(per_mp.values())
    engine_s = pictures * CLIENTS * lr_px / LR_PX_PER_S
    ratio = engine_s / statistics.median(seconds)
    print(f"\n{model.id}, {side}x{side}, {len(tiles)} tiles, {made_mp:.1f} MP in each round")
    for stage, cost in sorted(per_mp.items(), key=lambda pair: -pair[1]):
        print(f"  {cost:.4f} CPU s/MP  {stage}")
    print(f"  {total:.4f} CPU s/MP  in all; {total - per_mp[ENCODER]:.4f} without {ENCODER}")
    print(
        f"  {sum(idle.values()):.4f} CPU s in each second at rest, which are not in these figures"
    )
    print(f"  {ratio:.3f} of the speed of the bare engine, {LR_PX_PER_S / 1e6:g} M LR px/s")
    limits = _limits(per_mp)
    made = made_mp / (pictures * CLIENTS) / (lr_px / LR_PX_PER_S)
    print(f"  the bare engine makes {made:.0f} MP/s; on {CORES} cores the limits would be")
    for name, limit in sorted(limits.items(), key=lambda pair: pair[1]):
        print(f"    {limit:.0f} MP/s by {name}")
    if recorded:
        record(
            "service cost",
            {
                "model": model.id,
                "side_px": side,
                "tiles": len(tiles),
                "cpu_s_per_mp": per_mp,
                "cpu_s_per_s_at_rest": round(sum(idle.values()), 5),
                "ratio_to_bare_engine": round(ratio, 4),
                "limits_mp_per_s": {name: round(limit, 1) for name, limit in limits.items()},
                "rounds": [
                    {stage: round(cost, 5) for stage, cost in one.items()} for one in per_round
                ],
                "seconds": [round(one, 3) for one in seconds],
            },
        )


def _limits(per_mp: Mapping[str, float]) -> dict[str, float]:
    """Return the megapixels per second at which each resource would be used up on ``CORES`` cores.

    An event loop has one thread. Other stages of several pictures run side by side, but PNG and most other stages of one
    picture do not.
    """
    return {
        "all cores together": CORES / sum(per_mp.values()),
        "the gateway's event loop": 1 / per_mp[LOOP],
        "the event loops of two model servers": SERVERS / per_mp[MODEL_SERVERS],
    }


def _cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process so far, on Linux."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _stages(pid: int, counts: Path) -> PerStage:
    """Ask the gateway for its stages."""
    counts.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR2)
    end = time.monotonic() + 30
    while not counts.exists():
        assert time.monotonic() < end, "the gateway does not answer SIGUSR2"
        time.sleep(0.01)
    seconds: PerStage = json.loads(counts.read_text())
    return seconds
