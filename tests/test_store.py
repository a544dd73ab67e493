"""The folder of results: names that cannot be guessed, a limited life, nothing half-written."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import noise
from structlog.testing import capture_logs

from enlarger.errors import ConfigError, StorageFull
from enlarger.picture.encode import encode
from enlarger.picture.formats import suffix_of
from enlarger.picture.prepare import prepare
from enlarger.picture.values import Picture
from enlarger.store import Store, StoredFile, Sweep, sweep_regularly

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
    _, file = store.put(lambda aside: aside.write_bytes(data), suffix=".png")
    if age_s:
        os.utime(file.path, (time.time() - age_s,) * 2)
    return replace(file, created_at=file.path.stat().st_mtime)


def planted(store: Store, name: str, *, age_s: float) -> Path:
    """A file that somebody put into the folder."""
    path = store.folder / name
    path.write_bytes(b"planted")
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def write_half(store: Store, error: BaseException) -> None:
    """Begin to write a result, and fail."""

    def write(aside: Path) -> None:
        aside.write_bytes(b"half")
        raise error

    store.put(write, suffix=".png")


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

    def write(aside: Path) -> str:
        aside.write_bytes(b"whole")
        assert store.files() == []
        assert re.fullmatch(r"\.enlarger_[0-9a-f]{32}", aside.name)
        assert aside.parent == store.folder  # one file system, so that publishing is one step
        return "done"

    written, file = store.put(write, suffix=".webp")
    assert written == "done"
    assert (file.path.suffix, file.path.read_bytes()) == (".webp", b"whole")
    assert store.files() == [file]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, asyncio.CancelledError])
def test_file_is_gone_when_writing_fails(store: Store, error: type[BaseException]) -> None:
    """Whatever ends it; the error itself is not hidden."""
    with pytest.raises(error):
        write_half(store, error())
    assert names(store) == []


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.ENOSPC, "no room .* ask the operator to make room"),
        (errno.EDQUOT, "no room"),
        (errno.EFBIG, "no room"),
        (errno.EACCES, "may not write into its folder of results; ask the operator"),
        (errno.EPERM, "may not write"),
        (errno.EROFS, "may not write"),
        (errno.EIO, "could not be written to the server's disk; its log says why"),
    ],
)
def test_error_of_the_disk_says_what_to_do(store: Store, number: int, text: str) -> None:
    """It has no path, and what was written is gone."""
    with pytest.raises(StorageFull, match=text) as refused:
        write_half(store, OSError(number, os.strerror(number)))
    assert str(store.folder) not in str(refused.value)
    assert names(store) == []


def test_encoders_own_error_is_told_too(store: Store) -> None:
    """Pillow's may have no number."""
    with pytest.raises(StorageFull, match="could not be written"):
        write_half(store, OSError("encoder error -2 when writing image file"))


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """A limit of the system for each file, which acts as a full disk does: what still fits is written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


KINDS = ("png", "jpeg", "webp", "avif", "tiff")


@pytest.mark.parametrize("kind", KINDS)
def test_file_that_is_cut_short_by_the_disk_is_not_published(store: Store, kind: str) -> None:
    """By half, or by its last byte, of which Pillow's writer of JPEG says nothing. The process lives on."""
    picture = prepare(Picture(samples=noise(60, 80, 3)), kind=kind)
    size_bytes, file = store.put(partial(write_picture, picture, kind), suffix=suffix_of(kind))
    store.delete(file)
    with capture_logs() as logs:  # not into a file: that would be limited, too
        for limit_bytes in (0, size_bytes // 2, size_bytes - 1):
            with largest_file(limit_bytes), pytest.raises(StorageFull, match="no room"):
                store.put(partial(write_picture, picture, kind), suffix=suffix_of(kind))
    assert names(store) == []
    # A full disk is said once, and then at growing intervals.
    assert [(entry["event"], entry["left_out"]) for entry in logs] == [("result_not_written", 0)]


def write_picture(picture: Picture, kind: str, path: Path) -> int:
    """As the pipeline does; gives the size of the file."""
    encode(picture, path, kind=kind)
    return path.stat().st_size


def test_folder_that_went_away_is_made_anew(store: Store) -> None:
    """An operator removed it under a running server, with a result in it and the folder above it."""
    old = stored(store)
    shutil.rmtree(store.folder.parent)
    assert stored(store).path.read_bytes() == b"picture"
    assert store.find(f"{old.token}.png") is None


def test_result_is_written_once_more_if_the_folder_goes_away_meanwhile(store: Store) -> None:
    """Whoever waits for it does not notice."""
    calls = []

    def write(aside: Path) -> None:
        calls.append(aside)
        if len(calls) == 1:
            shutil.rmtree(store.folder)
        else:
            aside.write_bytes(b"picture")

    _, file = store.put(write, suffix=".png")
    assert file.path.read_bytes() == b"picture"
    assert names(store) == [file.path.name]
    assert len(calls) == 2


def test_folder_that_always_goes_away_is_storage_full(store: Store) -> None:
    """Twice is enough."""

    def write(_: Path) -> None:
        shutil.rmtree(store.folder)

    with pytest.raises(StorageFull, match=r"went away while .* try again"):
        store.put(write, suffix=".png")


@pytest.mark.parametrize("above", [False, True])
def test_folder_that_became_a_file_fails_clearly_until_that_is_mended(
    store: Store, above: bool
) -> None:
    """It, or the one above it. Nothing else fails for it."""
    old = stored(store)
    folder = store.folder.parent if above else store.folder
    shutil.rmtree(folder)
    folder.touch()
    with pytest.raises(StorageFull, match="is something else; ask the operator") as refused:
        stored(store)
    assert str(folder) not in str(refused.value)
    assert store.copy(old) is None
    assert store.find(f"{old.token}.png") is None
    assert store.files() == []
    store.delete(old)
    with pytest.raises(NotADirectoryError):
        store.sweep()
    folder.unlink()
    assert stored(store).path.read_bytes() == b"picture"


def test_open_file_outlives_its_name(store: Store) -> None:
    """A sweep in the midst of an answer cuts nothing short."""
    file = stored(store)
    with store.open(file) as opened:
        store.delete(file)
        assert opened.read() == b"picture"


def test_file_that_went_away_before_its_time_says_so(store: Store) -> None:
    """Without its path."""
    file = stored(store)
    shutil.rmtree(store.folder)
    with pytest.raises(StorageFull, match=r"went away .* try again$"):
        store.open(file)


def test_deleted_file_is_gone(store: Store) -> None:
    """Once and for all; a second time does no harm."""
    file, other = stored(store), stored(store)
    store.delete(file)
    store.delete(file)
    assert store.files() == [other]


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


# Leftovers


@pytest.mark.parametrize("age_s", [0, 10_000])
def test_half_written_file_that_nobody_writes_is_swept(store: Store, age_s: float) -> None:
    """A sudden stop leaves it. It was no result to count."""
    planted(store, f".enlarger_{TOKEN}", age_s=age_s)
    assert store.sweep() == Sweep(0, ())
    assert names(store) == []


@pytest.mark.parametrize("kind", KINDS)
def test_file_being_written_is_left_to_its_writer(store: Store, kind: str) -> None:
    """Also by the sweep of another gateway that shares the folder. Encoders write it in place: it stays the locked one."""
    other = Store(store.folder, max_age_s=MAX_AGE_S)
    picture = prepare(Picture(samples=noise(6, 8, 3)), kind=kind)

    def write(aside: Path) -> int:
        before = aside.stat().st_ino
        os.utime(aside, (0, 0))
        encode(picture, aside, kind=kind)
        assert (other.sweep(), store.sweep()) == (Sweep(0, ()), Sweep(0, ()))
        encode(picture, aside, kind=kind)
        assert aside.stat().st_ino == before
        return before

    number, file = store.put(write, suffix=suffix_of(kind))
    assert file.path.stat().st_ino == number


WRITER = """
import sys, time
from pathlib import Path
from enlarger.store import Store

def write(aside):
    aside.write_bytes(b"half")
    print("writes", flush=True)
    time.sleep(60)

Store(Path(sys.argv[1]), max_age_s=300).put(write, suffix=".png")
"""


def test_what_a_killed_gateway_left_is_swept_at_once(store: Store) -> None:
    """While it lived, it was left alone."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(store.folder)], stdout=subprocess.PIPE
    )
    assert writer.stdout is not None
    with writer, writer.stdout:
        try:
            assert writer.stdout.readline() == b"writes\n"
            assert store.sweep() == Sweep(0, ())
            assert len(names(store)) == 1
        finally:
            writer.kill()
    assert store.sweep() == Sweep(0, ())
    assert names(store) == []


class LocklessStore(Store):
    """On a file system that has no locks."""

    def _lock(self, descriptor: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


@pytest.mark.parametrize(("age_s", "left"), [(MAX_AGE_S, True), (3590, True), (3610, False)])
def test_half_written_file_is_left_an_hour_where_there_are_no_locks(
    tmp_path: Path, age_s: float, left: bool
) -> None:
    """A picture being written is never that old."""
    store = LocklessStore(tmp_path, max_age_s=MAX_AGE_S)
    assert stored(store).path.read_bytes() == b"picture"
    path = planted(store, f".enlarger_{TOKEN}", age_s=age_s)
    assert store.sweep() == Sweep(0, ())
    assert path.exists() is left


# A clock that jumps


class Clock:
    """The system's, set forward or back."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self.ahead_s


DAY_S = 86_400


def test_clock_set_back_costs_no_result_and_keeps_none(tmp_path: Path) -> None:
    """Found as if it were new, swept or not; and gone when it has lived once more."""
    clock = Clock()
    store = Store(tmp_path, max_age_s=MAX_AGE_S, clock=clock)
    file = stored(store, age_s=100)
    clock.ahead_s = -DAY_S
    assert store.left_s(file) == MAX_AGE_S
    assert store.find(f"{file.token}.png") == file
    assert store.sweep() == Sweep(0, ())
    clock.ahead_s = -DAY_S + MAX_AGE_S - 5
    found = store.find(f"{file.token}.png")
    assert found is not None
    assert 0 < store.left_s(found) < 10
    clock.ahead_s = -DAY_S + MAX_AGE_S + 5
    assert store.find(f"{file.token}.png") is None
    assert store.sweep() == Sweep(1, ())


def test_clock_set_forward_expires_files_early_and_service_goes_on(tmp_path: Path) -> None:
    """Those of before are gone; one of the new time lives as long as any, also when the clock is set right again."""
    clock = Clock()
    store = Store(tmp_path, max_age_s=MAX_AGE_S, clock=clock)
    old = stored(store)
    clock.ahead_s = DAY_S
    assert store.find(f"{old.token}.png") is None
    assert store.copy(old) is None
    assert store.sweep() == Sweep(1, ())
    new = stored(store, age_s=-DAY_S)
    assert store.left_s(new) == pytest.approx(MAX_AGE_S, abs=2)
    clock.ahead_s = 0
    assert store.find(f"{new.token}.png") == new
    assert store.left_s(new) == MAX_AGE_S
    store.sweep()
    clock.ahead_s = MAX_AGE_S + 5
    assert store.sweep() == Sweep(1, ())


@given(
    ages_s=st.lists(st.floats(-(10**6), 10**6), max_size=3),
    jumps_s=st.lists(st.floats(-(10**6), 10**6), max_size=4),
)
def test_no_file_outlives_one_life_of_a_steady_clock(
    tmp_path_factory: pytest.TempPathFactory, ages_s: list[float], jumps_s: list[float]
) -> None:
    """However the clock jumped before, with a sweep after each jump."""
    clock = Clock()
    store = Store(tmp_path_factory.mktemp("jumps"), max_age_s=MAX_AGE_S, clock=clock)
    files = [stored(store, age_s=age_s) for age_s in ages_s]
    deleted = 0
    for jump_s in jumps_s:
        clock.ahead_s += jump_s
        deleted += store.sweep().deleted
        assert all(store.left_s(file) <= MAX_AGE_S for file in store.files())
    deleted += store.sweep().deleted
    clock.ahead_s += MAX_AGE_S + 1
    deleted += store.sweep().deleted
    assert names(store) == []
    assert deleted == len(files)


# Sweeping, and what goes wrong with it


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
