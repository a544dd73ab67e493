"""The main path: a picture comes in, is watched, compared, and taken out."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Route, expect
from running import RunningService
from support.networks import write_nearest
from support.paused import paused_servers

from enlarger.models import Catalogue
from page.conftest import SETTINGS
from page.visitor import QUICK, Visitor

pytestmark = pytest.mark.browser

Visit = Callable[..., Visitor]
KEEPS_SIZE = "waifu2x-cunet-1x"


def as_file(path: Path, name: str | None = None, media_type: str = "image/png") -> dict[str, str]:
    """A file as a browser is told of it."""
    data = base64.b64encode(path.read_bytes()).decode()
    return {"name": name or path.name, "type": media_type, "data": data}


def result_of(visitor: Visitor, service: RunningService, index: int = 0) -> Image.Image:
    """The result of a picture, as the service has it."""
    with urlopen(f"{service.url}/v1/jobs/{visitor.job_of(index)}/result", timeout=60) as answer:
        return Image.open(BytesIO(answer.read()))


def test_a_dropped_picture_is_watched_and_downloaded(
    visit: Visit, service: RunningService, photos: Path
) -> None:
    """Estimate, tiles in their places before the result is there, the curtain, and the same bytes at the end."""
    visitor = visit()
    page = visitor.page
    visitor.check_accessibility()
    visitor.drop([as_file(photos / "chelsea.png")])
    visitor.wait_for("ready")
    visitor.quick()
    expect(page.locator(".start")).to_contain_text("1804 × 1200")
    visitor.check_accessibility()
    held: list[Route] = []
    page.route("**/result", lambda route: held.append(route))
    visitor.start()
    visitor.wait_for("succeeded")
    page.wait_for_timeout(2000)  # the last tile fades in, and its outline fades out
    live = visitor.shown()
    for route in held:
        route.continue_()
    page.unroute("**/result")
    visitor.check_accessibility()

    page.locator(".curtain-range").fill("0")
    page.wait_for_timeout(2500)
    with result_of(visitor, service) as result:
        assert result.size == (1804, 1200)
        done = visitor.shown()
        box = page.evaluate(PLACE)
        left, top, right, bottom = (round(value) for value in box)
        scaled = result.convert("RGB").resize((right - left, bottom - top), Image.Resampling.BOX)
    wanted = np.asarray(scaled, dtype=float)
    for shown in (live, done):
        assert np.abs(shown[top:bottom, left:right] - wanted).mean() < 8

    with page.expect_download() as download:
        page.click("text=Download")
    assert download.value.suggested_filename == "chelsea-4x.png"
    with result_of(visitor, service) as result, Image.open(download.value.path()) as taken:
        assert result.tobytes() == taken.tobytes()


PLACE = """() => {
  const { clientWidth: width, clientHeight: height } = document.querySelector(".stage");
  const margin = Math.min(20, width * 0.03);
  const zoom = Math.min((width - 2 * margin) / 1804, (height - 2 * margin) / 1200);
  return [(width - 1804 * zoom) / 2, (height - 1200 * zoom) / 2, (width + 1804 * zoom) / 2, (height + 1200 * zoom) / 2];
}"""
"""Where a picture of 1804 x 1200 lies on the stage when all of it is seen."""


def test_pasted_pictures_and_urls_come_in(
    visit: Visit, service: RunningService, photos: Path
) -> None:
    """A picture and an address, both from the clipboard; the service fetches the latter."""
    visitor = visit()
    visitor.paste([as_file(photos / "chelsea.png", "image.png")])
    visitor.wait_for("ready")
    url = f"{service.url}/page/none/icon.svg"
    visitor.paste(text=url)
    visitor.wait_for("refused")
    expect(visitor.page.locator(".row[data-phase='refused'] .status")).to_contain_text("SVG")


def test_an_address_that_is_not_fetched_is_explained(visit: Visit) -> None:
    """The dialog stays and says what is allowed, until another address is written."""
    visitor = visit()
    page = visitor.page
    page.click("text=From a URL")
    for address in ("javascript:alert(1)", "file:///etc/passwd", "data:,x", "cat.png", "http://"):
        page.fill("input[type=url]", address)
        expect(page.locator(".url-form .problem")).to_be_hidden()
        page.keyboard.press("Enter")
        expect(page.locator(".url-form .problem")).to_contain_text("http:// or https://")
    visitor.check_accessibility()


def test_what_cannot_be_shown_yet_says_so(
    visit: Visit, service: RunningService, photos: Path, tmp_path: Path
) -> None:
    """A picture elsewhere, and a file that no browser shows; after its end the latter is shown as before."""
    with Image.open(photos / "chelsea.png") as cat:
        cat.resize((90, 60)).save(tmp_path / "scan.tif")
    status, made = service.upscale((photos / "chelsea.png").read_bytes(), scale=2, model=QUICK)
    assert status == 200
    visitor = visit()
    page = visitor.page
    placeholder = page.locator(".stage-placeholder")
    visitor.paste(text=f"{service.url}{made['url']}")
    visitor.wait_for("ready")
    expect(placeholder).to_have_text("Will be fetched from " + service.url.split("//")[1])
    visitor.choose(tmp_path / "scan.tif")
    visitor.wait_for("ready", 2)
    expect(placeholder).to_contain_text("This browser does not show such files")
    visitor.check_accessibility()
    page.click("[aria-label^='Remove http'], .row:first-child [aria-label^='Remove']")
    visitor.quick()
    with paused_servers(service):
        visitor.start()
        visitor.wait_for("running")
        expect(placeholder).to_be_hidden()
        expect(page.locator(".stage")).to_have_attribute("data-mode", "plain")
    visitor.wait_for("succeeded")
    expect(page.locator(".stage")).to_have_attribute("data-mode", "curtain")
    page.route("**/v1/jobs/*/input*", lambda route: route.fulfill(status=410, json={}))
    page.evaluate(EXPIRE)
    visitor.wait_for("expired")
    page.reload()
    expect(page.locator(".row .thumbnail")).to_be_visible()
    expect(placeholder).to_be_hidden()
    visitor.wait_for_shown(lambda shown: shown[60:-120].std() > 10)


EXPIRE = """() => {
  addEventListener("pagehide", () => {
    const stored = JSON.parse(sessionStorage["enlarger.pictures"]);
    for (const picture of stored.pictures) picture.phase = "expired";
    sessionStorage["enlarger.pictures"] = JSON.stringify(stored);
  });
  location.reload();
}"""


def test_the_view_moves_by_mouse_keyboard_and_touch(visit: Visit, photos: Path) -> None:
    """Wheel, double click, keys, a drag, and two fingers."""
    visitor = visit(has_touch=True)
    page = visitor.page
    visitor.choose(photos / "chelsea.png")
    visitor.wait_for("ready")
    expect(page.locator(".start")).to_contain_text("×")
    percent = page.locator(".percent")
    fitted = percent.inner_text()
    box = page.locator(".stage").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 3
    page.mouse.move(x, y)
    page.mouse.wheel(0, -400)
    expect(percent).not_to_have_text(fitted)
    before = visitor.shown()
    page.mouse.down()
    page.mouse.move(x + 120, y + 60, steps=4)
    page.mouse.up()
    page.wait_for_timeout(200)
    after = visitor.shown()
    assert np.abs(before[60:-120, 60:-240] - after[120:-60, 180:-120]).mean() < 4

    page.locator(".stage").focus()
    page.keyboard.press("0")
    expect(percent).to_have_text(fitted)
    page.keyboard.press("1")
    expect(percent).to_have_text("100%")
    for _ in range(12):
        page.keyboard.press("+")
    expect(percent).to_have_text("800%")
    page.mouse.dblclick(x, y)
    expect(percent).to_have_text(fitted)

    client = page.context.new_cdp_session(page)
    for kind, apart in (("touchStart", 40), *(("touchMove", 40 + 20 * step) for step in range(8))):
        points = [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}]
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    client.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    expect(percent).not_to_have_text(fitted)


def test_the_curtain_and_the_other_ways_to_compare(visit: Visit, photos: Path) -> None:
    """By mouse and by keyboard; each way shows both sides."""
    visitor = visit(reduced_motion="reduce")
    page = visitor.page
    visitor.choose(photos / "chelsea.png")
    visitor.quick()
    visitor.start()
    visitor.wait_for("succeeded")
    curtain = page.locator(".curtain-range")
    expect(curtain).to_have_value("500")
    box = curtain.bounding_box()
    assert box is not None
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 200, middle[1], steps=5)
    page.mouse.up()
    assert int(curtain.input_value()) > 600
    curtain.focus()
    page.keyboard.press("End")
    expect(curtain).to_have_value("1000")
    only_before = visitor.shown()
    page.keyboard.press("Home")
    page.wait_for_timeout(500)
    only_after = visitor.shown()
    assert np.abs(only_before - only_after).mean() > 0.5
    page.click("[aria-label='Blink']")
    page.locator(".stage").focus()
    page.keyboard.press(" ")
    page.wait_for_timeout(300)
    assert np.abs(visitor.shown() - only_before).mean() < 0.5
    page.click("[aria-label='Side by side']")
    expect(page.locator(".stage")).to_have_attribute("data-mode", "side")
    page.click("[aria-label='Loupe']")
    page.mouse.move(*middle)
    visitor.check_accessibility()


def test_a_part_is_made_by_all_models_and_one_is_taken(visit: Visit, photos: Path) -> None:
    """The region moves by keyboard; the chosen model makes the whole picture at once."""
    visitor = visit()
    page = visitor.page
    visitor.choose(photos / "chelsea.png")
    visitor.wait_for("ready")
    visitor.open_region()
    region = page.locator(".region")
    expect(region).to_be_focused()
    label = region.get_attribute("aria-label")
    page.keyboard.press("ArrowLeft")
    assert region.get_attribute("aria-label") != label
    visitor.check_accessibility()
    page.keyboard.press("Enter")
    panes = page.locator(".pane")
    models = page.request.get(f"{visitor.url}v1/models").json()["models"]
    expect(panes).to_have_count(1 + len(models))
    quick = panes.filter(has_text="Quick look")
    expect(quick).to_have_attribute("data-state", "done")
    visitor.check_accessibility()
    quick.locator("button").click()
    visitor.wait_for("succeeded")
    assert visitor.store("settings")["model"] == "realesr-animevideov3"


@pytest.fixture
def many_models(tmp_path: Path) -> Iterator[RunningService]:
    """A service with the models of all wheels. Small networks take the places of all but one, so that they are quick."""
    own = tmp_path / "models"
    own.mkdir()
    for name in [model.id for model in Catalogue.installed(own)]:
        if name != KEEPS_SIZE:
            write_nearest(own, name)
    settings = {**SETTINGS, "MODEL_DIR": str(own), "ENLARGER_CACHE_DIR": str(tmp_path / "cache")}
    with RunningService(tmp_path, settings) as running:
        yield running


def test_a_part_is_made_by_twenty_models_on_a_phone(
    visit: Visit, many_models: RunningService, photos: Path
) -> None:
    """None fails, one finger or the wheel scrolls, two fingers or Ctrl with the wheel zoom all; the model that keeps the size is taken with its size."""
    url = f"{many_models.url}/"
    visitor = visit(
        url, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, locale="en"
    )
    page = visitor.page
    visitor.choose(photos / "chelsea.png")
    visitor.wait_for("ready")
    visitor.open_region()
    page.click("text=Compare all models here")
    panes = page.locator(".pane")
    expect(panes).to_have_count(21)
    expect(page.locator(".pane[data-state='done']")).to_have_count(21, timeout=200_000)
    visitor.check_accessibility()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    sizes = page.evaluate(
        "[...document.querySelectorAll('.pane-area')].map((area) => `${area.clientWidth} ${area.clientHeight}`)"
    )
    assert len(set(sizes)) == 1

    def touches(kind: str, *points: tuple[float, float]) -> None:
        sent = [{"x": x, "y": y, "id": index} for index, (x, y) in enumerate(points)]
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": sent})

    client = page.context.new_cdp_session(page)
    box = panes.nth(2).locator(".pane-area").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.wheel(0, 300)
    page.wait_for_function(SCROLLED)
    before = page.evaluate(f"({PIXELS})()")
    page.keyboard.down("Control")
    page.mouse.wheel(0, -300)
    page.keyboard.up("Control")
    page.wait_for_function(ZOOMED, arg=before)
    page.evaluate("document.querySelector('.panes').scrollTo(0, 0)")
    before = page.evaluate(f"({PIXELS})()")
    touches("touchStart", (x - 15, y), (x + 15, y))
    for apart in range(20, 70, 5):
        touches("touchMove", (x - apart, y), (x + apart, y))
    touches("touchEnd")
    page.wait_for_function(ZOOMED, arg=before)

    touches("touchStart", (x, y))
    for moved in range(0, 200, 20):
        touches("touchMove", (x, y - moved))
    touches("touchEnd")
    page.wait_for_function(SCROLLED)

    cleaner = page.locator("[aria-label^='Use waifu2x CUNet 1×']")
    cleaner.click()
    visitor.wait_for("succeeded")
    with result_of(visitor, many_models) as result:
        assert result.size == (451, 300)


PIXELS = "() => document.querySelectorAll('.pane canvas')[3].toDataURL()"
ZOOMED = f"(before) => ({PIXELS})() !== before"
SCROLLED = "() => document.querySelector('.panes').scrollTop > 50"


def test_a_picture_by_url_is_compared_with_its_before(
    visit: Visit, service: RunningService, photos: Path
) -> None:
    """The service fetches it; its size is known before it is started, and what was there before when it is finished."""
    status, made = service.upscale((photos / "chelsea.png").read_bytes(), scale=2, model=QUICK)
    assert status == 200
    url = f"{service.url}{made['url']}"
    visitor = visit()
    page = visitor.page
    page.click("text=From a URL")
    expect(page.locator("input[type=url]")).to_be_focused()
    visitor.check_accessibility()
    page.fill("input[type=url]", url)
    page.keyboard.press("Enter")
    visitor.wait_for("ready")
    expect(page.locator(".row .facts")).to_contain_text("902 × 600")
    visitor.quick()
    page.select_option("#size", "2")
    visitor.start()
    visitor.wait_for("succeeded")
    with result_of(visitor, service) as result:
        assert result.size == (1804, 1200)

    expect(page.locator(".row .thumbnail")).to_be_visible()
    expect(page.locator(".stage")).to_have_attribute("data-mode", "curtain")
    with urlopen(url, timeout=60) as answer, Image.open(BytesIO(answer.read())) as before:
        check_before(visitor, before.convert("RGB"))

    page.reload()
    visitor.wait_for("succeeded")
    expect(page.locator(".row .thumbnail")).to_be_visible()
    expect(page.locator(".stage")).to_have_attribute("data-mode", "curtain")


def check_before(visitor: Visitor, before: Image.Image) -> None:
    """At one end of the curtain there is this picture alone, at the other one another."""
    page = visitor.page
    left, top, right, bottom = (round(value) for value in page.evaluate(PLACE))
    curtain = page.locator(".curtain-range")
    expect(curtain).to_have_value("500")  # it opens by itself
    scaled = before.resize((right - left, bottom - top), Image.Resampling.BILINEAR)
    wanted = np.asarray(scaled, dtype=float)
    curtain.fill("1000")
    visitor.wait_for_shown(lambda shown: np.abs(shown[top:bottom, left:right] - wanted).mean() < 6)
    side = visitor.shown()
    curtain.fill("0")
    visitor.wait_for_shown(lambda shown: np.abs(shown - side)[top:bottom, left:right].mean() > 0.5)


def test_a_result_that_no_browser_shows_is_shown_and_downloaded(
    visit: Visit, service: RunningService, photos: Path, tmp_path: Path
) -> None:
    """A TIFF of a TIFF: both sides are shown as previews, and the file is taken as it is."""
    scan = tmp_path / "scan.tif"
    with Image.open(photos / "chelsea.png") as cat:
        cat.save(scan)
        before = cat.convert("RGB")
    visitor = visit()
    page = visitor.page
    visitor.choose(scan)
    visitor.wait_for("ready")
    visitor.quick()
    page.select_option("#format", "tiff")
    visitor.start()
    visitor.wait_for("succeeded")
    expect(page.locator(".row .thumbnail")).to_be_visible()
    expect(page.locator(".stage")).to_have_attribute("data-mode", "curtain")
    check_before(visitor, before)
    left, top, right, bottom = (round(value) for value in page.evaluate(PLACE))
    with result_of(visitor, service) as result:
        assert (result.format, result.size) == ("TIFF", (1804, 1200))
        scaled = result.convert("RGB").resize((right - left, bottom - top), Image.Resampling.BOX)
    shown = visitor.shown()[top:bottom, left:right]
    assert np.abs(shown - np.asarray(scaled, dtype=float)).mean() < 6
    of_jobs = [url for url in visitor.requests if "/v1/jobs/job_" in url]
    asked = {url.rsplit("/", 1)[1] for url in of_jobs if "/result" in url}
    assert asked == {"result?max_side=2048"}
    expect(page.locator(".notice")).to_be_hidden()

    with page.expect_download() as download:
        page.click(".bar-buttons >> text=Download")
    assert download.value.suggested_filename == "scan-4x.tif"
    with Image.open(download.value.path()) as taken:
        assert (taken.format, taken.size) == ("TIFF", (1804, 1200))


def test_an_animation_is_seen_before_it_is_sent(
    visit: Visit, service: RunningService, photos: Path, tmp_path: Path
) -> None:
    """All its frames are made unless people want the first one; where the page did not see it, the refusal asks."""
    with Image.open(photos / "chelsea.png") as cat:
        frames = [cat.crop((8 * index, 40, 8 * index + 32, 64)) for index in range(3)]
    frames[0].save(tmp_path / "cat.gif", save_all=True, append_images=frames[1:], duration=90)
    visitor = visit()
    page = visitor.page
    visitor.choose(tmp_path / "cat.gif")
    visitor.quick()
    expect(page.locator(".row .facts")).to_contain_text("3 frames")
    expect(page.locator("#frames")).to_have_value("all")
    visitor.check_accessibility()
    visitor.start()
    visitor.wait_for("succeeded")
    with result_of(visitor, service) as result:
        assert getattr(result, "n_frames", 1) == 3

    page.route("**/workers/frames.js", lambda route: route.fulfill(body=NO_FRAMES, content_type=JS))
    page.reload()
    visitor.choose(tmp_path / "cat.gif")
    visitor.start()
    visitor.wait_for("failed")
    page.click(".bar-buttons >> text=First frame")
    visitor.wait_for("succeeded", 2)
    with result_of(visitor, service, 1) as result:
        assert getattr(result, "n_frames", 1) == 1


NO_FRAMES = "export const framesIn = () => 1;"
JS = "text/javascript"


def test_a_result_is_copied_and_opened(visit: Visit, photos: Path) -> None:
    """To the clipboard as PNG, whatever its format; into a tab of its own."""
    visitor = visit(permissions=["clipboard-read", "clipboard-write"])
    page = visitor.page
    visitor.choose(photos / "chelsea.png")
    visitor.quick()
    page.select_option("#format", "webp")
    page.select_option("#size", "2")
    visitor.start()
    visitor.wait_for("succeeded")
    page.click("[aria-label='Copy']")
    expect(page.locator(".notice")).to_have_text("Copied.")
    types = page.evaluate(
        "navigator.clipboard.read().then((items) => items.flatMap((item) => item.types))"
    )
    assert types == ["image/png"]
    with page.context.expect_page() as opened:
        page.click("[aria-label='Open in a new tab']")
    opened.value.wait_for_url("blob:**")
    assert opened.value.evaluate("document.images[0].naturalWidth") == 902


def test_a_result_that_no_browser_shows_is_copied_as_its_preview(
    visit: Visit, photos: Path
) -> None:
    """A TIFF cannot be decoded here, so what is copied is what is seen: the preview."""
    visitor = visit(permissions=["clipboard-read", "clipboard-write"])
    page = visitor.page
    visitor.choose(photos / "chelsea.png")
    visitor.quick()
    page.select_option("#format", "tiff")
    page.select_option("#size", "2")
    visitor.start()
    visitor.wait_for("succeeded")
    page.click("[aria-label='Copy']")
    expect(page.locator(".notice")).to_have_text("Copied.")
    copied = page.evaluate(
        """async () => {
          const [item] = await navigator.clipboard.read();
          const { width, height } = await createImageBitmap(await item.getType("image/png"));
          return [width, height];
        }"""
    )
    assert copied == [902, 600]


def test_a_region_is_drawn_by_mouse(visit: Visit, photos: Path) -> None:
    """A drag beside it draws another one, one inside moves it, one at its corner changes its size; Escape leaves."""
    visitor = visit()
    page = visitor.page
    visitor.choose(photos / "chelsea.png")
    visitor.wait_for("ready")
    visitor.open_region()
    region = page.locator(".region")

    def box() -> tuple[float, float, float, float]:
        found = region.bounding_box()
        assert found is not None
        return found["x"], found["y"], found["width"], found["height"]

    def drag(x: float, y: float, dx: float, dy: float) -> None:
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + dx, y + dy, steps=4)
        page.mouse.up()

    x, y, _, _ = box()
    drag(x - 150, y - 100, 120, 180)
    drawn = box()
    assert (drawn[0], drawn[3]) == pytest.approx((x - 150, 180), abs=8)
    drag(drawn[0] + 20, drawn[1] + 20, 90, -30)
    moved = box()
    assert abs(moved[0] - drawn[0] - 90) < 8
    assert moved[2:] == pytest.approx(drawn[2:], abs=8)
    drag(moved[0] + moved[2], moved[1] + moved[3], 70, 0)
    assert abs(box()[2] - moved[2] - 70) < 12
    page.keyboard.press("Escape")
    expect(region).to_have_count(0)
    expect(page.locator(".tools")).to_be_visible()
