"""Files as answers, in pieces: a result may have hundreds of megabytes, and is never held as a whole."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from io import BufferedReader
from typing import Any

_CHUNK_BYTES = 3 << 18
"""A multiple of three, so that chunks of base64 join without padding."""


async def file_chunks(file: BufferedReader, executor: Executor) -> AsyncIterator[bytes]:
    """The bytes of an open file, which is closed in the end."""
    loop = asyncio.get_running_loop()
    with file:
        while chunk := await loop.run_in_executor(executor, file.read, _CHUNK_BYTES):
            yield chunk


def with_base64(
    answer: dict[str, Any], file: BufferedReader, size_bytes: int, executor: Executor
) -> tuple[int, AsyncIterator[bytes]]:
    """A JSON answer whose empty ``base64`` becomes the file's: its length, and its bytes."""
    head, tail = json.dumps(answer).encode().split(b'"base64": null', 1)

    async def chunks() -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        yield head + b'"base64": "'
        async for chunk in file_chunks(file, executor):
            yield await loop.run_in_executor(executor, base64.b64encode, chunk)
        yield b'"' + tail

    length = len(head) + len(b'"base64": ""') + 4 * -(-size_bytes // 3) + len(tail)
    return length, chunks()


def sha256_of(file: BufferedReader) -> str:
    """Hash of an open file from here to its end, as 64 hexadecimal digits; afterwards it stands where it stood."""
    start = file.tell()
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(start)
    return digest
