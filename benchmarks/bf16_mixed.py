"""Which parts of an rrdb network must be in f32, what does it bring, and what does it cost?

bf16 convolutions are twice as fast as those in f32 and have 8 significant bits. Each variant leaves more of the
network in f32, and is compared with the whole network in f32. One comparison uses the photos of `HARD` in
`scripts/held_out.py`, which are old, noisy, compressed or full of texture, without the colour lock. The other one
uses a 16-bit gradient with the colour lock, whose result must be as straight.

If the CPU has bf16, the networks run natively, and their times are measured in turn. Otherwise `scripts/emulation.py`
adds the rounding to the graph, which says nothing about the time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import emulation
import held_out
import numpy as np
import openvino as ov
from precisions import distance_db, liveliest
from record import record
from turns import in_turn, ratio

from enlarger.engine.openvino import graphs
from enlarger.engine.openvino.processor import this_processor
from enlarger.engine.samples import Floats, to_floats, to_samples
from enlarger.geometry.rect import Pixels
from enlarger.models import Catalogue, Model
from enlarger.picture.colour_lock import ColourLock


@dataclass(frozen=True, slots=True)
class Part:
    """How a trunk or a tail computes."""

    arithmetic: graphs.Float
    hint: str
    """The precision hint for the runtime."""


F32 = Part(graphs.Float(), "f32")
BF16 = Part(graphs.Float(), "bf16")
MIXED = Part(graphs.Bf16(), "f32")

VARIANTS = {
    "all in bf16": (BF16, BF16),
    "tail in f32": (BF16, F32),
    "first convolution and sums in f32": (MIXED, BF16),
    "first, last convolution and sums in f32": (MIXED, MIXED),
    "first convolution, sums and tail in f32": (MIXED, F32),
    "all in f32": (F32, F32),
}
"""Trunk and tail of each variant. The fourth is what enlarger calls bf16."""

BEFORE = next(iter(VARIANTS))

GRADIENT = (0.55, 0.62)
"""Ends of the gradient, where white is 1."""

MARGIN_PX = 32
"""Pixels at the gradient's edges that are not compared: there the network sees the padding."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="realesrgan-x4plus")
    parser.add_argument("--pictures", nargs="+", default=list(held_out.HARD), metavar="NAME")
    parser.add_argument(
        "--side",
        type=int,
        default=64,
        help="side of each picture's most detailed square, in pixels",
    )
    parser.add_argument("--gradient", type=int, nargs=2, default=(128, 72), metavar="PX")
    parser.add_argument(
        "--tile", type=int, default=192, help="side of the tile for the timing, in pixels"
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the timing")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--record", action="store_true", help="append to results.jsonl")
    arguments = parser.parse_args()

    judged = held_out.hard(arguments.side, liveliest, arguments.pictures)
    model = Catalogue.installed(Path("models")).choose(arguments.model, scale=4)
    if model.architecture != "rrdb":
        raise SystemExit(f"{model.id} has no trunk and tail; it must be a network of kind rrdb")
    real = "bf16" in this_processor().precisions
    compiled = compile_all(model, arguments.threads, real=real)

    results = {name: run_all(compiled, to_floats(picture)) for name, picture in judged.items()}
    ramp = gradient(*arguments.gradient)
    ramps = run_all(compiled, to_floats(ramp))
    seconds: dict[str, list[float]] = {}
    if real:
        tile = np.resize(next(iter(judged.values())), (arguments.tile, arguments.tile, 3))
        ways = {name: timed(compiled, name, to_floats(tile)) for name in VARIANTS}
        seconds = in_turn(ways, arguments.rounds)

    figures = {}
    for name in VARIANTS:
        psnr_db = {
            picture: round(decibels(made[name], made["all in f32"]), 2)
            for picture, made in results.items()
        }
        figures[name] = {
            "mean_psnr_db": round(float(np.mean(list(psnr_db.values()))), 2),
            "least_psnr_db": min(psnr_db.values()),
            **straightness(ramps[name], ramp),
            "psnr_db": psnr_db,
        }
        if seconds:
            figures[name] |= {
                "times_all_in_bf16": ratio(seconds, name, BEFORE),
                "seconds": seconds[name],
            }
        shown = {
            key: value for key, value in figures[name].items() if key not in {"psnr_db", "seconds"}
        }
        print(name, *(f"{key} {value}" for key, value in shown.items()), sep="  ", flush=True)
    if arguments.record:
        record(
            "bf16_mixed",
            {
                "model": model.id,
                "emulated": not real,
                "side_px": arguments.side,
                "variants": figures,
            },
        )


def gradient(width_px: int, height_px: int) -> Pixels:
    """Return a 16-bit gradient from left to right."""
    row = np.rint(np.linspace(*GRADIENT, width_px) * 65535).astype(np.uint16)
    return np.broadcast_to(row[:, np.newaxis], (height_px, width_px, 3)).copy()


def compile_all(model: Model, threads: int, *, real: bool) -> dict[tuple[str, Part], Any]:
    """Compile each trunk and tail that a variant has."""
    made = {}
    for trunk, tail in VARIANTS.values():
        for name, part in (("trunk", trunk), ("tail", tail)):
            if (name, part) in made:
                continue
            graph = graphs.build(model, in_float=part.arithmetic, part=name)
            if real:
                options = {
                    "INFERENCE_PRECISION_HINT": part.hint,
                    "NUM_STREAMS": 1,
                    "INFERENCE_NUM_THREADS": threads,
                    "ENABLE_CPU_PINNING": False,
                }
                made[name, part] = ov.Core().compile_model(graph, "CPU", options)
            else:
                made[name, part] = emulation.compiled(
                    emulation.emulated(graph, hint=part.hint), threads
                )
    return made


def run_all(compiled: dict[tuple[str, Part], Any], batch: Floats) -> dict[str, Floats]:
    """Return the result of each variant for a picture."""
    trunks = {trunk for trunk, _ in VARIANTS.values()}
    features = {trunk: compiled["trunk", trunk]([batch])[0].copy() for trunk in trunks}
    return {
        name: compiled["tail", tail]([features[trunk]])[0].copy()
        for name, (trunk, tail) in VARIANTS.items()
    }


def timed(compiled: dict[tuple[str, Part], Any], name: str, batch: Floats) -> Callable[[], float]:
    """Return a way that measures the seconds of a tile."""
    trunk, tail = VARIANTS[name]

    def way() -> float:
        started = time.perf_counter()
        features = compiled["trunk", trunk]([batch])[0]
        compiled["tail", tail]([features])
        return time.perf_counter() - started

    return way


def decibels(made: Floats, right: Floats) -> float:
    """Return the peak signal-to-noise ratio of two results as pictures of 8 bits."""
    return distance_db(*(to_samples(output.copy(), np.dtype(np.uint8)) for output in (made, right)))


def straightness(made: Floats, ramp: Pixels) -> dict[str, float]:
    """Return the number of values before the colour lock, then the distance from a straight line in 8-bit steps."""
    samples = to_samples(made.copy(), ramp.dtype)
    values = len(np.unique(samples))
    height, width, _ = ramp.shape
    ColourLock(samples, ramp, scale=4).settle(height)
    place = (np.arange(4 * width) + 0.5) / 4 - 0.5
    line = GRADIENT[0] + (GRADIENT[1] - GRADIENT[0]) * place / (width - 1)
    edge = 4 * min(MARGIN_PX, (min(height, width) - 1) // 2)
    gap = np.abs(samples / 257 - 255 * line[:, np.newaxis])[edge:-edge, edge:-edge]
    return {
        "gradient_values": values,
        "gradient_mean_steps": round(float(gap.mean()), 3),
        "gradient_most_steps": round(float(gap.max()), 3),
    }


if __name__ == "__main__":
    main()
