"""``/docs`` in a real browser, and what it is made of; ``/``, which leads there."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import vendor_swagger_ui
from support.browsers import Tab, chromium
from support.gateways import Running, Start
from support.keyed import KEY, KEYS
from support.proxies import documented_location, free_port, nginx

from enlarger.api.document.operations import OPERATIONS
from enlarger.api.document.page import ASSETS, POLICY

pytestmark = pytest.mark.asyncio(loop_scope="module")


BROKEN = r"""
(() => {
  const broken = [], ticks = [];
  const walker = document.createTreeWalker(document.querySelector("#swagger-ui"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (node.parentElement.closest("textarea, option, .microlight, .highlight-code")) continue;
    if (node.data.includes("`")) ticks.push(node.data);
    for (const word of node.data.matchAll(/\w{1,40}/g)) {
      const range = document.createRange();
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      const lines = [...range.getClientRects()].filter((one) => one.width).map((one) => Math.round(one.top));
      if (new Set(lines).size > 1) broken.push(word[0]);
    }
  }
  return { broken, ticks, width: document.documentElement.scrollWidth };
})()
"""
"""Words that stand on more than one line, texts with a backtick, and how wide the page is."""


# What it is made of


class Seen(HTMLParser):
    """What a page loads and links to."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: set[str] = set()
        self.linked: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        assert not {"style", *(name for name in named if name.startswith("on"))} & set(named)
        assert tag != "style"
        assert tag != "script" or named["src"]
        target = named.get("src") or named.get("href")
        if target:
            (self.linked if tag == "a" else self.loaded).add(target)


async def test_all_that_it_loads_comes_with_the_package(start: Start) -> None:
    """By relative names, under a policy that lets in nothing from elsewhere; also for who has no key."""
    gateway = await start(api_keys=KEYS)
    async with gateway.http.get("/docs") as answer:
        assert (answer.status, answer.content_type) == (200, "text/html")
        assert answer.headers["Content-Security-Policy"] == POLICY
        seen = Seen()
        seen.feed(await answer.text())
    assert seen.loaded == {f"docs/{name}" for name in ASSETS}
    assert seen.linked == {"openapi.json", "llms.txt"}
    for name in (*seen.loaded, *seen.linked):
        async with gateway.http.get(f"/{name}") as answer:
            assert answer.status == 200
            assert await answer.read()
    for directive in POLICY.split("; "):
        assert set(directive.split()[1:]) <= {"'self'", "'none'", "data:", "blob:"}
    assert re.findall("(?:script|style|connect)-src ([^;]+)", POLICY) == ["'self'"] * 3


async def test_what_it_loads_is_cached_by_its_content(start: Start) -> None:
    """A browser that has a file is told that it is still the same."""
    gateway = await start()
    for name, asset in ASSETS.items():
        async with gateway.http.get(f"/docs/{name}") as answer:
            assert answer.headers["Content-Type"] == asset.media_type
            assert await answer.read() == asset.path.read_bytes()
            known = {"If-None-Match": answer.headers["ETag"]}
        async with gateway.http.get(f"/docs/{name}", headers=known) as answer:
            assert (answer.status, await answer.read()) == (304, b"")


@pytest.mark.parametrize(
    "name", ["LICENSE", "page.py", "docs.html", "..%2Fpage.py", "%2e%2e%2fpage.py", "nothing", ""]
)
async def test_nothing_else_is_there(start: Start, name: str) -> None:
    """What the page does not load is not found, wherever it is."""
    gateway = await start()
    reply = await gateway.call("GET", f"/docs/{name}")
    assert (reply.status, reply.body["code"]) == (404, "not_found")


async def test_vendored_files_are_those_of_the_package() -> None:
    """Nobody has edited them since they were compared with what npm has."""
    folder = vendor_swagger_ui.FOLDER
    assert (folder / "SHA256SUMS").read_text() == vendor_swagger_ui.sums()
    assert {path.name for path in folder.iterdir()} == {*vendor_swagger_ui.FILES, "SHA256SUMS"}
    assert vendor_swagger_ui.VERSION in (folder / "swagger-ui-bundle.js").read_text()
    assert "Apache License" in (folder / "LICENSE").read_text()


# In a browser


async def opened(tab: Tab, url: str, width_px: int) -> None:
    """Open the page, and wait until all operations are shown."""
    await tab.open(url, width_px=width_px)
    await tab.until(f"document.querySelectorAll('.opblock').length === {len(OPERATIONS)}")


async def unfolded(tab: Tab, id_: str) -> str:
    """Open an operation; the selector of its element."""
    block = f".opblock[id$='-{id_}']"
    await tab.value(f'document.querySelector("{block} .opblock-summary-control").click()')
    await tab.until(f'!!document.querySelector("{block} .responses-inner")')
    return block


@pytest.mark.parametrize("width_px", [1200, 400])
async def test_page_reads_well(start: Start, tmp_path: Path, width_px: int) -> None:
    """No name breaks in the middle, no backtick is left, defaults are shown, and the page uses the width of the window."""
    gateway = await start()
    address = f"http://127.0.0.1:{gateway.port}"
    async with chromium(tmp_path) as tab:
        await opened(tab, f"{address}/docs", width_px)
        block = await unfolded(tab, "upscale")
        shown = await tab.value(f'document.querySelector("{block}").innerText')
        seen = await tab.value(BROKEN)
        assert tab.complaints == []
        await tab.value("document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">')")
        assert "Content Security Policy" in tab.complaints.pop()  # it would have been told
        assert {url.removeprefix(address) for url in tab.requested} == {
            *("/docs", "/openapi.json"),
            *(f"/docs/{name}" for name in ASSETS),
        }
    assert seen["broken"] == []
    assert seen["ticks"] == []
    assert seen["width"] <= width_px
    for text in ("color_lock", "Default value : true", "Default value : inside"):
        assert text in shown
    assert f"curl --data-binary @cat.png -o enlarged.png '{address}/v1/upscale?scale=4'" in shown


async def tried(tab: Tab, id_: str) -> str:
    """Call an operation with what the page suggests; the status that is shown."""
    block = await unfolded(tab, id_)
    for name in ("try-out__btn", "execute"):
        await tab.until(f'!!document.querySelector("{block} .{name}")')
        await tab.value(f'document.querySelector("{block} .{name}").click()')
    status = f"{block} .live-responses-table .response-col_status"
    await tab.until(f'!!document.querySelector("tbody {status}, {status}")')
    shown: str = await tab.value(
        f'document.querySelector("{block} .live-responses-table tbody .response-col_status").innerText'
    )
    return shown.split()[0]


async def authorized(tab: Tab, key: str) -> None:
    """Type a key into the dialogue, as the one of ``X-API-Key``."""
    await tab.value("document.querySelector('.btn.authorize').click()")
    await tab.until("!!document.querySelector('#api_key_value')")
    await tab.value("document.querySelector('#api_key_value').focus()")
    await tab.send("Input.insertText", text=key)
    await tab.value(
        "document.querySelector('#api_key_value').closest('form').querySelector('.authorize').click()"
    )
    await tab.until("!!document.querySelector('.auth-container h6')")
    await tab.value("document.querySelector('.btn-done').click()")


async def test_operations_can_be_tried(start: Start, tmp_path: Path) -> None:
    """They work with a key, and below a path of another site that the service does not know of."""
    port = free_port()
    folder = tmp_path / "nginx"
    folder.mkdir()
    gateway: Running = await start(api_keys=KEYS, trusted_proxies="127.0.0.1")
    with nginx(folder, port=port, location=documented_location(gateway.port)):
        async with chromium(tmp_path / "profile") as tab:
            await opened(tab, f"http://127.0.0.1:{port}/enlarger/docs", 1200)
            assert await tried(tab, "models") == "401"
            await authorized(tab, KEY)
            assert await tried(tab, "upscaleCompatible") == "200"
            answer: dict[str, Any] = json.loads(
                await tab.value(
                    "document.querySelector(\".opblock[id$='-upscaleCompatible'] .live-responses-table .microlight\").textContent"
                )
            )
            assert answer["upscaled_size"] == {"width": 8, "height": 6, "scale": 2}
            assert all(
                url.startswith(f"http://127.0.0.1:{port}/enlarger/") for url in tab.requested
            )
