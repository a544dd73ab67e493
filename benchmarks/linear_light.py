"""Is linear light upscaled better as it is, or with the curve of sRGB?

Photos are reduced to a quarter, once as linear light and once as sRGB, both with 16 bits. The network upscales them
with the colour lock. The results are compared with the photo in sRGB, as a signal-to-noise ratio in dB.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

import numpy as np
from PIL import Image
from record import photo, record

from enlarger import config
from enlarger.engine.openvino.runtime import OpenVINOEngine
from enlarger.engine.tile import TileRequest
from enlarger.geometry.rect import Pixels
from enlarger.models import Catalogue
from enlarger.picture.colour_lock import ColourLock
from enlarger.picture.encoding import coded_of, light_of

PLACES = {
    "astronaut.png": (130, 0),
    "coffee.png": (100, 100),
    "chelsea.png": (60, 20),
    "rocket.jpg": (200, 100),
}
"""Photos of scikit-image, and the top left corner of the part of each."""

SCALE = 4


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="realesrgan-x4plus")
    parser.add_argument("--side", type=int, default=256, help="side of each photo in pixels")
    parser.add_argument("--record", action="store_true", help="append to results.jsonl")
    arguments = parser.parse_args()

    model = Catalogue.installed(Path("models")).choose(arguments.model, scale=SCALE)
    engine = OpenVINOEngine(
        Catalogue([model]), threads=config.cores(), precision="f32", cache_folder=None
    )

    async def enlarge(samples: Pixels) -> Pixels:
        request = TileRequest(
            pixels=samples,
            model=model.id,
            weights_sha256=model.sha256,
            scale=model.scale,
            precision="f32",
            deadline=asyncio.get_running_loop().time() + 86_400,
            request_id="benchmark",
        )
        made: Pixels = np.array((await engine.enlarge(request)).pixels)
        ColourLock(made, samples, scale=SCALE).settle(len(samples))
        return made

    decibels: dict[str, dict[str, float]] = {}
    for name, (left, top) in PLACES.items():
        side = arguments.side
        large = Image.fromarray(photo(name)).crop((left, top, left + side, top + side))
        small = np.asarray(large.resize((side // SCALE,) * 2, Image.Resampling.BICUBIC)) / 255
        linear = np.rint(light_of("srgb", small) * 65535).astype(np.uint16)
        made = {
            "as it is": coded_of("srgb", asyncio.run(enlarge(linear)) / 65535),
            "with the curve of sRGB": asyncio.run(
                enlarge(np.rint(coded_of("srgb", linear / 65535) * 65535).astype(np.uint16))
            )
            / 65535,
        }
        truth = np.asarray(large) / 255
        decibels[name] = {
            way: round(float(-10 * np.log10(((pixels - truth) ** 2).mean())), 2)
            for way, pixels in made.items()
        }
        print(name, decibels[name])
    if arguments.record:
        record("linear light", {"model": model.id, "precision": "f32", "decibels": decibels})


if __name__ == "__main__":
    main()
