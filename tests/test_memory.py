"""How much memory a process holds, that what is freed goes back to the system, and when garbage is looked for."""

from __future__ import annotations

import contextlib
import gc
import re
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from enlarger.memory import importing, large_block, rss_bytes

STATUS = Path("/proc/self/status")

MIB = 1 << 20


@pytest.mark.skipif(not STATUS.exists(), reason="this system has no /proc")
def test_memory_is_what_the_system_says() -> None:
    """As it tells people in another file: VmRSS, in KiB."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", STATUS.read_text(), re.MULTILINE)
    assert found is not None
    assert rss_bytes() == pytest.approx(int(found.group(1)) * 1024, abs=4 * MIB)


def test_memory_follows_what_is_taken() -> None:
    """Pages count once they are written."""
    before = rss_bytes()
    block = b"\1" * (64 * MIB)
    assert rss_bytes() - before == pytest.approx(len(block), abs=8 * MIB)


def test_without_statm_it_is_the_most_ever_held(tmp_path: Path) -> None:
    """Never less than what is held now, and of the same order."""
    most = rss_bytes(tmp_path / "statm")
    assert 0.99 * rss_bytes() <= most <= 100 * rss_bytes()


MEASURED = """
import sys
import numpy as np
from enlarger.memory import keep_large_blocks_apart

def resident_bytes():
    return 1024 * next(
        int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS")
    )

if sys.argv[1] == "apart":
    keep_large_blocks_apart(4 << 20)
np.ones(31 << 20, np.uint8)  # freed: from here on glibc keeps blocks of this size on its heap
before = resident_bytes()
blocks = [np.ones(8 << 20, np.uint8) for _ in range(10)]
pins = [np.ones(1 << 16, np.uint8) for _ in range(10)]
del blocks
print((resident_bytes() - before) >> 20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_large_blocks_go_back_whatever_lies_behind_them() -> None:
    """Without the setting they stay on the heap, where a small block behind them holds them."""

    def left_mib(mode: str) -> int:
        ran = subprocess.run(
            [sys.executable, "-c", MEASURED, mode], capture_output=True, text=True, check=True
        )
        return int(ran.stdout)

    assert left_mib("apart") < 10 < 70 < left_mib("left alone")


@pytest.fixture
def thawed() -> Iterator[None]:
    """What a test froze is looked through again."""
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("thawed")
def test_garbage_is_looked_for_before_and_after_imports_alone() -> None:
    """And what there is by then is left out of it: also when an import fails."""
    for fails in (False, True):
        gc.unfreeze()
        with contextlib.suppress(ModuleNotFoundError), importing():
            assert not gc.isenabled()
            if fails:
                raise ModuleNotFoundError
        assert gc.isenabled()
        assert gc.get_freeze_count() > 10_000


@pytest.mark.usefixtures("thawed")
def test_garbage_of_later_is_found() -> None:
    """Only what was there is frozen."""
    with importing():
        pass
    garbage = {1}
    gone = weakref.ref(garbage)
    ring: list[object] = [garbage]
    ring.append(ring)
    del garbage, ring
    gc.collect()
    assert gone() is None


@pytest.mark.skipif(not STATUS.exists(), reason="this system has no /proc")
def test_large_block_is_zeros_and_takes_memory_when_written() -> None:
    """It goes back to the system when nothing refers to it, even as an array."""
    before = rss_bytes()
    samples = np.frombuffer(large_block(64 * MIB), np.uint8)
    assert rss_bytes() - before < 8 * MIB
    assert not samples.any()
    samples[:] = 1
    assert rss_bytes() - before > 56 * MIB
    del samples
    assert rss_bytes() - before < 8 * MIB
