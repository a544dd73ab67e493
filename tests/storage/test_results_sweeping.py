"""Results are deleted when they expire, whatever the clock does, and leftovers with them."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.pictures import noise
from support.results import FolderResults
from support.stored_results import KINDS, MAX_AGE_S, TOKEN, Clock, names, planted, stored

from enlarger.picture.encode import encode
from enlarger.picture.formats import suffix_of
from enlarger.picture.prepare import prepare
from enlarger.picture.values import Picture
from enlarger.storage import (
    Sweep,
    sweep_regularly,
)
from enlarger.storage.drafts import Drafts


class WatchedResults(FolderResults):
    """A store that reports each sweep. The first ``failures`` sweeps fail."""

    def __init__(self, folder: Path, *, failures: int = 0) -> None:
        super().__init__(folder, max_age_s=MAX_AGE_S)
        self.failures = failures
        self.sweeps: asyncio.Queue[Sweep | None] = asyncio.Queue()

    async def sweep(self) -> Sweep:
        """Sweep, and put the outcome into ``sweeps``, or None after a failure."""
        done = None
        try:
            if self.failures > 0:
                self.failures -= 1
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            done = await super().sweep()
            return done
        finally:
            self.sweeps.put_nowait(done)


@pytest.fixture
def store(tmp_path: Path) -> FolderResults:
    """An empty folder of results, which live for five minutes."""
    return FolderResults(tmp_path / "uploads", max_age_s=MAX_AGE_S)


# Sweeping


async def test_sweep_deletes_what_has_outlived_its_time(store: FolderResults) -> None:
    """It deletes nothing that has not expired."""
    young, old = await stored(store, age_s=MAX_AGE_S - 5), await stored(store, age_s=MAX_AGE_S)
    assert await store.sweep() == Sweep(1, ())
    assert not store.path(old).exists()
    assert store.path(young).exists()
    assert await store.sweep() == Sweep(0, ())


@pytest.mark.parametrize(
    "name",
    [
        *("notes.txt", "upscaled_.png", f"upscaled_{TOKEN}.gif", f"upscaled_{TOKEN}.png.bak"),
        *(f"upscaled_{TOKEN.upper()}.png", f".enlarger_{TOKEN}0", f"a_upscaled_{TOKEN}.png"),
    ],
)
async def test_planted_file_survives_the_sweep(store: FolderResults, name: str) -> None:
    """Only files with our names are deleted, however old a file is."""
    path = planted(store, name, age_s=10**6)
    assert await store.sweep() == Sweep(0, ())
    assert path.exists()


# Leftovers


@pytest.mark.parametrize("age_s", [0, 10_000])
async def test_half_written_file_that_nobody_writes_is_swept(
    store: FolderResults, age_s: float
) -> None:
    """A sudden stop leaves such a file. It does not count as a result."""
    planted(store, f".enlarger_{TOKEN}", age_s=age_s)
    assert await store.sweep() == Sweep(0, ())
    assert names(store) == []


@pytest.mark.parametrize("kind", KINDS)
async def test_file_being_written_is_left_to_its_writer(store: FolderResults, kind: str) -> None:
    """The sweep of another gateway that shares the folder leaves it as well. Encoders write in place, so the locked file stays the same file."""
    other = FolderResults(store.folder, max_age_s=MAX_AGE_S)
    picture = prepare(Picture(samples=noise(6, 8, 3)), kind=kind)

    def write(aside: Path) -> int:
        before = aside.stat().st_ino
        os.utime(aside, (0, 0))
        encode(picture, aside, kind=kind)
        for results in (other, store):
            assert asyncio.run(results.sweep()) == Sweep(0, ())
        encode(picture, aside, kind=kind)
        assert aside.stat().st_ino == before
        return before

    draft = await asyncio.to_thread(store.draft, write)
    number, file = draft.written, await store.publish(draft, suffix=suffix_of(kind))
    assert store.path(file).stat().st_ino == number


WRITER = """
import sys, time
from pathlib import Path
from enlarger.storage.drafts import Drafts

def write(aside):
    aside.write_bytes(b"half")
    print("writes", flush=True)
    time.sleep(60)

Drafts(Path(sys.argv[1])).write(write)
"""


async def test_what_a_killed_gateway_left_is_swept_at_once(store: FolderResults) -> None:
    """The file was left alone while the gateway was running."""
    writer = subprocess.Popen(  # noqa: ASYNC220 - nothing else runs
        [sys.executable, "-c", WRITER, str(store.folder)], stdout=subprocess.PIPE
    )
    assert writer.stdout is not None
    with writer, writer.stdout:
        try:
            assert writer.stdout.readline() == b"writes\n"
            assert await store.sweep() == Sweep(0, ())
            assert len(names(store)) == 1
        finally:
            writer.kill()
    assert await store.sweep() == Sweep(0, ())
    assert names(store) == []


class LocklessDrafts(Drafts):
    """Drafts on a file system without locks."""

    def _lock(self, descriptor: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


@pytest.mark.parametrize(("age_s", "left"), [(MAX_AGE_S, True), (3590, True), (3610, False)])
async def test_half_written_file_is_left_an_hour_where_there_are_no_locks(
    tmp_path: Path, age_s: float, left: bool
) -> None:
    """A picture that is being written is never older than that."""
    store = FolderResults(tmp_path, max_age_s=MAX_AGE_S)
    store.storage.drafts = LocklessDrafts(tmp_path)
    assert store.path(await stored(store)).read_bytes() == b"picture"
    path = planted(store, f".enlarger_{TOKEN}", age_s=age_s)
    assert await store.sweep() == Sweep(0, ())
    assert path.exists() is left


# A clock that jumps


DAY_S = 86_400


def ages(store: FolderResults, clock: Clock) -> list[float]:
    """Return the ages of all results in seconds."""
    return [clock() - path.stat().st_mtime for path in store.folder.glob("upscaled_*")]


async def test_clock_set_back_costs_no_result_and_keeps_none(tmp_path: Path) -> None:
    """The result is found as if it were new, with or without a sweep, and expires after one more lifetime."""
    clock = Clock()
    store = FolderResults(tmp_path, max_age_s=MAX_AGE_S, clock=clock)
    file = await stored(store, age_s=100)
    clock.ahead_s = -DAY_S
    assert store.left_s(file) == MAX_AGE_S
    assert await store.find(f"{file.token}.png") == file
    assert await store.sweep() == Sweep(0, ())
    clock.ahead_s = -DAY_S + MAX_AGE_S - 5
    found = await store.find(f"{file.token}.png")
    assert found is not None
    assert 0 < store.left_s(found) < 10
    clock.ahead_s = -DAY_S + MAX_AGE_S + 5
    assert await store.find(f"{file.token}.png") is None
    assert await store.sweep() == Sweep(1, ())


async def test_clock_set_forward_expires_files_early_and_service_goes_on(tmp_path: Path) -> None:
    """Earlier results have expired. A new result has its whole lifetime, even if the clock is corrected."""
    clock = Clock()
    store = FolderResults(tmp_path, max_age_s=MAX_AGE_S, clock=clock)
    old = await stored(store)
    clock.ahead_s = DAY_S
    assert await store.find(f"{old.token}.png") is None
    assert await store.copy(old) is None
    assert await store.sweep() == Sweep(1, ())
    new = await stored(store, age_s=-DAY_S)
    assert store.left_s(new) == pytest.approx(MAX_AGE_S, abs=2)
    clock.ahead_s = 0
    assert await store.find(f"{new.token}.png") == new
    assert store.left_s(new) == MAX_AGE_S
    await store.sweep()
    clock.ahead_s = MAX_AGE_S + 5
    assert await store.sweep() == Sweep(1, ())


@given(
    ages_s=st.lists(st.floats(-(10**6), 10**6), max_size=3),
    jumps_s=st.lists(st.floats(-(10**6), 10**6), max_size=4),
)
async def test_no_file_outlives_one_life_of_a_steady_clock(
    tmp_path_factory: pytest.TempPathFactory, ages_s: list[float], jumps_s: list[float]
) -> None:
    """This holds however the clock jumped before, if a sweep follows each jump."""
    clock = Clock()
    store = FolderResults(tmp_path_factory.mktemp("jumps"), max_age_s=MAX_AGE_S, clock=clock)
    files = [await stored(store, age_s=age_s) for age_s in ages_s]
    deleted = 0
    for jump_s in jumps_s:
        clock.ahead_s += jump_s
        deleted += (await store.sweep()).deleted
        assert max([0, *ages(store, clock)]) <= MAX_AGE_S
    deleted += (await store.sweep()).deleted
    clock.ahead_s += MAX_AGE_S + 1
    deleted += (await store.sweep()).deleted
    assert names(store) == []
    assert deleted == len(files)


# Sweeping, and what goes wrong with it


async def test_file_that_cannot_be_deleted_is_reported_by_name(store: FolderResults) -> None:
    """The report does not name its folder, and all other files are swept."""
    stuck = store.folder / f"upscaled_{TOKEN}.png"
    stuck.mkdir()
    os.utime(stuck, (0, 0))
    await stored(store, age_s=400)
    sweep = await store.sweep()
    assert sweep.deleted == 1
    assert sweep.errors == (f"{stuck.name}: {os.strerror(errno.EISDIR)}",)


async def test_sweep_of_a_folder_that_went_away_is_an_os_error(store: FolderResults) -> None:
    """The caller reports that the sweep cannot run."""
    store.folder.rmdir()
    with pytest.raises(FileNotFoundError):
        await store.sweep()


async def test_sweeps_come_at_once_and_again(tmp_path: Path) -> None:
    """The first sweep deletes at the start what an earlier run left. The next one follows after the interval."""
    store = WatchedResults(tmp_path)
    left_over = await stored(store, age_s=400)
    task = asyncio.create_task(sweep_regularly(store, interval_s=0.01))
    try:
        assert await asyncio.wait_for(store.sweeps.get(), 10) == Sweep(1, ())
        assert not store.path(left_over).exists()
        later = await stored(store, age_s=400)
        while store.path(later).exists():
            await asyncio.wait_for(store.sweeps.get(), 10)
    finally:
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_sweep_that_fails_does_not_end_the_sweeping(tmp_path: Path) -> None:
    """The folder may exist again at the next sweep."""
    store = WatchedResults(tmp_path, failures=2)
    file = await stored(store, age_s=400)
    task = asyncio.create_task(sweep_regularly(store, interval_s=0.01))
    try:
        assert await asyncio.wait_for(store.sweeps.get(), 10) is None
        assert await asyncio.wait_for(store.sweeps.get(), 10) is None
        assert await asyncio.wait_for(store.sweeps.get(), 10) == Sweep(1, ())
        assert not store.path(file).exists()
    finally:
        task.cancel()


async def test_cancelled_sweeping_waits_no_longer(tmp_path: Path) -> None:
    """A stopping server does not wait for the interval."""
    store = WatchedResults(tmp_path)
    task = asyncio.create_task(sweep_regularly(store, interval_s=3600))
    await asyncio.wait_for(store.sweeps.get(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)
