"""What ``--dry-run`` says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from enlarger.picture.formats import SUFFIXES
from enlarger.shell.estimates import Estimated, file_bytes, size, total

ONE = Estimated(
    picture_px=(100, 50),
    result_px=(400, 200),
    kind="png",
    frames=1,
    precision="bf16",
    seconds=90,
    memory_bytes=512_000_000,
    file_bytes=112_000,
)


def test_line_has_all_that_a_picture_takes() -> None:
    """Size, precision, time, memory, bytes."""
    assert (
        ONE.line
        == "100x50 to 400x200 png in bf16, about 1 min 30 s, up to 510 MB of memory, about 110 kB on disk"
    )


def test_what_nobody_knows_is_not_made_up() -> None:
    """The speed of a server that has done nothing yet, and a picture that only it has seen."""
    unknown = replace(
        ONE, picture_px=None, precision=None, seconds=None, memory_bytes=None, frames=3
    )
    assert unknown.line == "400x200 png, 3 frames, time unknown, about 110 kB on disk"


def test_pictures_are_done_one_after_the_other() -> None:
    """Times and bytes add up, memory does not."""
    larger = replace(ONE, memory_bytes=900_000_000, result_px=(4000, 1000))
    assert total([ONE, larger]) == (
        "2 pictures, 4.1 megapixels, about 3 min, up to 900 MB of memory, about 220 kB on disk"
    )
    assert "time unknown" in total([ONE, replace(ONE, seconds=None)])
    assert total([]).startswith("0 pictures")


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "1000 bytes"), (1500, "1.5 kB"), (7_340_032, "7.3 MB")],
)
def test_sizes_have_two_digits(count: int, text: str) -> None:
    """No estimate is better."""
    assert size(count) == text


@pytest.mark.parametrize("kind", sorted(set(SUFFIXES.values())))
def test_every_format_has_an_estimate(kind: str) -> None:
    """That grows with pixels, frames and channels, and keeps to what was asked for."""
    facts = {"frames": 1, "depth_bits": 8, "channels": 3}
    plain = file_bytes(kind, (100, 100), max_bytes=None, **facts)
    assert 0 < plain < 100 * 100 * 3
    assert file_bytes(kind, (200, 100), max_bytes=None, **facts) == pytest.approx(2 * plain, abs=1)
    assert file_bytes(kind, (100, 100), max_bytes=None, **{**facts, "channels": 4}) > plain
    assert file_bytes(kind, (100, 100), max_bytes=10, **facts) == 10
