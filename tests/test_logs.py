"""Where logs go, and what becomes of a service that cannot write them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LOGGER = """
import resource, sys
import structlog
from enlarger.web import logs

logs.configure()
log = structlog.get_logger()
log.info("first")
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
log.info("lost")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
log.info("last")
"""


def test_full_disk_loses_lines_and_nothing_else(tmp_path: Path) -> None:
    """When there is room again, the log goes on."""
    path = tmp_path / "log"
    with path.open("wb") as log:
        ran = subprocess.run([sys.executable, "-c", LOGGER], stderr=log, check=False)
    assert ran.returncode == 0
    lines = path.read_text().splitlines()
    assert '"first"' in lines[0]
    assert '"last"' in lines[-1]


def test_reader_that_went_away_ends_nobody() -> None:
    """Its end of the pipe is closed."""
    writer = subprocess.Popen(
        [sys.executable, "-c", "input()\n" + LOGGER], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert writer.stdin is not None
    assert writer.stderr is not None
    writer.stderr.close()
    with writer.stdin:
        writer.stdin.write(b"go\n")
    assert writer.wait(20) == 0
