"""Archives as answers: many files in one, made while it is sent and never held as a whole."""

from __future__ import annotations

import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from io import RawIOBase
from typing import Any

_WHEN = (1980, 1, 1, 0, 0, 0)
"""The earliest time of a ZIP: its files have none of their own, and equal archives are equal."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive."""

    name: str
    size_bytes: int
    chunks: AsyncIterator[bytes]


class _Pipe(RawIOBase):
    """What is written, to be taken away. It cannot be gone back in, so that sizes are written behind each file."""

    def __init__(self) -> None:
        self._written = bytearray()

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """Keep it until it is taken."""
        self._written += data
        return len(data)

    def take(self) -> bytes:
        """All that was written since."""
        taken = bytes(self._written)
        self._written.clear()
        return taken


async def zip_chunks(members: AsyncIterator[Member]) -> AsyncIterator[bytes]:
    """A ZIP of these files as they are: pictures do not get smaller."""
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:
        async for member in members:
            info = zipfile.ZipInfo(member.name, _WHEN)
            info.file_size = member.size_bytes  # whether the long form is needed
            info.external_attr = 0o644 << 16
            with archive.open(info, "w") as file:
                async for chunk in member.chunks:
                    file.write(chunk)
                    yield pipe.take()
    yield pipe.take()
