"""Equal tiles are computed once: what is shared, what is cached, and what happens after errors and cancellations."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import (
    NEAREST,
    FailsFirst,
    HeldEngine,
    NearestEngine,
    StuckEngine,
    nearest,
    need_of,
)
from support.pictures import noise16

from enlarger.engine import Engine
from enlarger.engine.tile import TileRequest, sha256_of
from enlarger.errors import WrongOutput
from enlarger.geometry.rect import Rect
from enlarger.pipeline.dedupe import TileDeduplicator, tile_key

RESULT_BYTES = 16 * 5 * 7 * 3 * 2
"""Samples of the result of one ``tile``: 5 x 7 px, enlarged four times, of three channels and 16 bits."""


def tile(seed: int = 0, **fields: Any) -> TileRequest:
    """A tile for ``NEAREST``; those of one seed have equal samples."""
    request = TileRequest(
        pixels=noise16(5, 7, 3, seed=seed),
        model=NEAREST.id,
        weights_sha256=NEAREST.sha256,
        scale=NEAREST.scale,
        precision="f32",
        deadline=1e9,
        request_id="r-1",
        index=0,
        total=1,
    )
    return replace(request, **fields)


async def asked(once: TileDeduplicator, engine: NearestEngine, requests: list[TileRequest]) -> int:
    """Send these tiles one after the other, check every result, and return how many of them were computed."""
    before = len(engine.requests)
    for request in requests:
        result = await once.enlarge(request)
        assert np.array_equal(result.pixels, nearest(request.core, 4))
    return len(engine.requests) - before


async def test_equal_tiles_in_flight_share_one_computing() -> None:
    """Each caller gets the result. The place of a tile and its request do not matter."""
    engine = HeldEngine()
    async with TileDeduplicator(engine) as once, asyncio.timeout(20):
        tasks = [
            asyncio.create_task(once.enlarge(tile(index=index, request_id=f"r-{index}")))
            for index in range(5)
        ]
        other = asyncio.create_task(once.enlarge(tile(1)))
        await engine.holds(2)
        engine.let_go()
        results = await asyncio.gather(*tasks, other)
    assert len(engine.requests) == 2
    assert all(np.array_equal(result.pixels, nearest(tile().pixels, 4)) for result in results[:5])
    assert np.array_equal(results[5].pixels, nearest(tile(1).pixels, 4))
    assert once.reused == 4


async def test_pixels_are_hashed_once() -> None:
    """The digest that is computed to compare tiles is passed on with the tile."""
    engine = NearestEngine()
    async with TileDeduplicator(engine) as once:
        await once.enlarge(tile())
    (request,) = engine.requests
    assert request.pixels_sha256 == sha256_of(tile().pixels)
    assert request.with_digest() is request
    assert tile_key(request) == tile_key(tile())
    assert tile_key(replace(request, pixels_sha256=b"another one")) != tile_key(tile())


async def test_reused_result_counts_no_work() -> None:
    """Seconds, attempts and repetitions are counted once, for the tile that was computed."""

    class Again(NearestEngine):
        async def enlarge(self, request: TileRequest) -> Any:
            result = await super().enlarge(request)
            return replace(result, attempts=3, infer_s=2.5, repeated="constant", server="server-1")

    async with TileDeduplicator(Again(), cache_bytes=RESULT_BYTES) as once:
        first, second = await once.enlarge(tile()), await once.enlarge(tile())
    assert (first.attempts, first.infer_s, first.repeated) == (3, 2.5, "constant")
    assert (second.attempts, second.infer_s, second.repeated) == (1, 0.0, None)
    assert second.server == "server-1"
    assert np.array_equal(first.pixels, second.pixels)


async def test_nothing_is_kept_unless_asked() -> None:
    """A still picture has no further frames, so its tiles are not cached after they are done."""
    engine = NearestEngine()
    async with TileDeduplicator(engine) as once:
        assert await asked(once, engine, [tile(), tile(), tile()]) == 3
        assert once.reused == 0


async def test_results_are_kept_within_the_bytes_given() -> None:
    """The limit is exact to the byte. With one byte less, the oldest result is dropped."""
    for cache_bytes, computed in ((2 * RESULT_BYTES, 0), (2 * RESULT_BYTES - 1, 1)):
        engine = NearestEngine()
        async with TileDeduplicator(engine, cache_bytes=cache_bytes) as once:
            assert await asked(once, engine, [tile(1), tile(2)]) == 2
            assert await asked(once, engine, [tile(2)]) == 0
            assert await asked(once, engine, [tile(1)]) == computed


async def test_result_unused_for_longest_goes_first() -> None:
    """A result that was used again counts as new."""
    engine = NearestEngine()
    async with TileDeduplicator(engine, cache_bytes=2 * RESULT_BYTES) as once:
        await asked(once, engine, [tile(1), tile(2), tile(1), tile(3)])
        assert await asked(once, engine, [tile(1), tile(3)]) == 0
        assert await asked(once, engine, [tile(2)]) == 1


async def test_result_larger_than_all_that_is_kept_is_not() -> None:
    """It evicts everything else, and does no other harm."""
    engine = NearestEngine()
    small = tile(pixels=noise16(1, 1, 3))
    async with TileDeduplicator(engine, cache_bytes=RESULT_BYTES - 1) as once:
        assert await asked(once, engine, [small, tile(), tile()]) == 3
        assert await asked(once, engine, [small, small]) == 1


@given(seeds=st.lists(st.integers(0, 5), max_size=20), places=st.integers(0, 4))
def test_kept_results_are_those_used_last(seeds: list[int], places: int) -> None:
    """The cache is compared with a list that is maintained by hand, for every order of requests."""

    async def computed() -> int:
        engine = NearestEngine()
        async with TileDeduplicator(engine, cache_bytes=places * RESULT_BYTES) as once:
            return await asked(once, engine, [tile(seed) for seed in seeds])

    last: list[int] = []
    missed = 0
    for seed in seeds:
        missed += seed not in last
        last = ([other for other in last if other != seed] + [seed])[-places:] if places else []
    assert asyncio.run(computed()) == missed


@pytest.mark.parametrize(
    "other",
    [
        {"pixels": noise16(5, 7, 3).reshape(7, 5, 3)},
        {"pixels": noise16(5, 7, 3).view(np.uint8).reshape(5, 14, 3)},
        {"pixels": noise16(5, 7, 3).view(np.int16)},
        {"pixels": noise16(5, 7, 3) ^ (np.arange(105).reshape(5, 7, 3) == 104)},
        {"precision": "bf16"},
        {"model": "second"},
        {"weights_sha256": "1" * 64, "model": "third"},
        {"graph_sha256": "1" * 64},
        {"options": {"tta": True}},
    ],
    ids=[
        "shape",
        "depth",
        "type",
        "last sample",
        "precision",
        "model",
        "weights",
        "graph",
        "options",
    ],
)
async def test_tiles_that_differ_in_anything_that_counts_are_computed(
    other: dict[str, Any],
) -> None:
    """They are computed even if the bytes of their samples are equal."""
    models = [
        NEAREST,
        replace(NEAREST, id="second"),
        replace(NEAREST, id="third", sha256="1" * 64),
    ]
    engine = NearestEngine(models)
    async with TileDeduplicator(engine, cache_bytes=1 << 20) as once:
        await once.enlarge(tile())
        await once.enlarge(tile(**other))
    assert len(engine.requests) == 2
    assert once.reused == 0


async def test_view_is_as_good_as_its_copy() -> None:
    """One gray channel that stands for three takes no extra memory, and is compared by its samples."""
    gray = np.broadcast_to(noise16(5, 7, 1), (5, 7, 3))
    engine = NearestEngine()
    async with TileDeduplicator(engine, cache_bytes=1 << 20) as once:
        assert await asked(once, engine, [tile(pixels=gray), tile(pixels=gray.copy())]) == 1


TOP, ALL = Rect.sized(0, 0, 7, 2), Rect.sized(0, 0, 7, 5)
LEFT = Rect.sized(0, 1, 2, 3)


async def test_part_of_what_is_kept_needs_no_computing() -> None:
    """It is cut out of the cached result. A part that reaches further is computed, and replaces the smaller one."""
    engine = NearestEngine()
    async with TileDeduplicator(engine, cache_bytes=RESULT_BYTES) as once:
        assert await asked(once, engine, [tile(keep=TOP)]) == 1
        assert await asked(once, engine, [tile(keep=Rect.sized(2, 1, 4, 1))]) == 0
        assert await asked(once, engine, [tile(keep=LEFT)]) == 1
        assert await asked(once, engine, [tile(keep=ALL)]) == 1
        assert await asked(once, engine, [tile(keep=TOP), tile(keep=LEFT), tile()]) == 0
        assert once.reused == 4


async def test_what_took_the_place_of_another_counts_alone() -> None:
    """There is room for a whole tile and no more; after many rounds, it still fits."""
    engine = NearestEngine()
    async with TileDeduplicator(engine, cache_bytes=RESULT_BYTES) as once:
        for seed in range(5):
            assert await asked(once, engine, [tile(seed, keep=TOP), tile(seed)]) == 2
            assert await asked(once, engine, [tile(seed), tile(seed, keep=LEFT)]) == 0


async def test_part_of_what_is_being_made_waits_for_it() -> None:
    """A part that reaches further is started. Each caller gets the part that it asked for."""
    engine = HeldEngine()
    keeps = [TOP, LEFT, ALL, TOP, LEFT, None]
    async with TileDeduplicator(engine) as once, asyncio.timeout(20):
        tasks = [asyncio.create_task(once.enlarge(tile(keep=keep))) for keep in keeps]
        await engine.holds(3)
        await turns()
        engine.let_go()
        results = await asyncio.gather(*tasks)
    assert [request.keep for request in engine.requests] == [TOP, LEFT, ALL]
    assert once.reused == 3
    for keep, result in zip(keeps, results, strict=True):
        assert np.array_equal(result.pixels, nearest(tile(keep=keep).core, 4))


class Refusing(HeldEngine):
    """Raises the same error for each tile, once the test allows it."""

    error = WrongOutput("constant")

    async def enlarge(self, request: TileRequest) -> Any:
        """Fail when the test allows it."""
        await super().enlarge(request)
        raise self.error


async def test_error_reaches_all_who_wait_and_is_not_kept() -> None:
    """The next request computes the tile again."""
    engine = Refusing()
    async with TileDeduplicator(engine, cache_bytes=1 << 20) as once, asyncio.timeout(20):
        tasks = [asyncio.create_task(once.enlarge(tile())) for _ in range(3)]
        await engine.holds(1)
        engine.let_go()
        raised = await asyncio.gather(*tasks, return_exceptions=True)
        assert raised == [engine.error] * 3
        assert (len(engine.requests), once.reused) == (1, 0)
        with pytest.raises(WrongOutput):
            await once.enlarge(tile())
        assert len(engine.requests) == 2


async def test_tile_that_failed_is_computed_anew() -> None:
    """The new result is cached."""
    engine = NearestEngine()
    flaky = FailsFirst(engine, failures=1, error=WrongOutput("constant"))
    async with TileDeduplicator(flaky, cache_bytes=1 << 20) as once:
        with pytest.raises(WrongOutput):
            await once.enlarge(tile())
        assert await asked(once, engine, [tile(), tile()]) == 1


@pytest.mark.parametrize("leaver", [0, 1], ids=["who came first", "who came later"])
async def test_one_who_leaves_does_not_take_the_result_from_the_other(leaver: int) -> None:
    """It does not matter which of them started the work."""
    engine = HeldEngine()
    async with TileDeduplicator(engine) as once, asyncio.timeout(20):
        tasks = [asyncio.create_task(once.enlarge(tile()))]
        await engine.holds(1)
        tasks.append(asyncio.create_task(once.enlarge(tile())))
        await turns()
        tasks[leaver].cancel()
        await asyncio.wait({tasks[leaver]})
        assert tasks[leaver].cancelled()
        assert engine.in_flight == 1
        engine.let_go()
        result = await tasks[1 - leaver]
    assert np.array_equal(result.pixels, nearest(tile().pixels, 4))
    assert len(engine.requests) == 1


async def turns() -> None:
    """Let all tasks run until each waits for something."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_leaving_drops_what_still_runs() -> None:
    """The engine's tiles are cancelled one by one before the block ends."""
    engine = StuckEngine()
    async with TileDeduplicator(engine) as once, asyncio.timeout(20):
        tasks = [asyncio.create_task(once.enlarge(tile(seed))) for seed in (1, 2, 2)]
        await engine.started.wait()
        await turns()
        assert len(engine.requests) == 2
    assert (engine.cancelled, engine.in_flight) == (2, 0)
    await asyncio.wait(tasks)
    assert all(task.cancelled() for task in tasks)


async def test_leaving_by_an_error_drops_what_still_runs() -> None:
    """The error is the one that was raised."""
    engine = StuckEngine()
    waiting: list[asyncio.Task[Any]] = []

    async def begin_and_fail() -> None:
        async with TileDeduplicator(engine) as once, asyncio.timeout(20):
            waiting.append(asyncio.create_task(once.enlarge(tile())))
            await engine.started.wait()
            raise WrongOutput("constant")

    with pytest.raises(WrongOutput):
        await begin_and_fail()
    assert (engine.cancelled, engine.in_flight) == (1, 0)
    await asyncio.wait(waiting)


async def test_it_speaks_for_the_engine_behind_it() -> None:
    """A caller uses it like any other ``Engine``."""
    engine = NearestEngine(mflop_per_s=12.5)
    async with TileDeduplicator(engine) as once:
        as_engine: Engine = once
        assert as_engine.facts() == engine.facts()
        assert await as_engine.ready_for(need_of()) == NEAREST
