"""``make page-shots``: pictures of the page in each of its states, on large and small screens, in light and dark."""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from page.visitor import Visitor, chromium
from playwright.sync_api import Browser, expect, sync_playwright
from running import RunningService

FOLDER = Path(__file__).parents[1] / "build" / "page"

SCREENS: Mapping[str, Mapping[str, Any]] = {
    "light": {"viewport": {"width": 1440, "height": 900}},
    "dark": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "dark"},
    "phone": {
        "viewport": {"width": 390, "height": 844},
        "device_scale_factor": 2,
        "has_touch": True,
        "is_mobile": True,
    },
    "small": {
        "viewport": {"width": 320, "height": 640},
        "device_scale_factor": 2,
        "has_touch": True,
        "is_mobile": True,
        "color_scheme": "dark",
        "locale": "de",
    },
    "chinese": {"viewport": {"width": 1024, "height": 720}, "locale": "zh-CN"},
}


def photos() -> list[Path]:
    """Photographs that scikit-image carries, and a file that is no picture."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise SystemExit("scikit-image is not installed: make page-shots")
    data = Path(spec.origin).parent / "data"
    return [data / name for name in ("astronaut.png", "chelsea.png", "README.txt", "coffee.png")]


class Camera:
    """Takes the states of one screen, one after another."""

    def __init__(self, browser: Browser, url: str, screen: str) -> None:
        context = browser.new_context(**SCREENS[screen])
        self.screen = screen
        self.visitor = Visitor(context.new_page(), url)
        self.page = self.visitor.page
        self.count = 0

    def take(self, state: str) -> None:
        """Take a picture of what is seen now."""
        self.count += 1
        self.page.wait_for_timeout(700)
        self.page.screenshot(path=FOLDER / f"{self.screen}-{self.count:02}-{state}.png")

    def click(self, selector: str) -> None:
        """Click on something."""
        self.page.click(selector)

    def run(self) -> None:
        """All states."""
        page, visitor = self.page, self.visitor
        page.wait_for_timeout(4000)  # the picture of the start sharpens
        self.take("start")
        self.click(".hero-buttons button:last-child")
        self.take("url")
        page.keyboard.press("Escape")
        visitor.choose(*photos())
        visitor.wait_for("ready", 3)
        visitor.quick()
        self.take("ready")
        self.click(".settings > .button")
        self.take("options")
        page.keyboard.press("Escape")
        visitor.wait_for_estimate()
        self.click(".tool-group > button:nth-child(5)")
        self.take("region")
        page.keyboard.press("Enter")
        # The quick models come first. All of them need a minute or more on a small machine.
        expect(page.locator(".pane[data-state=done]").nth(SHOWN_PARTS)).to_be_attached()
        self.take("comparison")
        page.keyboard.press("Escape")
        visitor.start()
        page.wait_for_function(RUNNING)
        page.wait_for_timeout(300)
        self.take("running")
        visitor.wait_for("succeeded", 3)
        page.wait_for_timeout(2000)
        self.take("done")
        self.click(".tool-group > button:nth-child(2)")
        for _ in range(3):
            self.click(".tool-group:last-child > button:nth-child(3)")
        self.take("side-by-side")
        self.click(".tool-group > button:nth-child(1)")
        self.click(".bar-buttons [popovertarget=report]")
        self.take("report")
        page.keyboard.press("Escape")
        self.click(".service-button")
        page.wait_for_timeout(4500)
        self.take("service")
        page.keyboard.press("Escape")
        page.context.close()


SHOWN_PARTS = 8
"""Parts of models that are waited for, beside the part of the picture before."""

RUNNING = """() => {
  const progress = document.querySelector(".info progress");
  return document.querySelector(".info").dataset.phase === "running" && progress.value >= 0.3;
}"""


def main() -> None:
    """Start a service, take all pictures, say where they are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("screens", nargs="*", default=list(SCREENS), help="default: all")
    screens = parser.parse_args().screens
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = chromium(playwright)
        for screen in screens:
            # A service of its own for each: results that are found again are not watched.
            work = Path(folder) / screen
            work.mkdir()
            with RunningService(
                work, {"FILE_MAX_AGE": "900", "NUM_SERVERS": "2", "ENLARGER_DRAIN": "1"}
            ) as service:
                Camera(browser, f"{service.url}/", screen).run()
        browser.close()
    print(f"{FOLDER}: {len(list(FOLDER.glob('*.png')))} pictures")  # noqa: T201


if __name__ == "__main__":
    main()
