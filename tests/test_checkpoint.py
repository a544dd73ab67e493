"""Checkpoints: what is computed is kept, what is known is not computed again, and a bad blob costs only time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import NEAREST, HeldEngine, NearestEngine, nearest, need_of
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pictures import noise, noise16
from stores import file_size_limit

from enlarger.engine import Engine
from enlarger.engine.tile import TileRequest, TileResult
from enlarger.geometry.rect import Pixels, Rect
from enlarger.jobs.checkpoint import Checkpoint, KeptTiles, packed, unpacked
from enlarger.storage import Storage, storage_at

FOLDER = "job_1/work/tiles"


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """In a folder of their own."""
    return storage_at(tmp_path / "blobs")


def tile(seed: int = 0) -> TileRequest:
    """A tile of its own."""
    return TileRequest(
        pixels=noise(5, 7, 3, seed=seed),
        model=NEAREST.id,
        weights_sha256=NEAREST.sha256,
        scale=NEAREST.scale,
        precision="f32",
        deadline=1e9,
        request_id="r-1",
    )


def before(engine: Engine, storage: Storage, known: Sequence[str] = ()) -> Checkpoint:
    """A checkpoint before an engine, of a job whose tiles are known."""
    tiles = KeptTiles(storage, FOLDER, known=known)
    return Checkpoint(engine, lambda: tiles)


async def kept(storage: Storage, *tiles: TileRequest) -> list[str]:
    """Keys of the storage, after these tiles were computed."""
    checkpoint = before(NearestEngine(), storage)
    for one in tiles:
        await checkpoint.enlarge(one)
    return await storage.keys(FOLDER)


async def computed(storage: Storage, *tiles: TileRequest, known: list[str]) -> int:
    """How many of these tiles are computed by who goes on; holds all of them to be right."""
    engine = NearestEngine([NEAREST, replace(NEAREST, id="other")])
    checkpoint = before(engine, storage, known)
    for one in tiles:
        result = await checkpoint.enlarge(one)
        assert np.array_equal(result.pixels, nearest(one.core, 4))
        assert result.pixels.dtype == one.pixels.dtype
    return len(engine.requests)


# As bytes


@given(
    pixels=st.sampled_from([np.uint8, np.uint16]).flatmap(
        lambda dtype: arrays.arrays(
            dtype, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))
        )
    ),
    words=st.tuples(*[st.text(max_size=400)] * 3),
    repeated=st.none() | st.text(max_size=2000),
)
def test_tile_is_found_as_it_was(
    pixels: Pixels, words: tuple[str, str, str], repeated: str | None
) -> None:
    """Samples of each kind and facts of any length; it took no time and no attempt."""
    engine, precision, server = words
    result = TileResult(
        pixels=pixels,
        engine=engine,
        precision=precision,
        server=server,
        repeated=repeated,
        infer_s=3.0,
        queue_s=1.0,
        attempts=2,
    )
    found = unpacked(packed(result))
    assert np.array_equal(found.pixels, pixels)
    assert found.pixels.dtype == pixels.dtype
    assert found.pixels.flags.aligned
    expected = replace(result, infer_s=0.0, queue_s=0.0, attempts=1, pixels=found.pixels)
    assert found == expected


@given(data=st.data())
def test_bytes_that_were_changed_are_no_tile(data: st.DataObject) -> None:
    """Cut anywhere, or any byte another one."""
    whole = packed(
        TileResult(pixels=noise(3, 4, 3), engine="nearest", precision="f32", infer_s=1.0)
    )
    cut = whole[: data.draw(st.integers(0, len(whole) - 1), label="cut")]
    changed = bytearray(whole)
    changed[data.draw(st.integers(0, len(whole) - 1), label="changed")] ^= 1
    for bad in (cut, bytes(changed)):
        with pytest.raises(ValueError, match=r".+"):
            unpacked(bad)


# In place of an engine


async def test_known_tile_is_not_computed(storage: Storage) -> None:
    """Whoever goes on computes only what is not there, and what was kept since is not looked for."""
    known = await kept(storage, tile(1), tile(2))
    assert len(known) == 2
    assert await computed(storage, tile(1), tile(2), tile(3), known=known) == 1
    assert await computed(storage, tile(3), known=known) == 1
    assert await computed(storage, tile(3), known=await storage.keys(FOLDER)) == 0


async def test_any_other_tile_is_not_found(storage: Storage) -> None:
    """Other pixels, kind of samples, weights, model, options, precision, or part to keep."""
    one = tile()
    known = await kept(storage, one)
    others = [
        replace(one, pixels=noise(5, 7, 3, seed=9)),
        replace(one, pixels=noise16(5, 7, 3)),
        replace(one, pixels=one.pixels.reshape(7, 5, 3)),
        replace(one, model="other"),
        replace(one, options={"denoise": 0.5}),
        replace(one, precision="bf16"),
        replace(one, keep=Rect.sized(1, 1, 2, 2)),
    ]
    for other in others:
        assert await computed(storage, other, known=known) == 1, other
    engine = NearestEngine([replace(NEAREST, sha256="1" * 64)])
    checkpoint = before(engine, storage, known)
    await checkpoint.enlarge(replace(one, weights_sha256="1" * 64))
    assert len(engine.requests) == 1
    same = replace(one, request_id="r-2", index=4, total=9, deadline=5e9, admitted_at=3.0)
    assert await computed(storage, same, known=known) == 0


@pytest.mark.parametrize("damage", ["cut", "empty", "changed", "foreign", "gone"])
async def test_bad_blob_is_computed_again(storage: Storage, damage: str) -> None:
    """And kept again, so that the next one finds it."""
    known = await kept(storage, tile())
    data = await storage.get(known[0])
    assert data is not None
    if damage == "gone":
        await storage.delete_under(FOLDER)
    else:
        bad = {
            "cut": data[:-1],
            "empty": b"",
            "changed": data[:-1] + bytes([data[-1] ^ 1]),
            "foreign": b'{"another": "version"}\n',
        }
        await storage.put(known[0], bad[damage])
    assert await computed(storage, tile(), known=known) == 1
    assert await computed(storage, tile(), known=known) == 0


async def test_full_disk_costs_no_tile(storage: Storage) -> None:
    """It is computed and just not kept; nothing is half-written."""
    large = replace(tile(), pixels=noise(200, 200, 3))
    with file_size_limit(100_000):
        assert await kept(storage, large) == []
    assert await computed(storage, large, known=[]) == 1


async def test_store_that_cannot_be_read_costs_only_time(tmp_path: Path) -> None:
    """What is in the way of the blob, or of all of them, does not end the job."""
    storage = storage_at(tmp_path / "blobs")
    known = await kept(storage, tile())
    broken = storage_at(tmp_path / "others")
    (tmp_path / "others" / known[0]).mkdir(parents=True)
    assert await computed(broken, tile(), known=known) == 1


async def test_facts_are_those_of_the_engine(storage: Storage) -> None:
    """It is an engine before another one, which fails as that one does, and leaves no blob then."""
    engine = NearestEngine()
    checkpoint = before(engine, storage)
    assert checkpoint.facts() == engine.facts()
    assert await checkpoint.ready_for(need_of()) == NEAREST
    with pytest.raises(Exception, match="is not here"):
        await checkpoint.enlarge(replace(tile(), model="unknown"))
    assert await storage.keys(FOLDER) == []
    task = asyncio.create_task(checkpoint.enlarge(tile()))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await storage.keys(FOLDER) == []


async def test_request_that_becomes_a_job_keeps_what_follows(storage: Storage) -> None:
    """All tiles of a picture are sent at once: those count that are not finished by then."""
    engine = HeldEngine()
    job: list[KeptTiles] = []
    checkpoint = Checkpoint(engine, lambda: job[0] if job else None)
    one, two = (asyncio.create_task(checkpoint.enlarge(tile(seed))) for seed in (1, 2))
    await engine.holds(2)
    engine.let_go(1)
    await one
    job.append(KeptTiles(storage, FOLDER))
    engine.let_go(1)
    await two
    known = await storage.keys(FOLDER)
    assert len(known) == 1
    assert await computed(storage, tile(1), tile(2), known=known) == 1
