"""What does the service add to the network, and what do two and five model servers gain over one?

The same photo is upscaled in several ways, in turn in one run, on the same cores in the same precision:

- *whole*: the bare network on the whole picture, with all cores, without tiles;
- *tiles*: the bare engine on the tiles of the service's plan, in this process;
- *half*: the same with half of the threads, which shows what the other cores add without any service;
- *two*: ``POST /upscale`` over two model servers that share the cores;
- *one*: ``POST /upscale`` over one of these servers, that is on half of the cores;
- *five*: ``POST /upscale`` over five servers of one thread, the most that a service has.

With ``--fake``, the network is replaced by a fake that costs nothing, and the CPU seconds of the service are measured by
stage; see service_cost.py.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import tempfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

from parts import PRECISIONS, enlarge_all, model_server, precision_of, precisions_of
from PIL import Image
from record import photo, record
from running import RunningService
from service_cost import measure
from turns import in_turn, ratio, timed

from enlarger import config
from enlarger.engine.openvino.runtime import OpenVINOEngine
from enlarger.engine.samples import to_floats
from enlarger.geometry.rect import Pixels
from enlarger.geometry.route import tiles_of
from enlarger.models import Catalogue, Model
from enlarger.pool.policy import LOAD_S

WAYS = ("whole", "tiles", "half", "two", "one", "five")
RATIOS = {
    "service / whole": ("two", "whole"),
    "service / its tiles": ("two", "tiles"),
    "one server / two": ("one", "two"),
    "half of the threads / all": ("half", "tiles"),
    "five servers / two": ("five", "two"),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="realesrgan-x4plus")
    parser.add_argument("--precision", default="auto", choices=PRECISIONS)
    parser.add_argument(
        "--side", type=int, default=512, help="side of the picture in pixels, at most 512"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS, help="run only these ways")
    parser.add_argument("--record", action="store_true", help="append to results.jsonl")
    parser.add_argument(
        "--fake", action="store_true", help="measure the service alone, with a fake network"
    )
    parser.add_argument(
        "--pictures", type=int, default=4, help="pictures of each of two clients, with --fake"
    )
    arguments = parser.parse_args()

    model = Catalogue.installed(Path("models")).choose(arguments.model, scale=4)
    if arguments.fake:
        measure(
            model,
            side=arguments.side,
            pictures=arguments.pictures,
            rounds=arguments.rounds,
            recorded=arguments.record,
        )
        return
    precision = precision_of(model, arguments.precision)
    picture = photo()[: arguments.side, : arguments.side].copy()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        half = max(1, config.cores() // 2)

        def servers(count: int, threads: int) -> list[str]:
            running = [model_server(precision, folder, threads=threads) for _ in range(count)]
            return [stack.enter_context(server).address for server in running]

        def over(name: str, addresses: list[str]) -> Callable[[], object]:
            return stack.enter_context(service(folder / name, addresses, model, picture))

        shared = servers(2, half) if {"one", "two"} & {*arguments.ways} else []
        makers: dict[str, Callable[[], Callable[[], object]]] = {
            "whole": lambda: whole(model, picture, precision),
            "tiles": lambda: tiles(model, picture, precision, config.cores()),
            "half": lambda: tiles(model, picture, precision, half),
            "two": lambda: over("two", shared),
            "one": lambda: over("one", shared[:1]),
            "five": lambda: over("five", servers(config.MAX_AUTO_SERVERS, 1)),
        }
        ways = {name: make() for name, make in makers.items() if name in arguments.ways}
        for run in ways.values():
            run()  # compile, fill caches, grow memory
        seconds = in_turn({name: timed(run) for name, run in ways.items()}, arguments.rounds)

    boxes = tiles_of(picture.shape[1], picture.shape[0], model)
    work_factor = sum(box.lr_px for box in boxes) / (picture.shape[0] * picture.shape[1])
    ratios = {
        name: ratio(seconds, slow, quick)
        for name, (slow, quick) in RATIOS.items()
        if {slow, quick} <= seconds.keys()
    }
    print(
        f"\n{model.id} {precision}, {picture.shape[1]}x{picture.shape[0]}, {len(boxes)} tiles, work {work_factor:.3f}"
    )
    for name, value in ratios.items():
        print(f"  {name}: {value:.3f}")
    if arguments.record:
        record(
            "service",
            {
                "model": model.id,
                "precision": precision,
                "side_px": arguments.side,
                "tiles": len(boxes),
                "work_factor": round(work_factor, 3),
                "ratios": ratios,
                "seconds": seconds,
            },
        )


def whole(model: Model, picture: Pixels, precision: str) -> Callable[[], object]:
    """Run the bare network, one request with all cores."""
    import openvino as ov

    from enlarger.engine.openvino import graphs

    # Both depend on the graph. Operations that are not int8 there use the best float precision.
    in_float = next(one for one in precisions_of(model) if one != "int8")
    compiled = ov.Core().compile_model(
        graphs.build(model, model.read_ranges())
        if precision == "int8"
        else graphs.build(model, in_float=graphs.in_precision(precision)),
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": in_float if precision == "int8" else "f32",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": config.cores(),
            "ENABLE_CPU_PINNING": False,
        },
    )
    request, batch = compiled.create_infer_request(), to_floats(picture)
    return lambda: request.infer([batch])


def tiles(model: Model, picture: Pixels, precision: str, threads: int) -> Callable[[], object]:
    """Run the bare engine on the plan's tiles."""
    engine = OpenVINOEngine(
        Catalogue([model]), threads=threads, precision=precision, cache_folder=None
    )
    boxes = tiles_of(picture.shape[1], picture.shape[0], model)

    cut = [box.read(picture) for box in boxes]
    cores = [box.kept_in_tile for box in boxes]
    return lambda: asyncio.run(enlarge_all(engine, model, precision, cut, cores))


@contextlib.contextmanager
def service(
    folder: Path, addresses: list[str], model: Model, picture: Pixels
) -> Iterator[Callable[[], object]]:
    """Start a gateway over model servers, and yield a call that upscales the picture through ``POST /upscale``."""
    folder.mkdir()
    file = BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    count = len(tiles_of(picture.shape[1], picture.shape[0], model))
    with RunningService(folder, {"ENLARGER_SERVERS": ",".join(addresses)}) as running:

        def run() -> None:
            status, answer = running.upscale(file.getvalue(), scale=4, model=model.id)
            assert status == 200, answer
            # A picture that takes less time than loading the network on another server stays where it is loaded.
            assert answer["processing_time"] < LOAD_S or (
                answer["tiles"]["servers"] == min(len(addresses), count)
            ), answer
            base64.b64decode(answer["base64"])

        yield run


if __name__ == "__main__":
    main()
