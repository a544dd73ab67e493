"""Which edges of cut-outs are better on other backgrounds: the network's, or those of Lanczos on premultiplied samples?

Shapes are drawn eight times as large, and averaged to the picture's size, with colours weighted by alpha, and to four
times that size, which is the truth. Both results are put on backgrounds of several colours. The figure is the root
mean square difference from the truth within six pixels of the edge, in steps of 8 bits. Edges are clean, or have the
background mixed in from which the shape was cut.
"""

from __future__ import annotations

import argparse
import asyncio
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from record import photo, record

from enlarger import config
from enlarger.engine.openvino.runtime import OpenVINOEngine
from enlarger.geometry.rect import Pixels
from enlarger.models import Catalogue, Model
from enlarger.options import Options
from enlarger.picture.values import Header, Picture
from enlarger.pipeline.enlarging import enlarge
from enlarger.pipeline.limits import Limits
from enlarger.pipeline.plan import plan

SCALE = 4
DRAWN = 8
"""Scale of the drawings, relative to the picture's size."""

GROUNDS = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "gray": (128, 128, 128),
    "magenta": (230, 0, 200),
}
EDGES = ("clean", "white", "black", "photo", "jpeg")
"""What is mixed into the edges: nothing; a white or black background or a photo; white, with the colours saved as JPEG."""

Floats = npt.NDArray[np.float64]


def masked(side_px: int, draw: Any) -> Floats:
    """Return what ``draw`` draws on a canvas of 768 x 768, at the given size, from 0 to 1."""
    image = Image.new("L", (768, 768))
    draw(ImageDraw.Draw(image))
    return np.asarray(image.resize((side_px, side_px), Image.Resampling.NEAREST)) / 255


def flat(side_px: int, *colour: int) -> Floats:
    """Return one colour everywhere."""
    return np.broadcast_to(np.array(colour, float), (side_px, side_px, 3))


def shapes(side_px: int) -> Iterator[tuple[str, Floats, Floats]]:
    """Yield name, colour (H, W, 3) and alpha (H, W), from 0 to 1."""
    random = np.random.default_rng(0)
    disc = masked(side_px, lambda draw: draw.ellipse((112, 112, 562, 638), fill=255))
    yield "disc", flat(side_px, 40, 60, 50), disc

    def polygons(draw: Any) -> None:
        for _ in range(9):
            draw.polygon([tuple(map(int, random.integers(0, 768, 2))) for _ in range(3)], fill=255)

    yield "polygons", flat(side_px, 150, 40, 60), masked(side_px, polygons)
    face = Image.fromarray(photo()[:256, 100:356]).resize((side_px, side_px))
    yield "photo", np.asarray(face, float), disc

    def text(draw: Any) -> None:
        draw.text((40, 100), "Hello\n4x", fill=255, font=ImageFont.load_default(240))

    yield "text", flat(side_px, 30, 30, 120), masked(side_px, text)

    def hairs(draw: Any) -> None:
        for x in range(0, 768, 140):
            draw.line((x, 0, 768 - x, 768), fill=255, width=14)

    yield "hairs", flat(side_px, 90, 60, 30), masked(side_px, hairs)
    inner = masked(side_px, lambda draw: draw.ellipse((125, 125, 549, 625), fill=255))[..., None]
    yield "outline", 20 * (1 - inner) + flat(side_px, 250, 190, 40) * inner, disc
    blurred = Image.fromarray((disc * 150).astype(np.uint8)).filter(
        ImageFilter.GaussianBlur(side_px / 27)
    )
    shadow = np.roll(np.asarray(blurred) / 255, (side_px // 13, side_px // 13), (0, 1))
    alpha = disc + shadow * (1 - disc)
    colour = flat(side_px, 200, 60, 40) * disc[..., None] / np.maximum(alpha, 1e-9)[..., None]
    yield "shadow", colour, alpha


def averaged(samples: Floats, side_px: int) -> Floats:
    """Return the mean of each square."""
    factor = len(samples) // side_px
    return np.asarray(
        samples.reshape(side_px, factor, side_px, factor, *samples.shape[2:]).mean((1, 3))
    )


def cut_out(colour: Floats, alpha: Floats, side_px: int, edge: str) -> Pixels:
    """Return the picture to upscale, RGBA."""
    cover, low = alpha[..., None], averaged(alpha, side_px)
    if edge == "clean":
        seen = averaged(colour * cover, side_px) / np.maximum(low, 1e-9)[..., None]
    else:
        beach = Image.fromarray(photo("coffee.png")[50:350, 100:400]).resize(alpha.shape)
        ground: Any = {"black": 0, "photo": np.asarray(beach, float)}.get(edge, 255)
        seen = averaged(colour * cover + ground * (1 - cover), side_px)
    if edge == "jpeg":
        file = io.BytesIO()
        Image.fromarray(np.rint(seen).astype(np.uint8)).save(file, "JPEG", quality=80)
        seen = np.asarray(Image.open(file), float)
    return np.rint(np.dstack([seen, 255 * low])).clip(0, 255).astype(np.uint8)


def lanczos(low: Pixels) -> tuple[Floats, Floats]:
    """Return the upscaled premultiplied colour (H, W, 3) and alpha (H, W), from 0 to 1."""
    alpha = low[:, :, 3] / np.float32(255)
    planes = [*np.moveaxis(low[:, :, :3] * alpha[..., None], 2, 0), alpha]
    size = (len(low) * SCALE, len(low) * SCALE)
    *colour, alpha = (
        np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.LANCZOS))
        for plane in planes
    )
    alpha = alpha.clip(0, 1)
    return np.dstack(colour).clip(0, 255 * alpha[..., None]), alpha


def edge_of(alpha: Floats) -> npt.NDArray[np.bool_]:
    """Return where alpha changes, and six pixels around it."""
    image = Image.fromarray(np.rint(255 * alpha).astype(np.uint8))
    low, high = (
        np.asarray(image.filter(kind(3))) for kind in (ImageFilter.MinFilter, ImageFilter.MaxFilter)
    )
    steps = Image.fromarray(np.where(low != high, 255, 0).astype(np.uint8))
    return np.asarray(steps.filter(ImageFilter.MaxFilter(13))) > 0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="realesrgan-x4plus")
    parser.add_argument("--side", type=int, default=96, help="side of the pictures in pixels")
    parser.add_argument("--shapes", nargs="+", help="shapes to draw; all by default")
    parser.add_argument("--edges", nargs="+", choices=EDGES, default=EDGES)
    parser.add_argument(
        "--folder", type=Path, help="folder for the pictures: truth, Lanczos and result"
    )
    parser.add_argument("--threads", type=int, default=config.cores())
    parser.add_argument("--record", action="store_true", help="append to results.jsonl")
    arguments = parser.parse_args()

    model = Catalogue.installed(Path("models")).choose(arguments.model, scale=SCALE)
    engine = OpenVINOEngine(
        Catalogue([model]), threads=arguments.threads, precision="f32", cache_folder=None
    )
    figures: dict[str, dict[str, Any]] = {}
    for name, colour, alpha in shapes(arguments.side * DRAWN):
        if arguments.shapes and name not in arguments.shapes:
            continue
        side = arguments.side * SCALE
        truth = averaged(colour * alpha[..., None], side), averaged(alpha, side)
        edge = edge_of(truth[1])
        for kind in arguments.edges:
            low = cut_out(colour, alpha, arguments.side, kind)
            samples = asyncio.run(enlarged(low, model, engine))
            opacity = samples[:, :, 3] / 255
            ways = {
                "network": (samples[:, :, :3] * opacity[..., None], opacity),
                "lanczos": lanczos(low),
            }
            errors: dict[str, dict[str, float]] = {way: {} for way in ways}
            for ground, value in GROUNDS.items():
                right = on(value, *truth)
                for way, made in ways.items():
                    difference = (on(value, *made) - right)[edge]
                    errors[way][ground] = round(float(np.sqrt((difference**2).mean())), 1)
                if arguments.folder:
                    arguments.folder.mkdir(parents=True, exist_ok=True)
                    row = np.hstack(
                        [right, *(on(value, *ways[way]) for way in ("lanczos", "network"))]
                    )
                    Image.fromarray(row.astype(np.uint8)).save(
                        arguments.folder / f"{name}-{kind}-{ground}.png"
                    )
            figures.setdefault(name, {})[kind] = errors
            print(
                name,
                kind,
                *(f"{way} {mean(errors[way])} {errors[way]}" for way in ways),
                flush=True,
            )
    if arguments.record:
        record("cutouts", {"model": model.id, "precision": "f32", "errors": figures})


async def enlarged(low: Pixels, model: Model, engine: OpenVINOEngine) -> Pixels:
    """Upscale in the same way as the service."""
    header = Header(
        format="png",
        width_px=len(low),
        height_px=len(low),
        mode="RGBA",
        depth_bits=8,
        frames=1,
        may_be_transparent=True,
    )
    options = Options(scale=SCALE, model=model.id, alpha_edge="clean")
    with ThreadPoolExecutor(1) as executor:
        result = await enlarge(
            Picture(samples=low),
            plan=plan(header, options, catalogue=Catalogue([model]), limits=Limits()),
            precision="f32",
            engine=engine,
            executor=executor,
            deadline=asyncio.get_running_loop().time() + 86_400,
        )
    return result.picture.samples


def on(ground: tuple[int, int, int], colour: Floats, alpha: Floats) -> Floats:
    """Return premultiplied ``colour`` on a background."""
    return np.asarray((colour + np.array(ground) * (1 - alpha[..., None])).clip(0, 255))


def mean(errors: dict[str, float]) -> float:
    """Return the mean over all backgrounds."""
    return round(sum(errors.values()) / len(errors), 1)


if __name__ == "__main__":
    main()
