"""The log of a server process: its forms, what stands in every line, and what becomes of one that cannot be written."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LOGGER = """
import resource, sys
import structlog
from enlarger.asgi import logs

logs.configure("gateway")
log = structlog.get_logger()
log.info("first")
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
log.info("lost")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
log.info("last")
"""

TALK = """
import logging, sys, threading, warnings
import structlog
from enlarger.asgi import logs

logs.configure("server-1", level=sys.argv[1], form=sys.argv[2])
log = structlog.get_logger()
log.debug("debug_event")
log.info("info_event", evil=EVIL, number=1.5, nothing=None)
log.warning("warning_event")
try:
    raise ValueError(EVIL)
except ValueError:
    log.exception("internal_error")
logging.getLogger("a.library").info("of no interest")
logging.getLogger("a.library").error("two\\nlines, %s", "and more")
warnings.warn("a warning\\nof two lines")
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()


class Ends:
    def __del__(self):
        raise ValueError("in a place where nobody can catch it")


Ends()
raise KeyError(EVIL)
"""

EVIL = "\x1b[31mred\n2026-01-01T00:00:00Z [info     ] gateway request\r\x9b\u2028\u202e\ud800"
"""What a stranger may put into a path, a header or a picture."""


def talk(level: str, form: str, **environment: str) -> bytes:
    """What the talker writes."""
    ran = subprocess.run(
        [sys.executable, "-c", f"EVIL = {EVIL!a}\n{TALK}", level, form],
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (1, b"")
    return ran.stderr


def events(output: bytes) -> list[dict[str, Any]]:
    """The lines of a log in JSON."""
    return [json.loads(line) for line in output.splitlines()]


@pytest.mark.parametrize("form", ["json", "auto"])
def test_every_line_of_a_json_log_is_json(form: str) -> None:
    """Those of libraries, Python's warnings, and exceptions that nobody caught, too; and without a terminal it is JSON."""
    lines = events(talk("debug", form))
    assert [(line["event"], line["level"]) for line in lines] == [
        ("debug_event", "debug"),
        ("info_event", "info"),
        ("warning_event", "warning"),
        ("internal_error", "error"),
        ("library", "error"),
        ("library", "warning"),
        ("uncaught", "critical"),
        ("uncaught", "critical"),
        ("uncaught", "critical"),
    ]
    assert {line["process"] for line in lines} == {"server-1"}
    assert all(re.fullmatch(r"[-\dT:.]{26}Z", line["timestamp"]) for line in lines)
    assert lines[1]["evil"] == EVIL
    assert (lines[1]["number"], lines[1]["nothing"]) == (1.5, None)
    assert (lines[4]["logger"], lines[4]["message"]) == ("a.library", "two\nlines, and more")
    found = [line["exception"].splitlines()[0] for line in lines if "exception" in line]
    assert found == ["Traceback (most recent call last):"] * 4


@pytest.mark.parametrize(
    ("level", "first"),
    [
        ("debug", "debug_event"),
        ("info", "info_event"),
        ("warning", "warning_event"),
        ("error", "internal_error"),
    ],
)
def test_level_says_what_is_left_out(level: str, first: str) -> None:
    """What is less important than it; a library's warnings as well."""
    lines = events(talk(level, "json"))
    assert lines[0]["event"] == first
    has_warnings = any(line["level"] == "warning" for line in lines)
    assert has_warnings is (level != "error")


def test_text_holds_a_line_for_each_event_whatever_strangers_write() -> None:
    """No value begins a line, moves the cursor or changes colours; tracebacks are set in."""
    text = talk("info", "text").decode()
    begin = [line for line in text.splitlines() if not line.startswith("    ")]
    assert all(re.match(r"[-\dT:.]{26}Z \[\w+ *\] server-1 \w+", line) for line in begin)
    assert len(begin) == 8
    assert "info_event" in begin[0]
    assert "number=1.5 nothing=null" in begin[0]
    assert all(sign.isprintable() for sign in text.replace("\n", ""))


def on_terminal(form: str, **environment: str) -> bytes:
    """What the talker writes to a terminal."""
    ours, theirs = pty.openpty()
    talker = subprocess.Popen(
        [sys.executable, "-c", f"EVIL = {EVIL!a}\n{TALK}", "info", form],
        env={**os.environ, **environment},
        stderr=theirs,
    )
    os.close(theirs)
    output = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        output += piece
    os.close(ours)
    talker.wait(20)
    return output


def test_terminal_gets_text_in_colours() -> None:
    """Unless JSON is asked for."""
    assert b"\x1b[1minfo_event" in on_terminal("auto", NO_COLOR="")
    assert events(on_terminal("json"))[0]["event"] == "info_event"


def test_no_colours_where_nobody_sees_them_or_wants_them() -> None:
    """In a file, and with NO_COLOR."""
    assert b"\x1b" not in talk("info", "text")
    assert b"\x1b" not in on_terminal("auto", NO_COLOR="1")


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
