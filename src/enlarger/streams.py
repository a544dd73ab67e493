"""Standard streams that always exist, even if the parent process closed them as daemons do, and that never fail."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any, TextIO

_STREAMS = (("stdin", "r", os.O_WRONLY), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_RDONLY))


def open_closed() -> None:
    """Replace standard streams that are closed.

    Otherwise the next file or socket would get descriptor 0, 1 or 2, and be used as a standard stream. The
    replacement is open in the wrong direction only. So reading and writing fail, as they should, instead of finding
    nothing and losing everything.
    """
    for descriptor, (name, mode, way) in enumerate(_STREAMS):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, way)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
            os.set_inheritable(
                descriptor, True
            )  # programs that this one starts expect streams, too
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115 - stays open


class Unfailing:
    """A wrapper of standard error, or of another stream, that drops what it cannot write.

    A full disk, or a reader that has gone, must not end the work.

    Args:
        stream: the stream to write to; None for the current standard error.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._given = stream

    @property
    def _stream(self) -> TextIO:
        return sys.stderr if self._given is None else self._given

    def write(self, text: str) -> int:
        """Write the text if that is possible, and return its length."""
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush the stream if that is possible."""
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
