"""Decodes pictures in processes that may be killed, off the event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import cast

import structlog

from enlarger import open_files
from enlarger.errors import EnlargerError, UnreadableImage
from enlarger.picture.sandbox import protocol
from enlarger.picture.sandbox.process import DecoderProcess
from enlarger.picture.values import Content, Header, Picture

log = structlog.get_logger()


class Decoders:
    """A few decoder processes; each serves one picture at a time and is replaced when it dies.

    Args:
        processes: how many pictures are decoded at once.
        timeout_s: seconds after which a process is killed and its picture refused.
        first: one of the processes, already started; the others start when they are first needed.
    """

    def __init__(
        self, processes: int, *, timeout_s: float = 30, first: DecoderProcess | None = None
    ) -> None:
        self.processes = processes
        self._timeout_s = timeout_s
        self._idle: asyncio.LifoQueue[DecoderProcess | None] = asyncio.LifoQueue()
        for _ in range(processes - 1):
            self._idle.put_nowait(None)  # a place for a process
        self._idle.put_nowait(first)
        self._busy: set[DecoderProcess] = set()
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="decode")

    async def __aenter__(self) -> Decoders:
        return self

    async def __aexit__(self, *_: object) -> None:
        while not self._idle.empty():
            process = self._idle.get_nowait()
            if process is not None:
                process.kill()
        for process in self._busy:
            process.kill()
        # Questions that no thread has begun are not cancelled: their processes are gone, which is their answer.
        self._threads.shutdown(wait=False)

    async def probe(self, data: bytes) -> Header:
        """See ``decode.probe``."""
        return cast(Header, await self._ask("probe", data))

    async def look(self, data: bytes) -> Content:
        """See ``content.content_of``."""
        return cast(Content, await self._ask("look", data))

    async def decode(
        self, data: bytes, *, to_srgb: bool = False, frames: int = 1, kind: str | None = None
    ) -> Picture:
        """See ``decode.decode``. The samples are in memory that is shared with the decoder process."""
        answer = await self._ask("decode", data, to_srgb=to_srgb, frames=frames, kind=kind)
        return cast(Picture, answer)

    async def _ask(
        self, question: str, data: bytes, **options: object
    ) -> Header | Content | Picture:
        loop = asyncio.get_running_loop()
        process = await self._idle.get()
        reusable: DecoderProcess | None = None
        try:
            if process is None or not process.is_alive():
                process = await self._replace(process)
            self._busy.add(process)
            try:
                async with asyncio.timeout(self._timeout_s):
                    ask = partial(protocol.ask, process.connection, question, data, **options)
                    answer = await loop.run_in_executor(self._threads, ask)
            except EnlargerError:
                reusable = process  # a refusal is an answer: the process still works
                raise
            except BaseException:
                process.kill()  # this also frees the thread that waits for it
                raise
            finally:
                self._busy.discard(process)
            reusable = process
        except TimeoutError as error:
            log.warning("decoder_killed", after_s=self._timeout_s, input_bytes=len(data))
            raise UnreadableImage("decoding it takes too long") from error
        except (EOFError, OSError) as error:
            open_files.raise_if_exhausted(error)
            log.warning("decoder_died", question=question, input_bytes=len(data))
            raise UnreadableImage("it cannot be decoded") from error
        finally:
            self._idle.put_nowait(reusable)
        return answer

    async def _replace(self, dead: DecoderProcess | None) -> DecoderProcess:
        """Start a new process, in place of one that died while idle, if there was one."""
        if dead is not None:
            log.warning("decoder_died", question=None)
            dead.kill()
        start = asyncio.get_running_loop().run_in_executor(self._threads, DecoderProcess)
        try:
            return await asyncio.shield(start)
        except asyncio.CancelledError:
            start.add_done_callback(_kill_when_started)  # a thread cannot be interrupted
            raise


def _kill_when_started(start: asyncio.Future[DecoderProcess]) -> None:
    if not start.cancelled() and start.exception() is None:
        start.result().kill()
