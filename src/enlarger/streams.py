"""Standard streams: there even if whoever started the program closed them, as daemons do, and never in the way."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any, TextIO

_STREAMS = (("stdin", "r", os.O_WRONLY), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_RDONLY))


def open_closed() -> None:
    """Put something in the place of standard streams that are closed.

    Otherwise the next file or socket would get the descriptor 0, 1 or 2, and be read or written as a standard stream.
    What is put there can be used the wrong way round alone: so that reading and writing fail, as they should, instead
    of finding nothing and losing everything.
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
    """Standard error, or another stream, that drops what it cannot write.

    A full disk, or a reader that has gone, must not end the work.

    Args:
        stream: where to write; None: standard error, whatever that is at the time.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._given = stream

    @property
    def _stream(self) -> TextIO:
        return sys.stderr if self._given is None else self._given

    def write(self, text: str) -> int:
        """If that is possible."""
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """If that is possible."""
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
