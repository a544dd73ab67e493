"""Where the page is used: small screens, other languages, with keys, behind a proxy, with a service that goes away."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Request, expect
from proxies import documented_location, free_port, nginx
from running import RunningService

from page.conftest import SETTINGS
from page.visitor import Visitor

pytestmark = pytest.mark.browser

Visit = Callable[..., Visitor]
KEY = "k-0123456789abcdef"


@pytest.mark.parametrize("width", [320, 390, 3840])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits(visit: Visit, photos: Path, width: int, scheme: str) -> None:
    """Nothing is wider than the screen, and axe-core has nothing to say, in light and dark."""
    visitor = visit(viewport={"width": width, "height": 700}, color_scheme=scheme)
    page = visitor.page
    visitor.check_accessibility()
    visitor.choose(photos / "chelsea.png")
    visitor.wait_for("ready")
    visitor.check_accessibility()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.click("[aria-label='More options']")
    expect(page.locator("#option-quality")).to_be_visible()
    visitor.check_accessibility()
    page.keyboard.press("Escape")
    page.click(".service-button")
    expect(page.locator(".service-panel tbody tr")).to_have_count(2)
    visitor.check_accessibility()


@pytest.mark.parametrize(
    ("locale", "word"),
    [("de-AT", "Bilder"), ("es-MX", "imágenes"), ("zh-CN", "图片"), ("fr-FR", "pictures")],
)
def test_it_speaks(visit: Visit, locale: str, word: str) -> None:
    """The browser's language, or English."""
    page = visit(locale=locale).page
    expect(page.locator(".hero h2")).to_contain_text(word)
    assert page.evaluate("document.documentElement.lang") in (locale[:2], "en")


def test_options_are_those_of_the_document(visit: Visit, photos: Path) -> None:
    """An option that a later version adds is there, and is sent."""
    visitor = visit()
    page = visitor.page
    document = page.request.get(f"{visitor.url}openapi.json").json()
    document["paths"]["/v1/jobs"]["post"]["parameters"].append(
        {
            "name": "sharpness",
            "in": "query",
            "description": "<b>Later</b>",
            "schema": {"type": "integer", "minimum": 0},
        }
    )
    page.route("**/openapi.json", lambda route: route.fulfill(json=document))
    sent: list[str] = []

    def note(request: Request) -> None:
        if request.url.endswith("/v1/estimate"):
            sent.append(request.post_data or "")

    page.on("request", note)
    page.reload()
    visitor.choose(photos / "chelsea.png")
    visitor.wait_for("ready")
    page.click("[aria-label='More options']")
    page.fill("#option-sharpness", "7")
    page.keyboard.press("Tab")
    expect(page.locator("#option-sharpness-text")).to_have_text("<b>Later</b>")
    expect(page.locator(".row .status")).to_contain_text("sharpness")
    assert any('"sharpness":7' in body for body in sent)


def test_a_key_is_asked_for_once(visit: Visit, photos: Path, tmp_path: Path) -> None:
    """A wrong one is refused in the service's words; the right one lasts for the tab, also through a reload."""
    secret = hashlib.sha256(KEY.encode()).hexdigest()
    settings = {**SETTINGS, "NUM_SERVERS": "1", "ENLARGER_API_KEYS": f"anna:sha256-{secret}"}
    with RunningService(tmp_path, settings) as service:
        visitor = visit(f"{service.url}/")
        page = visitor.page
        page.fill("#key", "wrong")
        visitor.check_accessibility()
        page.keyboard.press("Enter")
        expect(page.locator(".key-dialog .problem")).to_contain_text("key")
        page.fill("#key", KEY)
        page.keyboard.press("Enter")
        expect(page.locator(".key-dialog")).to_have_count(0)
        page.reload()
        visitor.choose(photos / "chelsea.png")
        visitor.quick()
        visitor.start()
        visitor.wait_for("succeeded")
        expect(page.locator(".stage")).to_have_attribute("data-mode", "curtain")
        assert KEY not in "".join(visitor.requests)


def test_it_works_below_a_path_of_another_site(
    visit: Visit, service: RunningService, photos: Path, tmp_path: Path
) -> None:
    """Behind nginx, as the documentation has it; all requests stay below the prefix."""
    port = free_port()
    gateway_port = int(service.url.rsplit(":", 1)[1])
    with nginx(tmp_path, port=port, location=documented_location(gateway_port)):
        prefix = f"http://127.0.0.1:{port}/enlarger/"
        visitor = visit(prefix)
        visitor.choose(photos / "chelsea.png")
        visitor.quick()
        visitor.start()
        visitor.wait_for("succeeded")
        expect(visitor.page.locator(".stage")).to_have_attribute("data-mode", "curtain")
        foreign = [url for url in visitor.requests if not url.startswith((prefix, "blob:"))]
        assert foreign == []


def test_a_gateway_that_restarts_in_the_middle_costs_nothing(
    visit: Visit, photos: Path, tmp_path: Path
) -> None:
    """The page says that the connection is lost, and goes on by itself."""
    port = free_port()
    settings = {**SETTINGS, "ENLARGER_DRAIN": "0"}
    arguments = ("--port", str(port))
    with RunningService(tmp_path, settings, arguments=arguments) as service:
        visitor = visit(f"{service.url}/")
        page = visitor.page
        visitor.choose(photos / "astronaut.png")
        visitor.quick()
        visitor.start()
        expect(page.locator(".row .status")).to_contain_text("of 6 tiles")
    expect(page.locator(".notice")).to_contain_text("No connection")
    with RunningService(tmp_path, settings, arguments=arguments):
        visitor.wait_for("succeeded")
        expect(page.locator(".notice")).to_be_hidden()
    page.close()


def test_a_lost_connection_costs_nothing(visit: Visit, photos: Path) -> None:
    """The page says so, and has all news when it is back."""
    visitor = visit()
    page = visitor.page
    visitor.choose(photos / "coffee.png")
    visitor.quick()
    visitor.start()
    visitor.wait_for("running")
    page.context.set_offline(True)
    expect(page.locator(".notice")).to_contain_text("No connection")
    page.context.set_offline(False)
    visitor.wait_for("succeeded")
    expect(page.locator(".notice")).to_be_hidden()
