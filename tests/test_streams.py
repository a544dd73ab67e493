"""Standard streams that are closed, or cannot be written."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from typing import Any

import pytest

from enlarger.streams import Unfailing

_LOOK = """
import os, sys
from enlarger.streams import open_closed
open_closed()
for number, stream in enumerate((sys.stdin, sys.stdout, sys.stderr)):
    os.fstat(number)
    assert stream.fileno() == number
    assert os.get_inheritable(number)
assert os.open("/dev/null", os.O_RDONLY) > 2
{more}
"""


def run(closed: str, more: str = "") -> subprocess.CompletedProcess[str]:
    """A program whose streams are opened again."""
    script = _LOOK.format(more=more)
    return subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, script],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("closed", ["", "<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_streams_are_there_in_any_case(closed: str) -> None:
    """No file and no socket gets one of their numbers."""
    assert run(closed).returncode == 0


@pytest.mark.parametrize(
    ("closed", "more"),
    [
        ("<&-", "sys.stdin.buffer.read()"),
        (">&-", "print(1, flush=True)"),
        ("2>&-", "print(1, file=sys.stderr, flush=True)"),
    ],
)
def test_closed_stream_fails_when_it_is_used(closed: str, more: str) -> None:
    """What is written is not lost in silence, and what is read is not empty."""
    caught = f"try:\n    {more}\nexcept OSError:\n    os._exit(3)"
    assert run(closed, caught).returncode == 3


class Full(io.TextIOBase):
    """A stream on a full disk."""

    encoding = "utf-8"

    def write(self, _: str) -> int:
        raise OSError(28, os.strerror(28))

    def flush(self) -> None:
        raise OSError(28, os.strerror(28))


def test_unfailing_stream_drops_what_it_cannot_write() -> None:
    """And is like the other one in all else."""
    stream: Any = Unfailing(Full())  # type: ignore[arg-type]
    assert stream.write("lost") == 4
    stream.flush()
    assert stream.encoding == "utf-8"
    written = io.StringIO()
    Unfailing(written).write("kept")
    assert written.getvalue() == "kept"
