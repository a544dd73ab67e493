"""The process that decodes, as the one that starts it holds it."""

from __future__ import annotations

import socket
import subprocess
import sys

from enlarger.config import inherited


class DecoderProcess:
    """One decoder process and the socket to it. It comes up while the caller goes on."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self.connection = ours
            self._process = subprocess.Popen(  # noqa: S603 - our own module, no word from outside
                [sys.executable, "-m", "enlarger.picture.sandbox", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                # One thread decodes; numpy's library would reserve address space for one per core.
                env=inherited({"OPENBLAS_NUM_THREADS": "1"}),
                start_new_session=True,  # a Ctrl-C in the terminal is the gateway's to handle
            )

    def is_alive(self) -> bool:
        """Whether it has not ended by itself."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End it now."""
        self._process.kill()
        self._process.wait()
        self.connection.close()
