"""Small pictures of files, and placeholders of results, within the memory for pictures."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

from enlarger.geometry.rect import Rect
from enlarger.picture.preview import fitted, preview
from enlarger.pipeline.inputs import Inputs
from enlarger.pipeline.memory_budget import MemoryBudget
from enlarger.threads import in_thread

_PLACEHOLDER_BYTES = 8
"""Bytes per pixel of a placeholder: resampled, on white, and encoded."""

_PREVIEW_BYTES, _PLAIN_PREVIEW_BYTES = 16, 6
"""Bytes per pixel of a file that a preview is made of: its samples, and their copies in 8 bits and on white. An opaque
picture in 8 bits is only copied once."""


class Previews:
    """Makes JPEG files to look at.

    Args:
        inputs: reads files.
        memory: the memory for pictures.
        executor: threads for short work.
    """

    def __init__(self, inputs: Inputs, memory: MemoryBudget, executor: ThreadPoolExecutor) -> None:
        self._inputs = inputs
        self._memory = memory
        self._executor = executor

    async def make(self, data: bytes, max_side_px: int) -> bytes:
        """Return a file's first frame, upright, as a JPEG file in sRGB; what is transparent is put on white.

        Args:
            data: the file.
            max_side_px: the most pixels of a side; a smaller picture keeps its size.

        Raises:
            RequestError: the file is not an image that can be read here.
        """
        header = await self._inputs.header(data)
        is_plain = header.depth_bits <= 8 and not header.may_be_transparent
        px_bytes = _PLAIN_PREVIEW_BYTES if is_plain else _PREVIEW_BYTES
        async with self._memory.hold(px_bytes * header.width_px * header.height_px):
            picture = await self._inputs.first_frame(data)
            size_px = fitted((picture.width_px, picture.height_px), max_side_px)
            show = partial(
                preview, picture.samples, size_px, icc=picture.icc, stated=picture.stated
            )
            return await in_thread(self._executor, show)

    async def placeholder(self, data: bytes, size_px: tuple[int, int], part: Rect) -> bytes:
        """Return a JPEG file that shows a result until it is ready, made by plain resampling.

        Args:
            data: the file to upscale.
            size_px: width and height of the whole result.
            part: the part of it to show.

        Raises:
            RequestError: the file is not an image that can be read here.
        """
        async with self._memory.hold(_PLACEHOLDER_BYTES * part.width_px * part.height_px):
            picture = await self._inputs.first_frame(data)
            show = partial(preview, picture.samples, size_px, part=part)
            return await in_thread(self._executor, show)
