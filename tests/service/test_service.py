"""The service as its users meet it: real processes, real sockets, real weights.

Five model servers on free ports. Slow parts use animevideov3, which is about 30 times cheaper than x4plus.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from running import RunningService
from support.fakes import nearest
from support.pictures import encoded, noise, png_chunk
from support.real_services import (
    BEST,
    QUICK,
    SERVERS,
    alive,
    logged,
    server_entries,
    until,
    working,
)

from enlarger.geometry.rect import Pixels

MAX_FILE_SIZE_BYTES = 7_340_032
CLOSING = b"IEND"


@pytest.fixture(scope="module")
def service(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    """Five model servers, which may fetch from this machine."""
    settings = environment | {"NUM_SERVERS": str(SERVERS), "ENLARGER_FETCH": "127.0.0.1"}
    with RunningService(tmp_path_factory.mktemp("service"), settings) as service:
        yield service


@pytest.fixture
def alone(environment: dict[str, str], tmp_path: Path) -> RunningService:
    """One model server, not started yet: for tests that end it."""
    return RunningService(tmp_path, environment | {"NUM_SERVERS": "1"})


def by_command_line(
    picture: bytes, folder: Path, environment: dict[str, str], *, model: str, scale: int = 4
) -> bytes:
    """What ``enlarger upscale`` makes of a picture."""
    source, target = folder / "in.png", folder / "out.png"
    source.write_bytes(picture)
    command = [sys.executable, "-m", "enlarger", "upscale", str(source), str(target)]
    subprocess.run(
        [*command, "--model", model, "--scale", str(scale)],
        check=True,
        env={**os.environ, **environment},
        capture_output=True,
    )
    return target.read_bytes()


def pixels_of(answer: dict[str, Any]) -> Pixels:
    """The picture in an answer."""
    with Image.open(BytesIO(base64.b64decode(answer["base64"]))) as image:
        return np.asarray(image)


def server_starts(service: RunningService) -> list[tuple[int, int]]:
    """Number and process id of each start of a model server, from the log."""
    return [
        (int(event["server"].removeprefix("server-")), event["pid"])
        for event in logged(service)
        if event["event"] == "server_started"
    ]


def server_pids(service: RunningService) -> dict[int, int]:
    """The newest process of each model server."""
    return dict(server_starts(service))


def test_one_picture_is_the_same_four_ways(
    service: RunningService, environment: dict[str, str], photo: Pixels, tmp_path: Path
) -> None:
    """Command line, base64, file and URL hold the same bytes."""
    picture = encoded(photo[100:356, 120:376])
    status, answer = service.upscale(picture, scale=4, model=QUICK)
    assert status == 200
    in_answer = base64.b64decode(answer["base64"])
    assert in_answer == by_command_line(picture, tmp_path, environment, model=QUICK)
    assert in_answer == (service.folder / answer["file_path"]).read_bytes()
    with urllib.request.urlopen(service.url + answer["url"]) as response:
        assert in_answer == response.read()
    assert answer["original_size"] == {"width": 256, "height": 256, "bytes": len(picture)}
    assert answer["upscaled_size"] == {"width": 1024, "height": 1024, "scale": 4}


def test_all_servers_compute_tiles_of_one_picture(service: RunningService, photo: Pixels) -> None:
    """A picture of at least as many tiles as there are servers gives each of them one, once each has the model.

    A quick server may be free again before the last tile is cut, so that it gets two. That does not happen each time.
    """
    # Tiles go to servers that have the network in memory. Others load it when more waits than is done while they load.
    until(lambda: all(entry["state"] == "ready" for entry in server_entries(service)))
    large = encoded(np.tile(photo, (2, 2, 1)))
    while not all(entry["tiles_done"] for entry in server_entries(service)):
        assert service.upscale(large, scale=4, model=QUICK, inline=False)[0] == 200

    def is_spread() -> bool:
        """Upscale a picture once more; return whether all servers had a tile, as they say themselves."""
        before = [entry["tiles_done"] for entry in server_entries(service)]
        status, answer = service.upscale(encoded(photo), scale=4, model=QUICK, inline=False)
        assert status == 200
        assert answer["tiles"]["total"] >= SERVERS
        after = [entry["tiles_done"] for entry in server_entries(service)]
        had_one = [now > then for now, then in zip(after, before, strict=True)]
        assert sum(had_one) == answer["tiles"]["servers"]
        return all(had_one)

    assert any(is_spread() for _ in range(5))


def test_servers_stand_behind_the_gateway(service: RunningService) -> None:
    """They are nicer by 5; and in the gateway's session, else Linux would not compare them."""
    gateway = service.process.pid
    usual = os.getpriority(os.PRIO_PROCESS, gateway)
    for pid in server_pids(service).values():
        assert os.getpriority(os.PRIO_PROCESS, pid) == min(usual + 5, 19)
        assert os.getsid(pid) == os.getsid(gateway)
        assert os.getpgid(pid) == pid  # a Ctrl-C does not reach it


@pytest.mark.parametrize("number", range(SERVERS))
def test_picture_survives_the_end_of_any_server(
    service: RunningService, photo: Pixels, number: int
) -> None:
    """After ``kill -9`` of a server with a tile in hand the picture is complete and identical, and it comes back."""
    picture = encoded(photo)
    _, undisturbed = service.upscale(picture, scale=4, model=QUICK)
    until(lambda: all(entry["state"] == "ready" for entry in server_entries(service)))
    pid = server_pids(service)[number]
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(service.upscale, picture, scale=4, model=QUICK)
        until(lambda: server_entries(service)[number]["tiles_in_flight"] > 0)
        os.kill(pid, signal.SIGKILL)
        status, answer = asked.result()
    assert status == 200
    assert answer["tiles"]["retried"] >= 1
    assert answer["base64"] == undisturbed["base64"]
    until(lambda: server_pids(service)[number] != pid)
    until(lambda: server_entries(service)[number]["state"] == "ready")


def test_picture_survives_a_server_that_hangs(service: RunningService, photo: Pixels) -> None:
    """Stopped with a tile in hand, it answers nothing; its tiles go elsewhere in time, and it is replaced."""
    picture = encoded(photo)
    _, undisturbed = service.upscale(picture, scale=4, model=QUICK)
    until(lambda: all(entry["state"] == "ready" for entry in server_entries(service)))
    pid = server_pids(service)[0]
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(service.upscale, picture, scale=4, model=QUICK)
        until(lambda: server_entries(service)[0]["tiles_in_flight"] > 0)
        os.kill(pid, signal.SIGSTOP)
        status, answer = asked.result()
    assert (status, answer["base64"]) == (200, undisturbed["base64"])
    assert answer["tiles"]["retried"] >= 1
    until(lambda: server_pids(service)[0] != pid)
    until(lambda: not alive(pid))
    until(lambda: server_entries(service)[0]["state"] == "ready")


def test_worn_servers_are_replaced_under_load(
    environment: dict[str, str], photo: Pixels, tmp_path: Path
) -> None:
    """After four tiles each, while pictures are made: none fails, and all are the same."""
    picture = encoded(photo[:256, :256])
    settings = environment | {"NUM_SERVERS": "2", "ENLARGER_SERVER_TILES": "4"}
    with RunningService(tmp_path, settings) as service, ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(service.upscale, picture, scale=2, model=QUICK) for _ in range(16)]
        answers = [one.result() for one in asked]
        assert {status for status, _ in answers} == {200}
        assert len({answer["base64"] for _, answer in answers}) == 1
        # A machine that is suddenly much slower may have a tile computed twice. A replacement may not.
        lost = [line["reason"] for line in logged(service) if line["event"] == "tile_failed"]
        assert [reason for reason in lost if "did not answer within" not in reason] == []
        until(lambda: len(server_starts(service)) >= 4)


def test_request_waits_while_all_servers_restart(service: RunningService) -> None:
    """With no server left for the moment, a request is answered once one is back."""
    pids = server_pids(service)
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
    samples = noise(20, 30, 3)
    status, answer = service.upscale(encoded(samples), scale=4, model="nearest")
    assert status == 200
    assert np.array_equal(pixels_of(answer), nearest(samples, 4))
    until(lambda: all(entry["state"] == "ready" for entry in server_entries(service)))


def test_requests_at_once_equal_the_command_line(
    service: RunningService, environment: dict[str, str], photo: Pixels, tmp_path: Path
) -> None:
    """Eight different pictures at the same time: each answer is what the command line makes of that picture."""
    pictures = [
        encoded(photo[40 * number : 40 * number + 90 + number, 50:150]) for number in range(8)
    ]
    with ThreadPoolExecutor(8) as threads:
        answers = list(
            threads.map(lambda picture: service.upscale(picture, scale=4, model=QUICK)[1], pictures)
        )
    folders = [tmp_path / str(number) for number in range(8)]
    for folder in folders:
        folder.mkdir()
    with ThreadPoolExecutor(2) as threads:
        expected = list(
            threads.map(
                lambda picture, folder: by_command_line(picture, folder, environment, model=QUICK),
                pictures,
                folders,
            )
        )
    assert [base64.b64decode(answer["base64"]) for answer in answers] == expected


def test_two_hundred_requests_get_their_own_pictures(service: RunningService) -> None:
    """Every answer belongs to its input, under a name of its own, in a file that is whole."""
    inputs = [noise(6 + number % 5, 4 + number % 7, 3, seed=number) for number in range(200)]

    def ask(samples: Pixels) -> tuple[int, dict[str, Any]]:
        return service.upscale(encoded(samples), scale=4, model="nearest")

    with ThreadPoolExecutor(200) as threads:
        answers = list(threads.map(ask, inputs))
    assert [status for status, _ in answers] == [200] * 200
    assert len({answer["file_path"] for _, answer in answers}) == 200
    for samples, (_, answer) in zip(inputs, answers, strict=True):
        assert np.array_equal(pixels_of(answer), nearest(samples, 4))
        file = (service.folder / answer["file_path"]).read_bytes()
        assert file == base64.b64decode(answer["base64"])


@pytest.mark.parametrize("model", [QUICK, BEST])
@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255)])
def test_colours_stay(service: RunningService, model: str, colour: tuple[int, ...]) -> None:
    """Red stays red, green green, and blue blue."""
    _, answer = service.upscale(
        encoded(np.full((16, 16, 3), colour, np.uint8)), scale=2, model=model
    )
    found = pixels_of(answer).astype(int)
    assert found.shape == (32, 32, 3)
    assert np.abs(found - colour).mean() < 12


def test_alpha_and_gray_stay(service: RunningService, photo: Pixels) -> None:
    """RGBA gives RGBA with both enlarged; gray gives gray."""
    colour = photo[:40, :50]
    ramp = np.linspace(1, 255, 50).astype(np.uint8) + np.zeros((40, 1), np.uint8)
    _, answer = service.upscale(encoded(np.dstack([colour, ramp])), scale=4, model=QUICK)
    found = pixels_of(answer)
    assert found.shape == (160, 200, 4)
    assert np.abs(found[::4, ::4, 3].astype(int) - ramp).mean() < 6
    _, opaque = service.upscale(encoded(colour), scale=4, model=QUICK)
    assert np.array_equal(found[:, :, :3], pixels_of(opaque))
    _, gray = service.upscale(encoded(colour[:, :, 1]), scale=4, model=QUICK)
    assert pixels_of(gray).shape == (160, 200)


class Source(BaseHTTPRequestHandler):
    """Serves ``/picture``; anything else is not there."""

    picture = encoded(noise(9, 7, 3))

    def do_GET(self) -> None:
        """One request."""
        found = self.path == "/picture"
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(self.picture if found else b"no")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def test_animation_moves_through_the_servers(
    service: RunningService, photo: Pixels, environment: dict[str, str], tmp_path: Path
) -> None:
    """All frames with their times, those that are equal computed once, and equal to the command line's."""
    still = photo[:60, :80]
    moved = still.copy()
    moved[10:20, 10:20] = 255
    frames = [Image.fromarray(frame) for frame in (still, moved, still)]
    file = BytesIO()
    frames[0].save(file, "png", save_all=True, append_images=frames[1:], duration=[40, 30, 500])
    status, answer = service.upscale(
        file.getvalue(), scale=4, model=QUICK, frames="all", metadata="keep"
    )
    assert status == 200, answer
    made = base64.b64decode(answer["base64"])
    assert "animation" in answer["kept"]
    with Image.open(BytesIO(made)) as image:
        shown = []
        for number in range(3):
            image.seek(number)
            shown.append((image.info["duration"], np.asarray(image.convert("RGB"))))
    assert [duration for duration, _ in shown] == [40, 30, 500]
    assert np.array_equal(shown[0][1], shown[2][1])
    assert not np.array_equal(shown[0][1], shown[1][1])
    status, one = service.upscale(encoded(still), scale=4, model=QUICK)
    assert status == 200, one
    assert np.array_equal(shown[0][1], pixels_of(one))
    assert answer["tiles"]["total"] == 2 * one["tiles"]["total"]
    assert made == by_command_line(file.getvalue(), tmp_path, environment, model=QUICK)


@pytest.fixture
def source_url() -> Iterator[str]:
    """A source of pictures on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Source) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_picture_behind_a_url_is_enlarged(service: RunningService, source_url: str) -> None:
    """``img_url`` in a POST and in a GET gives the picture behind it."""
    with Image.open(BytesIO(Source.picture)) as image:
        expected = nearest(np.asarray(image), 4)
    fields = {"img_url": f"{source_url}/picture", "scale": 4, "model": "nearest"}
    assert np.array_equal(pixels_of(service.post("/upscale", fields)[1]), expected)
    query = f"/upscale?img_url={source_url}/picture&scale=4&model=nearest"
    assert np.array_equal(pixels_of(service.get(query)[1]), expected)
    status, answer = service.post("/upscale", fields | {"img_url": f"{source_url}/none"})
    assert (status, answer["code"]) == (400, "source_refused")
    assert answer["error"] == "Failed to download image: HTTP 404: Failed to download image"


def test_client_that_hangs_up_frees_its_work(service: RunningService, photo: Pixels) -> None:
    """Tiles that wait are dropped; what is being computed ends, and nothing follows."""
    large = np.tile(photo, (2, 4, 1))
    body = json.dumps(
        {"image_b64": base64.b64encode(encoded(large, "JPEG")).decode(), "model": QUICK}
    )
    host, port = service.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port))
    connection.request("POST", "/upscale", body, {"Content-Type": "application/json"})
    until(lambda: working(service))
    done_before = sum(entry["tiles_done"] for entry in server_entries(service))
    connection.close()
    until(lambda: service.get("/status")[1]["queue"]["requests"] == 0)
    until(lambda: not working(service))
    done = sum(entry["tiles_done"] for entry in server_entries(service)) - done_before
    assert done <= 2 * SERVERS  # of 27


def padded(picture: bytes, size_bytes: int) -> bytes:
    """A PNG with a private chunk that brings it to exactly that size."""
    at = picture.rindex(CLOSING) - 4
    chunk = png_chunk(b"prVt", bytes(size_bytes - len(picture) - 12))
    return picture[:at] + chunk + picture[at:]


def test_largest_picture_works_at_4x(service: RunningService, photo: Pixels) -> None:
    """2048 x 2048 in exactly the allowed bytes gives 8192 x 8192; a byte or a pixel more is refused."""
    enlarged = Image.fromarray(photo).resize((2048, 2048), Image.Resampling.BICUBIC)
    picture = padded(encoded(enlarged), MAX_FILE_SIZE_BYTES)
    assert len(picture) == MAX_FILE_SIZE_BYTES
    # Every pixel of this network's result is known. `make chaos` uses real networks at that size.
    status, answer = service.upscale(picture, scale=4, model="nearest", inline=False)
    assert status == 200
    assert answer["upscaled_size"] == {"width": 8192, "height": 8192, "scale": 4}
    with Image.open(service.folder / answer["file_path"]) as image:
        assert np.array_equal(np.asarray(image), nearest(np.asarray(enlarged), 4))

    status, answer = service.upscale(
        padded(encoded(enlarged), MAX_FILE_SIZE_BYTES + 1), scale=4, model=QUICK
    )
    assert (status, answer["code"]) == (400, "file_too_large")
    assert (answer["limit"], answer["actual"]) == (MAX_FILE_SIZE_BYTES, MAX_FILE_SIZE_BYTES + 1)

    status, answer = service.upscale(encoded(np.zeros((1, 2049, 3), np.uint8)), model=QUICK)
    assert status == 400
    assert answer["error"] == "Invalid image: Image dimensions too large: 2049x1 (max: 2048)"


def test_request_id_goes_from_the_edge_to_the_tile(service: RunningService) -> None:
    """The caller's id stands in the answer and in the log of the model server."""
    request = urllib.request.Request(
        f"{service.url}/upscale",
        json.dumps(
            {"image_b64": base64.b64encode(encoded(noise(5, 5, 3))).decode(), "model": "nearest"}
        ).encode(),
        {"Content-Type": "application/json", "X-Request-Id": "from-the-edge.1"},
    )
    with urllib.request.urlopen(request) as response:
        assert response.headers["X-Request-Id"] == "from-the-edge.1"
        assert json.load(response)["request_id"] == "from-the-edge.1"
    tiles = [
        json.loads(line)
        for line in service.log.read_text().splitlines()
        if '"tile_done"' in line and '"from-the-edge.1"' in line
    ]
    assert [(tile["tile"], tile["model"]) for tile in tiles] == [("1/1", "nearest")]


def test_loopback_is_refused_by_default(alone: RunningService, source_url: str) -> None:
    """Nobody can make the service look into the machine it runs on."""
    with alone as service:
        status, answer = service.post("/upscale", {"img_url": f"{source_url}/picture"})
    assert (status, answer["code"]) == (400, "source_unreachable")
    assert answer["error"] == "Failed to download image: could not reach the source"
