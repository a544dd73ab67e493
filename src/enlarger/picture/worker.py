"""The process that decodes strangers' bytes: ``python -m enlarger.picture.worker FD``.

It reads questions from a Unix socket and answers them. File bytes and samples cross in anonymous shared
memory whose descriptor travels with the message, so nothing has a name and nothing can be left behind.
It ends when the socket closes, that is, with its parent, however that died.
"""

from __future__ import annotations

import array
import json
import math
import mmap
import os
import resource
import socket
import struct
import sys
import tempfile
import warnings
from dataclasses import asdict
from typing import Any

import numpy as np

from enlarger.errors import EnlargerError, UnreadableImage, by_code
from enlarger.picture.decode import decode, probe
from enlarger.picture.encoding import encoding_of, statement_of
from enlarger.picture.values import Header, Motion, Note, Picture, Text

_LENGTH = struct.Struct("<I")
_MEMORY_LIMIT_BYTES = 4 << 30
"""Address space: many times what the largest allowed picture takes, far less than a bomb wants."""

CPU_LIMIT_S = 60
"""Processor time for one picture, all threads together: the end of a decoder whose gateway no longer looks."""


def shared_memory(data: bytes | memoryview) -> int:
    """A descriptor of anonymous shared memory that holds ``data``."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("enlarger-picture")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]
    return descriptor


def send(connection: socket.socket, message: dict[str, Any], descriptor: int) -> None:
    """One message with its shared memory; the descriptor is closed here."""
    try:
        text = json.dumps(message).encode()
        socket.send_fds(connection, [_LENGTH.pack(len(text))], [descriptor])
        connection.sendall(text)
    finally:
        os.close(descriptor)


def receive(connection: socket.socket) -> tuple[dict[str, Any], mmap.mmap | None]:
    """The next message and its shared memory, None where that is empty.

    Raises:
        EOFError: the other side is gone.
    """
    head, ancillary, _, _ = connection.recvmsg(
        _LENGTH.size, socket.CMSG_SPACE(array.array("i").itemsize)
    )
    if len(head) < _LENGTH.size or not ancillary:
        raise EOFError
    descriptor = array.array("i", ancillary[0][2])[0]
    try:
        (length,) = _LENGTH.unpack(head)
        text = b""
        while len(text) < length:
            part = connection.recv(length - len(text))
            if not part:
                raise EOFError
            text += part
        size = os.fstat(descriptor).st_size
        return json.loads(text), mmap.mmap(descriptor, size) if size else None
    finally:
        os.close(descriptor)


def ask(
    connection: socket.socket, question: str, data: bytes, **options: object
) -> Header | Picture:
    """``probe`` or ``decode``, with its options, in the process behind ``connection``.

    Raises:
        EnlargerError: what ``probe`` or ``decode`` raise.
        EOFError, OSError: the process is gone.
    """
    send(connection, {"question": question, **options}, shared_memory(data))
    answer, memory = receive(connection)
    if "error" in answer:
        raise (by_code(answer["error"]) or UnreadableImage)(answer["text"])
    if question == "probe":
        return Header(**answer["header"])
    if memory is None:
        raise EOFError
    shape, dtype = answer["shape"], np.dtype(answer["dtype"])
    ends = np.cumsum([int(np.prod(shape)) * dtype.itemsize, *answer["block_bytes"]])
    pixels, *blocks = np.split(np.frombuffer(memory, np.uint8), ends[:-1])
    icc, exif, xmp, iptc, texts = (block.tobytes() or None for block in blocks)
    first, *later = pixels.view(dtype).reshape(shape)
    return Picture(
        samples=first,
        motion=Motion(
            later=tuple(later),
            durations_ms=tuple(answer["durations_ms"]),
            plays=answer["plays"],
        )
        if later
        else None,
        format=answer["format"],
        icc=icc,
        stated=answer["stated"] and statement_of(answer["stated"]),
        own=answer["own"] and encoding_of(answer["own"]),
        exif=exif,
        xmp=xmp,
        iptc=iptc,
        texts=tuple(Text(**text) for text in json.loads(texts or b"[]")),
        dpi=tuple(answer["dpi"]) if answer["dpi"] else None,
        depth_bits=answer["depth_bits"],
        is_whole=answer["is_whole"],
        notes=tuple(Note(**note) for note in answer["notes"]),
    )


def answer(
    question: str, data: bytes, *, to_srgb: bool = False, frames: int = 1, kind: str | None = None
) -> tuple[dict[str, Any], bytes | memoryview]:
    """The message and the shared bytes for a question."""
    try:
        if question == "probe":
            return {"header": asdict(probe(data))}, b""
        picture = decode(data, to_srgb=to_srgb, frames=frames, kind=kind)
    except EnlargerError as error:
        return {"error": error.code, "text": str(error)}, b""
    texts = json.dumps([asdict(text) for text in picture.texts]).encode()
    blocks = [
        block or b"" for block in (picture.icc, picture.exif, picture.xmp, picture.iptc, texts)
    ]
    message = {
        "shape": [len(picture.frames), *picture.samples.shape],
        "dtype": picture.samples.dtype.name,
        "block_bytes": [len(block) for block in blocks],
        "durations_ms": picture.motion.durations_ms if picture.motion else [],
        "plays": picture.motion.plays if picture.motion else 0,
        "format": picture.format,
        "stated": picture.stated and asdict(picture.stated),
        "own": picture.own and asdict(picture.own),
        "dpi": picture.dpi,
        "depth_bits": picture.depth_bits,
        "is_whole": picture.is_whole,
        "notes": [asdict(note) for note in picture.notes],
    }
    samples = [np.ascontiguousarray(frame).data for frame in picture.frames]
    return message, memoryview(b"".join([*samples, *blocks]))


def limit_cpu(limit_s: int) -> None:
    """Let the kernel kill this process once it has computed for so long from now on."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    ends = math.ceil(used.ru_utime + used.ru_stime) + limit_s
    within = ends if hard == resource.RLIM_INFINITY else min(ends, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (within, hard))


def _limit_memory() -> None:
    """Hold this process to its address space, or to less where whoever started it set a limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = (
        _MEMORY_LIMIT_BYTES if hard == resource.RLIM_INFINITY else min(_MEMORY_LIMIT_BYTES, hard)
    )
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _quiet_libraries() -> None:
    """What libraries print of a stranger's file goes nowhere; a fault of ours is still told in the log.

    A file may make libtiff print a line for each of thousands of tags, with the file's own words in it.
    """
    warnings.simplefilter("ignore")
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def main() -> None:
    """Answer until the socket closes."""
    _quiet_libraries()
    _limit_memory()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core holds somebody's picture
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
