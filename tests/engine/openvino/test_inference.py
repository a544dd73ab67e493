"""That a computation can be ended early, and that none is changed by one that was."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event, Timer

import numpy as np
import openvino as ov  # noqa: TID253 - the runtime itself
import pytest
from support.model_servers import running
from support.networks import write_random_rrdb
from support.pictures import noise

from enlarger.engine.openvino import graphs
from enlarger.engine.openvino.inference import Inference
from enlarger.engine.openvino.runtime import OpenVINOEngine, OpenVINORuntime
from enlarger.engine.runtime import Abandoned
from enlarger.engine.samples import Floats
from enlarger.engine.tile import TileRequest
from enlarger.geometry.rect import Pixels, Rect
from enlarger.models import Catalogue
from enlarger.wire import request_headers

X4PLUS = "realesrgan-x4plus"

SIZES = ((20, 30), (64, 64), (33, 70), (20, 31))


def batch(height: int, width: int, seed: int = 0) -> Floats:
    """Noise of one size, (1, H, W, 3)."""
    return np.random.default_rng(seed).random((1, height, width, 3), np.float32)


@pytest.fixture
def inference(tmp_path: Path) -> Inference:
    """The trunk of a small RRDB network, on a graph of its own."""
    write_random_rrdb(tmp_path, "tiny-rrdb")
    model = Catalogue.installed(tmp_path).choose("tiny-rrdb", scale=4)
    compiled = ov.Core().compile_model(
        graphs.build(model, part="trunk"),
        "CPU",
        {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": 1},
    )
    return Inference(compiled.create_infer_request(), 3, least_px=8, step_px=1, is_alone=True)


def run_for(inference: Inference, given: Floats, limit_s: float) -> bool:
    """Compute for this long at most; return whether it was abandoned."""
    abandoned = Event()
    timer = Timer(limit_s, abandoned.set)
    timer.start()
    try:
        inference.run(given, abandoned)
    except Abandoned:
        return True
    finally:
        timer.cancel()
    return False


def test_abandoned_computations_change_none_after_them(inference: Inference) -> None:
    """The same bytes as before, in whatever sizes others were abandoned, and however far they were."""
    expected = {size: inference.run(batch(*size)).copy() for size in SIZES}
    chance = random.Random(1)  # noqa: S311 - no secret
    ended = 0
    for _ in range(60):
        large = batch(*chance.choice([(300, 200), (64, 64), (400, 90)]))
        ended += run_for(inference, large, chance.uniform(0, 0.1))
        if chance.random() < 0.3:
            ended += run_for(inference, batch(150, 330), chance.uniform(0, 0.1))
        size = chance.choice(SIZES)
        assert np.array_equal(inference.run(batch(*size)), expected[size])
    assert ended > 5


def test_finished_computation_is_a_result_though_abandoned(inference: Inference) -> None:
    """What is done before anybody looks is returned; the next computation is not affected."""
    expected = inference.run(batch(20, 30)).copy()
    abandoned = Event()
    abandoned.set()
    for _ in range(3):
        try:
            made = inference.run(batch(20, 30), abandoned)
        except Abandoned:
            continue
        assert np.array_equal(made, expected)
    assert np.array_equal(inference.run(batch(20, 30)), expected)


class Broken:
    """A request of the runtime that fails when told to."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.fails = False

    def set_input_tensor(self, tensor: ov.Tensor) -> None:
        """Note the shape."""
        self.shapes.append(tuple(tensor.shape))

    def infer(self) -> None:
        """Fail, or do nothing."""
        if self.fails:
            raise RuntimeError("out of memory")

    def get_output_tensor(self) -> ov.Tensor:
        """Nothing of interest."""
        return ov.Tensor(np.zeros(1, np.float32))


def test_small_batch_is_computed_only_where_a_shape_is_remembered() -> None:
    """After a failure too, and in a shape that no node can remember."""
    broken = Broken()
    inference = Inference(broken, 3, least_px=8, step_px=1, is_alone=True)
    inference.run(batch(8, 8))
    broken.fails = True
    for size in ((50, 50), (9, 9)):
        with pytest.raises(RuntimeError, match="out of memory"):
            inference.run(batch(*size))
    broken.fails = False
    inference.run(batch(60, 60))  # new to all nodes
    assert [shape[1] for shape in broken.shapes] == [8, 50, 9, 60]
    broken.fails = True
    with pytest.raises(RuntimeError, match="out of memory"):
        inference.run(batch(8, 8))
    broken.fails = False
    inference.run(batch(60, 60))
    assert [shape[1] for shape in broken.shapes][4:] == [8, 9, 60]


# Through the engine, with real weights


@pytest.fixture
async def engine(cache_folder: Path, tmp_path: Path) -> AsyncIterator[OpenVINOEngine]:
    """One stream, so that a tile waits for the one before it."""
    catalogue = Catalogue.installed(tmp_path)
    async with OpenVINOEngine(catalogue, threads=1, cache_folder=cache_folder) as engine:
        await engine.load(X4PLUS)
        yield engine


def asked(engine: OpenVINOEngine, pixels: Pixels) -> TileRequest:
    """A request for a tile with x4plus."""
    facts = engine.facts().model(X4PLUS)
    assert facts is not None
    return TileRequest(
        pixels=pixels,
        model=X4PLUS,
        weights_sha256=facts.sha256,
        scale=4,
        precision=facts.precisions[0],
        deadline=asyncio.get_running_loop().time() + 200,
        request_id="test",
    )


def largest(engine: OpenVINOEngine) -> Pixels:
    """A tile of the largest size that the model takes."""
    facts = engine.facts().model(X4PLUS)
    assert facts is not None
    side = int(facts.max_tile_px**0.5)
    return noise(side, side, 3)


async def test_tile_of_another_picture_follows_a_cancelled_one(engine: OpenVINOEngine) -> None:
    """A real server whose client hangs up in the middle of the largest tile computes the next one at once.

    The largest tile takes x4plus half a minute on one thread. ``took_s`` is mostly the time of the small one.
    """
    loop = asyncio.get_running_loop()
    small = asked(engine, noise(40, 40, 3))
    expected = (await engine.enlarge(small)).pixels
    alone_s = -loop.time()
    await engine.enlarge(small)
    alone_s += loop.time()
    async with running(engine) as server:
        for waits_s in (0.0, 0.3, 2.0):
            request = asked(engine, largest(engine))
            headers = request_headers(request, left_s=200)
            async with server.connected() as connection:
                await connection.send("POST", "/tiles", headers, request.pixels.tobytes())
                while engine.facts().in_flight == 0:
                    await server.ask("GET", "/livez")
                await asyncio.sleep(waits_s)
            started = loop.time()
            answer = await server.ask(
                "POST", "/tiles", request_headers(small, left_s=200), small.pixels.tobytes()
            )
            took_s = loop.time() - started
            assert answer.status == 200
            assert answer.body == expected.tobytes()
            assert took_s < 5 + 5 * alone_s  # this machine may have other work
        assert (await server.ask("GET", "/ready")).status == 200


async def test_deadline_ends_a_tile_that_is_being_computed(engine: OpenVINOEngine) -> None:
    """Not only its wait: the thread computes the next tile."""
    late = replace(asked(engine, largest(engine)), deadline=asyncio.get_running_loop().time() + 0.5)
    with pytest.raises(Exception, match="deadline passed"):
        await engine.enlarge(late)
    started = time.perf_counter()
    await engine.enlarge(asked(engine, noise(16, 16, 3)))
    assert time.perf_counter() - started < 8


@pytest.mark.parametrize(("is_interruptible", "copies"), [(True, 2), (False, 1)])
def test_each_stream_that_can_be_interrupted_has_a_network_of_its_own(
    tmp_path: Path, is_interruptible: bool, copies: int
) -> None:
    """Made and restored alike; where nothing is interrupted, one network does for all."""
    write_random_rrdb(tmp_path, "tiny-rrdb")
    model = Catalogue.installed(tmp_path).choose("tiny-rrdb", scale=4)
    runtime = OpenVINORuntime(
        threads=2, cache_folder=tmp_path / "cache", is_interruptible=is_interruptible
    )
    made = runtime.make(model, "f32", 2)
    runtime.keep(model, "f32", made)
    restored = runtime.restore(model, "f32", 2)
    assert restored is not None
    pixels, whole = noise(24, 24, 3), Rect.whole(24, 24)
    expected = made.enlarge(pixels, whole).samples
    with ThreadPoolExecutor(2) as threads:
        for network in (made, restored):
            tiles = [threads.submit(network.enlarge, pixels, whole) for _ in range(4)]
            assert all(np.array_equal(tile.result().samples, expected) for tile in tiles)
    assert runtime._copies(2) == copies
