"""Files as answers, in pieces: a result may have hundreds of megabytes, and is never held as a whole."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from quart import Response


@dataclass(frozen=True, slots=True)
class FileText:
    """A file as a value in an answer: the text of its base64, after a prefix."""

    chunks: AsyncIterator[bytes]
    size_bytes: int
    prefix: str = ""
    """For example ``data:image/png;base64,``."""

    @classmethod
    def __get_pydantic_core_schema__(cls, _: object, handler: Callable[[object], Any]) -> Any:
        """Describe the value as a string, which it is in JSON."""
        return handler(str)

    @property
    def length(self) -> int:
        """Bytes of the value in JSON, with its quotation marks."""
        return 2 + len(self.prefix) + 4 * -(-self.size_bytes // 3)


def json_answer(
    answer: Mapping[str, Any], executor: Executor, headers: Mapping[str, str]
) -> Response:
    """A 200 with a JSON answer, in which any number of values may be files."""
    length, chunks = with_files(answer, executor)
    shared = {"Content-Type": "application/json", "Content-Length": str(length)}
    return Response(chunks, headers={**shared, **headers})


def with_files(answer: Mapping[str, Any], executor: Executor) -> tuple[int, AsyncIterator[bytes]]:
    """A JSON answer with any number of ``FileText`` in it: its length, and its bytes."""
    files: list[FileText] = []
    mark = secrets.token_hex(16)  # a text that no other value has

    def stand_in(value: FileText) -> str:
        files.append(value)
        return mark

    texts = [text.encode() for text in json.dumps(answer, default=stand_in).split(f'"{mark}"')]

    async def joined() -> AsyncIterator[bytes]:
        yield texts[0]
        for file, text in zip(files, texts[1:], strict=True):
            yield f'"{file.prefix}'.encode()
            async for piece in _in_base64(file.chunks, executor):
                yield piece
            yield b'"' + text

    return sum(map(len, texts)) + sum(file.length for file in files), joined()


async def _in_base64(chunks: AsyncIterator[bytes], executor: Executor) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    left = b""
    async for chunk in chunks:
        # Only of multiples of three bytes the base64 joins without padding.
        data = left + chunk
        whole = len(data) - len(data) % 3
        left = data[whole:]
        yield await loop.run_in_executor(executor, base64.b64encode, data[:whole])
    yield base64.b64encode(left)
