"""What crosses between a gateway and a process that decodes: a question, and a header or a picture.

File bytes and samples cross in anonymous shared memory whose descriptor travels with the message over a Unix
socket, so nothing has a name and nothing can be left behind.
"""

from __future__ import annotations

import array
import json
import mmap
import os
import socket
import struct
import tempfile
from dataclasses import asdict
from typing import Any

import numpy as np

from enlarger.errors import EnlargerError, UnreadableImage, by_code
from enlarger.picture.decode import decode, probe
from enlarger.picture.encoding import encoding_of, statement_of
from enlarger.picture.values import Header, Motion, Note, Picture, Text

_LENGTH = struct.Struct("<I")


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
