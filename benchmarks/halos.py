"""What would other halos do to the picture, and at what computation?

A tile that is cut on its left and right is compared with the picture in one piece, which shows the error of its
samples at each distance from a cut. Tiles with a halo of h pixels use only samples at least h pixels from a cut, so
one tile for each photograph provides the figures of every halo. Fading is ignored, except for the largest difference;
it would gain about 0.1 dB. ``seams.py`` measures pictures of several tiles with everything that the service does, but
one halo at a time.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from photographs import FOLDER, PHOTOGRAPHS
from record import record
from seams import NEAR_PX, Bench, Difference, Samples, bench_of, text, together, work_factor

from enlarger import config
from enlarger.geometry.rect import Pixels
from enlarger.geometry.tiles import BLEND_PX, TileBox, _spans
from enlarger.models import Model

SPACING_PX = 256
"""Squares of 512, 768 and 1024 px a side, cut for x4plus, have one pixel of border per this many of their own pixels."""

HALOS_PX = (12, 16, 20, 23, 24, 25, 26, 27, 28, 29, 32, 36, 40)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="realesrgan-x4plus")
    parser.add_argument("--halo", type=int, nargs="+", default=HALOS_PX)
    names = [photograph.name for photograph in PHOTOGRAPHS]
    parser.add_argument("--photo", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument(
        "--width", type=int, default=384, help="width of the part, whose middle third is the tile"
    )
    parser.add_argument(
        "--height", type=int, help="height of the part; by default that of each photograph"
    )
    parser.add_argument(
        "--packages", type=Path, default=FOLDER, help="folder of the unpacked packages"
    )
    parser.add_argument(
        "--kept", type=Path, help="folder for the network's results, which later runs reuse"
    )
    parser.add_argument("--threads", type=int, default=config.cores())
    parser.add_argument("--record", action="store_true", help="append to results.jsonl")
    arguments = parser.parse_args()

    bench = bench_of(arguments.model, arguments.threads, arguments.kept)
    found: dict[int, dict[str, Difference]] = {halo_px: {} for halo_px in arguments.halo}
    packages, heights = {}, {}
    for photograph in PHOTOGRAPHS:
        if photograph.name not in arguments.photo:
            continue
        rows = arguments.height or photograph.rows
        picture = photograph.part(arguments.packages, arguments.width, rows)
        if picture is None:
            continue
        packages[photograph.name] = photograph.package
        heights[photograph.name] = rows
        differences = of_tile(bench, photograph.name, picture)
        for halo_px, photographs in found.items():
            photographs[photograph.name] = behind(differences, halo_px, bench.model.scale)
        print(photograph.name, end=" ", flush=True)
    figures = [
        {
            "halo_px": halo_px,
            "work_factor_with_tail": round(computing(bench.model, halo_px), 3),
            **together(photographs),
        }
        for halo_px, photographs in found.items()
    ]
    print("", *map(text, figures), sep="\n")
    if arguments.record:
        record(
            "halos",
            {
                "model": bench.model.id,
                "width_px": arguments.width,
                "height_px": heights,
                "photographs": packages,
                "borders": figures,
            },
        )


def of_tile(bench: Bench, name: str, picture: Pixels) -> Samples:
    """Return the difference between a tile, the middle third of a picture, and the whole, in 8 bits: (H, W, 3)."""
    start = picture.shape[1] // 3
    stop = picture.shape[1] - start
    whole = bench.enlarged(name, picture)[:, start * bench.model.scale : stop * bench.model.scale]
    tile = bench.enlarged(f"{name}-tile", picture[:, start:stop])
    differences: Samples = np.abs(np.rint(tile / 257) - np.rint(whole / 257))
    return differences


def behind(differences: Samples, halo_px: int, scale: int) -> Difference:
    """Return the difference of a picture with one pixel of border per ``SPACING_PX`` pixels, outside the halo.

    On one side of a border are samples left of a tile's right cut, on the other side samples right of its left cut.
    """
    shown = differences[:, halo_px * scale : differences.shape[1] - halo_px * scale]
    columns = np.arange(shown.shape[1])
    from_border = np.minimum(columns, columns[::-1])
    near = np.tile(from_border < NEAR_PX * scale, (len(shown), 1))
    difference = Difference.of(shown, near, SPACING_PX * scale * shown[:, 0].size)
    # The fade belongs to the picture, too. A mixture of two errors is never larger than both.
    hidden = max(0, halo_px - BLEND_PX) * scale
    most = differences[:, hidden : differences.shape[1] - hidden].max()
    return replace(difference, most=int(most))


def computing(model: Model, halo_px: int) -> float:
    """Return the computation of 1024 x 1024 in nine tiles that fade into one another, relative to one piece.

    The tail of the network is included.
    """
    spans = _spans(1024, 3, halo_px, BLEND_PX)
    return work_factor(model, [TileBox(row, column) for row in spans for column in spans]) / 1024**2


if __name__ == "__main__":
    main()
