"""Which upscales transparency better: the network, or a filter?

Shapes are drawn eight times as large, and averaged to the picture's size and to four times that size. The result is
the root mean square difference from the latter, in steps of 8 bits.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from record import record

from enlarger import config
from enlarger.engine.openvino.runtime import OpenVINOEngine
from enlarger.engine.tile import TileRequest
from enlarger.geometry.rect import Pixels
from enlarger.models import Catalogue

SIDE_PX = 96
DRAWN_PX = SIDE_PX * 8


def shapes() -> Iterator[tuple[str, Image.Image]]:
    """Yield large shapes that are typical of cut-outs."""
    random = np.random.default_rng(0)
    for name in ("disc", "polygons", "hairs", "text", "soft"):
        image = Image.new("L", (DRAWN_PX, DRAWN_PX))
        draw = ImageDraw.Draw(image)
        if name == "disc":
            draw.ellipse((112, 112, 562, 638), fill=255)
        elif name == "polygons":
            for _ in range(12):
                corners = [tuple(map(int, random.integers(0, DRAWN_PX, 2))) for _ in range(3)]
                draw.polygon(corners, fill=int(random.integers(80, 256)))
        elif name == "hairs":
            for x in range(0, DRAWN_PX, 140):
                draw.line((x, 0, DRAWN_PX - x, DRAWN_PX), fill=255, width=20)
        elif name == "text":
            draw.text((40, 100), "Hello\n4x", fill=255, font=ImageFont.load_default(240))
        else:
            y, x = np.mgrid[0:DRAWN_PX, 0:DRAWN_PX]
            glow = 255 * np.exp(-((x - 380) ** 2 + (y - 340) ** 2) / 42_000)
            image = Image.fromarray(glow.astype(np.uint8))
        yield name, image


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="realesrgan-x4plus")
    parser.add_argument("--record", action="store_true", help="append to results.jsonl")
    arguments = parser.parse_args()

    model = Catalogue.installed(Path("models")).choose(arguments.model, scale=4)
    engine = OpenVINOEngine(
        Catalogue([model]), threads=config.cores(), precision="f32", cache_folder=None
    )

    async def enlarge(alpha: Pixels) -> Pixels:
        request = TileRequest(
            pixels=np.repeat(alpha[:, :, np.newaxis], 3, axis=2),
            model=model.id,
            weights_sha256=model.sha256,
            scale=model.scale,
            precision="f32",
            deadline=asyncio.get_running_loop().time() + 86_400,
            request_id="benchmark",
        )
        mean: Pixels = (await engine.enlarge(request)).pixels.mean(axis=2)
        return mean

    errors: dict[str, dict[str, float]] = {}
    for name, drawn in shapes():
        low = drawn.resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX)
        truth = np.asarray(
            drawn.resize((SIDE_PX * 4, SIDE_PX * 4), Image.Resampling.BOX), np.float64
        )
        made = {
            "network": asyncio.run(enlarge(np.asarray(low))),
            "lanczos": np.asarray(low.resize(truth.shape, Image.Resampling.LANCZOS)),
            "bicubic": np.asarray(low.resize(truth.shape, Image.Resampling.BICUBIC)),
        }
        errors[name] = {
            way: round(float(np.sqrt(((pixels - truth) ** 2).mean())), 2)
            for way, pixels in made.items()
        }
        print(name, errors[name])
    if arguments.record:
        record("alpha", {"model": model.id, "precision": "f32", "errors": errors})


if __name__ == "__main__":
    main()
