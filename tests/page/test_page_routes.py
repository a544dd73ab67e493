"""``/`` and the files of the page, as they are sent."""

from __future__ import annotations

import gzip
import re

import pytest
from support.gateways import Start
from support.keyed import KEYS

from enlarger.page.files import FOLDER, index, page_files
from enlarger.page.routes import POLICY

in_module = pytest.mark.asyncio(loop_scope="module")

_LARGEST_BYTES = 150_000


@in_module
async def test_page_is_there_without_a_key(start: Start) -> None:
    """It holds no data; its policy lets in nothing from elsewhere."""
    gateway = await start(api_keys=KEYS)
    async with gateway.http.get("/") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert answer.headers["Cache-Control"] == "no-cache"
        text = await answer.text()
    links = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert len(links) >= 6
    for link in links:
        assert not link.startswith(("/", "http"))
        async with gateway.http.get(f"/{link}") as answer:
            assert answer.status == 200, link
            if link.startswith("page/"):
                assert "immutable" in answer.headers["Cache-Control"]
                assert answer.headers["Content-Security-Policy"] == POLICY


@in_module
@pytest.mark.parametrize("name", sorted(page_files().by_name))
async def test_files_are_sent_as_they_are(start: Start, name: str) -> None:
    """Compressed for those who read that, and not again to those who have it."""
    files = page_files()
    gateway = await start()
    url, tag = f"/page/{files.version}/{name}", ""
    for encoding, content in (("identity", None), ("gzip", files.by_name[name].compressed)):
        async with gateway.http.get(
            url, headers={"Accept-Encoding": encoding}, auto_decompress=False
        ) as answer:
            body = await answer.read()
            assert body == (content or (FOLDER / name).read_bytes())
            tag = answer.headers["ETag"]
            assert "Accept-Encoding" in answer.headers["Vary"]
    assert gzip.decompress(files.by_name[name].compressed) == (FOLDER / name).read_bytes()
    async with gateway.http.get(url, headers={"If-None-Match": tag}) as answer:
        assert (answer.status, await answer.read()) == (304, b"")


@in_module
async def test_a_tab_from_before_an_update_gets_todays_files(start: Start) -> None:
    """Under its old address, where its browser does not keep them."""
    gateway = await start()
    async with gateway.http.get("/page/0123456789abcdef/texts/de.js") as answer:
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "no-cache"


@in_module
@pytest.mark.parametrize(
    "name", ["index.html", "../routes.py", "%2e%2e/routes.py", "texts", "x.js"]
)
async def test_nothing_else_is_there(start: Start, name: str) -> None:
    """Only the files of the page are below its folder."""
    reply = await (await start()).call("GET", f"/page/{page_files().version}/{name}")
    assert (reply.status, reply.body["code"]) == (404, "not_found")


@in_module
async def test_title_is_text(start: Start) -> None:
    """An operator's title is shown as it was written."""
    gateway = await start(page_title='<b>"Ours" & theirs</b>')
    async with gateway.http.get("/") as answer:
        text = await answer.text()
    assert "<title>&lt;b&gt;&quot;Ours&quot; &amp; theirs&lt;/b&gt;</title>" in text
    assert "<b>" not in text
    assert index("a").hash != index("b").hash


@in_module
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_page_can_be_switched_off(start: Start, method: str) -> None:
    """Then the root leads to the documentation: not for good, and by a relative address."""
    gateway = await start(page="off")
    async with gateway.http.request(method, "/?from=mail", allow_redirects=False) as answer:
        assert answer.status == 307
        assert answer.headers["Location"] == "docs"
        assert answer.headers["Cache-Control"] == "no-store"
        assert await answer.read() == b""
    async with gateway.http.request(method, "/") as answer:
        assert (answer.status, answer.url.path) == (200, "/docs")
    reply = await gateway.call("GET", f"/page/{page_files().version}/main.js")
    assert reply.status == 404


@in_module
async def test_root_takes_nothing(start: Start) -> None:
    """There is nothing to send there."""
    reply = await (await start()).call("POST", "/", data=b"x")
    assert reply.status == 405
    assert set(reply.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


def test_page_is_small() -> None:
    """With one language."""
    files = page_files().by_name
    loaded = [
        file
        for name, file in files.items()
        if not name.startswith("texts/") or name == "texts/zh.js"
    ]
    sent = sum(len(file.compressed) for file in [*loaded, index("enlarger")])
    assert sent < _LARGEST_BYTES
