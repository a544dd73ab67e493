"""Many pictures: folders, bad files, cancelling, zip, and what a tab remembers."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Request, expect
from running import RunningService
from support.paused import paused_servers

from page.conftest import SETTINGS
from page.visitor import Visitor

pytestmark = pytest.mark.browser

Visit = Callable[..., Visitor]


@pytest.fixture
def folder(tmp_path: Path, photos: Path) -> Path:
    """Fifty files, of which three are no pictures."""
    folder = tmp_path / "holiday"
    folder.mkdir()
    with Image.open(photos / "chelsea.png") as cat:
        for index in range(47):
            part = cat.crop((index * 4, index * 3, index * 4 + 24, index * 3 + 20))
            part.save(folder / f"{index:02}.png")
    (folder / "47.png").write_bytes((folder / "00.png").read_bytes()[:90])
    (folder / "48.jpg").write_bytes(
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>"
    )
    (folder / "49.txt").write_text("no picture")
    (folder / ".DS_Store").write_bytes(b"\0")
    return folder


def test_a_folder_with_bad_files_is_made_and_zipped(
    visit: Visit, folder: Path, tmp_path: Path
) -> None:
    """Each bad file says so beside itself; all others are made, and come in one file."""
    visitor = visit()
    page = visitor.page
    visitor.choose_folder(folder)
    visitor.wait_for("refused", 2)
    visitor.wait_for("ready", 48)  # a browser shows the beginning of a file that is cut short
    visitor.quick()
    expect(page.locator(".start")).to_contain_text("48")
    visitor.start()
    visitor.wait_for("succeeded", 47)
    texts = page.locator(".row[data-bad] .status").all_text_contents()
    assert len(texts) == 3
    assert all(len(text) > 10 for text in texts)
    visitor.check_accessibility()
    with page.expect_download() as download:
        page.click("text=All as ZIP")
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        with archive.open(names[5]) as file, Image.open(file) as result:
            assert result.size == (96, 80)
    assert len(set(names)) == 47


def test_cancelled_pictures_stop(visit: Visit, service: RunningService, photos: Path) -> None:
    """A job that runs, and one that waits."""
    visitor = visit()
    page = visitor.page
    visitor.choose(photos / "astronaut.png")
    visitor.wait_for("ready")
    with paused_servers(service):
        visitor.start()
        visitor.wait_for("running")
        page.click(".bar-buttons >> text=Cancel")
        visitor.wait_for("canceled")
    expect(page.locator(".row .status")).to_have_text("Cancelled")


@pytest.mark.parametrize("delay", [30, 150])
def test_a_double_click_starts_once_and_cancels_nothing(
    visit: Visit, service: RunningService, photos: Path, delay: int
) -> None:
    """What comes under the pointer after the first click is not pressed by the second one."""
    visitor = visit()
    page = visitor.page
    visitor.choose(photos / "astronaut.png")
    visitor.wait_for_estimate()
    box = page.locator(".start").bounding_box()
    assert box is not None
    place = (box["x"] + box["width"] - 40, box["y"] + box["height"] / 2)
    with paused_servers(service):
        page.mouse.dblclick(*place, delay=delay)
        visitor.wait_for("running")
        page.wait_for_timeout(600)
        visitor.wait_for("running")
        page.mouse.click(*place)
        visitor.wait_for("canceled")


def test_what_is_taken_off_the_list_can_be_put_back(
    visit: Visit, service: RunningService, folder: Path
) -> None:
    """All at once or one, to where it was, with its file; what is being made stays."""
    visitor = visit()
    page = visitor.page
    visitor.choose(*sorted(folder.glob("0[0-3].png")))
    visitor.wait_for("ready", 4)
    names = page.locator(".row .name").all_text_contents()
    page.click("[aria-label='Clear the list']")
    expect(page.locator(".row")).to_have_count(0)
    expect(page.locator(".notice")).to_contain_text("4 pictures were taken off the list.")
    visitor.check_accessibility()
    page.click("text=Undo")
    expect(page.locator(".row .name")).to_have_text(names)
    expect(page.locator(".notice")).to_be_hidden()
    page.click("[aria-label='Remove 01.png']")
    expect(page.locator(".row")).to_have_count(3)
    page.keyboard.press("Control+z")
    expect(page.locator(".row .name")).to_have_text(names)
    visitor.quick()
    with paused_servers(service):
        visitor.start()
        page.click("[aria-label='Clear the list']")
        expect(page.locator(".notice")).to_contain_text("Cancel them first")
        expect(page.locator(".row")).to_have_count(4)
    visitor.wait_for("succeeded", 4)


TWICE_IN_A_FRAME = """() => {
  for (const _ of [1, 2])
    document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: "Delete", bubbles: true }));
}"""


def test_the_list_is_used_by_keyboard(visit: Visit, folder: Path) -> None:
    """One tab stop; arrows move in it, the viewer's keys work in it, and a removed row gives the focus to the next one."""
    visitor = visit()
    page = visitor.page
    visitor.choose(*sorted(folder.glob("0[0-3].png")))
    visitor.wait_for("ready", 4)

    def focused_name() -> str:
        """The name in the row that has the focus."""
        return str(
            page.evaluate(
                "document.activeElement.closest('.row')?.querySelector('.name')?.textContent"
            )
        )

    assert page.locator(".rows [tabindex='0']").count() == 1
    page.locator(".choose[aria-current]").focus()
    page.keyboard.press("ArrowDown")
    assert focused_name() == "01.png"
    expect(page.locator(".choose[aria-current]")).to_contain_text("01.png")
    visitor.wait_for_estimate()
    page.keyboard.press("1")
    expect(page.locator(".percent")).to_have_text("100%")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator(".row")).to_have_count(3)
    visitor.wait_until(lambda: focused_name() == "02.png")
    page.keyboard.press("Delete")
    visitor.wait_until(lambda: focused_name() == "03.png")
    page.keyboard.press("Delete")
    visitor.wait_until(lambda: focused_name() == "00.png")
    # Keys that come before the next frame find a row whose picture is gone.
    page.evaluate(TWICE_IN_A_FRAME)
    expect(page.locator(".hero .primary")).to_be_focused()
    page.keyboard.press("Control+z")
    expect(page.locator(".row")).to_have_count(1)
    page.keyboard.press("?")
    expect(page.locator(".shortcuts")).to_be_visible()
    visitor.check_accessibility()
    page.keyboard.press("Escape")
    page.locator(".choose").focus()
    page.keyboard.press("Delete")
    expect(page.locator(".hero .primary")).to_be_focused()


def test_a_duplicated_tab_leaves_the_files_of_the_first_one(visit: Visit, photos: Path) -> None:
    """Removing a picture in one tab deletes its file only once no other tab has it."""
    visitor = visit()
    page = visitor.page
    visitor.choose(photos / "chelsea.png")
    visitor.wait_for("ready")
    visitor.wait_until(lambda: page.evaluate(FILES) == 1)
    visitor.wait_until(lambda: bool(visitor.store("pictures")))
    kept = page.evaluate("sessionStorage.getItem('enlarger.pictures')")
    copy = Visitor(page.context.new_page(), visitor.url, is_opened=False)
    copy.page.add_init_script(f"sessionStorage['enlarger.pictures'] ??= {json.dumps(kept)}")
    copy.open()
    copy.wait_for("ready")
    copy.page.click("[aria-label='Remove chelsea.png']")
    copy.page.wait_for_timeout(DROPPED_MS)
    assert page.evaluate(FILES) == 1
    page.reload()
    visitor.quick()
    page.select_option("#size", "2")
    visitor.start()
    visitor.wait_for("succeeded")
    page.click("[aria-label='Remove chelsea.png']")
    page.wait_for_timeout(DROPPED_MS)
    assert page.evaluate(FILES) == 0


DROPPED_MS = 14_000
"""After this, a file is gone: the removal cannot be undone any longer, and no other tab has answered."""

FILES = """() => new Promise((resolve, reject) => {
  const opening = indexedDB.open("enlarger");
  opening.onerror = reject;
  opening.onsuccess = () => {
    const counting = opening.result.transaction("files").objectStore("files").count();
    counting.onsuccess = () => {
      opening.result.close();
      resolve(counting.result);
    };
  };
})"""


def test_a_reload_in_the_middle_loses_nothing(
    visit: Visit, service: RunningService, photos: Path
) -> None:
    """The picture, its tiles and its place in the list are there again, and so is its result after another reload."""
    visitor = visit()
    page = visitor.page
    visitor.choose(photos / "astronaut.png")
    visitor.quick()
    with paused_servers(service):
        visitor.start()
        visitor.wait_for("running")
        page.reload()
        expect(page.locator(".row .name")).to_have_text("astronaut.png")
        visitor.wait_for("running")
    visitor.wait_for("succeeded")
    page.reload()
    visitor.wait_for("succeeded")
    expect(page.locator(".stage")).to_have_attribute("data-mode", "curtain")
    page.click("text=Again with")
    visitor.wait_for("ready")
    expect(page.locator(".start")).to_contain_text("2048 × 2048")


def test_a_file_of_too_many_bytes_is_not_sent(visit: Visit, photos: Path, tmp_path: Path) -> None:
    """It says so beside itself at once, and does not count."""
    large = tmp_path / "large.png"
    too_many = int(SETTINGS["MAX_FILE_SIZE"]) + 1
    large.write_bytes((photos / "chelsea.png").read_bytes().ljust(too_many, b"\0"))
    visitor = visit()
    page = visitor.page
    visitor.choose(large, photos / "chelsea.png")
    visitor.wait_for("refused")
    visitor.wait_for("ready")
    expect(page.locator(".row[data-bad] .status")).to_have_text(
        "Image too large: 20,000,001 bytes (max: 20,000,000)"
    )
    visitor.quick()
    expect(page.locator(".start")).to_contain_text("1804 × 1200")
    visitor.check_accessibility()


def test_a_size_that_is_no_number_is_not_replaced_by_another(visit: Visit, photos: Path) -> None:
    """The button says what is missing, and nothing can be sent until it is there."""
    visitor = visit()
    page = visitor.page
    visitor.choose(photos / "chelsea.png")
    visitor.wait_for("ready")
    visitor.quick()
    number, start = page.locator(".size-number"), page.locator(".start")
    page.select_option("#size", "scale")
    for wrong in ("", "0", "-1"):
        number.fill(wrong)
        expect(number).to_have_attribute("aria-invalid", "true")
        expect(start).to_be_disabled()
        expect(start).to_contain_text("above 0")
    visitor.check_accessibility()
    number.fill("3")
    expect(start).to_be_enabled()
    expect(start).to_contain_text("1353 × 900")
    expect(number).not_to_have_attribute("aria-invalid", "true")
    page.select_option("#size", "height")
    number.fill("450")
    expect(start).to_be_enabled()
    number.fill("")
    expect(start).to_be_disabled()
    page.reload()
    expect(start).to_contain_text("× 450")


def test_jobs_of_a_tab_share_one_stream_also_after_a_reload(
    visit: Visit, service: RunningService, photos: Path, tmp_path: Path
) -> None:
    """Four pictures run and wait beside one another; each is told to its end, and nothing is asked again and again."""
    names = ["astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg"]
    for name in names:
        # A picture that another test has had upscaled would be ready at once.
        with Image.open(photos / name) as photo:
            photo.crop((0, 0, photo.width - 1, photo.height)).save(tmp_path / name)
    visitor = visit()
    page = visitor.page
    open_streams: list[Request] = []

    def begin(request: Request) -> None:
        if "/events" in request.url:
            open_streams.append(request)

    def end(request: Request) -> None:
        if request in open_streams:
            open_streams.remove(request)

    page.on("request", begin)
    page.on("requestfinished", end)
    page.on("requestfailed", end)
    visitor.choose(*(tmp_path / name for name in names))
    visitor.wait_for("ready", len(names))
    page.select_option("#size", "2")
    visitor.quick()

    def all_in_one() -> bool:
        return [request.url.count("job_") for request in open_streams] == [len(names)]

    with paused_servers(service):
        visitor.start()
        moving = page.locator(".row[data-phase='queued'], .row[data-phase='running']")
        expect(moving).to_have_count(4)
        expect(page.locator(".row .status", has_text="tiles").first).to_be_visible()
        # The stream of the first three gives way to that of all four.
        visitor.wait_until(all_in_one)
        assert "/v1/events?jobs=" in open_streams[0].url
        assert page.locator(".row[data-phase='succeeded']").count() == 0

        page.reload()
        expect(page.locator(".row .status", has_text="tiles").first).to_be_visible()
        visitor.wait_until(all_in_one)
    visitor.wait_for("succeeded", len(names))
    assert not [url for url in visitor.requests if url.endswith("/events")]
    asked = [url for url in visitor.requests if "/v1/jobs/job_" in url and url.count("/") == 5]
    assert len(asked) <= len(names)
    expect(page.locator(".row .thumbnail:visible")).to_have_count(len(names))


@pytest.mark.parametrize(
    "name", ["<img src=x onerror=alert(1)>.png", '"><svg onload=alert(1)>.png']
)
def test_names_are_text(visit: Visit, photos: Path, name: str) -> None:
    """A hostile name is shown as it is, and makes no element."""
    visitor = visit()
    page = visitor.page
    visitor.page.set_input_files(
        "input[type=file][multiple]",
        {"name": name, "mimeType": "image/png", "buffer": (photos / "chelsea.png").read_bytes()},
    )
    visitor.wait_for("ready")
    expect(page.locator(".row .name")).to_have_text(name)
    assert page.locator(".row img, .row .name svg").count() == 0
    assert page.locator(".row .thumbnail").count() == 1


def test_three_uploads_at_once(visit: Visit, folder: Path) -> None:
    """However many pictures there are."""
    visitor = visit()
    page = visitor.page
    sending: set[str] = set()
    most = 0

    def begin(request: Request) -> None:
        nonlocal most
        if request.method == "POST" and request.url.endswith("/v1/jobs"):
            sending.add(request.headers["idempotency-key"])
            most = max(most, len(sending))

    def end(request: Request) -> None:
        if request.method == "POST" and request.url.endswith("/v1/jobs"):
            sending.discard(request.headers["idempotency-key"])

    page.on("request", begin)
    page.on("requestfinished", end)
    visitor.choose(*sorted(folder.glob("*.png"))[:20])
    visitor.quick()
    visitor.start()
    visitor.wait_for("succeeded", 20)
    assert most == 3


def test_texts_of_the_service_are_text(visit: Visit, photos: Path) -> None:
    """A model's title and an error are shown as they are."""
    hostile = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    visitor = visit()
    page = visitor.page
    models = page.request.get(f"{visitor.url}v1/models").json()
    models["models"][0] |= {"id": "own", "title": hostile}
    page.route("**/v1/models", lambda route: route.fulfill(json=models))
    problem = {"status": 422, "code": "invalid_option", "detail": hostile}
    page.route(
        "**/v1/estimate", lambda route: route.fulfill(json={"accepted": False, "problem": problem})
    )
    page.reload()
    visitor.choose(photos / "chelsea.png")
    visitor.wait_for("ready")
    expect(page.locator("#model option[value=own]")).to_have_text(f"own: {hostile}")
    expect(page.locator(".row .status")).to_have_text(hostile)
    expect(page.locator(".bar-text")).to_have_text(hostile)
    expect(page.locator(".start")).to_be_disabled()
    assert page.locator("script").count() == 1
    assert page.locator("img").count() == 1


def test_a_result_ends_with_its_time(visit: Visit, photos: Path, tmp_path: Path) -> None:
    """The row says so; the picture can be made again."""
    settings = {**SETTINGS, "NUM_SERVERS": "1", "FILE_MAX_AGE": "8"}
    with RunningService(tmp_path, settings) as service:
        visitor = visit(f"{service.url}/")
        visitor.choose(photos / "chelsea.png")
        visitor.quick()
        visitor.start()
        visitor.wait_for("succeeded")
        visitor.wait_for("expired")
        visitor.page.click("text=Again with")
        visitor.wait_for("ready")
