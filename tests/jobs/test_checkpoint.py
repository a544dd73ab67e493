"""Checkpoints: computed tiles are stored, stored tiles are not computed again, and a damaged blob costs only time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from support.fakes import NEAREST, HeldEngine, NearestEngine, nearest, need_of
from support.pictures import noise, noise16
from support.stores import file_size_limit

from enlarger.engine import Engine
from enlarger.engine.tile import TileRequest, TileResult
from enlarger.geometry.rect import Pixels, Rect
from enlarger.jobs.checkpoint import Checkpoint, KeptTiles, packed, unpacked
from enlarger.storage import Storage, storage_at

FOLDER = "job_1/work/tiles"


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """Return the storage of checkpoints, in a folder of its own."""
    return storage_at(tmp_path / "blobs")


def tile(seed: int = 0) -> TileRequest:
    """Return a tile that differs from those of other numbers."""
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
    """Compute these tiles, and return the keys that the storage has then."""
    checkpoint = before(NearestEngine(), storage)
    for one in tiles:
        await checkpoint.enlarge(one)
    return await storage.keys(FOLDER)


async def computed(storage: Storage, *tiles: TileRequest, known: list[str]) -> int:
    """Resume with these tiles, check every result, and return how many of them were computed."""
    engine = NearestEngine([NEAREST, replace(NEAREST, id="other")])
    checkpoint = before(engine, storage, known)
    for one in tiles:
        result = await checkpoint.enlarge(one)
        assert np.array_equal(result.pixels, nearest(one.core, 4))
        assert result.pixels.dtype == one.pixels.dtype
    return len(engine.requests)


# Tiles as bytes


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
    """Samples of each type and facts of any length are kept. A stored tile counts no time and no attempt."""
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
    """The bytes are cut anywhere, or any one of them is changed."""
    whole = packed(
        TileResult(pixels=noise(3, 4, 3), engine="nearest", precision="f32", infer_s=1.0)
    )
    cut = whole[: data.draw(st.integers(0, len(whole) - 1), label="cut")]
    changed = bytearray(whole)
    changed[data.draw(st.integers(0, len(whole) - 1), label="changed")] ^= 1
    for bad in (cut, bytes(changed)):
        with pytest.raises(ValueError, match=r".+"):
            unpacked(bad)


# The engine of a job


async def test_known_tile_is_not_computed(storage: Storage) -> None:
    """A gateway that resumes a job computes only missing tiles. The list of known tiles is read once, when it starts."""
    known = await kept(storage, tile(1), tile(2))
    assert len(known) == 2
    assert await computed(storage, tile(1), tile(2), tile(3), known=known) == 1
    assert await computed(storage, tile(3), known=known) == 1
    assert await computed(storage, tile(3), known=await storage.keys(FOLDER)) == 0


async def test_any_other_tile_is_not_found(storage: Storage) -> None:
    """A tile differs by its pixels, type of samples, weights, model, options, precision, or the part to keep."""
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
    """It is stored again, so that the next gateway finds it."""
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
    """The tile is computed but not stored, and no partial file is left."""
    large = replace(tile(), pixels=noise(200, 200, 3))
    with file_size_limit(100_000):
        assert await kept(storage, large) == []
    assert await computed(storage, large, known=[]) == 1


async def test_store_that_cannot_be_read_costs_only_time(tmp_path: Path) -> None:
    """The job continues if one blob, or all of them, cannot be read."""
    storage = storage_at(tmp_path / "blobs")
    known = await kept(storage, tile())
    broken = storage_at(tmp_path / "others")
    (tmp_path / "others" / known[0]).mkdir(parents=True)
    assert await computed(broken, tile(), known=known) == 1


async def test_facts_are_those_of_the_engine(storage: Storage) -> None:
    """A checkpoint is an engine in front of another one. It has the same facts and errors, and stores nothing after an error."""
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
    """All tiles of a picture are sent at once. Those that are unfinished when the request becomes a job are stored."""
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
