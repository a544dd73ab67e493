"""Does memory grow when the service runs for a long time?

Clients request pictures of mixed sizes, one after the other. Between the second and the last fifth of the time, the
memory of the gateway and of each model server must grow by less than 50 MB, and descriptors must not leak. Each model
server must be the same process as at the beginning: one that was restarted, because it died or held too much memory,
would begin to grow anew. A line a minute shows the figures.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from promises import Findings, growth
from scene import (
    SERVERS,
    Clients,
    Footprint,
    Footprints,
    begun,
    check_answers,
    events,
    options,
    pictures,
    service,
)

SIZES = ((64, 64), (96, 160), (160, 140), (320, 240), (33, 400), (512, 384), (640, 640))
GROWTH_MB = 50
SPARE_DESCRIPTORS = 10
"""Connections come and go; a leak grows with each of hundreds of pictures."""

LEAST_LOOKS = 10
"""Two for each fifth. A run of so few seconds shows nothing, but is allowed as a trial."""


def main() -> None:
    """Load the service, and watch it."""
    parser = options(__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, default=4)
    arguments = parser.parse_args()
    with begun("soak", arguments) as (folder, findings):
        asked = pictures(folder, arguments.seed, SIZES)
        with service(folder) as running:
            with (
                Footprints(running) as footprints,
                Clients(running.url, asked, arguments.clients, arguments.seed) as clients,
            ):
                began = time.monotonic()
                while (left_s := began + 60 * arguments.minutes - time.monotonic()) > 0:
                    time.sleep(min(60, left_s))
                    print(line(time.monotonic() - began, len(clients.answers), footprints))
            starts = len(events(running, "server_started"))
            check_answers(findings, clients.answers)
        findings.check(
            "no model server was started again",
            starts == SERVERS,
            f"{starts} starts of {SERVERS} servers",
        )
        check_growth(
            findings,
            f"gateway and servers grow by less than {GROWTH_MB} MB",
            footprints,
            lambda footprint: footprint.rss_mb,
            most=GROWTH_MB,
            unit="MB",
        )
        check_growth(
            findings,
            "no descriptor leaks",
            footprints,
            lambda footprint: footprint.descriptors,
            most=SPARE_DESCRIPTORS,
            unit="descriptors",
        )


def check_growth(
    findings: Findings,
    promise: str,
    footprints: Footprints,
    samples: Callable[[Footprint], Sequence[float]],
    *,
    most: float,
    unit: str,
) -> None:
    """Check that none grew by more, among the processes that ran from beginning to end; others have no second fifth."""
    looks = len(footprints.of["gateway"].rss_mb)
    if looks < LEAST_LOOKS:
        findings.check(promise, None, f"{looks} looks in all, {LEAST_LOOKS} are needed")
        return
    grown = {
        name: growth(samples(footprint))
        for name, footprint in footprints.of.items()
        if len(footprint.rss_mb) >= 0.9 * looks
    }
    findings.check(promise, all(by < most for by in grown.values()), figures(grown, unit))


def line(after_s: float, done: int, footprints: Footprints) -> str:
    """Return the current state as one line."""
    shown = ", ".join(
        f"{name.partition(' (')[0]} {last(footprint)}" for name, footprint in footprints.of.items()
    )
    return f"minute {after_s / 60:.1f}: {done} pictures; {shown}"


def last(footprint: Footprint) -> str:
    """Return the newest figures of a process."""
    return f"{footprint.rss_mb[-1]:.0f} MB {footprint.descriptors[-1]} fd"


def figures(by_name: dict[str, float], unit: str) -> str:
    """Return the gateway's figure, and the smallest and largest of the servers."""
    servers = [value for name, value in by_name.items() if name != "gateway"]
    shown = f"{min(servers):+.1f} to {max(servers):+.1f}" if servers else "none to the end,"
    return f"gateway {by_name['gateway']:+.1f}, {len(servers)} servers {shown} {unit}"


if __name__ == "__main__":
    main()
