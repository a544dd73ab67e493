"""How fast is a GPU: by precision and tile, against what its data sheet allows, and as a service?

`python benchmarks/gpu.py` measures the device that ENLARGER_DEVICE selects; `--device vulkan:0` names another one, and
`--device vulkan:llvmpipe` tries the script without a GPU. The share of the roofline needs the peak of the card in
TFLOP/s, which `--peak` states in f16; f32 is taken to have half of it.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from record import photo, record
from running import RunningService

from enlarger import config
from enlarger.engine.device import largest_tile_px
from enlarger.engine.factory import choose, make_engine
from enlarger.engine.local import LocalEngine
from enlarger.engine.tile import TileRequest
from enlarger.geometry.rect import Pixels
from enlarger.models import Catalogue, Model

_SHARE_OF_PEAK = {"f16": 1.0, "f32": 0.5}
"""Peak of a precision as a share of that of f16: what most cards have."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", help="as ENLARGER_DEVICE; the default is what it selects")
    parser.add_argument(
        "--models", nargs="+", default=["realesrgan-x4plus", "realesr-animevideov3"]
    )
    parser.add_argument("--precisions", nargs="+", default=["f16", "f32"])
    parser.add_argument(
        "--tiles",
        nargs="+",
        type=int,
        default=[64, 128, 192, 256, 384, 512, 768],
        help="sides in pixels",
    )
    parser.add_argument("--seconds", type=float, default=5, help="seconds of each measurement")
    parser.add_argument("--side", type=int, default=1024, help="side of the service's pictures")
    parser.add_argument("--pictures", type=int, default=8, help="pictures of the service")
    parser.add_argument("--peak", type=float, help="peak of the card in f16, in TFLOP/s")
    parser.add_argument("--record", action="store_true", help="append to results.jsonl")
    arguments = parser.parse_args()

    named = config.load(devices=arguments.device).pool.devices
    (device, *_) = choose(named).devices
    catalogue = Catalogue.installed(Path("models"))
    figures: dict[str, Any] = {"device": device, "peak_tflop_per_s": arguments.peak, "models": {}}
    for model_id in arguments.models:
        model = catalogue.choose(model_id, scale=4)
        figures["models"][model.id] = asyncio.run(_measured(model, device, arguments, figures))
    if arguments.record:
        record("How fast is a GPU?", figures)


async def _measured(
    model: Model, device: str, arguments: argparse.Namespace, figures: dict[str, Any]
) -> dict[str, Any]:
    """Return the speeds of a model in each precision and tile, and of the service."""
    engine = make_engine(Catalogue([model]), device=device, threads=config.cores())
    async with engine:
        facts = engine.facts()
        figures |= {
            "name": facts.device.name,
            "driver": facts.device.driver,
            "class": facts.device.tile_class,
        }
        print(f"{model.id} on {facts.device.id}, class {facts.device.tile_class}")
        most_px = largest_tile_px(model, facts.device.tile_class)
        speeds: dict[str, dict[int, float]] = {}
        for precision in arguments.precisions:
            if precision not in facts.models[0].precisions:
                continue
            speeds[precision] = {}
            for side in (side for side in arguments.tiles if side * side <= most_px):
                speed = await _speed(engine, model, precision, side, arguments.seconds)
                speeds[precision][side] = speed
                share = _share_of_peak(speed * model.mflop_per_px, precision, arguments.peak)
                print(f"  {precision} {side} px: {speed:,.0f} LR px/s{share}", flush=True)
        first = engine.facts().models[0].precisions[0]
    service = _service_speed(model, device, first, arguments)
    bare = max(speeds.get(first, {}).values(), default=0.0)
    ratio = f", {service / bare:.2f} of the engine" if bare else ""
    print(f"  service in {first}: {service:,.0f} LR px/s{ratio}", flush=True)
    return {"lr_px_per_s": speeds, "service_lr_px_per_s": service, "service_precision": first}


async def _speed(
    engine: LocalEngine, model: Model, precision: str, side: int, seconds: float
) -> float:
    """Return LR pixels per second with as many tiles at once as the engine computes."""
    loop = asyncio.get_running_loop()
    pixels = _square(side)

    async def tile() -> None:
        result = await engine.enlarge(
            TileRequest(
                pixels=pixels,
                model=model.id,
                weights_sha256=model.sha256,
                scale=model.scale,
                precision=precision,
                deadline=loop.time() + 600,
                request_id="gpu",
                total=engine.streams,
            )
        )
        assert result.precision == precision, f"computed in {result.precision}"

    await tile()  # compiles the shaders
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds or not done:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(engine.streams):
                tasks.create_task(tile())
        done += engine.streams
    return round(done * side * side / (time.perf_counter() - started), 1)


def _share_of_peak(mflop_per_s: float, precision: str, peak: float | None) -> str:
    """Return what share of the card's peak that is, in words; empty if nobody stated the peak."""
    if peak is None:
        return ""
    return f", {mflop_per_s / (peak * 1e6 * _SHARE_OF_PEAK[precision]):.1%} of the peak"


def _service_speed(
    model: Model, device: str, precision: str, arguments: argparse.Namespace
) -> float:
    """Return LR pixels of pictures per second, with a model server on the device and one picture after the other."""
    environment = {
        "ENLARGER_DEVICE": device,
        "ENLARGER_PRECISION": precision,
        "MODEL_DIR": str(Path("models").resolve()),
        "MAX_IMAGE_DIMENSION": str(max(2048, arguments.side)),
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        RunningService(Path(folder), environment, start_timeout_s=600) as service,
    ):
        seconds = []
        for number in range(arguments.pictures + 1):
            file = BytesIO()
            Image.fromarray(np.roll(_square(arguments.side), number, axis=1)).save(file, "png")
            started = time.perf_counter()
            status, answer = service.upscale(file.getvalue(), scale=model.scale, model=model.id)
            seconds.append(time.perf_counter() - started)
            assert status == 200, answer
    # The first one loads the model.
    speed: float = arguments.side**2 / statistics.median(seconds[1:])
    return round(speed, 1)


def _square(side: int) -> Pixels:
    """Return a square of a photograph, mirrored where the photograph is smaller."""
    picture = photo()
    rest = [(0, max(0, side - length)) for length in picture.shape[:2]]
    return np.ascontiguousarray(np.pad(picture, (*rest, (0, 0)), "symmetric")[:side, :side])


if __name__ == "__main__":
    main()
