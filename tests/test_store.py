"""The folder of results: names that cannot be guessed, a limited life, nothing half-written."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enlarger.errors import ConfigError, StorageFull
from enlarger.store import Store, StoredFile, Sweep, etag, sweep_regularly

MAX_AGE_S = 300
TOKEN = "0123456789abcdef" * 2
"""The form of a name, for files that a test plants."""


class WatchedStore(Store):
    """A store that tells when it has been swept; ``failures`` sweeps fail first."""

    def __init__(self, folder: Path, *, failures: int = 0) -> None:
        super().__init__(folder, max_age_s=MAX_AGE_S)
        self.failures = failures
        self.sweeps: asyncio.Queue[Sweep | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def sweep(self) -> Sweep:
        """Sweep, and put what was done into ``sweeps``, or None."""
        done = None
        try:
            if self.failures > 0:
                self.failures -= 1
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            done = super().sweep()
            return done
        finally:
            self._loop.call_soon_threadsafe(self.sweeps.put_nowait, done)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty one, whose files live for five minutes."""
    return Store(tmp_path / "uploads", max_age_s=MAX_AGE_S)


def stored(store: Store, data: bytes = b"picture", *, age_s: float = 0) -> StoredFile:
    """A result that was written ``age_s`` ago."""
    with store.writing() as aside:
        aside.write_bytes(data)
        os.utime(aside, (time.time() - age_s,) * 2)
        return store.publish(aside, suffix=".png")


def planted(store: Store, name: str, *, age_s: float) -> Path:
    """A file that somebody put into the folder."""
    path = store.folder / name
    path.write_bytes(b"planted")
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def write_half(store: Store, error: BaseException) -> None:
    """Begin to write a result, and fail."""
    with store.writing() as aside:
        aside.write_bytes(b"half")
        raise error


def names(store: Store) -> list[str]:
    """All in the folder."""
    return sorted(path.name for path in store.folder.iterdir())


# Opening


def test_missing_folder_is_made(tmp_path: Path) -> None:
    """With those above it, and nothing is left of the trial."""
    store = Store(tmp_path / "a" / "b", max_age_s=1)
    assert names(store) == []


def test_folder_that_is_there_is_kept(tmp_path: Path) -> None:
    """With what is in it."""
    (tmp_path / "mine.txt").write_text("mine")
    assert names(Store(tmp_path, max_age_s=1)) == ["mine.txt"]


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_folder_that_cannot_be_had_names_its_variable(tmp_path: Path, name: str) -> None:
    """Here a file stands in its way."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"^UPLOAD_FOLDER: cannot write to "):
        Store(tmp_path / name, max_age_s=1)


def test_folder_that_takes_no_files_names_its_variable() -> None:
    """Even where the system's own folder for processes is there and listable."""
    with pytest.raises(ConfigError, match=r"^UPLOAD_FOLDER: cannot write to '/proc'"):
        Store(Path("/proc"), max_age_s=1)


# Writing


def test_published_file_has_the_bytes_that_were_written(store: Store) -> None:
    """Under its final name, with its size and time."""
    before = time.time()
    file = stored(store, b"the picture")
    assert file.path.read_bytes() == b"the picture"
    assert file.size_bytes == 11
    assert before - 0.1 <= file.created_at <= time.time() + 0.1
    assert names(store) == [file.path.name]


def test_name_is_a_token_of_128_bits(store: Store) -> None:
    """32 hex digits in lower case, in the path and in the URL."""
    file = stored(store)
    assert re.fullmatch(r"[0-9a-f]{32}", file.token)
    assert file.path == store.folder / f"upscaled_{file.token}.png"
    assert file.url_path == f"/files/{file.token}.png"


def test_names_differ(store: Store) -> None:
    """The token is the permission to read the file."""
    assert len({stored(store).token for _ in range(200)}) == 200


def test_file_being_written_cannot_be_read(store: Store) -> None:
    """Until it is published, no name leads to it, and no list has it."""
    with store.writing() as aside:
        aside.write_bytes(b"half")
        assert store.files() == []
        assert re.fullmatch(r"\.enlarger_[0-9a-f]{32}", aside.name)
        assert aside.parent == store.folder  # one file system, so that publishing is one step


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, asyncio.CancelledError])
def test_file_is_gone_when_writing_fails(store: Store, error: type[BaseException]) -> None:
    """Whatever ends it; the error itself is not hidden."""
    with pytest.raises(error):
        write_half(store, error())
    assert names(store) == []


def test_file_that_is_not_published_is_gone(store: Store) -> None:
    """Somebody changed their mind."""
    with store.writing() as aside:
        aside.write_bytes(b"whole")
    assert names(store) == []


def test_full_disk_is_storage_full(store: Store) -> None:
    """The text has no path, and what was written is gone."""
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(StorageFull, match="no room") as refused:
        write_half(store, full)
    assert str(store.folder) not in str(refused.value)
    assert names(store) == []


def test_folder_that_went_away_is_storage_full(store: Store) -> None:
    """An operator removed it under a running server."""
    store.folder.rmdir()
    with pytest.raises(StorageFull), store.writing() as aside:
        aside.write_bytes(b"picture")


def test_folder_that_became_a_file_is_storage_full(store: Store) -> None:
    """Cleaning up then fails as writing did, and must not hide the answer."""
    store.folder.rmdir()
    store.folder.touch()
    with pytest.raises(StorageFull), store.writing() as aside:
        aside.write_bytes(b"picture")


# Reading


def test_file_is_found_by_its_token(store: Store) -> None:
    """As it was published."""
    file = stored(store)
    stored(store)
    assert store.find(f"{file.token}.png") == file


@pytest.mark.parametrize(
    "name",
    [
        *("", ".png", TOKEN, f"{TOKEN}.gif", f"{TOKEN}.PNG", f"{TOKEN}.png\n", f"{TOKEN}.png/"),
        *(f"{TOKEN.upper()}.png", f"{TOKEN[:-1]}.png", f"{TOKEN}0.png", f"x{TOKEN}.png"),
        *(f"../uploads/upscaled_{TOKEN}.png", f"upscaled_{TOKEN}.png", f"{TOKEN}.png\0"),
    ],
)
def test_other_names_lead_nowhere(store: Store, name: str) -> None:
    """Only the exact form of a token and its suffix is looked up, though such a file is there."""
    planted(store, f"upscaled_{TOKEN}.png", age_s=0)
    assert store.find(name) is None


@given(name=st.text(max_size=80))
def test_no_name_is_an_error(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    """A stranger's URL can be anything."""
    empty = Store(tmp_path_factory.getbasetemp(), max_age_s=1)
    assert empty.find(name) is None


def test_unknown_token_leads_nowhere(store: Store) -> None:
    """Of the right form, but never given out."""
    assert store.find(f"{TOKEN}.png") is None


@pytest.mark.parametrize(
    ("age_s", "found"), [(0, True), (MAX_AGE_S - 5, True), (MAX_AGE_S, False), (10_000, False)]
)
def test_file_is_found_until_it_expires(store: Store, age_s: float, found: bool) -> None:
    """From then on it is not served, swept or not."""
    file = stored(store, age_s=age_s)
    assert (store.find(f"{file.token}.png") == file) is found
    assert file.path.exists()


def test_time_left_counts_down_from_the_age_limit(store: Store) -> None:
    """Below zero once it has expired."""
    assert store.left_s(stored(store, age_s=100)) == pytest.approx(200, abs=2)
    assert store.left_s(stored(store, age_s=400)) == pytest.approx(-100, abs=2)


def test_list_holds_our_files_alone(store: Store) -> None:
    """Expired ones are still ours; those of other names are not."""
    ours = [stored(store), stored(store, age_s=400)]
    for name in ("upscaled_1.png", f"upscaled_{TOKEN}.gif", f".enlarger_{TOKEN}", "notes.txt"):
        planted(store, name, age_s=0)
    assert sorted(store.files(), key=lambda file: file.token) == sorted(
        ours, key=lambda file: file.token
    )


def test_list_of_a_folder_that_went_away_is_empty(store: Store) -> None:
    """A status page is no place to fail."""
    store.folder.rmdir()
    assert store.files() == []


# Sweeping


def test_sweep_deletes_what_has_outlived_its_time(store: Store) -> None:
    """And nothing that still lives."""
    young, old = stored(store, age_s=MAX_AGE_S - 5), stored(store, age_s=MAX_AGE_S)
    assert store.sweep() == Sweep(1, ())
    assert not old.path.exists()
    assert young.path.exists()
    assert store.sweep() == Sweep(0, ())


@pytest.mark.parametrize(
    "name",
    [
        *("notes.txt", "upscaled_.png", f"upscaled_{TOKEN}.gif", f"upscaled_{TOKEN}.png.bak"),
        *(f"upscaled_{TOKEN.upper()}.png", f".enlarger_{TOKEN}0", f"a_upscaled_{TOKEN}.png"),
    ],
)
def test_planted_file_survives_the_sweep(store: Store, name: str) -> None:
    """Only our own names are ours to delete, however old a file is."""
    path = planted(store, name, age_s=10**6)
    assert store.sweep() == Sweep(0, ())
    assert path.exists()


@pytest.mark.parametrize(("age_s", "left"), [(MAX_AGE_S, True), (3590, True), (3610, False)])
def test_half_written_file_is_left_an_hour(store: Store, age_s: float, left: bool) -> None:
    """A sudden stop leaves it; a picture being written is never that old. It was no result to count."""
    path = planted(store, f".enlarger_{TOKEN}", age_s=age_s)
    assert store.sweep() == Sweep(0, ())
    assert path.exists() is left


def test_file_that_cannot_be_deleted_is_reported_by_name(store: Store) -> None:
    """Without its folder; the others are swept all the same."""
    stuck = store.folder / f"upscaled_{TOKEN}.png"
    stuck.mkdir()
    os.utime(stuck, (0, 0))
    stored(store, age_s=400)
    sweep = store.sweep()
    assert sweep.deleted == 1
    assert sweep.errors == (f"{stuck.name}: {os.strerror(errno.EISDIR)}",)


def test_sweep_of_a_folder_that_went_away_is_an_os_error(store: Store) -> None:
    """The caller says that it cannot run at all."""
    store.folder.rmdir()
    with pytest.raises(FileNotFoundError):
        store.sweep()


async def test_sweeps_come_at_once_and_again(tmp_path: Path) -> None:
    """What an earlier run left goes at the start; the next sweep comes after the interval."""
    store = WatchedStore(tmp_path)
    left_over = stored(store, age_s=400)
    task = asyncio.create_task(sweep_regularly(store, interval_s=0.01))
    try:
        assert await asyncio.wait_for(store.sweeps.get(), 10) == Sweep(1, ())
        assert not left_over.path.exists()
        later = stored(store, age_s=400)
        while later.path.exists():
            await asyncio.wait_for(store.sweeps.get(), 10)
    finally:
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_sweep_that_fails_does_not_end_the_sweeping(tmp_path: Path) -> None:
    """The folder may be back the next time."""
    store = WatchedStore(tmp_path, failures=2)
    file = stored(store, age_s=400)
    task = asyncio.create_task(sweep_regularly(store, interval_s=0.01))
    try:
        assert await asyncio.wait_for(store.sweeps.get(), 10) is None
        assert await asyncio.wait_for(store.sweeps.get(), 10) is None
        assert await asyncio.wait_for(store.sweeps.get(), 10) == Sweep(1, ())
        assert not file.path.exists()
    finally:
        task.cancel()


async def test_cancelled_sweeping_waits_no_longer(tmp_path: Path) -> None:
    """A stopping server does not wait for the interval."""
    store = WatchedStore(tmp_path)
    task = asyncio.create_task(sweep_regularly(store, interval_s=3600))
    await asyncio.wait_for(store.sweeps.get(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)


# Tags


def test_tag_is_the_hash_of_the_bytes() -> None:
    """Strong, in quotes (RFC 9110, 8.8.3); the hash of nothing is a known one (FIPS 180-4)."""
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert etag(b"") == f'"sha256-{empty}"'
    assert etag(b"a") == f'"sha256-{hashlib.sha256(b"a").hexdigest()}"'


# Copies


def test_copy_has_a_name_and_a_life_of_its_own(store: Store) -> None:
    """The same bytes, as young as if it had been made now."""
    old = stored(store, age_s=MAX_AGE_S - 10)
    copy = store.copy(old)
    assert copy is not None
    assert copy.path.read_bytes() == old.path.read_bytes()
    assert (copy.token != old.token, copy.path.suffix) == (True, ".png")
    assert store.left_s(copy) > MAX_AGE_S - 10
    assert store.left_s(old) < 11


def test_copy_of_what_is_gone_is_none(store: Store) -> None:
    """Expired, or deleted before its time; nothing is left behind."""
    expired = stored(store, age_s=MAX_AGE_S)
    deleted = stored(store)
    deleted.path.unlink()
    assert store.copy(expired) is None
    assert store.copy(deleted) is None
    assert names(store) == [expired.path.name]
