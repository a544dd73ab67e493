"""Files as answers, in pieces: a result may have hundreds of megabytes, and is never held as a whole."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import sys
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from io import BufferedReader
from typing import Any

_CHUNK_BYTES = 3 << 18


async def file_chunks(
    file: BufferedReader, executor: Executor, start: int = 0, end: int | None = None
) -> AsyncIterator[bytes]:
    """The bytes of an open file from ``start`` to before ``end``; it is closed in the end."""
    loop = asyncio.get_running_loop()
    with file:
        file.seek(start)
        left = sys.maxsize if end is None else end - start
        while left and (
            chunk := await loop.run_in_executor(executor, file.read, min(left, _CHUNK_BYTES))
        ):
            left -= len(chunk)
            yield chunk


def with_base64(
    answer: dict[str, Any], chunks: AsyncIterator[bytes], size_bytes: int, executor: Executor
) -> tuple[int, AsyncIterator[bytes]]:
    """A JSON answer whose empty ``base64`` becomes a file's: its length, and its bytes.

    Args:
        answer: has ``base64`` once, with None.
        chunks: of the file.
        size_bytes: of the file.
        executor: where it is encoded.
    """
    head, tail = json.dumps(answer).encode().split(b'"base64": null', 1)

    async def encoded() -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        yield head + b'"base64": "'
        left = b""
        async for chunk in chunks:
            # Only of multiples of three the base64 joins without padding.
            whole = len(left) + len(chunk) - (len(left) + len(chunk)) % 3
            data = left + chunk
            left = data[whole:]
            yield await loop.run_in_executor(executor, base64.b64encode, data[:whole])
        yield base64.b64encode(left) + b'"' + tail

    length = len(head) + len(b'"base64": ""') + 4 * -(-size_bytes // 3) + len(tail)
    return length, encoded()


def sha256_of(file: BufferedReader) -> str:
    """Hash of an open file from here to its end, as 64 hexadecimal digits; afterwards it stands where it stood."""
    start = file.tell()
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(start)
    return digest
