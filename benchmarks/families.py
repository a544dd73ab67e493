"""How fast is each generic network against ncnn, on one thread, in CPU seconds?

ncnn computes the same files in f32 and with bf16 storage, without any check of the result. Ours includes all of its checks.
``engines.py`` measures RRDB and Compact networks.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import ncnn
import numpy as np
from parts import enlarge_all, precisions_of
from record import photo, record
from turns import in_turn, ratio

from enlarger.engine.openvino.runtime import OpenVINOEngine
from enlarger.geometry.rect import Pixels
from enlarger.models import Catalogue, Model
from enlarger.models.readers.ncnn_network import read_network


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="measure models whose id has this text")
    parser.add_argument("--tile", type=int, default=192, help="side of a tile in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--record", action="store_true", help="append to results.jsonl")
    arguments = parser.parse_args()
    side_px = arguments.tile
    tile = photo("retina.jpg")[400 : 400 + side_px, 400 : 400 + side_px]
    found = {}
    for model in networks(arguments.only):
        print(model.id, flush=True)
        found[model.id] = measured(model, tile, arguments.rounds)
        print(found[model.id], flush=True)
    if arguments.record:
        record("families", {"tile_px": side_px, "ncnn": version("ncnn"), "models": found})


def networks(only: str) -> Iterator[Model]:
    """Yield a model of each generic network that is built differently: weights do not change the speed."""
    seen = set()
    for model in Catalogue.installed(Path("models")):
        if model.architecture == "generic" and only in model.id:
            shape = (model.scale, model.mflop_per_px, model.files.paths[0].stat().st_size)
            if shape not in seen:
                seen.add(shape)
                yield model


def measured(model: Model, tile: Pixels, rounds: int) -> dict[str, dict[str, float]]:
    """Return the ratios of CPU seconds to ours in f32, and ours in LR pixels per CPU second."""
    ways: dict[str, Callable[[], float]] = {
        f"enlarger {precision}": ours(model, precision, tile) for precision in precisions_of(model)
    }
    ways |= {f"ncnn {name}": theirs(model, name == "bf16", tile) for name in ("f32", "bf16")}
    seconds = in_turn(ways, rounds)
    return {
        "ratios": {name: ratio(seconds, name, "enlarger f32") for name in ways},
        "lr_px_per_s": {name: round(tile.size / 3 / min(runs)) for name, runs in seconds.items()},
    }


def ours(model: Model, precision: str, tile: Pixels) -> Callable[[], float]:
    """Return a way that computes a tile with our engine."""

    async def run() -> float:
        async with OpenVINOEngine(Catalogue([model]), threads=1, precision=precision) as engine:
            await enlarge_all(engine, model, precision, [tile])
            started = time.process_time()
            await enlarge_all(engine, model, precision, [tile])
            return time.process_time() - started

    return lambda: asyncio.run(run())


def theirs(model: Model, bf16: bool, tile: Pixels) -> Callable[[], float]:
    """Return a way that computes the same tile, with the same mirrored context, with ncnn."""
    param, binary = model.files.paths
    network = read_network(param.name, param.read_bytes())
    around_px = [model.frame.around_px(side) for side in tile.shape[:2]]
    floats = np.pad(tile.transpose(2, 0, 1) / np.float32(255), ((0, 0), *around_px), "reflect")
    plane = np.ascontiguousarray(floats, np.float32)

    def run() -> float:
        net = ncnn.Net()
        net.opt.use_vulkan_compute = False
        net.opt.num_threads = 1
        net.opt.use_bf16_storage = bf16
        assert net.load_param(str(param)) == 0
        assert net.load_model(str(binary)) == 0
        took_s = 0.0
        for _ in range(2):  # the first one warms up
            started = time.process_time()
            extractor = net.create_extractor()
            extractor.input(network.input, ncnn.Mat(plane))
            status, output = extractor.extract(network.output)
            assert status == 0
            assert np.array(output).shape[0] == 3
            took_s = time.process_time() - started
        return took_s

    return run


if __name__ == "__main__":
    main()
