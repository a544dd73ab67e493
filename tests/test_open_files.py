"""Open files: as many as the system allows, and an error that says so when there are no more."""

from __future__ import annotations

import errno
import resource
import subprocess
import sys

import pytest
from support.file_limits import no_more_open_files

from enlarger import open_files

RAISED = """
import resource, sys
from enlarger import open_files
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
open_files.raise_limit()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""

HARD = resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def limits_after(allowed: int, highest: int) -> list[str]:
    """Return both limits of a process that had these, after it has raised its limit."""
    done = subprocess.run(
        [sys.executable, "-c", RAISED, str(allowed), str(highest)],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("allowed", "highest", "after"),
    [
        (64, 200, 200),
        (200, 200, 200),
        (64, HARD, HARD if 0 <= HARD < open_files.MOST else open_files.MOST),
    ],
)
def test_limit_is_raised_as_far_as_the_system_allows(
    allowed: int, highest: int, after: int
) -> None:
    """The highest limit stays, and a thousand million is not asked for."""
    assert limits_after(allowed, highest) == [str(after), str(highest)]


def test_higher_limit_is_not_lowered() -> None:
    """An operator may allow more than is asked for."""
    if 0 <= HARD <= open_files.MOST:
        pytest.skip(f"this system allows {HARD} open files")
    more = open_files.MOST + 1
    assert limits_after(more, HARD) == [str(more), str(HARD)]


def test_half_of_the_files_follows_the_limit() -> None:
    """As it is at the moment."""
    allowed, highest = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1001, highest))
    try:
        assert open_files.half() == 500
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, highest))


def chained(number: int) -> Exception:
    """Return an error of ours that an error of the system with that number caused."""
    try:
        try:
            raise OSError(number, "no")
        except OSError as error:
            raise ValueError("ours") from error
    except ValueError as error:
        return error


@pytest.mark.parametrize(
    ("error", "exhausted"),
    [
        (OSError(errno.EMFILE, "no"), True),
        (OSError(errno.ENFILE, "no"), True),
        (OSError(errno.ENOENT, "no"), False),
        (OSError("no number"), False),
        (ValueError(errno.EMFILE), False),
        (chained(errno.EMFILE), True),
        (chained(errno.ENOENT), False),
    ],
)
def test_errors_that_say_so_are_recognised(error: Exception, exhausted: bool) -> None:
    """By their number, and also behind an error of a library."""
    assert open_files.are_exhausted(error) is exhausted


def test_system_gives_such_an_error() -> None:
    """The error of a real system without numbers for files."""
    with no_more_open_files(), pytest.raises(OSError, match="open files") as caught:
        open(__file__).close()  # noqa: PTH123
    assert open_files.are_exhausted(caught.value)


def test_request_is_told_to_come_back() -> None:
    """Status, time and what is wrong."""
    error = open_files.exhaustion()
    assert (error.status, error.retryable, error.retry_after_s) == (503, True, 5)
    assert str(error) == "the server has too many files and connections open; try again later"
