"""Many pictures: folders, bad files, cancelling, zip, and what a tab remembers."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Request, expect
from running import RunningService

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


def test_cancelled_pictures_stop(visit: Visit, photos: Path) -> None:
    """A job that runs, and one that waits."""
    visitor = visit()
    page = visitor.page
    visitor.choose(photos / "astronaut.png")
    visitor.wait_for("ready")
    visitor.start()
    visitor.wait_for("running")
    page.click(".bar-buttons >> text=Cancel")
    visitor.wait_for("canceled")
    expect(page.locator(".row .status")).to_have_text("Cancelled")


def test_a_reload_in_the_middle_loses_nothing(visit: Visit, photos: Path) -> None:
    """The picture, its tiles and its place in the list are there again, and so is its result after another reload."""
    visitor = visit()
    page = visitor.page
    visitor.choose(photos / "astronaut.png")
    visitor.quick()
    visitor.start()
    visitor.wait_for("running")
    page.wait_for_timeout(600)
    page.reload()
    expect(page.locator(".row .name")).to_have_text("astronaut.png")
    visitor.wait_for("succeeded")
    page.reload()
    visitor.wait_for("succeeded")
    expect(page.locator(".stage")).to_have_attribute("data-mode", "curtain")
    page.click("text=Again with")
    visitor.wait_for("ready")
    expect(page.locator(".start")).to_contain_text("2048 × 2048")


def test_jobs_of_a_tab_share_one_stream_also_after_a_reload(visit: Visit, photos: Path) -> None:
    """Four pictures run and wait beside one another; each is told to its end, and nothing is asked again and again."""
    names = ["astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg"]
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
    visitor.choose(*(photos / name for name in names))
    visitor.wait_for("ready", len(names))
    page.select_option("#size", "2")
    visitor.quick()
    visitor.start()
    expect(page.locator(".row[data-phase='queued'], .row[data-phase='running']")).to_have_count(4)
    expect(page.locator(".row .status", has_text="tiles").first).to_be_visible()
    page.wait_for_timeout(500)  # the stream of the first three gives way to that of all four
    (stream,) = open_streams
    assert "/v1/events?jobs=" in stream.url
    assert stream.url.count("job_") == len(names)
    assert page.locator(".row[data-phase='succeeded']").count() == 0

    page.reload()
    expect(page.locator(".row .status", has_text="tiles").first).to_be_visible()
    page.wait_for_timeout(500)
    assert len(open_streams) == 1
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
