"""How long does a start take, and where does the time go?

- *help*: ``enlarger --help``;
- *warm*: ``enlarger upscale`` of a picture of 64 x 64, with the compiled network cached by an earlier run; below 3 s;
- *cold*: the same with an empty cache;
- *serve*: ``enlarger serve`` until it is ready with two model servers, with cached networks; below 5 s.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from parts import enlarge_all
from PIL import Image
from record import photo, record
from running import RunningService
from turns import in_turn, ratio, timed

from enlarger import config
from enlarger.engine.openvino.runtime import OpenVINOEngine
from enlarger.models import Catalogue

WAYS = ("help", "warm", "cold", "serve")
BARS_S = {"warm": 3, "serve": 5}
SHOWN = 12
"""Number of packages whose imports are listed; the rest is one figure."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="auto")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS, help="run only these ways")
    parser.add_argument("--record", action="store_true", help="append to results.jsonl")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cache = folder / "cache"
        Image.fromarray(photo()[100:164, 200:264]).save(folder / "in.png")
        upscale = ("upscale", "in.png", "out.png", "--overwrite", "--model", arguments.model)

        def cold() -> None:
            with tempfile.TemporaryDirectory() as empty:
                enlarger(upscale, folder, cache=Path(empty))

        def serve() -> float:
            started = time.perf_counter()
            settings = {"NUM_SERVERS": "2", "ENLARGER_CACHE_DIR": str(cache)}
            with RunningService(folder, settings):
                return time.perf_counter() - started

        ways = {
            "help": timed(lambda: enlarger(("--help",), folder, cache=cache)),
            "warm": timed(lambda: enlarger(upscale, folder, cache=cache)),
            "cold": timed(cold),
            "serve": serve,
        }
        ways = {name: run for name, run in ways.items() if name in arguments.ways}
        for run in ways.values():
            run()
        seconds = in_turn(ways, arguments.rounds)
        imports = imports_s(upscale, folder, cache=cache)
        parts = {"imports": round(sum(imports.values()), 3), **network_s(arguments.model, cache)}

    ratios = {"cold / warm": ratio(seconds, "cold", "warm")} if {"cold", "warm"} <= {*ways} else {}
    medians = {name: round(statistics.median(runs), 2) for name, runs in seconds.items()}
    print()
    for name, median_s in medians.items():
        allowed_s = BARS_S.get(name)
        share = f", {median_s / allowed_s:.2f} of the {allowed_s} s allowed" if allowed_s else ""
        print(f"  {name:6} {median_s:.2f} s{share}")
    print("parts of warm: " + "  ".join(f"{name} {took_s:.2f} s" for name, took_s in parts.items()))
    listed = sorted(imports.items(), key=lambda item: -item[1])[:SHOWN]
    rest_s = sum(imports.values()) - sum(took_s for _, took_s in listed)
    for name, took_s in [*listed, ("the rest", rest_s)]:
        print(f"  import {name:18} {took_s:.3f} s")
    if arguments.record:
        record(
            "cold start",
            {
                "ratios": ratios,
                "medians_s": medians,
                "parts_s": parts,
                "imports_s": {name: round(took_s, 3) for name, took_s in listed},
                "seconds": seconds,
            },
        )


def enlarger(
    arguments: Sequence[str], folder: Path, *, cache: Path, python: Sequence[str] = ()
) -> str:
    """Run the command line to its end, and return what it wrote to stderr."""
    return subprocess.run(  # noqa: S603 - enlarger itself
        [sys.executable, *python, "-m", "enlarger", *arguments],
        cwd=folder,
        env={**os.environ, "ENLARGER_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    ).stderr


def imports_s(arguments: Sequence[str], folder: Path, *, cache: Path) -> dict[str, float]:
    """Return the seconds of importing each package's own modules, without the imports inside them.

    Python's own timer slows the imports by about a tenth; only the shares matter here.
    """
    lines = enlarger(arguments, folder, cache=cache, python=("-X", "importtime")).splitlines()
    seconds: defaultdict[str, float] = defaultdict(float)
    for line in lines:
        if line.startswith("import time:") and "[us]" not in line:
            own_us, _, module = line.removeprefix("import time:").split("|")
            package = module.strip().partition(".")[0]
            known = package in sys.stdlib_module_names
            seconds["standard library" if known else package] += int(own_us) / 1e6
    return seconds


def network_s(model_id: str, cache: Path) -> dict[str, float]:
    """Return the seconds of restoring the compiled network, and of its first tile."""
    catalogue = Catalogue.installed(Path("models"))
    model = catalogue.choose(model_id, scale=4)
    # The command uses the same settings.
    engine = OpenVINOEngine(catalogue, threads=config.cores(), cache_folder=cache, one_picture=True)
    tile = photo()[100:164, 200:264]
    pixel = tile[:1, :1]
    load = timed(lambda: asyncio.run(enlarge_all(engine, model, engine.precisions[0], [pixel])))
    first = timed(lambda: asyncio.run(enlarge_all(engine, model, engine.precisions[0], [tile])))
    return {"network": round(load(), 3), "first tile": round(first(), 3)}


if __name__ == "__main__":
    main()
