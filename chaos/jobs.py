"""Does a killed gateway cost a job?

Many small jobs are queued. While they run, the gateway gets kill -9 at random moments, and another one is started on
the same folder. All jobs must succeed, each with the pixels of the command line, and none may be computed twice in
full: the next gateway finds what was finished before a kill.
"""

from __future__ import annotations

import collections
import contextlib
import json
import random
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from running import RunningService
from scene import GIVE_UP_S, MODEL, begun, by_command_line, digest, events, options, service, until

from enlarger.cli import SAMPLE

LEAST_SIDES = (24, 20)
MOST_SIDES = (64, 48)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A job, and its expected result."""

    number: int
    picture: bytes
    expected: str
    """Digest of the pixels that the command line produces."""


def main() -> None:
    """Queue jobs, kill gateways, count."""
    parser = options(__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--clients", type=int, default=8)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    with begun("jobs", arguments) as (folder, findings):
        wanted = small_pictures(folder, arguments.seed, arguments.jobs)
        settings = {"ENLARGER_JOBS_LIMIT": str(arguments.jobs)}
        with (
            ThreadPoolExecutor(arguments.clients) as threads,
            Gateways(folder, settings) as gateways,
        ):
            began = time.monotonic()
            jobs = list(threads.map(gateways.queued, wanted))
            queued_s = time.monotonic() - began
            # The last jobs are excluded: the log may not mention a job that ends at the moment of a kill.
            left = range(ended_count(gateways.running), arguments.jobs * 9 // 10)
            for count in sorted(chance.sample(left, min(arguments.kills, len(left)))):
                gateways.kill_after(count)
            states = collections.Counter(threads.map(gateways.state, jobs))
            took_s = time.monotonic() - began
            right = sum(threads.map(gateways.is_right, jobs, wanted))
            twice = computed_twice(gateways.running)
            found = len(events(gateways.running, "tile_found"))
        findings.check(
            "all jobs succeed",
            states == {"succeeded": arguments.jobs},
            f"{dict(states)}; {gateways.kills} kills; queued in {queued_s:.0f} s, done in {took_s:.0f} s",
        )
        findings.check(
            "pixels are the command line's", right == arguments.jobs, f"{right} of {arguments.jobs}"
        )
        findings.check(
            "no job is computed twice in full",
            not twice,
            f"{len(twice)} of {arguments.jobs}; {found} tiles found again",
        )


def small_pictures(folder: Path, seed: int, count: int) -> list[Wanted]:
    """Return pieces of the sample photo with some noise, no two alike, upscaled by the command line undisturbed."""
    chance = np.random.default_rng(seed)
    before = folder / "before"
    before.mkdir()
    with Image.open(SAMPLE) as image:
        sample = np.asarray(image.convert("RGB")).astype(np.int16)
    for number in range(count):
        width, height = chance.integers(LEAST_SIDES, MOST_SIDES, endpoint=True)
        left = chance.integers(0, sample.shape[1] - width)
        top = chance.integers(0, sample.shape[0] - height)
        piece = sample[top : top + height, left : left + width]
        noisy = np.clip(piece + chance.integers(-9, 10, piece.shape), 0, 255)
        Image.fromarray(noisy.astype(np.uint8)).save(before / f"{number}.png")
    made = by_command_line(before, folder / "after")
    return [
        Wanted(number, (before / f"{number}.png").read_bytes(), digest(made[f"{number}.png"]))
        for number in range(count)
    ]


class Gateways:
    """A gateway, and after each kill another one on the same folder."""

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        self._folder = folder
        self._settings = settings
        self._stack = contextlib.ExitStack()
        self.kills = 0

    def __enter__(self) -> Gateways:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self) -> None:
        self.running = self._stack.enter_context(service(self._folder, **self._settings))

    def kill_after(self, count: int) -> None:
        """Kill the gateway as soon as this many jobs have ended."""
        if until(lambda: ended_count(self.running) >= count) is not None:
            self.running.process.kill()
            self.running.process.wait()
            self.kills += 1
            self._start()

    def queued(self, wanted: Wanted) -> str:
        """Queue a job, and return its path."""
        request = urllib.request.Request(
            f"{self.running.url}/v1/jobs?scale=4&model={MODEL}",
            wanted.picture,
            {"Content-Type": "image/png"},
        )
        with urllib.request.urlopen(request, timeout=GIVE_UP_S) as response:
            return str(json.load(response)["links"]["self"])

    def state(self, job: str) -> str:
        """Return the state of a job when it has ended."""
        give_up = time.monotonic() + GIVE_UP_S
        while time.monotonic() < give_up:
            state = str(self.running.get(f"{job}?wait=30")[1]["state"])
            if state not in {"queued", "running"}:
                return state
        return "unfinished"

    def is_right(self, job: str, wanted: Wanted) -> bool:
        """Whether the job's result equals that of the command line."""
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"{self.running.url}{job}/result") as response,
        ):
            return digest(response.read()) == wanted.expected
        return False


def ended_count(running: RunningService) -> int:
    """Return the number of jobs that have ended, at any of the gateways."""
    return len(events(running, "job_ended"))


def computed_twice(running: RunningService) -> list[str]:
    """Return the requests of which each tile was computed, and stored, more than once."""
    times_stored: dict[str, collections.Counter[int]] = collections.defaultdict(collections.Counter)
    for event in events(running, "tile_kept"):
        times_stored[event["request_id"]][event["index"]] += 1
    return [request_id for request_id, times in times_stored.items() if min(times.values()) > 1]


if __name__ == "__main__":
    main()
