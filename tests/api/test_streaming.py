"""Files in the midst of JSON answers."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from enlarger.api.streaming import FileText, with_files

MANY = bytes(range(256)) * 10_000
"""More than one piece."""


async def whole(chunks: AsyncIterator[bytes]) -> bytes:
    """All pieces together."""
    return b"".join([chunk async for chunk in chunks])


async def pieces_of(content: bytes, size_bytes: int) -> AsyncIterator[bytes]:
    """Yield the bytes in pieces, as a remote store does."""
    for start in range(0, len(content), size_bytes):
        yield content[start : start + size_bytes]


@pytest.mark.parametrize("size_bytes", [1, 7, 100_000])
@pytest.mark.parametrize("contents", [(), (b"",), (b"a",), (b"ab", MANY, b"abc")])
async def test_files_are_texts_of_the_answer(contents: tuple[bytes, ...], size_bytes: int) -> None:
    """Each file is in its place, with its prefix. The length is known in advance, whatever the sizes of the pieces."""
    prefixes = ["", "data:;base64,", "data:;base64,"]
    files = [
        FileText(pieces_of(content[:10_000], size_bytes), len(content[:10_000]), prefix=prefix)
        for content, prefix in zip(contents, prefixes, strict=False)
    ]
    answer: dict[str, Any] = {"before": '"', "images": files, "after": {"ü": None}}
    with ThreadPoolExecutor(1) as executor:
        length, chunks = with_files(answer, executor)
        body = await whole(chunks)
    assert len(body) == length
    read = json.loads(body)
    assert (read["before"], read["after"]) == ('"', {"ü": None})
    assert read["images"] == [
        prefix + base64.b64encode(content[:10_000]).decode()
        for prefix, content in zip(prefixes, contents, strict=False)
    ]
