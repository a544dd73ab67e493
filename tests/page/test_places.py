"""Where the page is used: small screens, other languages, with keys, behind a proxy, with a service that goes away."""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Request, Route, expect
from running import RunningService
from support.paused import paused_servers
from support.proxies import documented_location, free_port, nginx

from page.conftest import SETTINGS
from page.visitor import QUICK, Visitor

pytestmark = pytest.mark.browser

Visit = Callable[..., Visitor]
KEY = "k-0123456789abcdef"
KEEPS_SIZE = "waifu2x-cunet-1x"


@pytest.mark.parametrize("width", [320, 390, 3840])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits(visit: Visit, photos: Path, width: int, scheme: str) -> None:
    """Nothing is wider than the screen, and axe-core has nothing to say, in light and dark."""
    visitor = visit(viewport={"width": width, "height": 700}, color_scheme=scheme)
    page = visitor.page
    visitor.check_accessibility()
    visitor.choose(photos / "chelsea.png")
    visitor.wait_for("ready")
    visitor.wait_for_estimate()
    visitor.check_accessibility()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.click(".settings > .button")
    expect(page.locator("#option-quality")).to_be_visible()
    visitor.check_accessibility()
    page.keyboard.press("Escape")
    page.click(".service-button")
    expect(page.locator(".service-panel tbody tr")).to_have_count(2)
    visitor.check_accessibility()


@pytest.mark.parametrize("locale", ["de", "en", "es", "zh"])
def test_all_controls_are_on_a_small_screen(visit: Visit, photos: Path, locale: str) -> None:
    """However long the words of a language are: what is done, its report, the service, the options and the models' parts."""
    visitor = visit(viewport={"width": 320, "height": 640}, locale=locale, has_touch=True)
    page = visitor.page
    visitor.choose(photos / "chelsea.png")
    visitor.wait_for("ready")
    visitor.quick()
    page.select_option("#size", "2")
    visitor.start()
    visitor.wait_for("succeeded")
    assert page.evaluate(OUTSIDE) == []
    for opener in (".bar-buttons [popovertarget=report]", ".service-button"):
        page.click(opener)
        page.wait_for_timeout(100)
        assert page.evaluate(OUTSIDE) == []
        page.keyboard.press("Escape")
    page.click(".bar-buttons .again")
    visitor.wait_for("ready")
    page.click(".settings > .button")
    expect(page.locator("#option-quality")).to_be_visible()
    assert page.evaluate(OUTSIDE) == []
    page.keyboard.press("Escape")
    visitor.open_region()
    assert page.evaluate(OUTSIDE) == []
    page.keyboard.press("Enter")
    expect(page.locator(".pane").first).to_be_visible()
    assert page.evaluate(OUTSIDE) == []


OUTSIDE = """() => [...document.querySelectorAll("button, input, select, a, th, td, h2, label")]
  .filter((element) => element.checkVisibility() && !element.closest(".unseen, .panes, .stage > .curtain-range"))
  .map((element) => [element, element.getBoundingClientRect()])
  .filter(([element, { left, right, width, height }]) => {
    const isCut = element.matches("button, th, td") && element.scrollWidth > element.clientWidth + 1;
    const isNarrow = element.matches("button") && (width < 24 || height < 24);
    return width && (left < 0 || right > innerWidth || isCut || isNarrow);
  })
  .map(([element]) => `${element.className} ${element.textContent}`)"""
"""Controls and words that are cut by the edge of the screen, or by that of their button or cell, or too small to hit."""


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
    page.click(".settings > .button")
    page.fill("#option-sharpness", "7")
    page.keyboard.press("Tab")
    expect(page.locator("#option-sharpness-text")).to_have_text("<b>Later</b>")
    expect(page.locator(".row .status")).to_contain_text("sharpness")
    assert any('"sharpness":7' in body for body in sent)


def test_options_are_those_of_the_model(visit: Visit, photos: Path) -> None:
    """The noise levels of a model that has some can be chosen; they are not sent with one that has none, or has others."""
    visitor = visit()
    page = visitor.page
    visitor.choose(photos / "chelsea.png")
    visitor.wait_for("ready")
    visitor.quick()
    more = page.locator(".settings > .button")
    levels = page.locator("#option-denoise option")

    def choose(model: str) -> None:
        page.keyboard.press("Escape")
        page.select_option("#model", model)
        more.click()
        expect(page.locator("#option-quality")).to_be_visible()

    more.click()
    expect(page.locator("#option-quality")).to_be_visible()
    expect(page.locator("#option-denoise")).to_be_hidden()
    choose("waifu2x-photo-2x")
    expect(levels).to_have_text(["not set", "0", "1", "2", "3"])
    visitor.check_accessibility()
    page.select_option("#option-denoise", "1")
    expect(page.locator(".settings > .button")).to_have_attribute(
        "aria-label", "More options: 1 set"
    )
    visitor.check_accessibility()
    assert visitor.store("settings")["denoise"] == 1
    choose("realcugan-se-3x")
    expect(levels).to_have_text(["not set", "0", "3"])
    assert "denoise" not in visitor.store("settings")
    choose("waifu2x-photo-2x")
    expect(page.locator("#option-denoise")).to_have_value("1")
    choose(QUICK)
    expect(page.locator("#option-denoise")).to_be_hidden()
    expect(page.locator(".row .status")).to_contain_text("1804 × 1200")
    assert "denoise" not in visitor.store("settings")


def test_a_model_that_keeps_the_size_has_one_size(visit: Visit, photos: Path) -> None:
    """Other sizes are not proposed with it, and the one that was chosen returns with another model."""
    visitor = visit()
    page = visitor.page
    visitor.choose(photos / "chelsea.png")
    visitor.wait_for("ready")
    visitor.quick()
    page.select_option("#size", "3")
    page.select_option("#model", KEEPS_SIZE)
    expect(page.locator("#size option")).to_have_text(["1×"])
    expect(page.locator(".start")).to_contain_text("451 × 300")
    page.reload()
    expect(page.locator("#size option")).to_have_text(["1×"])
    expect(page.locator("#model")).to_have_value(KEEPS_SIZE)
    visitor.quick()
    page.select_option("#size", "3")
    page.select_option("#model", KEEPS_SIZE)
    visitor.quick()
    expect(page.locator("#size")).to_have_value("3")
    expect(page.locator(".start")).to_contain_text("1353 × 900")


def test_devices_are_named(visit: Visit, photos: Path) -> None:
    """A GPU stands beside its server, and can be named in the options; ``cpu`` is not worth a word."""
    card = "NVIDIA GeForce RTX 4090 (driver 580.65.6)"
    visitor = visit(viewport={"width": 320, "height": 700})
    page = visitor.page
    status = page.request.get(f"{visitor.url}status").json()
    models = page.request.get(f"{visitor.url}v1/models").json()
    status["servers"][1] |= {"device": card, "device_class": "gpu-24g"}
    models["models"][0]["devices"] = ["cpu", card]
    page.route("**/status", lambda route: route.fulfill(json=status))
    page.route("**/v1/models", lambda route: route.fulfill(json=models))
    page.reload()
    visitor.choose(photos / "chelsea.png")
    visitor.wait_for("ready")
    visitor.quick()
    page.click(".settings > .button")
    expect(page.locator("#option-device-list option")).to_have_count(2)
    assert page.locator("#option-device-list option").nth(1).get_attribute("value") == card
    page.keyboard.press("Escape")
    page.click(".service-button")
    expect(page.locator(".service-panel tbody tr")).to_have_count(2)
    expect(page.locator(".service-panel .device")).to_have_text([card])
    assert page.evaluate("document.querySelector('.service-panel').scrollWidth") <= 320
    visitor.check_accessibility()


@pytest.mark.parametrize("width", [900, 1024, 1280])
def test_controls_stay_where_they_are_when_estimates_come(
    visit: Visit, photos: Path, width: int
) -> None:
    """Else a click that has begun would be lost."""
    visitor = visit(viewport={"width": width, "height": 800})
    page = visitor.page
    held: list[Route] = []
    page.route("**/v1/estimate", lambda route: held.append(route))
    visitor.choose(photos / "chelsea.png")
    visitor.wait_for("ready")
    page.wait_for_timeout(500)
    more = page.locator(".settings > .button")
    before = more.bounding_box()
    assert held
    for route in held:
        route.continue_()
    page.unroute("**/v1/estimate")
    expect(page.locator(".start")).to_contain_text("1804 × 1200")
    assert more.bounding_box() == before


def test_licence_that_forbids_commercial_use_is_marked(visit: Visit, photos: Path) -> None:
    """It stands behind what the model is for."""
    visitor = visit()
    page = visitor.page
    models = page.request.get(f"{visitor.url}v1/models").json()
    changed = {"id": "own", "title": "Own", "non_commercial": True}
    models["models"].append(models["models"][1] | changed)
    page.route("**/v1/models", lambda route: route.fulfill(json=models))
    page.reload()
    visitor.choose(photos / "chelsea.png")
    visitor.wait_for("ready")
    page.select_option("#model", "own")
    expect(page.locator("#model option:checked")).to_have_text(
        "own: Own (for non-commercial use only)"
    )


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


def test_a_key_that_cannot_be_sent_is_refused_at_once(
    visit: Visit, photos: Path, tmp_path: Path
) -> None:
    """Nothing of it is kept, signs that nobody sees are left out, and one that a tab has kept leads to the question."""
    secret = hashlib.sha256(KEY.encode()).hexdigest()
    settings = {**SETTINGS, "NUM_SERVERS": "1", "ENLARGER_API_KEYS": f"anna:sha256-{secret}"}
    with RunningService(tmp_path, settings) as service:
        visitor = visit(f"{service.url}/")
        page = visitor.page
        page.fill("#key", "schlüssel 猫")
        page.keyboard.press("Enter")
        expect(page.locator(".key-dialog .problem")).to_contain_text("not known")
        visitor.check_accessibility()
        expect(page.locator(".notice")).to_be_hidden()
        assert page.evaluate("sessionStorage.getItem('enlarger.key')") is None
        page.evaluate("sessionStorage.setItem('enlarger.key', 'schlüssel 猫')")
        page.reload()
        page.fill("#key", f"\u200b{KEY[:4]}\u200d{KEY[4:]}\ufeff")
        page.keyboard.press("Enter")
        expect(page.locator(".key-dialog")).to_have_count(0)
        expect(page.locator(".service-button")).to_contain_text("ready")


def test_who_leaves_the_question_for_a_key_is_asked_again(
    visit: Visit, photos: Path, tmp_path: Path
) -> None:
    """By whatever takes a key. A picture that was started goes back to where it was, and says what is missing."""
    secret = hashlib.sha256(KEY.encode()).hexdigest()
    settings = {**SETTINGS, "NUM_SERVERS": "1", "ENLARGER_API_KEYS": f"anna:sha256-{secret}"}
    with RunningService(tmp_path, settings) as service:
        visitor = visit(f"{service.url}/")
        page = visitor.page
        dialog = page.locator(".key-dialog")

        def leave(*, by_button: bool = False) -> None:
            expect(dialog).to_have_count(1)
            dialog.get_by_text("Not now").click() if by_button else page.keyboard.press("Escape")
            expect(dialog).to_have_count(0)

        leave()
        page.wait_for_timeout(3500)  # whatever the page asks by itself asks nobody
        expect(dialog).to_have_count(0)
        page.click(".service-button")
        leave()
        visitor.choose(photos / "chelsea.png")
        leave()
        visitor.wait_for("ready")
        page.click(".start:enabled")
        leave(by_button=True)
        visitor.wait_for("ready")
        expect(page.locator(".row .status")).to_contain_text("key is needed")
        page.click(".start:enabled")
        page.fill("#key", KEY)
        page.keyboard.press("Enter")
        visitor.wait_for("running")
        # What could not be asked for without a key is here.
        visitor.quick_is_there()


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
        # They end with their gateway, although they stand still.
        with paused_servers(service):
            visitor.start()
            expect(page.locator(".row .status")).to_contain_text("of 6 tiles")
            service.process.send_signal(signal.SIGINT)
            service.process.wait(60)
    expect(page.locator(".notice")).to_contain_text("No connection")
    with RunningService(tmp_path, settings, arguments=arguments):
        visitor.wait_for("succeeded")
        expect(page.locator(".notice")).to_be_hidden()
    page.close()


def test_a_picture_that_comes_without_a_connection_is_estimated_later(
    visit: Visit, photos: Path
) -> None:
    """By itself, as soon as the connection is back."""
    visitor = visit()
    page = visitor.page
    visitor.quick_is_there()
    page.context.set_offline(True)
    visitor.choose(photos / "chelsea.png")
    visitor.wait_for("ready")
    expect(page.locator(".notice")).to_contain_text("No connection")
    expect(page.locator(".row .status")).to_have_text("Ready")
    page.context.set_offline(False)
    visitor.wait_for_estimate()


def test_a_page_that_cannot_start_says_so(visit: Visit) -> None:
    """A part of it that does not come leaves a way to load it again; a page that starts shows nothing of that."""
    visitor = visit()
    page = visitor.page
    expect(page.locator(".unstarted")).to_have_count(0)
    broken = Visitor(page.context.new_page(), visitor.url, is_opened=False)
    broken.page.route("**/view.js", lambda route: route.abort())
    broken.page.goto(visitor.url)
    link = broken.page.locator(".unstarted a").first
    expect(link).to_have_text("Reload")
    expect(link).to_be_hidden()
    expect(link).to_be_visible()
    broken.check_accessibility()
    broken.page.unroute("**/view.js")
    link.click()
    broken.page.wait_for_selector("body[data-state]")


def test_a_lost_connection_costs_nothing(
    visit: Visit, service: RunningService, photos: Path
) -> None:
    """The page says so, and has all news when it is back."""
    visitor = visit()
    page = visitor.page
    visitor.choose(photos / "coffee.png")
    visitor.quick()
    with paused_servers(service):
        visitor.start()
        visitor.wait_for("running")
        page.context.set_offline(True)
        expect(page.locator(".notice")).to_contain_text("No connection")
        page.context.set_offline(False)
    visitor.wait_for("succeeded")
    expect(page.locator(".notice")).to_be_hidden()
