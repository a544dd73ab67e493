"""How far is a picture made of tiles from the one made in one piece, and what do the halos cost?

In f32, with the plan and the halo that the service uses.
"""

from __future__ import annotations

import argparse
import asyncio
import math
from pathlib import Path

import numpy as np
from parts import enlarge_all
from record import photo, record

from enlarger import config
from enlarger.engine.networks import TAIL_REACH_PX
from enlarger.engine.openvino import OpenVINOEngine, _cuts
from enlarger.geometry.rect import Pixels, Rect
from enlarger.geometry.tiles import BLEND_PX, TileBox, plan
from enlarger.models import Catalogue, Model


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="realesrgan-x4plus")
    parser.add_argument("--halo", type=int, nargs="+", help="other halos than the model's own")
    parser.add_argument("--photo", default="astronaut.png", help="a file of scikit-image's data")
    parser.add_argument("--side", type=int, default=512, help="pixels of a side, from the middle")
    parser.add_argument("--whole", type=Path, help="where the result in one piece is kept (.npy)")
    parser.add_argument("--record", action="store_true", help="append to results.jsonl")
    arguments = parser.parse_args()

    model = Catalogue.installed(Path("models")).choose(arguments.model, scale=4)
    picture = middle(photo(arguments.photo), arguments.side)
    height, width, _ = picture.shape
    engine = OpenVINOEngine(
        Catalogue([model]), threads=config.cores(), precision="f32", cache_folder=None
    )

    def enlarge(tiles: list[Pixels], keeps: list[Rect] | None = None) -> list[Pixels]:
        return asyncio.run(enlarge_all(engine, model, "f32", tiles, keeps))

    if arguments.whole and arguments.whole.exists():
        whole = np.load(arguments.whole)
    else:
        (whole,) = enlarge([picture])
        if arguments.whole:
            np.save(arguments.whole, whole)
    for halo_px in arguments.halo or [model.halo_px]:
        boxes = plan(
            width,
            height,
            halo_px=halo_px,
            max_tile_px=model.max_tile_px,
            blend_px=0 if model.halo_is_exact else BLEND_PX,
        )
        canvas = np.zeros_like(whole)
        tiles = [box.read(picture) for box in boxes]
        cores = enlarge(tiles, [box.kept_in_tile for box in boxes])
        for box, core in zip(boxes, cores, strict=True):
            box.paste(canvas, core, model.scale)
        difference = np.abs(whole.astype(np.int16) - canvas)
        mean_square = float((difference.astype(float) ** 2).mean())
        figures = {
            "model": model.id,
            "halo_px": halo_px,
            "photo": arguments.photo,
            "side_px": height,
            "tiles": len(boxes),
            "work_factor": round(sum(box.lr_px for box in boxes) / (width * height), 3),
            "work_factor_with_tail": round(work_factor(model, boxes) / (width * height), 3),
            "psnr_db": round(10 * math.log10(255**2 / mean_square), 1) if mean_square else None,
            "max_difference": int(difference.max()),
            "step_ratio": round(
                step(canvas, boxes, model.scale) / step(canvas, None, model.scale), 3
            ),
            "step_ratio_whole": round(
                step(whole, boxes, model.scale) / step(whole, None, model.scale), 3
            ),
        }
        print("  ".join(f"{name} {value}" for name, value in figures.items()), flush=True)
        if arguments.record:
            record("seams", figures)


def work_factor(model: Model, boxes: list[TileBox]) -> float:
    """Pixels of a network in one piece that would take as much computing.

    The trunk of an rrdb network sees all of a tile, its tail what is kept, in blocks that see a little around them.
    """
    read_px = sum(box.lr_px for box in boxes)
    if model.architecture == "compact":
        return read_px
    weights = [outline.weights for outline in model.files.graph.outlines]
    tail_share = 1 - 2e-6 * sum(weights[:-4]) / model.mflop_per_px
    return (1 - tail_share) * read_px + tail_share * sum(map(tail_px, boxes))


def tail_px(box: TileBox) -> int:
    """LR pixels that the tail sees of a tile."""
    kept = box.kept_in_tile
    sides = (
        (kept.top, kept.height_px, box.rows.read_px),
        (kept.left, kept.width_px, box.columns.read_px),
    )
    return math.prod(
        sum(
            min(read_px, stop + TAIL_REACH_PX) - max(0, start - TAIL_REACH_PX)
            for start, stop in _cuts(first, length)
        )
        for first, length, read_px in sides
    )


def middle(picture: Pixels, side_px: int) -> Pixels:
    """A square from the middle, or all there is."""
    top, left = (max(0, (length - side_px) // 2) for length in picture.shape[:2])
    return picture[top : top + side_px, left : left + side_px]


def step(pixels: Pixels, boxes: list[TileBox] | None, scale: int) -> float:
    """Mean absolute difference of neighbours: across the borders of tiles, or everywhere for None."""
    down, across = (np.abs(np.diff(pixels.astype(int), axis=axis)) for axis in (0, 1))
    if boxes is None:
        return float((down.sum() + across.sum()) / (down.size + across.size))
    rows = sorted({box.rows.start * scale - 1 for box in boxes} - {-1})
    columns = sorted({box.columns.start * scale - 1 for box in boxes} - {-1})
    steps = [down[rows].ravel(), across[:, columns].ravel()]
    return float(np.concatenate(steps).mean())


if __name__ == "__main__":
    main()
