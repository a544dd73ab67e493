"""Files in the midst of JSON answers."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Any

import pytest

from enlarger.api.streaming import FileText, file_chunks, with_files

MANY = bytes(range(256)) * 10_000
"""More than one piece."""


async def whole(chunks: AsyncIterator[bytes]) -> bytes:
    """All pieces together."""
    return b"".join([chunk async for chunk in chunks])


async def pieces_of(content: bytes, size_bytes: int) -> AsyncIterator[bytes]:
    """Bytes as somebody else's store gives them."""
    for start in range(0, len(content), size_bytes):
        yield content[start : start + size_bytes]


@pytest.mark.parametrize("size_bytes", [1, 7, 100_000])
@pytest.mark.parametrize("contents", [(), (b"",), (b"a",), (b"ab", MANY, b"abc")])
async def test_files_are_texts_of_the_answer(contents: tuple[bytes, ...], size_bytes: int) -> None:
    """Each in its place, with its prefix; the length is known before. However the bytes come."""
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


@pytest.mark.parametrize(("start", "end"), [(0, None), (5, None), (5, 9), (0, 0), (3, 10**9)])
async def test_part_of_a_file(tmp_path: Path, start: int, end: int | None) -> None:
    """As a slice has it."""
    (tmp_path / "file").write_bytes(MANY)
    with ThreadPoolExecutor(1) as executor:
        chunks = file_chunks(partial(open, tmp_path / "file", "rb"), executor, start, end)  # type: ignore[arg-type]
        assert await whole(chunks) == MANY[start:end]


async def test_file_is_open_only_while_it_is_read(tmp_path: Path) -> None:
    """Not before the first piece, and not after the reader left."""
    (tmp_path / "file").write_bytes(MANY)
    opened: list[BufferedReader] = []

    def open_() -> BufferedReader:
        opened.append((tmp_path / "file").open("rb"))
        return opened[-1]

    with ThreadPoolExecutor(1) as executor:
        chunks = file_chunks(open_, executor)
        assert not opened
        await anext(chunks)
        assert not opened[0].closed
        await chunks.aclose()  # type: ignore[attr-defined]
    assert opened[0].closed
