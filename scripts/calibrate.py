"""Measure the ranges on which int8 is based: `python scripts/calibrate.py MODEL FOLDER...`.

The script runs the network in f32 on the most colourful and detailed parts of the pictures in the folders. Half of
the parts have exchanged channels, stronger colours or inverted colours. With ``--worn`` some are noisy, faded or
compressed. It records the minimum, maximum and mean value of every feature. Then it rounds each block alone, and
leaves those blocks in floating point whose rounding shows most in the result. The table is written beside the models
of the package, and names the weights that it belongs to.

The shipped tables come from 43 pictures: those of scikit-image and scikit-learn, of Debian's opencv-doc and
mate-backgrounds, and of the wheels of gradio and mahotas, without those that tests and benchmarks use
(``held_out.py``).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import emulation
import held_out
import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from enlarger import config
from enlarger.engine.openvino import graphs
from enlarger.engine.samples import Floats, to_floats
from enlarger.geometry.rect import Pixels
from enlarger.models import Catalogue, Ranges
from enlarger.models.ranges import RANGES_FOLDER

CONCATENATED = 192
"""Number of features that a dense block's last convolution reads."""

SHORT_SIDE_PX = 360
"""Larger pictures are reduced to this short side: their own pixels are too smooth to be typical input."""

LEAST_SPAN = 1e-3
"""The span of a feature that never changes."""

JUDGED_TILES = 8


def main() -> None:
    """Measure, choose, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--tile", type=int, default=48, help="side of a tile in pixels")
    parser.add_argument("--tiles", type=int, default=2, help="tiles of each picture")
    parser.add_argument(
        "--in-float", type=float, default=0.13, help="share of blocks that stay in floating point"
    )
    parser.add_argument(
        "--worn",
        action="store_true",
        help="add one tile of each picture that is noisy, faded or compressed",
    )
    parser.add_argument("--out", type=Path, help="the .npz file to write")
    arguments = parser.parse_args()

    model = Catalogue.installed(Path("models")).choose(arguments.model, scale=4)
    tiles = list(seen(arguments.folders, arguments.tile, arguments.tiles, worn=arguments.worn))
    say(f"{len(tiles)} tiles of {arguments.tile} px")

    graph = graphs.build(model)
    results = run(watched(graph), tiles)
    low = np.minimum.reduce([result[1] for result in results])
    high = np.maximum.reduce([result[2] for result in results])
    mean = np.add.reduce([result[3] for result in results]) / len(results)
    middle, half_span = (low + high) / 2, np.maximum(high - low, LEAST_SPAN) / 2
    ranges = Ranges(
        sha256=model.sha256,
        low=middle - half_span,
        high=middle + half_span,
        mean=mean,
        in_float=(),
    )

    blocks = range(len(low) // 3)
    judged = tiles[:: max(1, len(tiles) // JUDGED_TILES)]
    right = [result[0] for result in run(graph, judged)]
    cost = []
    for block in blocks:
        alone = replace(ranges, in_float=tuple(other for other in blocks if other != block))
        made = [result[0] for result in run(graphs.build(model, alone), judged)]
        cost.append(mean_square(made, right))
        say(f"block {block} alone in int8: {-10 * np.log10(cost[block]):.1f} dB")
    in_float = np.argsort(cost)[len(cost) - round(arguments.in_float * len(cost)) :]
    ranges = replace(ranges, in_float=tuple(sorted(int(block) for block in in_float)))

    made = [result[0] for result in run(graphs.build(model, ranges), judged)]
    say(
        f"all but {ranges.in_float} in int8: {-10 * np.log10(mean_square(made, right)):.1f} dB on these tiles"
    )
    path = arguments.out or RANGES_FOLDER / f"{model.id}.npz"
    ranges.write(path)
    say(f"{path}: {path.stat().st_size} bytes")


def say(line: str) -> None:
    """Print to the terminal at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def seen(
    folders: Sequence[Path], side_px: int, count: int, *, worn: bool = False
) -> Iterator[Pixels]:
    """Yield the pictures that the network runs on.

    Args:
        folders: folders with pictures.
        side_px: side of a tile.
        count: tiles of each picture, every other one with changed colours.
        worn: add one tile that is noisy, faded or compressed.
    """
    random = np.random.default_rng(0)
    wears = cycle(wear for _, wear in held_out.HARD.values() if wear != held_out.Wear())
    paths = sorted(path for folder in folders for path in folder.rglob("*"))
    for path in paths:
        if path.name in held_out.NAMES:
            continue
        try:
            with Image.open(path) as image:
                picture = image.convert("RGB")
        except (UnidentifiedImageError, OSError):
            continue
        factor = min(picture.size) / SHORT_SIDE_PX
        if factor > 1.3:
            size = (round(picture.width / factor), round(picture.height / factor))
            picture = picture.resize(size, Image.Resampling.LANCZOS)
        for number, tile in enumerate(liveliest(np.asarray(picture), side_px, count)):
            yield tile if number % 2 == 0 else changed(tile, random)
        if worn:
            for tile in liveliest(np.asarray(picture), side_px, 1):
                yield next(wears).on(tile)


def liveliest(pixels: Pixels, side_px: int, count: int) -> list[Pixels]:
    """Return the tiles with the most detail and the most different colours."""
    height, width, _ = pixels.shape
    step = side_px // 2
    places = [
        (top, left)
        for top in range(0, height - side_px + 1, step)
        for left in range(0, width - side_px + 1, step)
    ]

    def tile(place: tuple[int, int]) -> Pixels:
        top, left = place
        return pixels[top : top + side_px, left : left + side_px]

    def life(place: tuple[int, int]) -> float:
        samples = tile(place).astype(float)
        detail = sum(np.abs(np.diff(samples, axis=axis)).mean() for axis in (0, 1))
        return float(detail + (samples.max(axis=2) - samples.min(axis=2)).std())

    chosen: list[tuple[int, int]] = []
    for place in sorted(places, key=life, reverse=True):
        apart = all(max(abs(place[0] - y), abs(place[1] - x)) >= side_px for y, x in chosen)
        if apart and len(chosen) < count:
            chosen.append(place)
    return [tile(place) for place in chosen]


def changed(tile: Pixels, random: np.random.Generator) -> Pixels:
    """Return channels in another order, with colours up to three times as strong, and sometimes inverted."""
    samples = tile[:, :, random.permutation(3)].astype(float)
    gray = samples.mean(axis=2, keepdims=True)
    samples = np.clip(gray + (samples - gray) * random.uniform(1, 3), 0, 255)
    if random.random() < 0.2:
        samples = 255 - samples
    whole: Pixels = np.rint(samples).astype(np.uint8)
    return whole


def watched(graph: Any) -> Any:
    """Return the network with the minimum, maximum and mean value of each feature as additional results."""
    import openvino as ov
    from openvino import opset14 as ops

    axes = ops.constant(np.array([0, 2, 3]))
    features = [
        node
        for node in graph.get_ordered_ops()
        if node.get_type_name() == "Concat"
        and node.get_output_partial_shape(0)[1].to_string() == str(CONCATENATED)
    ]
    measured = [
        ops.concat([ops.unsqueeze(measure(node, axes), 0) for node in features], 0)
        for measure in (ops.reduce_min, ops.reduce_max, ops.reduce_mean)
    ]
    picture = graph.get_results()[0].input_value(0).get_node()
    return ov.Model([picture, *measured], graph.get_parameters(), "watched")


def run(graph: Any, tiles: Sequence[Pixels]) -> list[list[Floats]]:
    """Return the results of each tile."""
    compiled = emulation.compiled(graph, config.cores(), streams=config.cores())

    def infer(tile: Pixels) -> list[Floats]:
        results = compiled.create_infer_request().infer([to_floats(tile)])
        return [np.array(results[output]) for output in range(len(compiled.outputs))]

    with ThreadPoolExecutor(config.cores()) as executor:
        return list(executor.map(infer, tiles))


def mean_square(made: list[Floats], right: list[Floats]) -> float:
    """Return the mean square difference of pictures, where white is 1."""
    squares: list[npt.NDArray[Any]] = [
        (np.clip(one, 0, 1) - np.clip(other, 0, 1)) ** 2
        for one, other in zip(made, right, strict=True)
    ]
    return float(np.mean(squares))


if __name__ == "__main__":
    main()
