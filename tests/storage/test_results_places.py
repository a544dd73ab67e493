"""Results in a folder, in a bucket, or in both: copies, digests and shared results."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support.results import FolderResults, put
from support.stored_results import MAX_AGE_S, TOKEN, Clock, names, planted, stored

from enlarger.errors import BackendAway, ResultLost, StorageUnavailable
from enlarger.storage import (
    ResultStore,
    Storage,
    StoredResult,
    Sweep,
    result_store,
    storage_at,
)


@pytest.fixture
def store(tmp_path: Path) -> FolderResults:
    """An empty folder of results, which live for five minutes."""
    return FolderResults(tmp_path / "uploads", max_age_s=MAX_AGE_S)


# Copies


async def test_copy_has_a_name_and_a_life_of_its_own(store: FolderResults) -> None:
    """It has the same bytes, and expires as if it had been made now."""
    old = await stored(store, age_s=MAX_AGE_S - 10)
    copy = await store.copy(old)
    assert copy is not None
    assert store.path(copy).read_bytes() == store.path(old).read_bytes()
    assert (copy.token != old.token, copy.suffix) == (True, ".png")
    assert store.left_s(copy) > MAX_AGE_S - 10
    assert store.left_s(old) < 11


async def test_copy_of_what_is_gone_is_none(store: FolderResults) -> None:
    """The result has expired or was deleted. No file is left behind."""
    expired = await stored(store, age_s=MAX_AGE_S)
    deleted = await stored(store)
    store.path(deleted).unlink()
    assert await store.copy(expired) is None
    assert await store.copy(deleted) is None
    assert names(store) == [store.path(expired).name]


# Results in a folder, in a bucket, or in both


@pytest.fixture
def results(storage: Storage) -> ResultStore:
    """Empty results in each kind of storage."""
    return ResultStore(storage, max_age_s=MAX_AGE_S)


async def read(results: ResultStore, file: StoredResult, *part: int) -> bytes:
    """All bytes of a result, or those of a part."""
    return b"".join([piece async for piece in await results.open(file, *part)])


async def test_result_is_found_read_copied_and_deleted(results: ResultStore) -> None:
    """Each kind of storage behaves in the same way."""
    _, file = await put(results, lambda path: path.write_bytes(b"picture"), suffix=".webp")
    digest = hashlib.sha256(b"picture").hexdigest()
    assert (file.size_bytes, file.sha256, file.suffix) == (7, digest, ".webp")
    found = await results.find(file.name)
    assert found is not None
    assert replace(found, created_at=file.created_at) == file
    assert found.created_at == pytest.approx(file.created_at, abs=2)
    assert (await read(results, found), await read(results, found, 2, 5)) == (b"picture", b"ctu")
    copy = await results.copy(found)
    assert copy is not None
    assert (copy.token != file.token, copy.sha256) == (True, digest)
    assert await results.usage() == [7, 7]
    await results.delete(file.name)
    assert await results.find(file.name) is None
    assert await results.copy(file) is None
    assert await read(results, copy) == b"picture"


async def test_no_result_is_swept_before_it_expires(storage: Storage) -> None:
    """A bucket may round the date of an object down by almost a second."""
    clock = Clock()
    results = ResultStore(storage, max_age_s=MAX_AGE_S, clock=clock)
    _, file = await put(results, lambda path: path.write_bytes(b"picture"))
    clock.ahead_s = file.created_at + MAX_AGE_S - 0.01 - time.time()
    assert results.left_s(file) > 0
    assert await results.sweep() == Sweep(0, ())
    found = await results.find(file.name)
    assert found is not None
    assert results.left_s(found) > 0


async def test_result_that_was_deleted_cannot_be_opened(results: ResultStore) -> None:
    """The error is raised before a byte could be sent."""
    _, file = await put(results, lambda path: path.write_bytes(b"picture"))
    await results.delete(file.name)
    for part in ((0, 7), (2, 5), (2, None)):
        with pytest.raises(ResultLost):
            await results.open(file, *part)


async def test_count_of_a_bucket_that_is_away_is_the_last_one(bucket: str) -> None:
    """The number is that of the last sweep or count, and the log says that it is old."""
    results = ResultStore(storage_at(bucket), max_age_s=MAX_AGE_S)
    for _ in range(2):
        await put(results, lambda path: path.write_bytes(b"picture"))
    assert await results.sweep() == Sweep(0, ())
    results.storage.store = storage_at(bucket.replace("enlarger", "absent")).store
    with capture_logs() as logs:
        assert await results.usage() == [7, 7]
    assert "results_not_counted" in [entry["event"] for entry in logs]


async def test_sweep_deletes_expired_results_alone(storage: Storage) -> None:
    """This holds for a bucket as well: objects with other names or below other prefixes are left alone."""
    clock = Clock()
    results = ResultStore(storage, max_age_s=MAX_AGE_S, clock=clock)
    _, file = await put(results, lambda path: path.write_bytes(b"picture"))
    for key in ("notes.txt", f"jobs/upscaled_{TOKEN}.png", f"upscaled_{TOKEN}.txt"):
        await storage.put(key, b"theirs")
    assert await results.sweep() == Sweep(0, ())
    clock.ahead_s = MAX_AGE_S + 2
    assert await results.find(file.name) is None
    assert await results.copy(file) is None
    assert await results.sweep() == Sweep(1, ())
    assert await results.sweep() == Sweep(0, ())
    assert len(await storage.keys("")) == 3


async def test_gateways_share_a_bucket(bucket: str) -> None:
    """Each gateway finds the results of the others until one of them sweeps them."""
    one = await result_store(bucket, max_age_s=MAX_AGE_S)
    clock = Clock()
    other = ResultStore(storage_at(bucket), max_age_s=MAX_AGE_S, clock=clock)
    _, file = await put(one, lambda path: path.write_bytes(b"picture"))
    found = await other.find(file.name)
    assert found is not None
    assert (await read(other, found), found.sha256) == (b"picture", file.sha256)
    clock.ahead_s = MAX_AGE_S + 2
    assert await other.sweep() == Sweep(1, ())
    assert await one.find(file.name) is None


async def test_bucket_that_cannot_be_reached_is_told(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the start the error names the variable; later it says that a repetition may succeed. No unfinished object is left."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(BackendAway, match=r"^UPLOAD_FOLDER: cannot reach the bucket"):
        await result_store(bucket, max_age_s=MAX_AGE_S)
    results = ResultStore(storage_at(bucket), max_age_s=MAX_AGE_S)
    drafts = set(results.storage.drafts.folder.glob(".enlarger_*"))
    with pytest.raises(StorageUnavailable, match="try again later"):
        await put(results, lambda path: path.write_bytes(b"picture"))
    assert not set(results.storage.drafts.folder.glob(".enlarger_*")) - drafts
    assert await results.usage() == []


# Digests


async def test_digest_is_not_computed_again(store: FolderResults) -> None:
    """The stored digest is returned to every process. The bytes are not read: the test replaces them, and the digest stays."""
    file = await stored(store)
    store.path(file).write_bytes(b"changed")
    for results in (store, FolderResults(store.folder)):
        found = await results.find(file.name)
        assert found is not None
        assert found.sha256 == file.sha256 == hashlib.sha256(b"picture").hexdigest()


@pytest.mark.parametrize("has_attributes", [True, False])
async def test_file_without_a_digest_is_hashed_once(
    store: FolderResults, monkeypatch: pytest.MonkeyPatch, has_attributes: bool
) -> None:
    """An earlier version wrote the file. If the file system stores attributes, no other process hashes it again."""
    if not has_attributes:
        monkeypatch.delattr(os, "setxattr")
        monkeypatch.delattr(os, "getxattr")
    path = planted(store, f"upscaled_{TOKEN}.png", age_s=0)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    first = await store.find(f"{TOKEN}.png")
    path.write_bytes(b"changed")
    again = await store.find(f"{TOKEN}.png")
    assert first is not None
    assert again is not None
    assert first.sha256 == again.sha256 == digest
    elsewhere = await FolderResults(store.folder).find(f"{TOKEN}.png")
    assert elsewhere is not None
    assert (elsewhere.sha256 == digest) == has_attributes


# Results of jobs if gateways do not share the folder


@pytest.fixture
def shared(storage: Storage, tmp_path: Path) -> FolderResults:
    """A folder of results whose jobs are shared."""
    return FolderResults(tmp_path / "uploads", shared=storage)


async def test_shared_result_is_moved(shared: FolderResults, tmp_path: Path) -> None:
    """It exists once, under its name, and a gateway with another folder serves it."""
    moved = await shared.share(await stored(shared))
    assert names(shared) == []
    assert shared.shared is not None
    assert await shared.shared.keys("") == [f"results/{moved.file_name}"]
    other = FolderResults(tmp_path / "elsewhere", shared=shared.shared)
    for results in (shared, other):
        found = await results.find(moved.name)
        assert found is not None
        assert (found.is_shared, found.sha256) == (True, moved.sha256)
        assert await read(results, found) == b"picture"


async def test_copy_of_a_shared_result_is_in_the_folder(shared: FolderResults) -> None:
    """The copy succeeds for a caller that knows the result as it was before it was moved, such as the cache of results."""
    before = await stored(shared)
    moved = await shared.share(before)
    for known in (before, moved):
        copy = await shared.copy(known)
        assert copy is not None
        assert shared.path(copy).read_bytes() == b"picture"
        assert (copy.is_shared, copy.sha256) == (False, before.sha256)
    await shared.delete(moved.name)
    assert await shared.copy(before) is None


async def test_shared_results_are_swept_and_deleted(storage: Storage, tmp_path: Path) -> None:
    """They are treated like the results in the folder."""
    clock = Clock()
    shared = FolderResults(tmp_path / "uploads", shared=storage, clock=clock)
    old, gone = [await shared.share(await stored(shared)) for _ in range(2)]
    await shared.delete(gone.name)
    assert await storage.keys("") == [f"results/{old.file_name}"]
    clock.ahead_s = MAX_AGE_S + 2
    assert await shared.sweep() == Sweep(1, ())
    assert await storage.keys("") == []


async def test_result_that_every_gateway_reaches_stays(storage: Storage) -> None:
    """The results are in a bucket, or nothing is shared."""
    results = ResultStore(storage, max_age_s=MAX_AGE_S)
    _, file = await put(results, lambda path: path.write_bytes(b"picture"))
    assert await results.share(file) == file
    assert await storage.keys("") == [file.file_name]


async def test_previews_are_swept_with_their_result(tmp_path: Path) -> None:
    """A preview is not swept before its result. A preview without a result is swept once a listing cannot have missed the result."""
    now = time.time()
    results = FolderResults(tmp_path, max_age_s=MAX_AGE_S, clock=lambda: now)
    _, kept = await put(results, lambda path: path.write_bytes(b"kept"))
    _, old = await put(results, lambda path: path.write_bytes(b"old"))
    lost, fresh = (replace(kept, token=sign * 32) for sign in "ab")
    for each in (kept, old, lost, fresh):
        await results.keep_preview(each, "result", b"small")
        await results.keep_preview(each, "input", b"before")
    os.utime(results.path(old), (now - MAX_AGE_S, now - MAX_AGE_S))
    for kind in ("result", "input"):
        os.utime(tmp_path / f"upscaled_{lost.token}.{kind}.jpg", (now - 61, now - 61))
    swept = await results.sweep()
    assert (swept.deleted, swept.errors) == (5, ())
    assert await results.preview(kept, "result") == await results.preview(fresh, "result")
    assert await results.preview(kept, "input") == b"before"
    assert await results.preview(old, "result") is None
    assert await results.preview(lost, "input") is None
    assert await results.usage() == [4]
    assert await results.find(f"{kept.token}.result.jpg") is None
    await results.delete(kept.name)
    assert await results.preview(kept, "input") is None
