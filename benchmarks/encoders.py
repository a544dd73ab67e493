"""How fast are the encoders of result files, and how large are the files?

The encoders run one after the other on one thread, measured in CPU seconds. All of them encode an upscaled photo.
Those of PNG also encode an upscaled drawing, the same drawing in its original form, and noise. Ours is the one in the
service.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
import zlib
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from parts import enlarge_all
from PIL import Image, ImageDraw
from record import photo, record
from turns import in_turn, ratio, timed

from enlarger import config
from enlarger.engine.openvino.runtime import OpenVINOEngine
from enlarger.geometry.rect import Pixels
from enlarger.models import Catalogue
from enlarger.picture.encoders.png import bare_png

OURS = "png ours"

Encoders = dict[str, Callable[[], bytes | bytearray | memoryview]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="realesrgan-x4plus")
    parser.add_argument(
        "--side", type=int, default=192, help="side of the picture in pixels, before upscaling"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--record", action="store_true", help="append to results.jsonl")
    arguments = parser.parse_args()

    model = Catalogue.installed(Path("models")).choose(arguments.model, scale=4)
    engine = OpenVINOEngine(Catalogue([model]), threads=config.cores())
    side_px = arguments.side
    first = (512 - side_px) // 2
    small = photo()[first : first + side_px, first : first + side_px]
    large = drawing(4 * side_px)
    reduced = np.asarray(Image.fromarray(large).resize((side_px, side_px), Image.Resampling.BOX))
    tiles = [small, reduced]
    enlarged = asyncio.run(enlarge_all(engine, model, engine.precisions[0], tiles))
    noise = np.random.default_rng(0).integers(0, 256, large.shape).astype(np.uint8)
    pictures = {
        "photo": enlarged[0],
        "drawing": enlarged[1],
        "drawing as drawn": large,
        "noise": noise,
    }
    measured = {
        name: measure(
            name,
            picture,
            pngs(picture) | (others(picture) if name == "photo" else {}),
            arguments.rounds,
        )
        for name, picture in pictures.items()
    }
    if arguments.record:
        record("encoders", {"model": model.id, "pictures": measured})


def measure(name: str, picture: Pixels, ways: Encoders, rounds: int) -> dict[str, Any]:
    """Measure the seconds and bytes of each encoder, and print them."""
    sizes = {way: len(encode()) for way, encode in ways.items()}
    clocks = {way: timed(encode, time.process_time) for way, encode in ways.items()}
    seconds = in_turn(clocks, rounds)
    megapixels = picture.shape[0] * picture.shape[1] / 1e6
    speeds = {way: round(megapixels / statistics.median(runs), 1) for way, runs in seconds.items()}
    print(f"\n{name}, {picture.shape[1]}x{picture.shape[0]}")
    for way in ways:
        took = f"{ratio(seconds, way, OURS):6.2f} times the seconds of {OURS}"
        size = f"{sizes[way] / sizes[OURS]:.2f} times its bytes"
        print(f"  {way:22} {took}, {size}; {speeds[way]} MP/s, {sizes[way]} bytes")
    return {
        "megapixels": round(megapixels, 2),
        "ratios": {f"{way} / {OURS}": ratio(seconds, way, OURS) for way in ways if way != OURS},
        "megapixels_per_s": speeds,
        "bytes": sizes,
        "seconds": seconds,
    }


def drawing(side_px: int) -> Pixels:
    """Return a drawing: lines, flat colours and letters with soft edges on white."""
    random = np.random.default_rng(0)
    image = Image.new("RGB", (2 * side_px, 2 * side_px), "white")
    draw = ImageDraw.Draw(image)
    for _ in range(side_px // 50):
        left, top, *colour = random.integers(0, [2 * side_px, 2 * side_px, 256, 256, 256]).tolist()
        draw.ellipse((left, top, left + side_px // 5, top + side_px // 6), fill=tuple(colour))
    for _ in range(side_px // 10):
        draw.line(random.integers(0, 2 * side_px, 4).tolist(), "black", int(random.integers(2, 12)))
    for top in range(0, 2 * side_px, 48):
        draw.text(
            (20, top), "The quick brown fox jumps over the lazy dog. " * 9, "navy", font_size=24
        )
    return np.asarray(image.resize((side_px, side_px), Image.Resampling.LANCZOS))


def pillow(picture: Pixels, kind: str, **options: Any) -> bytes:
    """Return a file written by Pillow."""
    file = BytesIO()
    Image.fromarray(picture).save(file, kind, **options)
    return file.getvalue()


def pngs(picture: Pixels) -> Encoders:
    """Return ways to write a PNG. Those of numpy only compress the rows."""
    libpng = partial(imagecodecs.png_encode, picture)
    strategies, filters = imagecodecs.PNG.STRATEGY, imagecodecs.PNG.FILTER
    return {
        OURS: partial(bare_png, picture),
        **{
            f"png {level}": partial(pillow, picture, "png", compress_level=level)
            for level in (0, 1, 3, 6)
        },
        **{f"png {level} libpng": partial(libpng, level=level) for level in (1, 3, 6)},
        "png 1 average": partial(libpng, level=1, filter=filters.AVG),
        "png 1 paeth": partial(libpng, level=1, filter=filters.PAETH),
        "png 1 up, runs": partial(libpng, level=1, filter=filters.UP, strategy=strategies.RLE),
        "png 1 up, numpy": lambda: streamed(upped(picture)),
        "png 1 up, libdeflate": lambda: imagecodecs.deflate_encode(
            upped(picture).tobytes(), level=1
        ),
        "png 3 up, libdeflate": lambda: imagecodecs.deflate_encode(
            upped(picture).tobytes(), level=3
        ),
    }


def upped(picture: Pixels) -> Pixels:
    """Return the rows of a PNG: the difference from the row above, after a 2 as filter type."""
    rows = picture.reshape(len(picture), -1)
    filtered = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = 2
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    return filtered


def streamed(rows: Pixels) -> bytes:
    """Compress a few rows at a time, so that not all of them need memory."""
    compressor = zlib.compressobj(1)
    parts = [compressor.compress(rows[top : top + 64].data) for top in range(0, len(rows), 64)]
    return b"".join([*parts, compressor.flush()])


def others(picture: Pixels) -> Encoders:
    """Return the other formats, with the default qualities of results."""
    save = partial(pillow, picture)
    return {
        "jpeg 92": partial(save, "jpeg", quality=92, subsampling="4:4:4"),
        **{
            f"webp 90 method {method}": partial(save, "webp", quality=90, method=method)
            for method in (0, 2, 4)
        },
        **{
            f"avif 80 speed {speed}": partial(save, "avif", quality=80, speed=speed, max_threads=1)
            for speed in (6, 8, 10)
        },
    }


if __name__ == "__main__":
    main()
