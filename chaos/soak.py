"""Does it grow when it runs for long?

Clients ask for pictures of mixed sizes, one after the other. Between the second and the last fifth of the time, the
memory of the gateway and of each model server must grow by less than 50 MB, and their descriptors by nothing that
stays. A line a minute shows them.
"""

from __future__ import annotations

import time

from promises import growth
from scene import (
    Clients,
    Footprint,
    Footprints,
    begun,
    check_answers,
    options,
    pictures,
    service,
)

SIZES = ((64, 64), (96, 160), (160, 140), (320, 240), (33, 400), (512, 384), (640, 640))
GROWTH_MB = 50
SPARE_DESCRIPTORS = 10
"""Connections come and go; what leaks grows with each of hundreds of pictures."""


def main() -> None:
    """Load it, and watch."""
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
            check_answers(findings, clients.answers)
        # A model server that was started again in between has no second fifth to compare with.
        whole = {
            name: footprint
            for name, footprint in footprints.of.items()
            if len(footprint.rss_mb) >= 0.9 * len(footprints.of["gateway"].rss_mb)
        }
        grown = {name: growth(footprint.rss_mb) for name, footprint in whole.items()}
        findings.check(
            f"gateway and servers grow by less than {GROWTH_MB} MB",
            all(mb < GROWTH_MB for mb in grown.values()),
            figures(grown, "MB"),
        )
        opened = {name: growth(footprint.descriptors) for name, footprint in whole.items()}
        findings.check(
            "no descriptor leaks",
            all(count <= SPARE_DESCRIPTORS for count in opened.values()),
            figures(opened, "descriptors"),
        )


def line(after_s: float, done: int, footprints: Footprints) -> str:
    """How it stands."""
    shown = ", ".join(
        f"{name.partition(' (')[0]} {last(footprint)}" for name, footprint in footprints.of.items()
    )
    return f"minute {after_s / 60:.1f}: {done} pictures; {shown}"


def last(footprint: Footprint) -> str:
    """A process's newest figures."""
    return f"{footprint.rss_mb[-1]:.0f} MB {footprint.descriptors[-1]} fd"


def figures(by_name: dict[str, float], unit: str) -> str:
    """The gateway's figure, and the largest of the servers."""
    servers = [value for name, value in by_name.items() if name != "gateway"]
    return f"gateway {by_name['gateway']:+.1f}, servers {min(servers):+.1f} to {max(servers):+.1f} {unit}"


if __name__ == "__main__":
    main()
