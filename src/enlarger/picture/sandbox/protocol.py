"""The protocol between a gateway and a decoder process: a question, and a header or a picture.

File bytes and samples are in anonymous shared memory, whose descriptor travels with the message over a Unix socket. So
nothing has a name, and nothing can be left behind.
"""

from __future__ import annotations

import array
import errno
import json
import mmap
import os
import socket
import struct
import tempfile
from typing import Any, cast

import numpy as np

from enlarger.errors import UnreadableImage, by_code
from enlarger.picture.encoding import encoding_of, statement_of
from enlarger.picture.values import Content, Header, Motion, Note, Picture, Text

_LENGTH = struct.Struct("<I")


def shared_memory(data: bytes | memoryview) -> int:
    """Return a descriptor of anonymous shared memory that holds ``data``."""
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
    """Send a message with its shared memory, and close the descriptor."""
    try:
        text = json.dumps(message).encode()
        socket.send_fds(connection, [_LENGTH.pack(len(text))], [descriptor])
        connection.sendall(text)
    finally:
        os.close(descriptor)


def receive(connection: socket.socket) -> tuple[dict[str, Any], mmap.mmap | None]:
    """Return the next message and its shared memory; None if that is empty.

    Raises:
        EOFError: the other process is gone.
        OSError: this process can open no more files.
    """
    head, ancillary, flags, _ = connection.recvmsg(
        _LENGTH.size, socket.CMSG_SPACE(array.array("i").itemsize)
    )
    if flags & socket.MSG_CTRUNC:  # the system could not give this process the descriptor
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
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
) -> Header | Content | Picture:
    """Call ``probe``, ``content_of`` or ``decode``, with its options, in the process behind ``connection``.

    Raises:
        EnlargerError: the function raised it.
        EOFError, OSError: the process is gone, or this one can open no more files.
    """
    send(connection, {"question": question, **options}, shared_memory(data))
    answer, memory = receive(connection)
    if "error" in answer:
        raise (by_code(answer["error"]) or UnreadableImage)(answer["text"])
    if question == "probe":
        return Header(**answer["header"])
    if question == "look":
        return cast(Content, answer["content"])
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
