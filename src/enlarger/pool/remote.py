"""One model server over HTTP, as an ``Engine``."""

from __future__ import annotations

import asyncio
import json
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import numpy as np

from enlarger import open_files, tracing
from enlarger.config import is_loopback
from enlarger.engine.tile import EngineFacts, ModelFacts, Need, TileRequest, TileResult
from enlarger.errors import (
    BadTile,
    BodyTooSlow,
    DeadlineExceeded,
    EngineFailed,
    EngineLost,
    EnlargerError,
    ModelNotHere,
    NoEngineReady,
    OutputTooLarge,
    Unauthorized,
    by_code,
)
from enlarger.large_arrays import Loan, large_array, lend
from enlarger.pool.health import State
from enlarger.reasons import reason_of
from enlarger.wire import (
    MEMORY_HEADER,
    PROTOCOL,
    WRITTEN,
    Buffer,
    facts_from_json,
    read_result,
    request_headers,
    result_bytes,
)

PROBE_TIMEOUT_S = 5

_NO_FACTS = EngineFacts(
    engine="remote", ready=False, models=(), capacity=0, in_flight=0, mflop_per_s=None
)

_STATES = {"starting": State.STARTING, "draining": State.DRAINING, "failed": State.FAILED}


@dataclass(frozen=True, slots=True)
class Readiness:
    """The result of a probe."""

    state: State
    facts: EngineFacts | None = None
    instance: str | None = None
    """An id that changes with each start of the server."""

    rss_bytes: int | None = None
    """Memory of the server; None if it does not say."""

    tiles_done: int | None = None
    """Tiles that the server finished since its start; None if it does not say."""

    reason: str | None = field(default=None, compare=False)
    """Why the server cannot be used, in words for the log."""


class RemoteEngine:
    """The client of one model server.

    Args:
        address: ``host:port``; empty while the server starts, and set when it listens.
        session: the HTTP session, which all servers share and the caller closes.
        token: the secret that the server requires, if any.
    """

    def __init__(
        self, address: str, session: aiohttp.ClientSession, *, token: str | None = None
    ) -> None:
        self.address = address
        self.given_up: str | None = None
        """Why the server is not started again; None while it is."""

        self._instance: str | None = None
        self._writes_memory = True
        """Whether the server can write to memory of this process, as far as is known."""

        self._session = session
        self._headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        self._facts = _NO_FACTS

    def facts(self) -> EngineFacts:
        """Return what the server said when it was last probed."""
        return self._facts

    async def ready_for(self, need: Need) -> ModelFacts:
        """Return what the server says about a model; see ``Engine``."""
        await self.probe()
        model = self._facts.meeting(need)
        if not self._facts.ready or model is None:
            raise NoEngineReady(f"the model server does not have {need.model} ready")
        return model

    async def probe(self) -> Readiness:
        """Ask the server whether it is ready. A server that does not answer is ``GONE``.

        Raises:
            OpenFilesExhausted: this process has no file left for a connection, so nothing is known about the server.
        """
        if self.given_up is not None:
            return Readiness(State.FAILED, reason=self.given_up)
        if not self.address:
            return Readiness(State.STARTING)
        try:
            async with (
                asyncio.timeout(PROBE_TIMEOUT_S),
                self._session.get(
                    f"http://{self.address}/ready", headers=self._headers
                ) as response,
            ):
                if response.status == Unauthorized.status:
                    return Readiness(State.INCOMPATIBLE, reason=self._refuses_token())
                answer: dict[str, Any] = json.loads(await response.read())
                readiness = self._readiness(answer)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            open_files.raise_if_exhausted(error)
            reason = f"{self.address} does not answer: {reason_of(error)}"
            readiness = Readiness(State.GONE, reason=reason)
        except (ValueError, KeyError, TypeError, BadTile):
            reason = f"{self.address} answers, but not as a model server does"
            readiness = Readiness(State.GONE, reason=reason)
        self._facts = readiness.facts or _NO_FACTS
        if readiness.instance != self._instance:
            self._instance, self._writes_memory = readiness.instance, True
        return readiness

    def _refuses_token(self) -> str:
        shown = "the ENLARGER_TILE_TOKEN of this gateway" if self._headers else "a gateway without"
        return f"{self.address} refuses {shown}: set ENLARGER_TILE_TOKEN to the same value here and there"

    def _readiness(self, answer: dict[str, Any]) -> Readiness:
        if answer["protocol"] != PROTOCOL:
            reason = (
                f"{self.address} speaks version {answer['protocol']} of the tile contract, and this gateway version "
                f"{PROTOCOL}: run the same version of enlarger here and there"
            )
            return Readiness(State.INCOMPATIBLE, reason=reason)
        ready = answer["ready"]
        return Readiness(
            State.READY if ready else _STATES.get(answer["state"], State.STARTING),
            facts_from_json(answer) if ready else None,
            answer["instance"],
            rss_bytes=_whole_number(answer.get("rss_bytes")),
            tiles_done=_whole_number(answer.get("tiles_done")),
            reason=None if ready else str(answer.get("reason", "it does not say why")),
        )

    async def enlarge(self, request: TileRequest) -> TileResult:
        """Have the server enlarge a tile; see ``Engine``.

        Raises:
            OpenFilesExhausted: this process, or the server, has no file left for a connection.
        """
        if self._facts.model(request.model) is None:
            # The server did not answer its last probe, or it is another process by now: neither is a fault of the tile.
            raise ModelNotHere(f"the model server does not have {request.model} now")
        left_s = request.deadline - asyncio.get_running_loop().time()
        if left_s <= 0:
            raise DeadlineExceeded("the deadline passed before the tile was sent")
        expected_bytes = result_bytes(request)
        with (lend(expected_bytes) if self._shares_memory else None) or nullcontext() as loan:
            memory = loan.reference if loan is not None else None
            try:
                async with self._session.post(
                    f"http://{self.address}/tiles",
                    data=request.pixels.tobytes(),
                    headers=self._headers
                    | request_headers(request, left_s=left_s, memory=memory)
                    | tracing.headers(),
                ) as response:
                    body = await self._body_of(response, loan, expected_bytes=expected_bytes)
            except (aiohttp.ClientError, OSError) as error:
                open_files.raise_if_exhausted(error)
                raise EngineLost("a model server went away under a tile") from error
        if response.status != 200:
            raise _refusal(response.status, bytes(body))
        try:
            return read_result(response.headers, body, request=request)
        except BadTile as error:
            raise EngineLost("a model server answered with something else than the tile") from error

    @property
    def _shares_memory(self) -> bool:
        return self._writes_memory and is_loopback(self.address.rpartition(":")[0])

    async def _body_of(
        self, response: aiohttp.ClientResponse, loan: Loan | None, *, expected_bytes: int
    ) -> Buffer:
        """Return the samples of a tile, or the body of another response."""
        if loan is not None and response.status == 200:
            if response.headers.get(MEMORY_HEADER) == WRITTEN:
                return loan.returned()
            # It runs as another user or in another container, or is older than this.
            self._writes_memory = False
        return await _body_of(response, expected_bytes=expected_bytes)


async def _body_of(response: aiohttp.ClientResponse, *, expected_bytes: int) -> Buffer:
    """Return the body of a response. One of the expected size is written to its place as it comes.

    Raises:
        aiohttp.ClientError: it ends early, or its size is not the one that it states, as of one that was compressed.
    """
    if response.content_length != expected_bytes:
        return await response.read()
    body, end = large_array((expected_bytes,), np.uint8).data, 0
    async for chunk in response.content.iter_any():
        if end + len(chunk) > expected_bytes:
            raise aiohttp.ClientPayloadError(f"the body has more than {expected_bytes} bytes")
        body[end : end + len(chunk)] = chunk
        end += len(chunk)
    if end < expected_bytes:
        raise aiohttp.ClientPayloadError(f"the body has {end} bytes, not {expected_bytes}")
    return body


def _whole_number(value: object) -> int | None:
    return value if type(value) is int else None  # True is an int as well


def _refusal(status: int, body: bytes) -> EnlargerError:
    """Return the server's error as the exception that it was there."""
    try:
        answer = json.loads(body)
        cls, text = by_code(answer["code"]), str(answer["error"])
    except (ValueError, KeyError, TypeError):
        return EngineLost(f"a model server answered {status} without saying why")
    if cls is not None and issubclass(cls, BodyTooSlow):
        # The server stood still while the tile came: we send as fast as it reads.
        return EngineLost("a model server did not read the tile in time")
    if cls is None or issubclass(cls, OutputTooLarge):
        return EngineFailed(f"a model server answered {status}")
    retry_after_ms = answer.get("retry_after_ms")
    return cls(
        text, retry_after_s=retry_after_ms / 1000 if isinstance(retry_after_ms, int) else None
    )
