"""Does the whole service make as many pixels per second as its bare engine?

Clients each send one picture after the other, of many sizes, over two model servers that share the cores. The
reference is all tiles of the same pictures, sent at once to the engine in this process on the same cores. The limit
is 0.95.

With ``--ray``, the same clients also use a gateway over two replicas of a Ray cluster on this machine, which may take
0.9 of the throughput of the built-in pool at the least.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path

from parts import PRECISIONS, enlarge_all, model_server, precision_of
from PIL import Image
from record import photo, record
from running import RunningService
from turns import in_turn, ratio, timed

from enlarger import config
from enlarger.engine.openvino.runtime import OpenVINOEngine
from enlarger.geometry.rect import Pixels
from enlarger.geometry.route import tiles_of
from enlarger.models import Catalogue

BAR, RAY_BAR = 0.95, 0.9
SIZES = ((16, 16), (8, 12), (12, 8), (16, 9), (10, 10), (5, 5), (9, 16), (14, 11))
"""Width and height of the pictures, in sixteenths of the largest side."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="realesrgan-x4plus")
    parser.add_argument("--precision", default="auto", choices=PRECISIONS)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--pictures", type=int, default=2, help="pictures of each client")
    parser.add_argument(
        "--side", type=int, default=192, help="longest side of a picture in pixels, at most 512"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ray", action="store_true", help="also measure a Ray cluster")
    parser.add_argument("--record", action="store_true", help="append to results.jsonl")
    arguments = parser.parse_args()

    model = Catalogue.installed(Path("models")).choose(arguments.model, scale=4)
    precision = precision_of(model, arguments.precision)
    pictures = [
        photo()[: height * arguments.side // 16, : width * arguments.side // 16]
        for width, height in SIZES
    ]
    # Each client begins with another size, so that large and small pictures overlap.
    shares = [
        [pictures[(client + turn) % len(pictures)] for turn in range(arguments.pictures)]
        for client in range(arguments.clients)
    ]
    boxes = [
        (box, picture)
        for share in shares
        for picture in share
        for box in tiles_of(picture.shape[1], picture.shape[0], model)
    ]
    tiles = [box.read(picture) for box, picture in boxes]
    keeps = [box.kept_in_tile for box, _ in boxes]
    engine = OpenVINOEngine(Catalogue([model]), threads=config.cores(), precision=precision)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        half = max(1, config.cores() // 2)
        addresses = [
            stack.enter_context(model_server(precision, folder, threads=half)).address
            for _ in range(2)
        ]
        running = {
            "service": stack.enter_context(
                RunningService(folder, {"ENLARGER_SERVERS": ",".join(addresses)})
            )
        }
        if arguments.ray:
            (folder / "ray").mkdir()
            replicas = {
                "ENLARGER_PRECISION": precision,
                "NUM_SERVERS": "2",
            }
            running["ray"] = stack.enter_context(
                RunningService(folder / "ray", replicas, arguments=("--engine", "ray"))
            )
        clients = stack.enter_context(ThreadPoolExecutor(arguments.clients))

        def bare() -> None:
            asyncio.run(enlarge_all(engine, model, precision, tiles, keeps))

        def through(service: RunningService) -> None:
            list(clients.map(lambda share: send(service, model.id, share), files))

        files = [[png(picture) for picture in share] for share in shares]
        ways: dict[str, Callable[[], object]] = {"bare": bare}
        ways |= {name: partial(through, service) for name, service in running.items()}
        for run in ways.values():
            run()  # compile, fill caches, grow memory
        seconds = in_turn({name: timed(run) for name, run in ways.items()}, arguments.rounds)

    ratios = {"service's throughput / bare engine's": ratio(seconds, "bare", "service")}
    bars = [BAR]
    if arguments.ray:
        ratios["Ray cluster's throughput / service's"] = ratio(seconds, "service", "ray")
        bars.append(RAY_BAR)
    lr_px = sum(tile.shape[0] * tile.shape[1] for tile in tiles)
    speeds = {name: round(lr_px / statistics.median(runs)) for name, runs in seconds.items()}
    print(
        f"\n{model.id} {precision}, {arguments.clients} clients, "
        f"{arguments.clients * arguments.pictures} pictures, {len(tiles)} tiles"
    )
    for (name, value), bar in zip(ratios.items(), bars, strict=True):
        print(f"  {name}: {value:.3f}; the bar is {bar}")
    print(
        "  " + "  ".join(f"{name} {speed / 1000:.2f} k LR px/s" for name, speed in speeds.items())
    )
    if arguments.record:
        record(
            "throughput",
            {
                "model": model.id,
                "precision": precision,
                "clients": arguments.clients,
                "pictures": arguments.clients * arguments.pictures,
                "side_px": arguments.side,
                "tiles": len(tiles),
                "ratios": ratios,
                "lr_px_per_s": speeds,
                "seconds": seconds,
            },
        )


def png(picture: Pixels) -> bytes:
    """Return a picture as a file."""
    file = BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def send(running: RunningService, model_id: str, files: Sequence[bytes]) -> None:
    """Run one client, which sends one picture after the other and leaves the results on the server."""
    for file in files:
        status, answer = running.upscale(file, scale=4, model=model_id, inline=False)
        assert status == 200, answer


if __name__ == "__main__":
    main()
