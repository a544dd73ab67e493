"""How close to f32 is another precision on pictures that int8 was not calibrated on, and how much faster is it?

`python benchmarks/precisions.py int8 --held-out` uses the 16 pictures of `scripts/held_out.py`, which lists their
sources. `--hard` uses its 12 photos that are old, noisy, compressed or full of texture; `--pictures FOLDER` uses
others. The default is scikit-image's photos.

`--emulated` evaluates bf16 and int8 on a CPU without instructions for them, with `scripts/emulation.py`. It measures
no times.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import emulation
import held_out
import numpy as np
from parts import precision_of
from PIL import Image
from record import record

from enlarger import config
from enlarger.engine.openvino import graphs
from enlarger.engine.openvino.runtime import OpenVINOEngine
from enlarger.engine.samples import to_floats, to_samples
from enlarger.engine.tile import TileRequest
from enlarger.geometry.rect import Pixels
from enlarger.models import Catalogue, Model

SHORT_SIDE_PX = 360
"""Larger pictures are reduced so that their short side has this length."""

PHOTOS = (
    *("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "ihc.png", "motorcycle_left.png"),
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("precision", choices=("f32", "bf16", "int8"))
    parser.add_argument(
        "--emulated",
        action="store_true",
        help="emulate the precision in f32, without measuring speed",
    )
    parser.add_argument("--model", default="realesrgan-x4plus")
    pictures = parser.add_mutually_exclusive_group()
    pictures.add_argument("--pictures", type=Path, help="a folder with pictures")
    pictures.add_argument(
        "--held-out", action="store_true", help="the 16 pictures of scripts/held_out.py"
    )
    pictures.add_argument(
        "--hard", action="store_true", help="the 12 hard photos of scripts/held_out.py"
    )
    parser.add_argument(
        "--side",
        type=int,
        default=128,
        help="side of each picture's most detailed square, in pixels",
    )
    parser.add_argument(
        "--tile", type=int, default=192, help="side of the tile for the speed, in pixels"
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the speed measurement")
    parser.add_argument("--save", type=Path, help="folder for both results and their difference")
    parser.add_argument("--record", action="store_true", help="append to results.jsonl")
    arguments = parser.parse_args()

    if arguments.emulated and arguments.precision == "f32":
        parser.error("every processor has f32")
    model = Catalogue.installed(Path("models")).choose(arguments.model, scale=4)
    if not arguments.emulated:
        precision_of(model, arguments.precision)  # exits if the precision is not available
    if arguments.hard:
        judged = held_out.hard(arguments.side, liveliest)
    else:
        files = {path.stem: path for path in paths(arguments.pictures)}
        if arguments.held_out:
            files, missing = held_out.found()
            if missing:
                raise SystemExit("\n".join(f"{name}: {what}" for name, what in missing.items()))
        judged = {name: liveliest(path, arguments.side) for name, path in files.items()}
    psnr_db, ratios, lr_px_per_s = asyncio.run(measure(model, judged, arguments))
    figures = {
        "model": model.id,
        "precision": arguments.precision + (", emulated" if arguments.emulated else ""),
        "pictures": len(psnr_db),
        "side_px": arguments.side,
        "mean_psnr_db": round(float(np.mean(list(psnr_db.values()))), 2),
        "least_psnr_db": min(psnr_db.values()),
    }
    if ratios:
        figures |= {
            "tile_px": arguments.tile,
            "lr_px_per_s": lr_px_per_s,
            "times_f32": round(float(np.median(ratios)), 2),
        }
    print("  ".join(f"{name} {value}" for name, value in figures.items()))
    if arguments.record:
        record(
            "precisions",
            figures | {"psnr_db": psnr_db, "ratios": [round(ratio, 2) for ratio in ratios]},
        )


async def measure(
    model: Model, judged: dict[str, Pixels], arguments: argparse.Namespace
) -> tuple[dict[str, float], list[float], int]:
    """Return the similarity of the results by name, the speed-up of each round, and the median speed."""
    async with OpenVINOEngine(
        Catalogue([model]), threads=config.cores(), precision="f32"
    ) as engine:
        emulated = emulation_of(model, arguments.precision) if arguments.emulated else None

        async def make(picture: Pixels) -> Pixels:
            if emulated is not None:
                return await asyncio.to_thread(emulated, picture)
            return await enlarge(engine, model, picture, arguments.precision)

        psnr_db = {}
        for name, picture in judged.items():
            right, made = await enlarge(engine, model, picture, "f32"), await make(picture)
            psnr_db[name] = round(distance_db(made, right), 2)
            print(f"{name}: {psnr_db[name]} dB", flush=True)
            if arguments.save:
                save_pair(arguments.save, name, right, made)
        if emulated is not None:
            return psnr_db, [], 0
        tile = np.ascontiguousarray(
            np.resize(liveliest(paths(None)[0], 96), (arguments.tile, arguments.tile, 3))
        )
        kinds = ("f32", arguments.precision)
        speeds = [
            [await speed(engine, model, tile, kind) for kind in kinds]
            for _ in range(arguments.rounds)
        ]
    ratios = [quicker / f32 for f32, quicker in speeds]
    return psnr_db, ratios, round(float(np.median([quicker for _, quicker in speeds])))


async def speed(engine: OpenVINOEngine, model: Model, tile: Pixels, precision: str) -> float:
    """Return LR pixels per second, with a tile in each stream."""
    started = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(engine.streams):
            tasks.create_task(enlarge(engine, model, tile, precision))
    lr_px: int = engine.streams * tile.shape[0] * tile.shape[1]
    return lr_px / (time.perf_counter() - started)


def emulation_of(model: Model, precision: str) -> Callable[[Pixels], Pixels]:
    """Return the network in bf16 or int8, computed in f32."""
    if precision == "int8":
        graph = graphs.build(model, model.read_ranges())
    else:
        graph = graphs.build(model, in_float=graphs.in_precision(precision))
        graph = emulation.emulated(graph, hint="f32")
    run = emulation.compiled(graph, config.cores())

    def enlarge_emulated(picture: Pixels) -> Pixels:
        return to_samples(run([to_floats(picture)])[0].copy(), picture.dtype)

    return enlarge_emulated


def paths(folder: Path | None) -> list[Path]:
    """Return the pictures of a folder, or the photos."""
    if folder is not None:
        return sorted(path for path in folder.iterdir() if path.is_file())
    import skimage

    return [Path(skimage.__file__).parent / "data" / name for name in PHOTOS]


def liveliest(path: Path, side_px: int) -> Pixels:
    """Return the square of a picture with the most detail and the most different colours."""
    with Image.open(path) as image:
        picture = image.convert("RGB")
    factor = min(picture.size) / SHORT_SIDE_PX
    if factor > 1.3:
        size = (round(picture.width / factor), round(picture.height / factor))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    return max(squares(np.asarray(picture), side_px), key=life)


def squares(pixels: Pixels, side_px: int) -> Iterator[Pixels]:
    """Yield all squares of a grid with half their side as spacing."""
    height, width, _ = pixels.shape
    for top in range(0, max(1, height - side_px + 1), side_px // 2):
        for left in range(0, max(1, width - side_px + 1), side_px // 2):
            yield pixels[top : top + side_px, left : left + side_px]


def life(pixels: Pixels) -> float:
    """Return the mean difference of neighbours plus the variety of colours."""
    samples = pixels.astype(float)
    detail = sum(np.abs(np.diff(samples, axis=axis)).mean() for axis in (0, 1))
    return float(detail + (samples.max(axis=2) - samples.min(axis=2)).std())


async def enlarge(engine: OpenVINOEngine, model: Model, pixels: Pixels, precision: str) -> Pixels:
    """Upscale one tile in the requested precision. The benchmark ends if that is not possible."""
    result = await engine.enlarge(
        TileRequest(
            pixels=np.ascontiguousarray(pixels),
            model=model.id,
            weights_sha256=model.sha256,
            scale=model.scale,
            precision=precision,
            deadline=asyncio.get_running_loop().time() + 86_400,
            request_id="benchmark",
        )
    )
    assert result.precision == precision
    return result.pixels


def distance_db(made: Pixels, right: Pixels) -> float:
    """Return the peak signal-to-noise ratio of two results."""
    mean_square = float(np.mean((made.astype(float) - right) ** 2))
    return float(10 * np.log10(255**2 / max(mean_square, 1e-9)))


def save_pair(folder: Path, name: str, right: Pixels, made: Pixels) -> None:
    """Save both results side by side, and eight times their difference around gray."""
    folder.mkdir(parents=True, exist_ok=True)
    difference = np.clip(128 + 8 * (made.astype(int) - right), 0, 255).astype(np.uint8)
    Image.fromarray(np.hstack([right, made, difference])).save(folder / f"{name}.png")


if __name__ == "__main__":
    main()
