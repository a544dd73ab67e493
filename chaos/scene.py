"""The service, its pictures and its clients, for all scripts here. It needs Linux, because it reads /proc."""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import http.client
import json
import os
import random
import secrets
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.message import Message
from functools import partial
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image
from promises import Findings
from running import RunningService

from enlarger.cli import SAMPLE

MODEL = "realesr-animevideov3"
SERVERS = 5
SETTINGS = {"ENLARGER_PRECISION": "f32"}
"""Settings that the service and the command line share."""

SIZES = ((64, 64), (96, 160), (160, 140), (250, 190), (320, 240), (33, 400))
"""Widths and heights of mixed pictures: one tile, many tiles, a strip."""

GIVE_UP_S = 300
"""The longest wait. After that, something is broken."""


def options(doc: str) -> argparse.ArgumentParser:
    """Return a parser with the options that all scripts have."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seed", type=int, default=secrets.randbelow(1_000_000), help="seed of the random numbers"
    )
    parser.add_argument(
        "--folder", type=Path, help="working folder, where the service's log remains"
    )
    parser.add_argument("--report", type=Path, help="append the findings to this file, as JSON")
    return parser


@contextlib.contextmanager
def begun(question: str, arguments: argparse.Namespace) -> Iterator[tuple[Path, Findings]]:
    """Yield a working folder, and the findings to fill. Exits the program with their status."""
    findings = Findings(question, arguments.report)
    print(f"{question}: seed {arguments.seed}", flush=True)
    with contextlib.ExitStack() as stack:
        folder = arguments.folder
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        yield folder, findings
    raise SystemExit(findings.exit_status)


def service(folder: Path, **environment: str) -> RunningService:
    """Return a service with five model servers on free ports, as a context manager."""
    settings = {"NUM_SERVERS": str(SERVERS), **SETTINGS, **environment}
    return RunningService(folder, settings)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture, and its expected result."""

    name: str
    body: bytes
    """The body of the request."""

    expected: str
    """Digest of the pixels that the command line produces."""


def pictures(folder: Path, seed: int, sizes: Sequence[tuple[int, int]] = SIZES) -> list[Picture]:
    """Return a piece of the sample photo with noise in each size, upscaled by the command line undisturbed."""
    chance = np.random.default_rng(seed)
    before, after = folder / "before", folder / "after"
    before.mkdir()
    for width, height in sizes:
        name = f"{width}x{height}.png"
        samples = chance.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(samples).save(before / f"noise_{name}")
        with Image.open(SAMPLE) as sample:
            left, top = chance.integers(0, 40, 2).tolist()
            piece = sample.crop((left, top, left + 100, top + 100))
        piece.resize((width, height), Image.Resampling.BICUBIC).save(before / f"photo_{name}")
    made = by_command_line(before, after)
    return [
        Picture(path.stem, request_of(path.read_bytes()), digest(made[path.name]))
        for path in sorted(before.iterdir())
    ]


def by_command_line(before: Path, after: Path) -> dict[str, bytes]:
    """Return the results of the command line for all pictures of a folder, by name."""
    command = [sys.executable, "-m", "enlarger", "upscale", str(before), f"{after}/"]
    subprocess.run(  # enlarger itself
        [*command, "--model", MODEL, "--scale", "4"],
        check=True,
        env={**os.environ, **SETTINGS},
        capture_output=True,
    )
    return {path.name: path.read_bytes() for path in after.iterdir()}


def request_of(picture: bytes, **more: str) -> bytes:
    """Return the body of a request for a picture, with additional fields."""
    fields = {"image_b64": base64.b64encode(picture).decode(), "scale": 4, "model": MODEL, **more}
    return json.dumps(fields).encode()


def digest(file: bytes) -> str:
    """Return a digest that is equal for files with the same pixels."""
    with Image.open(BytesIO(file)) as image:
        content = f"{image.mode} {image.size} ".encode() + image.tobytes()
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of a request."""

    picture: Picture
    request_id: str
    status: int
    """The HTTP status; 0 if there was no answer."""

    headers: Mapping[str, str]
    """The headers, with names in lower case."""

    fields: Mapping[str, Any]
    """The JSON, without the file."""

    pixels: str | None
    """Digest of the picture in the answer."""

    took_s: float
    done_at: float
    """Seconds since the epoch."""

    @property
    def failed(self) -> bool:
        """Whether the answer contains no picture."""
        return self.status != 200

    @property
    def right(self) -> bool:
        """Whether the picture equals that of the command line."""
        return self.pixels == self.picture.expected


def ask(url: str, picture: Picture, *, request_id: str = "") -> Answer:
    """Request a picture, skipping the result cache."""
    request_id = request_id or f"chaos-{secrets.token_hex(8)}"
    headers = {
        "Content-Type": "application/json",
        "Cache-Control": "no-cache",
        "X-Request-Id": request_id,
    }
    began = time.monotonic()
    status, answered, content = _call(f"{url}/upscale", picture.body, headers)
    took_s, done_at = time.monotonic() - began, time.time()
    try:
        fields = json.loads(content)
    except ValueError:
        fields = {"error": repr(content[:200])}
    file = fields.pop("base64", None)
    return Answer(
        picture=picture,
        request_id=request_id,
        status=status,
        headers=answered,
        fields=fields,
        pixels=digest(base64.b64decode(file)) if file else None,
        took_s=took_s,
        done_at=done_at,
    )


def _call(
    url: str, body: bytes, headers: Mapping[str, str]
) -> tuple[int, Mapping[str, str], bytes]:
    request = urllib.request.Request(url, body, dict(headers))
    try:
        with urllib.request.urlopen(request, timeout=GIVE_UP_S) as response:
            return response.status, _lower(response.headers), response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, _lower(error.headers), error.read()
    except (OSError, http.client.HTTPException) as error:
        return 0, {}, json.dumps({"error": repr(error)}).encode()


def _lower(headers: Message) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


@dataclass
class Clients:
    """Clients that each request one picture after the other. On leaving the context they finish the last one."""

    url: str
    pictures: Sequence[Picture]
    count: int
    seed: int
    answers: list[Answer] = field(default_factory=list)

    def __enter__(self) -> Clients:
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=[random.Random(f"{self.seed} client {number}")])
            for number in range(self.count)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, chance: random.Random) -> None:
        while not self._stop.is_set():
            answer = ask(self.url, chance.choice(self.pictures))
            self.answers.append(answer)
            if answer.failed:
                self._stop.wait(0.2)  # a service that refuses requests needs a pause


def warm_up(url: str, asked: Sequence[Picture]) -> None:
    """Have every model server load the network, and the gateway start its decoders."""
    with ThreadPoolExecutor(2 * SERVERS) as threads:
        for answer in threads.map(partial(ask, url), [*asked] * (1 + 4 * SERVERS // len(asked))):
            if answer.status not in {200, 503}:
                raise SystemExit(f"no picture at all: {answer.status} {dict(answer.fields)}")


def check_answers(findings: Findings, answers: Sequence[Answer], *, also: str = "") -> None:
    """Check that no request failed, and that every picture is right."""
    failed = [answer for answer in answers if answer.failed]
    wrong = [answer for answer in answers if not answer.failed and not answer.right]
    for answer in failed[:5]:
        print(f"  failed: {answer.picture.name}: {answer.status} {dict(answer.fields)}")
    for answer in wrong[:5]:
        print(f"  other pixels: {answer.picture.name}, request {answer.request_id}")
    of_all = f"of {len(answers)}"
    findings.check(
        "no picture fails", not failed and bool(answers), f"{len(failed)} {of_all}{also}"
    )
    findings.check(
        "pixels are the command line's",
        not wrong,
        f"{len(answers) - len(failed) - len(wrong)} {of_all}",
    )


def until(holds: Callable[[], bool], *, give_up_s: float = GIVE_UP_S) -> float | None:
    """Wait for a state of another process; return the seconds it took, or None if it never occurred."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > give_up_s:
            return None
        time.sleep(0.02)
    return time.monotonic() - began


def events(running: RunningService, name: str) -> list[dict[str, Any]]:
    """Return the log events with this name, of the gateway and its model servers."""
    with running.log.open(errors="replace") as log:
        lines = [line for line in log if line.startswith("{") and f'"{name}"' in line]
    found = [json.loads(line) for line in lines if line.endswith("}\n")]
    return [event for event in found if event.get("event") == name]


def server_pids(running: RunningService) -> dict[int, int]:
    """Return the newest process of each model server."""
    return {_number(event): event["pid"] for event in events(running, "server_started")}


def server_ports(running: RunningService) -> dict[int, int]:
    """Return the newest port of each model server."""
    return {_number(event): event["port"] for event in events(running, "server_started")}


def _number(event: dict[str, Any]) -> int:
    return int(event["server"].removeprefix("server-"))


def server_entries(running: RunningService) -> list[dict[str, Any]]:
    """Return the model servers as ``/status`` shows them."""
    entries: list[dict[str, Any]] = running.get("/status")[1]["servers"]
    return entries


def ready_count(running: RunningService) -> int:
    """Return the number of model servers that are ready."""
    return sum(entry["state"] in {"ready", "busy"} for entry in server_entries(running))


def alive(pid: int) -> bool:
    """Whether a process runs. A zombie does not count."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def rss_mb(pid: int) -> float:
    """Return the resident memory of a process, in MB (10^6 bytes)."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024 / 1e6


def processor_s(pid: int) -> float:
    """Return the CPU seconds that a process has used, in all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    # utime and stime are the 14th and 15th fields of proc(5). The state after the name is the third.
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def descriptors(pid: int) -> int:
    """Return the number of open files, sockets and pipes."""
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - names are enough


@dataclass(slots=True)
class Footprint:
    """Memory and descriptors of a process, second by second."""

    rss_mb: list[float] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)


class Footprints:
    """A context that observes the gateway and its model servers every second."""

    def __init__(self, running: RunningService) -> None:
        self._running = running
        self.of: dict[str, Footprint] = {}

    def __enter__(self) -> Footprints:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(1):
            pids = {"gateway": self._running.process.pid}
            for number, pid in server_pids(self._running).items():
                pids[f"server {number} (process {pid})"] = pid
            for name, pid in pids.items():
                with contextlib.suppress(OSError, StopIteration):  # the process has just ended
                    rss, count = rss_mb(pid), descriptors(pid)
                    footprint = self.of.setdefault(name, Footprint())
                    footprint.rss_mb.append(rss)
                    footprint.descriptors.append(count)
