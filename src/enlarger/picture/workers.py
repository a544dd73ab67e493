"""Decoding in processes that may be killed, without holding up the event loop."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import cast

import structlog

from enlarger.errors import EnlargerError, UnreadableImage
from enlarger.picture import worker
from enlarger.picture.values import Header, Picture

log = structlog.get_logger()


class Decoders:
    """A few decoder processes; each serves one picture at a time and is replaced when it dies.

    Args:
        processes: how many pictures are decoded at once.
        timeout_s: after this long the process is killed and the picture refused.
    """

    def __init__(self, processes: int, *, timeout_s: float = 30) -> None:
        self.processes = processes
        self._timeout_s = timeout_s
        self._idle: asyncio.LifoQueue[_Process | None] = asyncio.LifoQueue()
        for _ in range(processes):
            self._idle.put_nowait(None)  # a place; its process is started when first needed
        self._busy: set[_Process] = set()
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
        self._threads.shutdown(wait=False, cancel_futures=True)

    def start(self) -> None:
        """Start a process now, before anything is asked: it comes up while the caller goes on."""
        place = self._idle.get_nowait()
        self._idle.put_nowait(place or _Process())

    async def probe(self, data: bytes) -> Header:
        """See ``decode.probe``."""
        return cast(Header, await self._ask("probe", data))

    async def decode(self, data: bytes, *, to_srgb: bool = False, frames: int = 1) -> Picture:
        """See ``decode.decode``. The samples live in memory shared with the process that made them."""
        return cast(Picture, await self._ask("decode", data, to_srgb=to_srgb, frames=frames))

    async def _ask(self, question: str, data: bytes, **options: int) -> Header | Picture:
        loop = asyncio.get_running_loop()
        process = await self._idle.get()
        reusable: _Process | None = None
        try:
            if process is None or not process.is_alive():
                process = await self._replace(process)
            self._busy.add(process)
            try:
                async with asyncio.timeout(self._timeout_s):
                    ask = partial(worker.ask, process.connection, question, data, **options)
                    answer = await loop.run_in_executor(self._threads, ask)
            except EnlargerError:
                reusable = process  # a refusal is an answer: the process is sound
                raise
            except BaseException:
                process.kill()  # which also frees the thread that waits for it
                raise
            finally:
                self._busy.discard(process)
            reusable = process
        except TimeoutError as error:
            log.warning("decoder_killed", after_s=self._timeout_s, input_bytes=len(data))
            raise UnreadableImage("decoding it takes too long") from error
        except (EOFError, OSError) as error:
            log.warning("decoder_died", question=question, input_bytes=len(data))
            raise UnreadableImage("it cannot be decoded") from error
        finally:
            self._idle.put_nowait(reusable)
        return answer

    async def _replace(self, dead: _Process | None) -> _Process:
        """A new process, in the place of one that died idle if there was one."""
        if dead is not None:
            log.warning("decoder_died", question=None)
            dead.kill()
        start = asyncio.get_running_loop().run_in_executor(self._threads, _Process)
        try:
            return await asyncio.shield(start)
        except asyncio.CancelledError:
            start.add_done_callback(_kill_when_started)  # a thread cannot be interrupted
            raise


def _kill_when_started(start: asyncio.Future[_Process]) -> None:
    if not start.cancelled() and start.exception() is None:
        start.result().kill()


class _Process:
    """One decoder process and the socket to it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self.connection = ours
            self._process = subprocess.Popen(  # noqa: S603 - our own module, no word from outside
                [sys.executable, "-m", "enlarger.picture.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                # One thread decodes; numpy's library would reserve address space for one per core.
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
                start_new_session=True,  # a Ctrl-C in the terminal is the gateway's to handle
            )

    def is_alive(self) -> bool:
        """Whether it has not ended by itself."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End it now."""
        self._process.kill()
        self._process.wait()
        self.connection.close()
