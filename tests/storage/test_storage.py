"""Bytes of jobs in a folder and in a bucket: each object is complete or absent, and is found again."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import threading
import time
from pathlib import Path
from typing import IO

import pytest
from obstore.store import MemoryStore
from support.results import FolderResults
from support.stores import file_size_limit

from enlarger.errors import BackendAway, ConfigError, StorageFull, StorageUnavailable
from enlarger.storage import Storage, Sweep, storage_at
from enlarger.storage.bucket import Bucket
from enlarger.storage.faults import JOBS
from enlarger.storage.storage import below

LARGE = bytes(range(256)) * 4096 * 12
"""12 MiB: more than one part of an upload."""


async def streamed(storage: Storage, key: str, start: int = 0, end: int | None = None) -> bytes:
    """Return all bytes of a stream."""
    return b"".join([piece async for piece in storage.stream(key, start, end)])


@pytest.mark.parametrize("data", [b"", b"\0", b"picture", LARGE], ids=len)
async def test_bytes_are_read_as_they_were_written(storage: Storage, data: bytes) -> None:
    """They are read at once and in pieces, and their number is known."""
    await storage.put("job_x/input", data)
    found = await storage.get("job_x/input")
    assert found == data
    assert type(found) is bytes
    assert await streamed(storage, "job_x/input") == data
    facts = await storage.facts("job_x/input")
    assert facts is not None
    assert facts.size_bytes == len(data)


@pytest.mark.parametrize("data", [b"", b"picture", LARGE], ids=len)
async def test_file_is_read_as_it_was(storage: Storage, tmp_path: Path, data: bytes) -> None:
    """The file is not moved."""
    path = tmp_path / "result.png"
    path.write_bytes(data)
    await storage.put_file("job_x/result", path)
    assert await storage.get("job_x/result") == data
    assert path.read_bytes() == data


@pytest.mark.parametrize(
    ("start", "end"), [(0, 1), (0, 7), (3, None), (3, 4), (6, 7), (2, 2), (0, None), (0, 0)]
)
async def test_stream_gives_a_part(storage: Storage, start: int, end: int | None) -> None:
    """The part has the limits of a slice."""
    await storage.put("job_x/result", b"picture")
    assert await streamed(storage, "job_x/result", start, end) == b"picture"[start:end]


@pytest.mark.parametrize("storage", ["folder", "s3"], indirect=True)
async def test_stream_comes_in_pieces(storage: Storage) -> None:
    """A large result is never completely in memory."""
    await storage.put("job_x/result", LARGE)
    pieces = [piece async for piece in storage.stream("job_x/result", 1, len(LARGE) - 1)]
    assert b"".join(pieces) == LARGE[1:-1]
    assert len(pieces) > 2


async def test_what_is_not_there_is_none(storage: Storage) -> None:
    """Reading returns None. A stream cannot, and raises an error."""
    assert await storage.get("job_x/input") is None
    assert await storage.facts("job_x/input") is None
    assert await storage.get_with_digest("job_x/input") is None
    assert await storage.keys("job_x") == []
    await storage.delete_under("job_x")
    with pytest.raises(StorageFull, match="went away"):
        await streamed(storage, "job_x/input")


async def test_later_bytes_replace_earlier_ones(storage: Storage) -> None:
    """The object is replaced completely: nothing of a longer one is left behind a shorter one."""
    await storage.put("job_x/input", b"longer one")
    await storage.put("job_x/input", b"short")
    assert await storage.get("job_x/input") == b"short"


async def test_reader_never_meets_half_of_a_blob(storage: Storage) -> None:
    """A reader gets the earlier or the later bytes, at any moment."""
    one, other = b"1" * 3_000_000, b"2" * 3_000_000
    await storage.put("job_x/result", one)

    async def writes() -> None:
        for data in (other, one) * 4:
            await storage.put("job_x/result", data)

    writer = asyncio.create_task(writes())
    while not writer.done():
        assert await storage.get("job_x/result") in (one, other)
    await writer


async def test_cancelled_writer_leaves_all_or_nothing(storage: Storage, tmp_path: Path) -> None:
    """This holds at whatever moment the writer is cancelled."""
    path = tmp_path / "result.png"
    path.write_bytes(LARGE)
    for turn in range(6):
        key = f"job_x/{turn}"
        task = asyncio.create_task(storage.put_file(key, path))
        await asyncio.sleep(turn * 0.004)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await storage.get(key) in (None, LARGE)


async def test_keys_are_found_below_their_job(storage: Storage) -> None:
    """They are sorted. Keys of a job whose name has the same beginning are not among them."""
    for key in ("job_x/tiles/b", "job_x/input", "job_x/tiles/a", "job_xy/input"):
        await storage.put(key, b"1")
    assert await storage.keys("job_x") == ["job_x/input", "job_x/tiles/a", "job_x/tiles/b"]
    assert await storage.keys("job_x/tiles") == ["job_x/tiles/a", "job_x/tiles/b"]


async def test_all_below_a_job_is_deleted(storage: Storage) -> None:
    """Nothing else is deleted, and a second deletion has no effect."""
    for key in ("job_x/input", "job_x/tiles/a", "job_xy/input"):
        await storage.put(key, b"1")
    await storage.delete_under("job_x/tiles")
    assert await storage.keys("job_x") == ["job_x/input"]
    for _ in range(2):
        await storage.delete_under("job_x")
    assert await storage.keys("job_x") == []
    assert await storage.get("job_xy/input") == b"1"


async def test_many_tiles_are_deleted(storage: Storage) -> None:
    """There are more tiles than a bucket deletes in one call."""
    await asyncio.gather(*(storage.put(f"job_x/tiles/{n:04}", b"1") for n in range(1100)))
    assert len(await storage.keys("job_x")) == 1100
    await storage.delete_under("job_x")
    assert await storage.keys("job_x") == []


@pytest.mark.parametrize(
    "prefix",
    ["", ".", "..", "/", "/a", "//", "job_x/..", "job_x/../..", "a//b", "a/", "~", "a\n"],
)
def test_prefix_that_leads_elsewhere_is_none(prefix: str) -> None:
    """Only the check is called, so a failure of this test deletes nothing."""
    with pytest.raises(ValueError, match="no prefix"):
        below(prefix)


# Facts of an object


SHA256 = "ab" * 32


async def test_digest_belongs_to_what_was_written_with_it(storage: Storage, tmp_path: Path) -> None:
    """It is found without reading the value, and is deleted with it."""
    (tmp_path / "file").write_bytes(b"from a file")
    await storage.put("job_x/input", b"picture", sha256=SHA256)
    await storage.put_file("job_x/file", tmp_path / "file", sha256=SHA256)
    assert await storage.get_with_digest("job_x/input") == (b"picture", SHA256)
    assert await storage.get_with_digest("job_x/file") == (b"from a file", SHA256)
    facts = await storage.facts("job_x/input")
    assert facts is not None
    assert (facts.key, facts.size_bytes, facts.sha256) == ("job_x/input", 7, SHA256)
    assert facts.modified_at == pytest.approx(time.time(), abs=5)
    await storage.put("job_x/input", b"another one")
    assert await storage.get_with_digest("job_x/input") == (b"another one", None)


async def test_draft_is_adopted_with_its_digest(storage: Storage) -> None:
    """The object has the bytes of the draft, and the draft is deleted."""
    draft = storage.drafts.write(lambda path: path.write_bytes(LARGE))
    assert (draft.written, draft.size_bytes) == (len(LARGE), len(LARGE))
    facts = await storage.adopt(draft, "upscaled_1.png")
    draft.discard()
    assert (facts.key, facts.size_bytes, facts.sha256) == (
        "upscaled_1.png",
        len(LARGE),
        draft.sha256,
    )
    assert draft.sha256 == hashlib.sha256(LARGE).hexdigest()
    assert await storage.get_with_digest("upscaled_1.png") == (LARGE, draft.sha256)
    assert not draft.path.exists()


async def test_drafts_of_a_bucket_are_for_nobody_else() -> None:
    """Their folder is shared by all users of the machine, so only the owner may read them."""
    storage = Bucket(MemoryStore(), JOBS)
    draft = storage.drafts.write(lambda path: path.write_bytes(b"picture"))
    assert draft.path.stat().st_mode & 0o077 == 0
    assert storage.drafts.sweep(time.time()) == []
    assert draft.path.exists()
    os.close(draft.descriptor)  # as at the end of its process
    assert storage.drafts.sweep(time.time()) == []
    assert not draft.path.exists()


async def test_duplicate_has_the_same_bytes_and_digest(storage: Storage) -> None:
    """The source stays. A source that does not exist has no duplicate."""
    await storage.put("upscaled_1.png", b"picture", sha256=SHA256)
    source = await storage.facts("upscaled_1.png")
    assert source is not None
    copied = await storage.duplicate(source, "upscaled_2.png")
    assert copied is not None
    assert (copied.key, copied.size_bytes, copied.sha256) == ("upscaled_2.png", 7, SHA256)
    await storage.delete(["upscaled_1.png"])
    assert await storage.get_with_digest("upscaled_2.png") == (b"picture", SHA256)
    assert await storage.duplicate(source, "upscaled_3.png") is None
    assert await storage.facts("upscaled_3.png") is None


async def test_children_are_what_lies_directly_below(storage: Storage) -> None:
    """They have their sizes. Files in folders below are not among them."""
    for key in ("upscaled_1.png", "jobs/a", "jobs/b/c", ".hidden"):
        await storage.put(key, key.encode())
    found = {facts.key: facts.size_bytes for facts in await storage.children()}
    assert {key: found[key] for key in ("upscaled_1.png", ".hidden")} == {
        "upscaled_1.png": 14,
        ".hidden": 7,
    }
    assert not {"jobs/a", "jobs/b/c", "a"} & found.keys()
    assert "jobs/a" in {facts.key for facts in await storage.children("jobs")}


async def test_objects_are_deleted_by_key(storage: Storage) -> None:
    """Objects that were deleted before do not prevent the deletion of others."""
    for key in ("a", "b", "c"):
        await storage.put(key, b"1")
    await storage.delete(["b"])
    assert (await storage.delete(["a", "b"])).errors == ()
    assert (await storage.delete([])).deleted == 0
    assert await storage.keys("") == ["c"]


async def test_object_is_downloaded_into_a_file(storage: Storage, tmp_path: Path) -> None:
    """If the object does not exist, nothing is written."""
    await storage.put("a", LARGE)
    (tmp_path / "file").touch()
    await asyncio.to_thread(storage.download, "a", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == LARGE
    with pytest.raises(FileNotFoundError):
        await asyncio.to_thread(storage.download, "b", tmp_path / "file")


async def test_opened_object_is_lost_in_words(storage: Storage) -> None:
    """The error is raised when the object is opened, not at the first piece, so the response can still have an error status."""
    await storage.put("a", b"picture")
    pieces = await storage.open("a", 1, 3)
    assert b"".join([piece async for piece in pieces]) == b"ic"
    with pytest.raises(StorageFull, match="went away before it could be sent"):
        await storage.open("b")


async def test_check_leaves_nothing(storage: Storage) -> None:
    """A storage that works has no message."""
    await storage.check()
    assert await storage.keys("") == []


# A folder


async def test_folder_is_made_also_later(tmp_path: Path) -> None:
    """The folder may have been removed."""
    storage = storage_at(tmp_path / "new" / "blobs")
    assert (tmp_path / "new" / "blobs").is_dir()
    shutil.rmtree(tmp_path / "new")
    await storage.put("job_x/input", b"1")
    assert await storage.get("job_x/input") == b"1"


def test_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """The error has the variable and the reason."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"^ENLARGER_BLOBS: .*Not a directory"):
        storage_at(tmp_path / "file" / "blobs")


@pytest.mark.parametrize("size_bytes", [5_000, 3_000_000])
async def test_full_disk_is_told_and_leaves_nothing(tmp_path: Path, size_bytes: int) -> None:
    """Neither an object nor an unfinished file is left."""
    storage = storage_at(tmp_path / "blobs")
    path = tmp_path / "result.png"
    path.write_bytes(bytes(size_bytes))
    with file_size_limit(1_000):
        with pytest.raises(StorageFull, match=r"no room .* ask the operator to make room"):
            await storage.put("job_x/input", bytes(size_bytes))
        with pytest.raises(StorageFull, match="no room"):
            await storage.put_file("job_x/result", path)
    assert await storage.keys("job_x") == []
    assert [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()] == []


async def test_folder_that_became_a_file_is_told(tmp_path: Path) -> None:
    """The sender of a picture and the operator at the start see the error."""
    storage = storage_at(tmp_path / "blobs")
    (tmp_path / "blobs").rmdir()
    (tmp_path / "blobs").write_bytes(b"")
    with pytest.raises(StorageFull, match="is something else"):
        await storage.put("job_x/input", b"1")
    with pytest.raises(ConfigError, match=r"^ENLARGER_BLOBS: "):
        await storage.check()


async def test_half_written_files_of_a_sudden_stop_are_deleted(tmp_path: Path) -> None:
    """Their names have a number after ``#``. They are not keys, and are deleted with their job."""
    storage = storage_at(tmp_path / "blobs")
    await storage.put("job_x/input", b"1")
    (tmp_path / "blobs" / "job_x" / "result#1").write_bytes(b"half")
    assert await storage.keys("job_x") == ["job_x/input"]
    await storage.delete_under("job_x")
    assert list((tmp_path / "blobs").iterdir()) == []


async def test_reader_in_a_folder_gets_all_though_it_is_deleted(tmp_path: Path) -> None:
    """A slow download completes after the result has expired."""
    storage = storage_at(tmp_path / "blobs")
    await storage.put("job_x/result", LARGE)
    stream = storage.stream("job_x/result")
    first = await anext(stream)
    await storage.delete_under("job_x")
    assert first + b"".join([piece async for piece in stream]) == LARGE


async def test_sweep_of_the_results_leaves_blobs_alone(tmp_path: Path) -> None:
    """It deletes only files with names of results, however old a file is."""
    storage = storage_at(tmp_path / "jobs")
    await storage.put("job_x/input", b"1")
    for path in tmp_path.rglob("*"):  # noqa: ASYNC240 - nothing else runs
        os.utime(path, (0, 0))
    assert await FolderResults(tmp_path, max_age_s=1).sweep() == Sweep(0, ())
    assert await storage.get("job_x/input") == b"1"


async def test_file_is_open_only_while_it_is_read(tmp_path: Path) -> None:
    """It is opened for the first piece, and closed when the reader leaves."""
    storage = storage_at(tmp_path / "blobs")
    await storage.put("job_x/result", LARGE)
    place = str(tmp_path / "blobs" / "job_x")

    def is_open() -> bool:
        links = (str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.exists())
        return any(link.startswith(place) for link in links)

    pieces = storage.stream("job_x/result")
    assert not is_open()
    await anext(pieces)
    assert is_open()
    await pieces.aclose()
    assert not is_open()


async def test_file_is_closed_when_its_reader_hangs_up_while_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread still opens the file, which is then closed."""
    storage = storage_at(str(tmp_path))
    await storage.put("result", b"picture")
    opens, may_open = threading.Event(), threading.Event()
    opened: list[IO[bytes]] = []

    def open_late(path: Path, mode: str) -> IO[bytes]:
        opens.set()
        may_open.wait(10)
        opened.append(open(path, mode))  # noqa: PTH123, SIM115
        return opened[0]

    monkeypatch.setattr(Path, "open", open_late)
    reader = asyncio.create_task(streamed(storage, "result"))
    await asyncio.to_thread(opens.wait, 10)
    reader.cancel()
    await asyncio.sleep(0)
    may_open.set()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert opened[0].closed


# A bucket


@pytest.mark.parametrize(
    "url", ["s3://", "s3:///prefix", "s3://Bucket", "s3://bucket?x=1", "gs://bucket", "s3://a b"]
)
def test_url_that_is_no_bucket_is_refused(url: str) -> None:
    """The error shows the form of a URL."""
    with pytest.raises(ConfigError, match=r"^ENLARGER_BLOBS: .*s3://bucket/prefix"):
        storage_at(url)


async def test_prefix_keeps_buckets_apart(bucket: str) -> None:
    """Two services share a bucket and do not see each other's objects."""
    one, other = storage_at(f"{bucket}/one"), storage_at(f"{bucket}/other")
    await one.put("job_x/input", b"1")
    assert await other.keys("job_x") == []
    assert await storage_at(bucket).keys("one") == ["one/job_x/input"]


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize(
    ("url", "variables", "says"),
    [
        ("s3://missing", {}, "the bucket is not there; make it"),
        ("s3://key:secret@bucket", {}, "it must be a folder or s3://bucket/prefix"),
        ("s3://enlarger", {"AWS_ENDPOINT_URL": "127.0.0.1:9000"}, "must begin with http://"),
        ("s3://enlarger", {"AWS_ENDPOINT_URL": "http://k:secret@127.0.0.1:1"}, "cannot reach"),
        ("s3://enlarger", {"AWS_SECRET_ACCESS_KEY": ""}, "Missing SecretAccessKey"),
    ],
)
async def test_bucket_that_cannot_be_used_is_one_line(
    url: str, variables: dict[str, str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line says what is wrong and what to do, without secrets. Only an unreachable bucket may be tried again."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
        if not value:
            monkeypatch.delenv(name)
    with pytest.raises(ConfigError) as error:
        await storage_at(url).check()
    text = str(error.value)
    assert re.match("(ENLARGER_BLOBS|AWS_ENDPOINT_URL): ", text)
    assert says in text
    assert "secret" not in text
    assert "\n" not in text
    assert isinstance(error.value, BackendAway) == (says == "cannot reach")


@pytest.mark.usefixtures("bucket")
async def test_bucket_that_is_not_there_is_told() -> None:
    """The start fails with the message of the server."""
    storage = storage_at("s3://missing/jobs")
    with pytest.raises(ConfigError, match=r"^ENLARGER_BLOBS: .*404 Not Found, NoSuchBucket"):
        await storage.check()
    with pytest.raises(StorageFull, match="is not there"):
        await storage.put("job_x/input", b"1")


async def test_bucket_that_cannot_be_reached_is_unavailable(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is raised after a few attempts, within seconds, and the client is asked to try again."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    storage = storage_at(bucket)
    began = time.monotonic()
    with pytest.raises(StorageUnavailable, match="try again") as error:
        await storage.put("job_x/input", b"1")
    assert error.value.retry_after_s is not None
    assert time.monotonic() - began < 20
    for call in (storage.get("a"), storage.facts("a"), storage.keys("a"), streamed(storage, "a")):
        with pytest.raises(StorageUnavailable):
            await call
