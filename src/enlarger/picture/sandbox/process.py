"""A decoder process, as its parent sees it."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import ExitStack

from enlarger.config import inherited


class DecoderProcess:
    """A decoder process, and the socket to it. It starts while the caller continues."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.connection = ours
        with theirs, ExitStack() as unless_started:
            unless_started.callback(ours.close)
            self._process = subprocess.Popen(  # noqa: S603 - our own module, without arguments from outside
                [sys.executable, "-m", "enlarger.picture.sandbox", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                # One thread decodes; numpy's library would reserve address space for one per core.
                env=inherited({"OPENBLAS_NUM_THREADS": "1"}),
                start_new_session=True,  # the gateway itself handles a Ctrl-C in the terminal
            )
            unless_started.pop_all()

    def is_alive(self) -> bool:
        """Return whether the process still runs."""
        return self._process.poll() is None

    def kill(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.wait()
        self.connection.close()
