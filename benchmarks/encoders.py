"""How fast are the encoders of result files, and how large are the files?

On a photo that was enlarged for it, one encoder after the other, one thread, in processor seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
from parts import enlarge_all
from PIL import Image
from record import photo, record
from turns import in_turn, ratio, timed

from enlarger import config
from enlarger.engine.openvino import OpenVINOEngine
from enlarger.models import Catalogue
from enlarger.picture.encode import PNG_LEVEL
from enlarger.wire import Pixels

OURS = f"png {PNG_LEVEL}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="realesrgan-x4plus")
    parser.add_argument("--side", type=int, default=192, help="pixels of a side before enlarging")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--record", action="store_true", help="append to results.jsonl")
    arguments = parser.parse_args()

    model = Catalogue.installed(Path("models")).choose(arguments.model, scale=4)
    engine = OpenVINOEngine(Catalogue([model]), threads=config.cores())
    first = (512 - arguments.side) // 2
    small = photo()[first : first + arguments.side, first : first + arguments.side]
    (picture,) = asyncio.run(enlarge_all(engine, model, engine.precisions[0], [small]))
    ways = encoders(picture)
    sizes = {name: len(encode()) for name, encode in ways.items()}
    clocks = {name: timed(encode, time.process_time) for name, encode in ways.items()}
    seconds = in_turn(clocks, arguments.rounds)

    ratios = {f"{name} / {OURS}": ratio(seconds, name, OURS) for name in ways if name != OURS}
    megapixels = picture.shape[0] * picture.shape[1] / 1e6
    speeds = {
        name: round(megapixels / statistics.median(runs), 1) for name, runs in seconds.items()
    }
    print(f"\n{picture.shape[1]}x{picture.shape[0]}, enlarged by {model.id}")
    for name in ways:
        took = f"{ratio(seconds, name, OURS):6.2f} times the seconds of {OURS}"
        size = f"{sizes[name] / sizes[OURS]:.2f} times its bytes"
        print(f"  {name:20} {took}, {size}; {speeds[name]} MP/s, {sizes[name]} bytes")
    if arguments.record:
        record(
            "encoders",
            {
                "model": model.id,
                "megapixels": round(megapixels, 2),
                "ratios": ratios,
                "megapixels_per_s": speeds,
                "bytes": sizes,
                "seconds": seconds,
            },
        )


def encoders(picture: Pixels) -> dict[str, Callable[[], bytes | bytearray]]:
    """What there is to choose from; the qualities are those that results have unless a caller says otherwise."""

    def pillow(kind: str, **options: Any) -> bytes:
        file = BytesIO()
        Image.fromarray(picture).save(file, kind, **options)
        return file.getvalue()

    return {
        **{f"png {level}": partial(pillow, "png", compress_level=level) for level in (0, 1, 3, 6)},
        **{
            f"png {level} imagecodecs": partial(imagecodecs.png_encode, picture, level=level)
            for level in (1, 3, 6)
        },
        "jpeg 92": partial(pillow, "jpeg", quality=92, subsampling="4:4:4"),
        **{
            f"webp 90 method {method}": partial(pillow, "webp", quality=90, method=method)
            for method in (0, 2, 4)
        },
        **{
            f"avif 80 speed {speed}": partial(
                pillow, "avif", quality=80, speed=speed, max_threads=1
            )
            for speed in (6, 8, 10)
        },
    }


if __name__ == "__main__":
    main()
