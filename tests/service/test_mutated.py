"""Hostile bytes through the whole service: files that once broke decoders, and thousands of damaged pictures.

What each gets is a picture or a clear refusal, soon, in bounded memory, and it costs the other requests nothing.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from running import RunningService
from support.mutants import mutant, originals
from support.pictures import encoded, noise

from enlarger.picture.values import FORMATS

QUICK = "realesr-animevideov3"

MUTANTS = 2200
"""Forty of each original."""

CLIENTS = 6
KNOWN_EVERY = 40
"""So many strangers' files between two known pictures."""

LATEST_S = 10
LATEST_S_PER_MP = 60
"""Besides, for a good picture: what computing takes on a machine that is busy with something else."""

MOST_MIB = {"gateway": 500, "decoder": 300}
"""About twice of what was seen."""
MAX_SIDE_PX = 640
"""As an operator may set it. All good pictures below fit, and no header that lies makes minutes of work."""

WISHES: tuple[dict[str, Any], ...] = (
    {},
    {"metadata": "keep", "format": "auto"},
    {"frames": 3, "color": "srgb"},
    {"metadata": "keep", "format": "webp", "provenance": True},
    {"format": "jpeg", "background": "#808080"},
    {"scale": 4, "region": "0,0,4,4", "format": "tiff", "metadata": "keep"},
)
"""Options in turn: each leads what the file carries elsewhere."""

REFUSALS = {
    "unreadable_image",
    "unsupported_format",
    "image_too_large",
    "output_too_large",
    "invalid_option",
}
"""What a file may be refused for. ``invalid_option``: the wishes do not fit what it says it is."""

NOT_FOR_CALLERS = re.compile(r"Traceback|Error\b|Exception|/tmp|/home|\.py\b|\b0x[0-9a-f]{6}")
"""Exceptions' names and texts, paths, addresses."""

GOOD = {
    "apng_syntax_num_frames_invalid.png": (128, 64),
    "bmp_b_badbitssize.bmp": (127, 64),
    "bmp_b_baddens1.bmp": (127, 64),
    "bmp_b_baddens2.bmp": (127, 64),
    "bmp_b_badfilesize.bmp": (127, 64),
    "bmp_b_badplanes.bmp": (127, 64),
    "bmp_b_pal8badindex.bmp": (127, 64),
    "bmp_b_rletopdown.bmp": (127, 64),
    "broken_exif_dpi.jpg": (100, 100),
    "crash-0da013a13571cc8eb457a39fee8db18f8a3c7127.tif": (218, 84),
    "crash-74d2a78403a5a59db1fb0a2b8735ac068a75f6e3.tif": (590, 88),
    "decompression_bomb_extents.gif": (100, 100),
    "hopper_bad_exif.jpg": (500, 500),
    "invalid-exif-without-x-resolution.jpg": (300, 200),
    "invalid-exif.jpg": (200, 200),
    "photoshop-200dpi-broken.jpg": (200, 200),
    "sugarshack_bad_mpo_header.jpg": (640, 480),
    "truncated_app14.jpg": (100, 100),
    "truncated_end_chunk.png": (128, 128),
    "truncated_exif_dpi.jpg": (480, 640),
    "truncated_jpeg.jpg": (100, 100),  # of the end marker, a half
}
"""Those that hold a whole picture in spite of their names, and its size: as OpenCV 5.0.0 reads them, upright; the two without an
end marker or end chunk have all of their pixels, and OpenCV refuses them."""

DOUBTFUL = {"bmp_b_badrle.bmp"}
"""Its runs leave the picture: OpenCV refuses it, others show what there is."""


@pytest.fixture(scope="module")
def service(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    """Two model servers, for all that follows."""
    settings = {
        **environment,
        "NUM_SERVERS": "2",
        "MAX_IMAGE_DIMENSION": str(MAX_SIDE_PX),
    }
    with RunningService(tmp_path_factory.mktemp("service"), settings) as service:
        yield service


@dataclass(frozen=True)
class Answered:
    """What came back for a file, and when."""

    name: str
    status: int
    body: dict[str, Any]
    took_s: float

    def check(self) -> None:
        """A picture or a refusal of the contract, in time."""
        size = self.body.get("original_size", {"width": 0, "height": 0})
        latest_s = LATEST_S + LATEST_S_PER_MP * size["width"] * size["height"] / 1e6
        assert self.took_s < latest_s, (self.name, self.took_s)
        assert self.status in {200, 400}, (self.name, self.body)
        if self.status == 400:
            assert self.body["code"] in REFUSALS, (self.name, self.body)
            assert self.body["retryable"] is False
            assert not NOT_FOR_CALLERS.search(self.body["error"]), (self.name, self.body)


def ask(service: RunningService, name: str, data: bytes, **fields: Any) -> Answered:
    """Send a file."""
    wanted = {"scale": 2, "model": QUICK, "inline": False, **fields}
    began = time.monotonic()
    status, body = service.upscale(data, **wanted)
    return Answered(name, status, body, time.monotonic() - began)


def most_mib(service: RunningService) -> dict[str, int]:
    """The most memory that the gateway, and any decoder process of it, ever held."""
    found = {"gateway": _high_water_mib(service.process.pid), "decoder": 0}
    for children in Path(f"/proc/{service.process.pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            if b"enlarger.picture.sandbox" in Path(f"/proc/{child}/cmdline").read_bytes():
                found["decoder"] = max(found["decoder"], _high_water_mib(child))
    return found


def _high_water_mib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    (kib,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return kib >> 10


def events(service: RunningService) -> Counter[str]:
    """What the log tells of, by how often; it holds nothing but lines of ours."""
    return Counter(json.loads(line)["event"] for line in service.log.read_text().splitlines())


def png_size_px(data: bytes) -> tuple[int, int]:
    """As its header says (ISO/IEC 15948, 11.2.2)."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def test_files_that_broke_decoders_are_pictures_or_refusals(
    service: RunningService, bad_inputs: dict[str, bytes]
) -> None:
    """Those that are whole come back at twice their size, the others are refused, and none takes long."""
    # One by one: some are pictures that compute for a second, and waiting for others would count.
    answers = [ask(service, name, data) for name, data in sorted(bad_inputs.items())]
    assert len(answers) == len(bad_inputs) >= 88
    for answer in answers:
        answer.check()
    assert {answer.name for answer in answers if answer.status == 200} - DOUBTFUL == set(GOOD)
    for answer in answers:
        if answer.name in GOOD:
            width, height = GOOD[answer.name]
            assert answer.body["original_size"]["width"] == width, answer.name
            result = (service.folder / answer.body["file_path"]).read_bytes()
            assert png_size_px(result) == (2 * width, 2 * height), answer.name
    assert service.get("/health")[0] == 200


def test_damaged_pictures_cost_nothing_but_their_own_answer(service: RunningService) -> None:
    """Thousands of them from several clients: no fault of ours, none late, memory bounded, others served."""
    assert {name.split()[0] for name in originals()} == set(FORMATS)
    sound = encoded(noise(24, 32, 3))
    _, first = service.upscale(sound, model=QUICK)
    expected = base64.b64decode(first["base64"])

    def send(number: int) -> Answered:
        if number % KNOWN_EVERY == 0:
            answer = ask(service, "sound", sound, inline=True)
            assert base64.b64decode(answer.body["base64"]) == expected
            return answer
        return ask(service, f"mutant {number}", mutant(number), **WISHES[number % len(WISHES)])

    with ThreadPoolExecutor(CLIENTS) as clients:
        answers = list(clients.map(send, range(MUTANTS)))
    for answer in answers:
        answer.check()
    came = Counter(answer.status for answer in answers)
    # Most are broken beyond doubt; those that are not show that decoders, engines and encoders were reached.
    assert came[400] > MUTANTS // 2
    assert came[200] > MUTANTS // 8
    held_mib = most_mib(service)
    assert {process for process, most in MOST_MIB.items() if held_mib[process] > most} == set()
    told = events(service)
    assert told["internal_error"] == told["decoder_died"] == told["decoder_killed"] == 0
    assert service.get("/status")[1]["queue"]["requests"] == 0


@pytest.mark.parametrize("name", sorted(originals()))
def test_original_is_sound(service: RunningService, name: str) -> None:
    """What is damaged above was whole before, in every format that is read."""
    answer = ask(service, name, originals()[name], frames="first")
    assert answer.status == 200, answer.body


def test_mutant_is_the_same_each_time() -> None:
    """A number is enough to find a file again; and it is another than the original."""
    assert [mutant(number) for number in range(60)] == [mutant(number) for number in range(60)]
    assert len({mutant(number) for number in range(200)}) > 190
