"""Performs the steps of a call over HTTP, blocking or awaiting."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import AsyncExitStack, ExitStack, aclosing, closing, contextmanager
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import httpx2

from enlarger import __version__
from enlarger.client.calls import Event, Listen, NextEvent, Read, Send, Sleep, Step, Steps, Tell
from enlarger.client.requests import read
from enlarger.client.values import Answer, JobStatus
from enlarger.errors import ConfigError, ServerUnreachable
from enlarger.reasons import without_password

_CONNECT_S = 5.0

T = TypeVar("T")


def http_options(url: str, api_key: str | None) -> dict[str, Any]:
    """Return the arguments for an httpx2 client.

    Raises:
        ConfigError: the address or the key cannot be used.
    """
    if not _is_address(url):
        raise ConfigError(
            f"url: '{without_password(url)}' is no address of a server; give one such as http://127.0.0.1:8000"
        )
    headers = {"User-Agent": f"enlarger/{__version__}"}
    if api_key is not None:
        if not (api_key.isascii() and api_key.isprintable() and api_key.strip()):
            raise ConfigError("api_key: it must consist of visible ASCII characters")
        headers["Authorization"] = f"Bearer {api_key.strip()}"
    return {"base_url": url, "headers": headers, "verify": _tls(urlsplit(url).scheme)}


def _is_address(url: str) -> bool:
    """Whether the text is an http or https URL with a host and, if it has a port, a valid one."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        host.encode("idna")  # a look-up of the name would raise the same error
        return parts.scheme in ("http", "https") and bool(host) and parts.port != 0
    except ValueError:
        return False


def _tls(scheme: str) -> ssl.SSLContext:
    """Return the trusted certificates. For http there are none, which saves the time to load them all."""
    if scheme == "http":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        return httpx2.create_ssl_context()
    except OSError as error:
        raise ConfigError(
            f"SSL_CERT_FILE: the certificates to trust cannot be read: {error.strerror}"
        ) from error


class Run(Generic[T]):
    """The progress of a call: the current step, and the result in the end."""

    def __init__(self, steps: Steps[T]) -> None:
        self._steps = steps
        self._results: list[T] = []
        self.step: Step | None = None
        """The next step; None when all are done."""

        self.go_on(None)

    def go_on(self, outcome: object) -> None:
        """Continue after a step that ended with this outcome."""
        try:
            self.step = self._steps.send(outcome)
        except StopIteration as end:
            self._end(end.value)

    def fail(self, error: BaseException) -> None:
        """Continue after a step that failed, or a caller who gave up. Raises what the steps raise."""
        try:
            self.step = self._steps.throw(error)
        except StopIteration as end:
            self._end(end.value)

    def _end(self, result: T) -> None:
        self.step = None
        self._results = [result]

    @property
    def result(self) -> T:
        """Return the result of the steps, which are all done."""
        return self._results[0]


class Connection:
    """Performs single steps, blocking."""

    def __init__(self, http: httpx2.Client) -> None:
        self._http = http
        self._stream = ExitStack()
        self._events: Iterator[httpx2.ServerSentEvent] = iter(())

    def close(self) -> None:
        """Close the open stream."""
        self._stream.close()

    def do(self, step: Step) -> object:
        """Perform one step and return its outcome."""
        with _translated(self._http):
            match step:
                case Send():
                    return _answer(self._http.request(**_wire(step)))
                case Listen():
                    self._stream.close()
                    response = self._stream.enter_context(self._http.stream(**_wire(step)))
                    if _is_other_than_events(response):
                        response.read()
                        return _answer(response)
                    self._events = iter(httpx2.EventSource(response))
                    return _answer(response, body=b"")
                case NextEvent():
                    return _event(next(self._events, None))
                case Read():
                    return read(step.source)
                case Sleep():
                    time.sleep(step.pause_s)
        return None


class AsyncConnection:
    """Performs single steps, awaiting."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self._http = http
        self._stream = AsyncExitStack()
        self._events: AsyncIterator[httpx2.ServerSentEvent]

    async def aclose(self) -> None:
        """Close the open stream."""
        await self._stream.aclose()

    async def do(self, step: Step) -> object:
        """Perform one step and return its outcome."""
        with _translated(self._http):
            match step:
                case Send():
                    return _answer(await self._http.request(**_wire(step)))
                case Listen():
                    await self._stream.aclose()
                    context = self._http.stream(**_wire(step))
                    response = await self._stream.enter_async_context(context)
                    if _is_other_than_events(response):
                        await response.aread()
                        return _answer(response)
                    self._events = aiter(httpx2.EventSource(response))
                    return _answer(response, body=b"")
                case NextEvent():
                    return _event(await anext(self._events, None))
                case Read():
                    return await asyncio.to_thread(read, step.source)
                case Sleep():
                    await asyncio.sleep(step.pause_s)
        return None


def driven(http: httpx2.Client, run: Run[T]) -> Generator[JobStatus, None, None]:
    """Perform all steps and yield what they report. The steps learn of an early end, so that they can clean up."""
    with closing(Connection(http)) as connection:
        while (step := run.step) is not None:
            outcome = None
            try:
                if isinstance(step, Tell):
                    yield step.job
                else:
                    outcome = connection.do(step)
            except BaseException as error:  # noqa: BLE001 - the steps decide, and raise it again
                run.fail(error)
            else:
                run.go_on(outcome)


async def async_driven(http: httpx2.AsyncClient, run: Run[T]) -> AsyncGenerator[JobStatus, None]:
    """Perform all steps and yield what they report, awaiting."""
    async with aclosing(AsyncConnection(http)) as connection:
        while (step := run.step) is not None:
            outcome = None
            try:
                if isinstance(step, Tell):
                    yield step.job
                else:
                    outcome = await connection.do(step)
            except BaseException as error:  # noqa: BLE001 - the steps decide, and raise it again
                run.fail(error)
            else:
                run.go_on(outcome)


def _wire(step: Send | Listen) -> dict[str, Any]:
    """Return a request in the form that httpx2 takes."""
    request = step.request
    return {
        "method": request.method,
        "url": request.path,
        "params": request.query or None,
        "headers": request.headers,
        "content": request.body or None,
        "timeout": httpx2.Timeout(step.silence_s, connect=min(_CONNECT_S, step.silence_s)),
    }


def _answer(response: httpx2.Response, *, body: bytes | None = None) -> Answer:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status_code, headers, response.content if body is None else body)


def _is_other_than_events(response: httpx2.Response) -> bool:
    kind = response.headers.get("content-type", "").lower()
    return response.status_code != 200 or not kind.startswith("text/event-stream")


def _event(event: httpx2.ServerSentEvent | None) -> Event | None:
    return None if event is None else Event(event.id, event.event, event.data)


@contextmanager
def _translated(http: httpx2.Client | httpx2.AsyncClient) -> Iterator[None]:
    """Turn failures of the connection into our own errors."""
    address = f"{http.base_url.scheme}://{http.base_url.netloc.decode()}"
    try:
        yield
    except httpx2.ConnectError as error:
        refused = ServerUnreachable(
            f"cannot reach {address}: {error}; is the server running there? `enlarger serve` starts one"
        )
        refused.is_refused = True
        raise refused from error
    except httpx2.ConnectTimeout as error:
        silent = ServerUnreachable(f"{address} does not answer; is the server running there?")
        silent.is_refused = True
        raise silent from error
    except httpx2.TimeoutException as error:
        raise ServerUnreachable(f"{address} does not answer") from error
    except (httpx2.TransportError, httpx2.DecodingError) as error:
        raise ServerUnreachable(f"the connection to {address} broke: {error}") from error
