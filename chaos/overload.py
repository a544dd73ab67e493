"""What happens when four times more requests arrive than the service can process?

The capacity is measured first, with clients that wait for their answers. Then requests arrive at random moments, at
four times that rate, whatever happens to them. Every refusal must be a 503 with a ``Retry-After``. At least 99 % of
the accepted requests must be done within twice the ETA stated at admission (``eta_s`` of the log event ``admitted``).
The gateway's memory must never exceed its peak during the measurement of capacity by more than 50 MB.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from promises import Findings, rise, share_within
from running import RunningService
from scene import (
    SERVERS,
    Answer,
    Clients,
    Footprints,
    Picture,
    ask,
    begun,
    check_answers,
    events,
    options,
    pictures,
    service,
    warm_up,
)

SIZES = ((160, 140), (250, 190), (320, 240))
FLAT_MB = 50
SHARE = 0.99
FACTOR = 2


def main() -> None:
    """Measure, flood, and judge."""
    parser = options(__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="seconds of overload")
    parser.add_argument(
        "--measure", type=float, default=20, help="seconds in which the capacity is measured"
    )
    parser.add_argument(
        "--times", type=float, default=4, help="rate of requests, in multiples of the capacity"
    )
    arguments = parser.parse_args()
    with begun("overload", arguments) as (folder, findings):
        asked = pictures(folder, arguments.seed, SIZES)
        with service(folder, ENLARGER_MAX_WAIT="10") as running:
            with Footprints(running) as before:
                capacity = capacity_per_s(running, asked, arguments)
            rate = arguments.times * capacity
            print(f"capacity {capacity:.2f} pictures/s; now {rate:.2f} a second come", flush=True)
            with Footprints(running) as footprints:
                answers = flood(running, asked, arguments, rate=rate)
            admitted = {event["request_id"]: event for event in events(running, "admitted")}
        accepted = [answer for answer in answers if answer.status != 503]
        refused = [answer for answer in answers if answer.status == 503]
        without = [answer for answer in refused if not has_retry_after(answer)]
        findings.check(
            "it is an overload, and work is done",
            bool(refused and accepted),
            f"{len(answers)} came, {len(accepted)} accepted",
        )
        findings.check(
            "every refusal is 503 with Retry-After",
            not without,
            f"{len(refused) - len(without)} of {len(refused)}",
        )
        check_answers(findings, accepted)
        check_etas(findings, accepted, admitted)
        # In the second half of the measurement, all memory for ordinary load has been allocated.
        usual_mb = before.of["gateway"].rss_mb
        grown = rise(usual_mb[len(usual_mb) // 2 :], footprints.of["gateway"].rss_mb)
        findings.check(
            f"gateway never over {FLAT_MB} MB above what it had before",
            grown <= FLAT_MB,
            f"{grown:+.1f} MB",
        )


def capacity_per_s(
    running: RunningService, asked: list[Picture], arguments: argparse.Namespace
) -> float:
    """Return the pictures per second of clients that wait for their answers."""
    warm_up(running.url, asked)
    began = time.monotonic()
    with Clients(running.url, asked, 2 * SERVERS, arguments.seed) as clients:
        time.sleep(arguments.measure)
    # On leaving, each client's last request was finished.
    done = sum(not answer.failed for answer in clients.answers)
    return max(1, done) / (time.monotonic() - began)


def flood(
    running: RunningService, asked: list[Picture], arguments: argparse.Namespace, *, rate: float
) -> list[Answer]:
    """Send requests at random moments (a Poisson process), without waiting for answers; return all answers."""
    chance = random.Random(arguments.seed)
    began = time.monotonic()
    at_s = chance.expovariate(rate)
    with ThreadPoolExecutor(1000) as threads:
        waiting = []
        while at_s < arguments.seconds:
            time.sleep(max(0, began + at_s - time.monotonic()))
            waiting.append(threads.submit(ask, running.url, chance.choice(asked)))
            at_s += chance.expovariate(rate)
        return [answer.result() for answer in waiting]


def has_retry_after(answer: Answer) -> bool:
    """Whether the answer says in how many seconds to come back."""
    value = answer.headers.get("retry-after", "")
    return value.isdecimal() and int(value) >= 1


def check_etas(
    findings: Findings, accepted: list[Answer], admitted: dict[str, dict[str, Any]]
) -> None:
    """Check that nearly all were done within twice the ETA stated at admission."""
    told = [
        answer
        for answer in accepted
        if admitted.get(answer.request_id, {}).get("eta_s") is not None
    ]
    findings.check(
        "every admission has an ETA", len(told) == len(accepted), f"{len(told)} of {len(accepted)}"
    )
    if not told:
        return
    ratios = sorted(times_eta(answer, admitted[answer.request_id]) for answer in told)
    share = share_within(ratios, FACTOR)
    findings.check(
        f"{SHARE:.0%} of the accepted are done within twice their ETA",
        share >= SHARE,
        f"{share:.1%}; times the ETA: median {statistics.median(ratios):.2f}, most {ratios[-1]:.2f}",
    )


def times_eta(answer: Answer, event: dict[str, Any]) -> float:
    """Return the time from admission to answer, in ETAs."""
    admitted_at = datetime.fromisoformat(event["timestamp"]).timestamp()
    return float((answer.done_at - admitted_at) / max(event["eta_s"], 0.001))


if __name__ == "__main__":
    main()
