"""How smooth is the page with a large result, and does its memory stay bounded?

- *first paint*: seconds until something is seen;
- *panning*: frames per second and the longest task of the main thread while a result of 8192 x 8192 is dragged about at
  1:1 and zoomed; no task may take 50 ms;
- *heap*: megabytes of JavaScript after 10 and after 50 results, each of which was looked at; it may not grow.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from page.visitor import Visitor, chromium
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from record import photo, record
from running import RunningService

LONGEST_TASK_MS = 50
GROWTH = 1.15
SETTINGS = {"NUM_SERVERS": "2", "FILE_MAX_AGE": "3600", "MAX_FILE_SIZE": "40000000"}

WATCH = """() => {
  globalThis.watched = { frames: 0, longest: 0, start: performance.now() };
  const { watched } = globalThis;
  const frame = () => {
    watched.frames++;
    watched.next = requestAnimationFrame(frame);
  };
  watched.next = requestAnimationFrame(frame);
  watched.tasks = new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) watched.longest = Math.max(watched.longest, duration);
  });
  watched.tasks.observe({ type: "longtask" });
}"""
"""Tasks below 50 ms are no long tasks to a browser: the longest is 0 then."""

TOLD = """() => {
  const { watched } = globalThis;
  cancelAnimationFrame(watched.next);
  const seconds = (performance.now() - watched.start) / 1000;
  return { frames_per_s: watched.frames / seconds, longest_task_ms: watched.longest };
}"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=2048, help="of the input, in pixels")
    parser.add_argument("--pictures", type=int, default=50)
    parser.add_argument("--record", action="store_true", help="append to results.jsonl")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        with RunningService(folder, SETTINGS) as service:
            browser = chromium(playwright)
            visitor = Visitor(
                browser.new_page(viewport={"width": 1440, "height": 900}), service.url
            )
            figures: dict[str, Any] = {
                "first_paint_s": first_paint_s(visitor.page),
                "panning": panning(visitor, folder, arguments.side),
                "heap_mb": heap(visitor, folder, arguments.pictures),
            }
            browser.close()
    for key, value in figures.items():
        print(f"{key}: {value}")
    failed = figures["panning"]["longest_task_ms"] > LONGEST_TASK_MS
    first, last = figures["heap_mb"]["first"], figures["heap_mb"]["last"]
    if failed or last > first * GROWTH:
        print("a bar is missed")
    if arguments.record:
        record("page", {"side_px": arguments.side * 4, "pictures": arguments.pictures, **figures})


def first_paint_s(page: Page) -> float:
    """Seconds from the beginning of a load, with nothing cached, to the first contentful paint."""
    entries = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
    page.wait_for_function(entries)
    seconds: float = page.evaluate(entries) / 1000
    return round(seconds, 3)


def panning(visitor: Visitor, folder: Path, side: int) -> dict[str, Any]:
    """Drag a large result about, and zoom it."""
    page = visitor.page
    path = folder / "large.jpg"
    Image.fromarray(photo()).resize((side, side), Image.Resampling.LANCZOS).save(path, quality=92)
    visitor.choose(path)
    visitor.wait_for("ready")
    visitor.quick()
    page.set_default_timeout(900_000)
    page.click(".start:enabled")
    page.wait_for_selector(".row[data-phase='succeeded']")
    page.wait_for_selector(".stage[data-mode='curtain']")
    page.wait_for_timeout(5000)
    box = page.locator(".stage").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 3
    page.locator(".stage").focus()
    page.keyboard.press("1")
    page.mouse.move(x, y)
    page.evaluate(WATCH)
    for turn in range(6):
        page.mouse.down()
        for step in range(30):
            page.mouse.move(x + (step if turn % 2 else -step) * 12, y + step * (5 - 2 * turn))
        page.mouse.up()
        page.mouse.move(x, y)
    for delta in (*[-120] * 8, *[120] * 16):
        page.mouse.wheel(0, delta)
        page.wait_for_timeout(16)
    told: dict[str, float] = page.evaluate(TOLD)
    return {name: round(value, 1) for name, value in told.items()}


def heap(visitor: Visitor, folder: Path, pictures: int) -> dict[str, float]:
    """Make many results, look at each, and see what is held after the first ten and after all."""
    page = visitor.page
    page.click("[aria-label='Clear the list']")
    page.wait_for_selector(".row", state="detached")
    paths = []
    for index in range(pictures):
        path = folder / f"{index:02}.png"
        Image.fromarray(photo()[index : index + 96, index * 4 : index * 4 + 128]).save(path)
        paths.append(path)
    visitor.choose(*paths)
    visitor.wait_for("ready", pictures)
    visitor.start()
    visitor.wait_for("succeeded", pictures)
    client = page.context.new_cdp_session(page)
    client.send("Performance.enable")
    held: list[float] = []
    for index in range(pictures):
        page.locator(".choose").nth(index).click()
        page.wait_for_timeout(150)
        if index in (min(10, pictures) - 1, pictures - 1):
            page.wait_for_timeout(1000)
            client.send("HeapProfiler.collectGarbage")
            metrics = client.send("Performance.getMetrics")["metrics"]
            (used,) = (one["value"] for one in metrics if one["name"] == "JSHeapUsedSize")
            held.append(round(used / 1e6, 2))
    return {"first": held[0], "last": held[-1]}


if __name__ == "__main__":
    main()
