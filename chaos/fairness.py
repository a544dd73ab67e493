"""Does a thumbnail wait for a poster?

Pictures of 64x64 are requested, one after the other, at random moments while one of 2048x2048 is computed. Each must
be ready within 1.5 times its usual time plus two tiles of the large picture: the tile that is being computed at the
server with the next free seat, and the one that already waits there. The usual time is the median of many pictures on
an idle service. The two tiles are the longest of those that were computed meanwhile, according to the model servers'
logs (``infer_s`` of ``tile_done``), because the speed of the machine may vary. The large picture must succeed as
well.
"""

from __future__ import annotations

import random
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from typing import Any

from PIL import Image
from promises import Findings
from running import RunningService
from scene import (
    Answer,
    Picture,
    ask,
    begun,
    check_answers,
    events,
    options,
    pictures,
    request_of,
    server_entries,
    service,
    until,
    warm_up,
)

from enlarger.cli import SAMPLE

SMALL = (64, 64)
LARGE = (2048, 2048)
ALONE = 20
FACTOR = 1.5
TILES = 2
LARGE_ID = "chaos-large"


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile that a model server computed."""

    done_at: float
    """Seconds since the epoch."""

    infer_s: float

    @classmethod
    def of(cls, event: dict[str, Any]) -> Tile:
        """Return the tile of a log event."""
        return cls(datetime.fromisoformat(event["timestamp"]).timestamp(), event["infer_s"])


def main() -> None:
    """Measure small pictures alone, then behind a large one, and judge each."""
    parser = options(__doc__)
    parser.add_argument(
        "--tries", type=int, default=8, help="number of small pictures behind large ones"
    )
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    with begun("fairness", arguments) as (folder, findings):
        asked = pictures(folder, arguments.seed, [SMALL])
        with service(folder) as running:
            warm_up(running.url, asked)
            alone = [ask(running.url, chance.choice(asked)) for _ in range(ALONE)]
            behind: list[Answer] = []
            large: list[Answer] = []
            while len(behind) < arguments.tries and not any(one.failed for one in large):
                large.append(one_large(running, asked, behind, arguments.tries, chance))
            tiles = [
                Tile.of(event)
                for event in events(running, "tile_done")
                if event.get("request_id") == LARGE_ID
            ]
        check_answers(findings, [*alone, *behind], also=f"; {len(large)} large ones")
        findings.check(
            "the large one is done, too",
            not any(one.failed for one in large),
            f"{len(large)} of them, in {max(one.took_s for one in large):.0f} s at most",
        )
        check_fair(findings, alone, behind, tiles)


def one_large(
    running: RunningService,
    asked: list[Picture],
    behind: list[Answer],
    tries: int,
    chance: random.Random,
) -> Answer:
    """Request a large picture, add small ones while all servers work on it, and return its answer."""
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(ask, running.url, large_picture(), request_id=LARGE_ID)
        until(lambda: answer.done() or is_everywhere(running))
        while len(behind) < tries:
            # Requests are not all sent at the moment when the one before has just freed a seat.
            time.sleep(chance.uniform(0, 1))
            if answer.done() or not is_everywhere(running):
                break
            behind.append(ask(running.url, chance.choice(asked)))
        return answer.result()


def large_picture() -> Picture:
    """Return the sample photo as a large picture.

    Its answer is a JPEG, so that reading it does not occupy a core for long.
    """
    file = BytesIO()
    with Image.open(SAMPLE) as sample:
        sample.convert("RGB").resize(LARGE, Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return Picture("large", request_of(file.getvalue(), format="jpeg"), expected="")


def is_everywhere(running: RunningService) -> bool:
    """Whether all model servers have tiles."""
    return all(entry["tiles_in_flight"] for entry in server_entries(running))


def check_fair(
    findings: Findings, alone: list[Answer], behind: list[Answer], tiles: list[Tile]
) -> None:
    """Check that each picture was ready in its time."""
    promise = f"ready within {FACTOR} times its time alone and {TILES} tiles of the large one"
    if not behind or not tiles:
        findings.check(promise, None, "no small picture came behind a large one")
        return
    alone_s = statistics.median(answer.took_s for answer in alone)
    limits_s = [FACTOR * alone_s + longest_s(tiles, answer) for answer in behind]
    for answer, limit_s in zip(behind, limits_s, strict=True):
        print(f"  {answer.took_s:.2f} s; {limit_s:.2f} s are allowed", flush=True)
    within = sum(answer.took_s <= limit_s for answer, limit_s in zip(behind, limits_s, strict=True))
    took_s = [answer.took_s for answer in behind]
    findings.check(
        promise,
        within == len(behind),
        f"{within} of {len(behind)}; {alone_s:.2f} s alone, {statistics.median(took_s):.2f} s behind it "
        f"({max(took_s):.2f} s at most), a tile {statistics.median(tile.infer_s for tile in tiles):.2f} s",
    )


def longest_s(tiles: list[Tile], answer: Answer) -> float:
    """Return the seconds of the longest tiles that were partly computed while that answer was pending."""
    asked_at = answer.done_at - answer.took_s
    meanwhile = [
        tile.infer_s
        for tile in tiles
        if tile.done_at > asked_at and tile.done_at - tile.infer_s < answer.done_at
    ]
    return sum(sorted(meanwhile)[-TILES:])


if __name__ == "__main__":
    main()
