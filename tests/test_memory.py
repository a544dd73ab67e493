"""How much memory a process holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from enlarger.web.memory import rss_bytes

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
