"""Errors of disks and buckets, in words that the sender and the operator can act on."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

from enlarger import open_files
from enlarger.errors import EnlargerError, StorageFull, StorageUnavailable
from enlarger.reasons import reason_of
from enlarger.repeated import Repeated

log = structlog.get_logger()

_RETRY_S = 5
"""Seconds after which a sender may ask again."""

_ERRNO = re.compile(r"\(os error (\d+)\)")


@dataclass(frozen=True, slots=True)
class Wording:
    """How the errors of one storage are told.

    Attributes:
        variable: The setting that names the place.
        noun: What is kept there: ``result`` or ``job``.
        otherwise: What is told where nothing better is known.
    """

    variable: str
    noun: str
    otherwise: str

    def text(self, code: int | None) -> str | None:
        """What the sender is told about a number of the system's; None if it has no text."""
        folder = f"the server's folder of {self.noun}s"
        if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return (
                f"no room for the {self.noun} on the server's disk; ask the operator to make room"
            )
        if code in (errno.EACCES, errno.EPERM, errno.EROFS):
            return (
                f"the server may not write into its folder of {self.noun}s; "
                "ask the operator to let it"
            )
        if code in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
            return f"where {folder} should be is something else; ask the operator to mend that"
        if code == errno.ENOENT:
            return f"{folder} went away while the {self.noun} was written; try again"
        return None


RESULTS = Wording(
    "UPLOAD_FOLDER",
    "result",
    "the result could not be written to the server's disk; its log says why",
)
JOBS = Wording(
    "ENLARGER_BLOBS",
    "job",
    "the job's files could not be written or read; the server's log says why",
)


@dataclass(frozen=True, slots=True)
class Faults:
    """Turns the errors of one storage into ours, and logs those that are not mere repeats."""

    wording: Wording
    _repeated: Repeated = field(default_factory=Repeated)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Errors of files and buckets within the block become ours.

        Raises:
            StorageFull: The text says what the operator has to do.
            StorageUnavailable: The bucket cannot be reached now.
            OpenFilesExhausted: This process can open no more files.
        """
        try:
            yield
        except (BaseError, OSError) as error:
            if (left_out := self._repeated.occurred()) is not None:
                if self.wording is RESULTS:
                    log.warning("result_not_written", reason=reason_of(error), left_out=left_out)
                else:
                    log.warning("blobs_failed", reason=reason_of(error), left_out=left_out)
            raise self._error(error) from error

    def _error(self, error: BaseError | OSError) -> EnlargerError:
        if number_of(error) in open_files.NUMBERS:
            return open_files.exhaustion()
        if text := self.wording.text(number_of(error)):
            return StorageFull(text)
        if isinstance(error, PermissionDeniedError | UnauthenticatedError):
            return StorageFull(
                "the server's bucket does not let it in; ask the operator to mend that"
            )
        if isinstance(error, FileNotFoundError):
            return StorageFull(
                f"the server's folder or bucket of {self.wording.noun}s is not there; "
                "ask the operator to mend that"
            )
        if first_line(error).startswith("Generic S3 error"):
            return StorageUnavailable(
                "the server's bucket cannot be reached now; try again later", retry_after_s=_RETRY_S
            )
        return StorageFull(self.wording.otherwise)


def number_of(error: BaseException) -> int | None:
    """The number that the system gave to an error, which obstore has in its text alone."""
    found = _ERRNO.search(first_line(error))
    return int(found.group(1)) if found else getattr(error, "errno", None)


def first_line(error: BaseException) -> str:
    """The first line of an error's text, which is never empty."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
