"""What does ``/files`` cost: a 304, the first 64 KiB, and the whole file, in seconds and in CPU seconds?

A file of random bytes is put into the folder of results, under the name of a result. ``first`` is the first 304 after
that, for which an ``ETag`` must be computed. ``--before`` names another checkout with a ``.venv``, whose service is
measured in turn.
"""

from __future__ import annotations

import argparse
import http.client
import os
import secrets
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from record import commit, record
from running import RunningService

RANGE_BYTES = 64 << 10


@dataclass
class Measured:
    """A service with a file, and the cost of its responses."""

    service: RunningService
    size_bytes: int
    etag: str = ""
    runs: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """Seconds and CPU seconds of each way."""

    def begin(self) -> None:
        """Write the file, and request it for the first time."""
        token = secrets.token_hex(16)
        self.path = f"/files/{token}.png"
        file = self.service.folder / "uploads" / f"upscaled_{token}.png"
        file.write_bytes(os.urandom(self.size_bytes))
        self.etag = self.ask("first", {}, 0, method="HEAD")

    def round(self) -> None:
        """Request the file once in each way."""
        part_bytes = min(RANGE_BYTES, self.size_bytes)
        self.ask("304", {"If-None-Match": self.etag}, 0)
        self.ask("range", {"Range": f"bytes=0-{part_bytes - 1}"}, part_bytes)
        self.ask("whole", {}, self.size_bytes)

    def ask(
        self, way: str, headers: dict[str, str], expected_bytes: int, *, method: str = "GET"
    ) -> str:
        """Request the file in one way, and return the ``ETag``."""
        began_s, started = self.processor_s(), time.perf_counter()
        etag, read_bytes = get(self.service.url, self.path, headers, method)
        took_s = time.perf_counter() - started
        assert read_bytes == expected_bytes
        cost = (round(took_s, 5), round(self.processor_s() - began_s, 5))
        self.runs.setdefault(way, []).append(cost)
        return etag

    def processor_s(self) -> float:
        """Return the CPU seconds of the gateway so far, over all its threads."""
        tasks = Path(f"/proc/{self.service.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=float, default=50, help="size of the file in megabytes")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--before", type=Path, help="another checkout to measure in turn")
    parser.add_argument("--record", action="store_true", help="append to results.jsonl")
    arguments = parser.parse_args()

    size_bytes = int(arguments.size * 1e6)
    commands: dict[str, tuple[str, ...]] = {"now": (sys.executable, "-m", "enlarger")}
    if arguments.before is not None:
        commands["before"] = (str(arguments.before.absolute() / ".venv/bin/enlarger"),)
    with ExitStack() as stack:
        measured: dict[str, Measured] = {}
        for name, command in commands.items():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            settings = {"NUM_SERVERS": "1", "FILE_MAX_AGE": "86400"}
            service = stack.enter_context(RunningService(folder, settings, command))
            measured[name] = Measured(service, size_bytes)
            measured[name].begin()
        for _ in range(arguments.rounds):
            for one in measured.values():
                one.round()

    print(f"{arguments.size:g} MB, medians of {arguments.rounds} rounds")
    for name, one in measured.items():
        for way, runs in one.runs.items():
            took_ms, computed_ms = (
                1000 * statistics.median(run) for run in zip(*runs, strict=True)
            )
            print(f"{name:7}{way:6}{took_ms:8.1f} ms {computed_ms:8.1f} ms of the processor")
    if arguments.record:
        figures = {name: one.runs for name, one in measured.items()}
        before = arguments.before and commit(arguments.before)
        record("files", {"bytes": size_bytes, "before": before, "seconds_and_processor_s": figures})


def get(url: str, path: str, headers: dict[str, str], method: str = "GET") -> tuple[str, int]:
    """Return the ``ETag`` of a response, and its number of bytes."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    read = 0
    while piece := answer.read(1 << 20):
        read += len(piece)
    connection.close()
    return answer.headers["ETag"], read


if __name__ == "__main__":
    main()
