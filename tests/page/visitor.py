"""Somebody who uses the page, and notes what goes wrong."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, Request, expect
from support.places import REPOSITORY

QUICK = "realesr-animevideov3"
PATIENCE_MS = 90_000
expect.set_options(timeout=PATIENCE_MS)

AXE = REPOSITORY / "build" / "node" / "node_modules" / "axe-core" / "axe.min.js"

_DROP = """async ({ files, folder }) => {
  const transfer = new DataTransfer();
  for (const { name, type, data } of files) {
    const bytes = Uint8Array.from(atob(data), (sign) => sign.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type }));
  }
  for (const type of ["dragenter", "dragover", "drop"]) {
    document.body.dispatchEvent(new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true }));
  }
}"""

_PASTE = """({ files, text }) => {
  const transfer = new DataTransfer();
  for (const { name, type, data } of files) {
    const bytes = Uint8Array.from(atob(data), (sign) => sign.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type }));
  }
  if (text) transfer.setData("text/plain", text);
  document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true }));
}"""

_BARE = """(isBare) => {
  for (const element of document.querySelectorAll(".tools, .tag, .curtain-line, .curtain-range")) {
    element.style.opacity = isBare ? "0" : "";  // hidden, they would lose the focus
  }
  document.querySelector(".stage").style.outline = isBare ? "none" : "";
}"""

_AXE = """async () => {
  const { violations } = await globalThis.axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
  });
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join(" | ")}`);
}"""


def chromium(playwright: Playwright) -> Browser:
    """Debian's Chromium, which as root needs to be without its sandbox."""
    binary = shutil.which("chromium")
    assert binary is not None, "the browser tests need Debian's package chromium"
    return playwright.chromium.launch(
        executable_path=binary,
        args=["--no-sandbox", "--disable-background-networking", "--disable-gpu"],
    )


class Visitor:
    """A tab with the page.

    Args:
        page: the empty tab.
        url: of the page.
        is_opened: whether the page is opened at once.
    """

    def __init__(self, page: Page, url: str, *, is_opened: bool = True) -> None:
        self.page = page
        self.url = url
        self.complaints: list[str] = []
        """Errors, reports about the policy, and requests to other origins."""

        self.requests: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("request", self._request)
        if is_opened:
            self.open()

    def open(self) -> None:
        """Load the page, and wait until its parts are there."""
        self.page.goto(self.url)
        self.page.wait_for_selector("body[data-state]")

    def _console(self, message: ConsoleMessage) -> None:
        # A refusal of the service is an error to a browser's console, but not to anybody else.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.complaints.append(f"{message.type}: {message.text}")

    def _request(self, request: Request) -> None:
        self.requests.append(request.url)
        own, asked = urlsplit(self.url), urlsplit(request.url)
        is_own = (asked.scheme, asked.netloc) == (own.scheme, own.netloc)
        if not is_own and asked.scheme not in ("blob", "data"):
            self.complaints.append(f"request: {request.url}")

    def drop(self, files: Sequence[Mapping[str, str]]) -> None:
        """Drop files; each has ``name``, ``type``, and ``data`` in base64."""
        self.page.evaluate(_DROP, {"files": list(files), "folder": None})

    def paste(self, files: Sequence[Mapping[str, str]] = (), text: str = "") -> None:
        """Paste files or a text."""
        self.page.evaluate(_PASTE, {"files": list(files), "text": text})

    def choose(self, *paths: Path) -> None:
        """Choose files."""
        self.page.set_input_files("input[type=file][multiple]", list(paths))

    def choose_folder(self, folder: Path) -> None:
        """Choose a folder."""
        self.page.set_input_files("input[type=file]:not([multiple])", folder)

    def quick(self) -> None:
        """Choose the quickest model."""
        self.quick_is_there()
        self.page.select_option("#model", QUICK)

    def quick_is_there(self) -> None:
        """Wait until the page knows the models."""
        self.page.wait_for_selector(f"#model option[value='{QUICK}']", state="attached")

    def start(self) -> None:
        """Press the button, once the first picture is estimated. Seconds are not known before a service has made one."""
        expect(self.page.locator(".row .status", has_text="→").first).to_be_visible()
        self.page.click(".start:enabled")

    def wait_for_estimate(self) -> None:
        """Wait until the chosen picture is estimated: until then, the region has no size of the result to lie in."""
        expect(self.page.locator(".choose[aria-current] .status")).to_contain_text("→")

    def open_region(self) -> None:
        """Have the smallest region proposed, whatever this machine computes in two seconds."""
        models = self.page.request.get(f"{self.url}v1/models").json()
        for model in models["models"]:
            model["measured"]["megapixels_per_s"] = None
        self.page.route("**/v1/models", lambda route: route.fulfill(json=models))
        self.wait_for_estimate()
        self.page.click(".tool-group:first-child > button:last-child")
        expect(self.page.locator(".region-size")).to_have_text("64 × 64")

    def wait_for(self, phase: str, count: int = 1) -> None:
        """Wait until that many pictures are in a phase."""
        expect(self.page.locator(f".row[data-phase='{phase}']")).to_have_count(count)

    def shown(self) -> npt.NDArray[np.float64]:
        """The pixels of the stage, without what lies over the picture."""
        self.page.evaluate(_BARE, True)
        data = self.page.locator(".stage").screenshot()
        self.page.evaluate(_BARE, False)
        with Image.open(BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"), dtype=float)

    def wait_for_shown(self, holds: Callable[[npt.NDArray[np.float64]], bool]) -> None:
        """Wait until this holds for the pixels of the stage, which sharpens as fast as the machine decodes."""
        self.wait_until(lambda: holds(self.shown()))

    def wait_until(self, holds: Callable[[], bool]) -> None:
        """Wait until this holds, for what neither the page nor the browser tells by itself."""
        end = time.monotonic() + PATIENCE_MS / 1000
        while not holds():
            assert time.monotonic() < end
            self.page.wait_for_timeout(100)

    def job_of(self, index: int = 0) -> str:
        """The id of a picture's job, once the tab has stored it: it stores a moment after it shows."""

        def job_id() -> str | None:
            pictures = (self.store("pictures") or {"pictures": []})["pictures"]
            return pictures[index]["jobId"] if index < len(pictures) else None

        self.wait_until(lambda: job_id() is not None)
        return str(job_id())

    def check_accessibility(self) -> None:
        """No rule of axe-core is broken as things stand now."""
        assert AXE.exists(), "run `make browser`, which installs axe-core"
        if not self.page.evaluate("Boolean(globalThis.axe)"):
            # In an isolated evaluation the page's own policy does not hold.
            self.page.evaluate(AXE.read_text())
        found: list[str] = self.page.evaluate(_AXE)
        assert not found, "\n".join(found)

    def store(self, name: str) -> Any:
        """What the tab keeps under a name."""
        return self.page.evaluate(f"JSON.parse(sessionStorage.getItem('enlarger.{name}'))")
