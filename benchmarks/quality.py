"""How close models come to pictures that were reduced, compressed or made noisy: PSNR, SSIM and SSIMULACRA2.

The pictures are parts of photographs of scikit-image, portraits of a game (``make pictures``), and shapes.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from statistics import fmean

import numpy as np
from labelled import FOLDER, pixels_of
from PIL import Image, ImageDraw, ImageFont
from record import photo, record
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from ssimulacra2 import compute_ssimulacra2
from support import contents
from support.contents import as_jpeg
from support.plans import planned

from enlarger import config
from enlarger.engine.factory import make_engine
from enlarger.engine.local import LocalEngine
from enlarger.geometry.rect import Pixels
from enlarger.models import Catalogue, Model
from enlarger.picture.values import Picture
from enlarger.pipeline.enlarging import enlarge

SIDE_PX = 192
"""Side of the parts, which 2, 3 and 4 divide."""

SCALES = (2, 3, 4)
STRONGEST = 3
"""The noise level that is measured besides a model's own."""

PHOTOS = {
    "chelsea.png": (120, 60),
    "motorcycle_left.png": (300, 180),
}
DRAWINGS = {
    "usr/share/games/wesnoth/*/data/core/images/portraits/elves/captain.png": (110, 60),
}
"""Left and top of the part of each picture."""


@dataclass(frozen=True)
class Candidate:
    """A model at one of its noise levels, or plain resampling."""

    name: str
    network: Model | None


def candidates(catalogue: Catalogue, scale: int) -> Iterator[Candidate]:
    """Yield what can make a result of this scale in one pass: native models, and those of 4x with a reduction."""
    yield Candidate("Lanczos", None)
    for model in catalogue:
        if model.scale in (scale, 4):
            yield Candidate(model.id, model)
            if STRONGEST in model.levels:
                yield Candidate(f"{model.id} denoise={STRONGEST}", model.at(STRONGEST))


def truths() -> dict[str, dict[str, Pixels]]:
    """Return the pictures as they should be, by content and name."""
    found: dict[str, dict[str, Pixels]] = {"photo": {}, "drawing": {}}
    for name, corner in PHOTOS.items():
        found["photo"][name] = _part(photo(name), corner)
    found["drawing"]["shapes"] = _part(contents.drawing(0), (150, 150))
    for pattern, corner in DRAWINGS.items():
        paths = [path for path in sorted(FOLDER.glob(pattern)) if path.is_file()]
        large = (path for path in paths if min(Image.open(path).size) >= SIDE_PX + max(corner))
        if (path := next(large, None)) is not None:
            found["drawing"][path.name] = _part(pixels_of(path), corner)
    return found


def worn(truth: Pixels, scale: int) -> dict[str, Pixels]:
    """Return a picture as a model gets it: reduced, and then compressed or with noise."""
    side_px = SIDE_PX // scale
    reduced = np.asarray(
        Image.fromarray(truth).resize((side_px, side_px), Image.Resampling.BICUBIC)
    )
    noise = np.random.default_rng(scale).normal(0, 10, reduced.shape)
    with Image.open(BytesIO(as_jpeg(reduced, 60))) as image:
        compressed = np.asarray(image.convert("RGB"))
    return {
        "reduced": reduced,
        "JPEG 60": compressed,
        "noise 10": np.clip(reduced + noise, 0, 255).round().astype(np.uint8),
    }


async def made(
    engine: LocalEngine,
    candidate: Candidate,
    small: Pixels,
    scale: int,
    executor: ThreadPoolExecutor,
) -> Pixels:
    """Return what a candidate makes of a picture."""
    size_px = (scale * small.shape[1], scale * small.shape[0])
    if candidate.network is None:
        return np.asarray(Image.fromarray(small).resize(size_px, Image.Resampling.LANCZOS))
    plan = planned(
        small.shape[1], small.shape[0], size_px, model=candidate.network, color_lock=True
    )
    enlarged = await enlarge(
        Picture(samples=small),
        plan=plan,
        precision=(await engine.ready_for(plan.need)).precisions[0],
        engine=engine,
        executor=executor,
        deadline=asyncio.get_running_loop().time() + 3600,
    )
    return enlarged.picture.samples


def scores(truth: Pixels, found: Pixels, folder: Path) -> tuple[float, float, float]:
    """Return PSNR in dB, SSIM, and SSIMULACRA2."""
    paths = [folder / "truth.png", folder / "found.png"]
    for path, pixels in zip(paths, (truth, found), strict=True):
        Image.fromarray(pixels).save(path)
    return (
        float(peak_signal_noise_ratio(truth, found)),
        float(structural_similarity(truth, found, channel_axis=2)),
        float(compute_ssimulacra2(*map(str, paths))),
    )


async def measure(scales: list[int], *, only: str) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Return the mean scores by scale, candidate, and content with wear."""
    catalogue, pictures = Catalogue.installed(Path("models")), truths()
    table: dict[str, dict[str, dict[str, list[float]]]] = {}
    engine = make_engine(
        catalogue,
        threads=config.cores(),
        cache_folder=config.load().server.cache_folder,
        one_picture=True,
    )
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(2) as executor:
        async with engine:
            for scale in scales:
                for candidate in candidates(catalogue, scale):
                    if only not in candidate.name:
                        continue
                    started = time.monotonic()
                    row = table.setdefault(str(scale), {}).setdefault(candidate.name, {})
                    for content, truth_of in pictures.items():
                        by_wear: dict[str, list[tuple[float, float, float]]] = {}
                        for truth in truth_of.values():
                            for wear, small in worn(truth, scale).items():
                                found = await made(engine, candidate, small, scale, executor)
                                by_wear.setdefault(wear, []).append(
                                    scores(truth, found, Path(name))
                                )
                        for wear, values in by_wear.items():
                            means = map(fmean, zip(*values, strict=True))
                            row[f"{content}, {wear}"] = [round(value, 3) for value in means]
                    print(
                        f"{scale}x {candidate.name} {time.monotonic() - started:.0f} s {row}",
                        flush=True,
                    )
    return table


async def sheet(path: Path, scale: int = 4) -> None:
    """Draw the same part of a photograph and of a drawing through all models, with their names."""
    catalogue, pictures = Catalogue.installed(Path("models")), truths()
    chosen = [next(iter(pictures["photo"].values())), next(iter(pictures["drawing"].values()))]
    font, tiles = ImageFont.load_default(12), []
    engine = make_engine(
        catalogue,
        threads=config.cores(),
        cache_folder=config.load().server.cache_folder,
        one_picture=True,
    )
    with ThreadPoolExecutor(2) as executor:
        async with engine:
            shown = [Candidate("as it was", None), Candidate("Lanczos", None)]
            shown += [
                Candidate(f"{model.id} ({model.scale}x)", model)
                for model in catalogue
                if model.scale > 1
            ]
            for candidate in shown:
                halves = []
                for truth in chosen:
                    small = worn(truth, scale)["JPEG 60"]
                    is_truth = candidate.name == "as it was"
                    found = (
                        truth if is_truth else await made(engine, candidate, small, scale, executor)
                    )
                    halves.append(found[40:152, 40:152])
                tiles.append((candidate.name, np.hstack(halves)))
    columns = 4
    height, width = tiles[0][1].shape[0] + 18, tiles[0][1].shape[1] + 6
    board = Image.new("RGB", (columns * width, -(-len(tiles) // columns) * height), "white")
    draw = ImageDraw.Draw(board)
    for number, (name, pixels) in enumerate(tiles):
        left, top = number % columns * width, number // columns * height
        draw.text((left + 2, top + 1), name, font=font, fill="black")
        board.paste(Image.fromarray(pixels), (left, top + 17))
    board.save(path, quality=88)


def _part(pixels: Pixels, corner: tuple[int, int]) -> Pixels:
    left, top = corner
    return np.ascontiguousarray(pixels[top : top + SIDE_PX, left : left + SIDE_PX])


def main() -> None:
    """Print and record the scores, or draw the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true", help="append the figures to results.jsonl")
    parser.add_argument("--scale", type=int, action="append", help="measure this scale alone")
    parser.add_argument("--only", default="", help="measure models whose name has this text")
    parser.add_argument("--sheet", type=Path, help="draw all models into this file instead")
    arguments = parser.parse_args()
    if arguments.sheet:
        asyncio.run(sheet(arguments.sheet))
        return
    table = asyncio.run(measure(arguments.scale or list(SCALES), only=arguments.only))
    if arguments.record:
        names = {content: list(found) for content, found in truths().items()}
        record("quality", {"pictures": names, "psnr_ssim_ssimulacra2": table})


if __name__ == "__main__":
    main()
