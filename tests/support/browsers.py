"""A real browser, Chromium, where it is installed: pages are opened in it, and asked what they show.

It is driven by its own protocol (https://chromedevtools.github.io/devtools-protocol/) over a websocket, so that no
further package is needed.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from support.stores import missing

_PATIENCE_S = 60


class Tab:
    """A page that is open. What its console says, and what it asks for, is written down."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.complaints: list[str] = []
        """Errors and warnings of the console, also about what the page's policy does not allow."""

        self.requested: list[str] = []
        """URLs, but for ``data:`` and ``blob:``."""

    async def listen(self) -> None:
        """Read what the browser says, until it says no more."""
        async for message in self._socket:
            said = json.loads(message.data)
            if "id" in said:
                self._answers.pop(said["id"]).set_result(said)
            elif said["method"] == "Log.entryAdded":
                entry = said["params"]["entry"]
                if entry["level"] in ("error", "warning"):
                    self.complaints.append(f"{entry['text']} {entry.get('url', '')}")
            elif said["method"] == "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(said["params"]["exceptionDetails"])[:500])
            elif said["method"] == "Network.requestWillBeSent":
                url = said["params"]["request"]["url"]
                if not url.startswith(("data:", "blob:")):
                    self.requested.append(url)

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a command."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        said = await asyncio.wait_for(answer, _PATIENCE_S)
        assert "error" not in said, said
        result: dict[str, Any] = said["result"]
        return result

    async def open(self, url: str, *, width_px: int = 1200) -> None:
        """Go to a page, in a window of that width."""
        for domain in ("Log", "Network", "Page", "Runtime"):
            await self.send(f"{domain}.enable")
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width_px,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )
        await self.send("Page.navigate", url=url)

    async def value(self, script: str) -> Any:
        """What an expression comes to, awaited if it is a promise."""
        said = await self.send(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    async def until(self, script: str) -> Any:
        """The value of an expression, as soon as it is true."""
        async with asyncio.timeout(_PATIENCE_S):
            while not (value := await self.value(script)):  # noqa: ASYNC110 - it says no more by itself
                await asyncio.sleep(0.1)
            return value


@asynccontextmanager
async def chromium(folder: Path) -> AsyncIterator[Tab]:
    """An empty page in a browser of its own, until the end of the block.

    Args:
        folder: its profile is there.
    """
    binary = shutil.which("chromium")
    if binary is None:
        missing("chromium")
    assert binary is not None
    process = await asyncio.create_subprocess_exec(
        binary,
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *("--disable-background-networking", "--disable-component-update", "--no-first-run"),
        *("--no-proxy-server", "--remote-debugging-port=0", f"--user-data-dir={folder}"),
        "about:blank",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        address = await asyncio.wait_for(_address(process), _PATIENCE_S)
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"http://{address}/json/list") as answer,
        ):
            (page,) = [one for one in await answer.json() if one["type"] == "page"]
            async with http.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                tab = Tab(socket)
                listening = asyncio.create_task(tab.listen())
                yield tab
                listening.cancel()
    finally:
        process.terminate()
        await process.communicate()


async def _address(process: asyncio.subprocess.Process) -> str:
    """Where it is told what to do. It says so once it has started."""
    assert process.stderr is not None
    async for line in process.stderr:
        found = re.search(rb"DevTools listening on ws://([^/]+)/", line)
        if found:
            return found[1].decode()
    raise AssertionError("chromium ended before it had started")
