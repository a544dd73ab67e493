"""How far are pictures made of tiles from those made in one piece, and what do the halos cost?

The measurement is in f32 and without the colour lock, with the plan and the fading of the service, on photographs
that are mostly full of texture (``photographs.py``). Both results are rounded to 8 bits at the end, as in the
service, and compared.
"""

from __future__ import annotations

import argparse
import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
from parts import enlarge_all
from photographs import FOLDER, PHOTOGRAPHS
from record import record

from enlarger import config
from enlarger.engine.openvino.graphs import parts_of
from enlarger.engine.openvino.network import cuts
from enlarger.engine.openvino.runtime import OpenVINOEngine
from enlarger.geometry.rect import Pixels, Rect
from enlarger.geometry.tiles import TileBox, plan
from enlarger.models import Catalogue, Model

NEAR_PX = 24
"""LR pixels on either side of a border that count as near it. The 99.9th percentile is computed there."""

Figures = dict[str, Any]
Samples = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="realesrgan-x4plus")
    parser.add_argument(
        "--halo", type=int, nargs="+", help="halos to measure instead of the model's own"
    )
    parser.add_argument(
        "--blend", type=int, nargs="+", help="fades in pixels to measure instead of the service's"
    )
    names = [photograph.name for photograph in PHOTOGRAPHS]
    parser.add_argument("--photo", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--width", type=int, default=480, help="width of the measured part")
    parser.add_argument("--height", type=int, default=200)
    parser.add_argument(
        "--packages", type=Path, default=FOLDER, help="folder of the unpacked packages"
    )
    parser.add_argument(
        "--kept", type=Path, help="folder for the results in one piece, which later runs reuse"
    )
    parser.add_argument("--threads", type=int, default=config.cores())
    parser.add_argument("--record", action="store_true", help="append to results.jsonl")
    arguments = parser.parse_args()

    bench = bench_of(arguments.model, arguments.threads, arguments.kept)
    halos_px = arguments.halo or [bench.model.halo_px]
    blends_px = arguments.blend or [bench.model.blend_px]
    found: dict[tuple[int, int], dict[str, Difference]] = {
        (halo_px, blend_px): {} for halo_px in halos_px for blend_px in blends_px
    }
    packages = {}
    for photograph in PHOTOGRAPHS:
        if photograph.name not in arguments.photo:
            continue
        picture = photograph.part(arguments.packages, arguments.width, arguments.height)
        if picture is None:
            continue
        packages[photograph.name] = photograph.package
        for setting, differences in found.items():
            one = bench.difference(photograph.name, picture, *setting)
            differences[photograph.name] = one
            print(f"{photograph.name}, halo {setting[0]}: {one.psnr_db} dB", flush=True)
    figures = []
    for (halo_px, blend_px), differences in found.items():
        boxes = bench.plan(arguments.width, arguments.height, halo_px, blend_px)
        figures.append(
            {
                "halo_px": halo_px,
                "blend_px": blend_px,
                "tiles": len(boxes),
                "work_factor_with_tail": round(
                    work_factor(bench.model, boxes) / (arguments.width * arguments.height), 3
                ),
                **together(differences),
            }
        )
    print(*map(text, figures), sep="\n")
    if arguments.record:
        record(
            "seams",
            {
                "model": bench.model.id,
                "width_px": arguments.width,
                "height_px": arguments.height,
                "photographs": packages,
                "borders": figures,
            },
        )


def bench_of(model_id: str, threads: int, cache_folder: Path | None) -> Bench:
    """Return the bench of an installed model."""
    model = Catalogue.installed(Path("models")).choose(model_id, scale=4)
    engine = OpenVINOEngine(Catalogue([model]), threads=threads, precision="f32", cache_folder=None)
    return Bench(model, engine, cache_folder)


@dataclass(frozen=True, slots=True)
class Bench:
    """A model whose tiles are compared with the whole picture."""

    model: Model
    engine: OpenVINOEngine
    cache_folder: Path | None
    """Folder for the results in one piece, which take longest."""

    def plan(self, width_px: int, height_px: int, halo_px: int, blend_px: int) -> list[TileBox]:
        """Return the tiles of a picture."""
        most_px = self.model.max_tile_px
        return plan(
            width_px,
            height_px,
            halo_px=halo_px,
            max_tile_px=most_px,
            blend_px=blend_px,
            multiple_px=self.model.multiple_px,
        )

    def difference(self, name: str, picture: Pixels, halo_px: int, blend_px: int) -> Difference:
        """Compare a picture of 16 bits made of tiles with the same picture made in one piece."""
        height, width, _ = picture.shape
        whole = self.enlarged(name, picture)
        boxes = self.plan(width, height, halo_px, blend_px)
        tiled = np.zeros_like(whole)
        keeps = [box.kept_in_tile for box in boxes]
        tiles = self._enlarge([box.read(picture) for box in boxes], keeps)
        for box, tile in zip(boxes, tiles, strict=True):
            box.paste(tiled, tile, self.model.scale)
        whole8, tiled8 = (np.rint(pixels / 257) for pixels in (whole, tiled))
        near = near_borders(boxes, self.model.scale, whole8.shape[:2])
        return Difference.of(np.abs(whole8 - tiled8), near, whole8.size)

    def enlarged(self, name: str, picture: Pixels) -> Pixels:
        """Return the result in one piece, 16 bits, from the folder, or computed and saved there."""
        height, width, _ = picture.shape
        path = (
            self.cache_folder and self.cache_folder / f"{self.model.id}-{name}-{width}x{height}.npy"
        )
        if path and path.exists():
            found: Pixels = np.load(path)
            return found
        (made,) = self._enlarge([picture])
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, made)
        return made

    def _enlarge(
        self, parts: Sequence[Pixels], keeps: Sequence[Rect] | None = None
    ) -> list[Pixels]:
        return asyncio.run(enlarge_all(self.engine, self.model, "f32", parts, keeps))


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference between a picture made of tiles and one made in one piece, both of 8 bits."""

    psnr_db: float | None
    """Ratio over all samples; None if all are equal."""

    near: npt.NDArray[np.int64]
    """Number of samples within ``NEAR_PX`` of a border that differ by 0, 1, ... 255."""

    most: int
    """The largest difference of any sample."""

    @classmethod
    def of(cls, differences: Samples, near: Mask, samples: float) -> Difference:
        """Summarise differences, (H, W, 3). The mask ``near``, (H, W), marks those near a border.

        Args:
            differences: the difference of each sample, or of all those that are not equal.
            near: mask of the samples near a border.
            samples: number of samples of the picture; those that ``differences`` does not contain are equal.
        """
        mean_square = float((differences**2).sum()) / samples
        return cls(
            psnr_db=round(10 * math.log10(255**2 / mean_square), 1) if mean_square else None,
            near=np.bincount(differences[near].astype(int).ravel(), minlength=256),
            most=int(differences.max()),
        )


def together(differences: dict[str, Difference]) -> Figures:
    """Return median and worst PSNR over all photographs, and the 99.9th percentile near borders."""
    psnrs = [math.inf if one.psnr_db is None else one.psnr_db for one in differences.values()]
    counts = np.cumsum(sum(one.near for one in differences.values()))
    return {
        "median_db": _finite(round(median(psnrs), 1)),
        "worst_db": _finite(min(psnrs)),
        "p999_difference": int(np.searchsorted(counts, 0.999 * counts[-1])),
        "max_difference": max(one.most for one in differences.values()),
        "psnr_db": {name: one.psnr_db for name, one in differences.items()},
        "max_differences": {name: one.most for name, one in differences.items()},
    }


def _finite(value: float) -> float | None:
    """Return None in place of infinity, which JSON lacks: all samples are equal."""
    return value if math.isfinite(value) else None


def text(figures: Figures) -> str:
    """Return one line with the figures over all photographs."""
    single = {name: value for name, value in figures.items() if not isinstance(value, dict)}
    return "  ".join(f"{name} {value}" for name, value in single.items())


def near_borders(boxes: Sequence[TileBox], scale: int, shape: tuple[int, ...]) -> Mask:
    """Return the samples within ``NEAR_PX`` LR pixels of a border between tiles, as a mask (H, W)."""
    near = np.zeros(shape, np.bool_)
    for row in {box.rows.start for box in boxes} - {0}:
        near[max(0, row - NEAR_PX) * scale : (row + NEAR_PX) * scale] = True
    for column in {box.columns.start for box in boxes} - {0}:
        near[:, max(0, column - NEAR_PX) * scale : (column + NEAR_PX) * scale] = True
    return near


def work_factor(model: Model, boxes: Sequence[TileBox]) -> float:
    """Return the number of pixels of a network in one piece that would take as much computation.

    The trunk of an rrdb network reads the whole tile. Its tail reads the kept part, in blocks with a small margin.
    """
    read_px = sum(box.lr_px for box in boxes)
    if len(parts_of(model)) == 1:
        return read_px
    reach_px = parts_of(model)[1].reach_px or 0
    weights = [outline.weights for outline in model.files.graph.outlines]
    tail_share = 1 - 2e-6 * sum(weights[:-4]) / model.mflop_per_px
    return (1 - tail_share) * read_px + tail_share * sum(tail_px(box, reach_px) for box in boxes)


def tail_px(box: TileBox, reach_px: int) -> int:
    """Return the LR pixels of a tile that the tail reads, which reaches this far around a pixel."""
    kept = box.kept_in_tile
    sides = (
        (kept.top, kept.height_px, box.rows.read_px),
        (kept.left, kept.width_px, box.columns.read_px),
    )
    return math.prod(
        sum(
            min(read_px, stop + reach_px) - max(0, start - reach_px)
            for start, stop in cuts(first, length)
        )
        for first, length, read_px in sides
    )


if __name__ == "__main__":
    main()
