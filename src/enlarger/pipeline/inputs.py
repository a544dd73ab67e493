"""The picture of a request: its bytes, its header and its pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from enlarger.errors import FileTooLarge, UnreadableImage
from enlarger.picture.sandbox.pool import Decoders
from enlarger.picture.values import Content, Header, Picture
from enlarger.pipeline.plan import Plan
from enlarger.request import BytesSource, UpscaleRequest

if TYPE_CHECKING:  # a command line that fetches nothing need not load what that takes
    from enlarger.fetch.fetcher import Fetcher


class Inputs:
    """Gets the pictures of requests.

    Args:
        fetcher: gets pictures by URL.
        decoders: read files.
        max_bytes: the largest file that is taken.
    """

    def __init__(self, fetcher: Fetcher, decoders: Decoders, *, max_bytes: int) -> None:
        self._fetcher = fetcher
        self._decoders = decoders
        self._max_bytes = max_bytes

    async def read(self, request: UpscaleRequest) -> BytesSource:
        """Return the file of a request: its own bytes, or those of its URL.

        Raises:
            RequestError: the file is too large, or cannot be fetched.
        """
        if not isinstance(request.source, BytesSource):
            return BytesSource(await self._fetcher.fetch(request.source.url))
        size, limit = len(request.source.data), self._max_bytes
        if size > limit:
            raise FileTooLarge(
                f"the file has {size} bytes, and up to {limit} are read", limit=limit, actual=size
            )
        return request.source

    async def header(self, data: bytes) -> Header:
        """Return the header of a file.

        Raises:
            RequestError: the file is not an image that can be read here.
        """
        return await self._decoders.probe(data)

    async def content(self, data: bytes) -> Content:
        """Return what a file shows.

        Raises:
            RequestError: the file is damaged.
        """
        return await self._decoders.look(data)

    async def first_frame(self, data: bytes) -> Picture:
        """Return the first frame of a file, in sRGB."""
        return await self._decoders.decode(data, to_srgb=True, frames=1)

    async def decode(self, data: bytes, plan: Plan, *, to_srgb: bool) -> Picture:
        """Return the pixels of a file.

        Raises:
            RequestError: the file is damaged, or has another size than its header says.
        """
        picture = await self._decoders.decode(
            data, to_srgb=to_srgb, frames=plan.frames, kind=plan.kind
        )
        header = plan.header
        if (picture.width_px, picture.height_px) != (header.width_px, header.height_px):
            raise UnreadableImage("the pixels do not have the size that the header says")
        return picture
