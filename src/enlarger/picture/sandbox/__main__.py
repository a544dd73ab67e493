"""The process that decodes untrusted files: ``python -m enlarger.picture.sandbox FD``.

It reads questions from a Unix socket and answers them. It ends when the socket closes, which happens when its parent
ends for whatever reason.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
import warnings

from enlarger.errors import UnreadableImage
from enlarger.picture.sandbox.answering import answer
from enlarger.picture.sandbox.limits import CPU_LIMIT_S, limit_cpu, limit_memory
from enlarger.picture.sandbox.protocol import receive, send, shared_memory


def _quiet_libraries() -> None:
    """Discard what libraries print about an untrusted file. Our own errors are still logged.

    A file can make libtiff print a line for each of thousands of tags, with words from the file.
    """
    warnings.simplefilter("ignore")
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def main() -> None:
    """Answer questions until the socket closes."""
    _quiet_libraries()
    limit_memory()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would contain a user's picture
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        while True:
            try:
                message, memory = receive(connection)
            except (EOFError, ConnectionError):
                return
            limit_cpu(CPU_LIMIT_S)
            try:
                data = bytes(memory) if memory is not None else b""
                reply, shared = answer(**message, data=data)
            except MemoryError:
                text = "decoding it takes too much memory"
                reply, shared = {"error": UnreadableImage.code, "text": text}, b""
            send(connection, reply, shared_memory(shared))


if __name__ == "__main__":
    main()
