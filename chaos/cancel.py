"""What remains of requests whose clients disconnect?

500 requests are closed at random moments: before their body is complete, while they wait, and while the response is
being read. Within one tile's time nothing may be in flight, in the gateway and in the model servers. They must say
so, and their threads must have stopped computing, which their CPU time shows. No process may lose descriptors or
memory, and a picture afterwards must be right.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import statistics
import time
import urllib.request
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from promises import Findings
from running import RunningService
from scene import (
    SERVERS,
    Answer,
    Clients,
    Picture,
    alive,
    ask,
    begun,
    check_answers,
    descriptors,
    events,
    options,
    pictures,
    processor_s,
    rss_mb,
    server_pids,
    server_ports,
    service,
    until,
    warm_up,
)

SIZES = ((160, 140), (250, 190), (320, 240))
CLIENTS = 16
GROWTH_MB = 50
LEAST_TILE_S = 1.0
"""The minimum time for a tile: the observation itself takes some of it."""

SPARE_DESCRIPTORS = 2 * SERVERS
"""Connections to the model servers stay open for a while."""

LOOK_S = 0.2
"""Seconds for which CPU time is observed."""

COMPUTING = 0.1
"""Share of a core above which a server is computing, even if five share two cores with others. Probes take a hundredth."""

SETTLE_S = 90
"""Longer than an idle connection stays open."""


def main() -> None:
    """Send requests, disconnect, and look at what is left."""
    parser = options(__doc__)
    parser.add_argument("--requests", type=int, default=500)
    arguments = parser.parse_args()
    with begun("cancel", arguments) as (folder, findings):
        asked = pictures(folder, arguments.seed, SIZES)
        with service(folder) as running:
            pid = running.process.pid
            warm_up(running.url, asked)
            with Clients(running.url, asked, CLIENTS, arguments.seed) as usual:
                until(lambda: len(usual.answers) >= 2 * CLIENTS)
            usual_s = statistics.median(answer.took_s for answer in usual.answers)

            def ask_and_leave(number: int) -> str:
                chance = random.Random(f"{arguments.seed} {number}")
                return leave(running.url, chance.choice(asked), chance, usual_s)

            with ThreadPoolExecutor(CLIENTS) as threads:
                # The memory of a first storm is needed by the next one, too. Only what each further one adds is a
                # leak.
                list(threads.map(ask_and_leave, range(-arguments.requests // 4, 0)))
                until(lambda: in_flight(running) == 0, give_up_s=60)
                memory_before, descriptors_before = rss_mb(pid), descriptors(pid)
                servers = server_pids(running)
                servers_before = {number: rss_mb(server) for number, server in servers.items()}
                ways = list(threads.map(ask_and_leave, range(arguments.requests)))
            left_at = time.monotonic()
            idle_s = until(lambda: in_flight(running) == 0, give_up_s=60)
            still = until(lambda: not compute(servers.values()), give_up_s=60) is not None
            still_s = time.monotonic() - left_at if still else None
            tile_s = max(event["infer_s"] for event in events(running, "tile_done"))
            counts = ", ".join(f"{ways.count(way)} {way}" for way in sorted(set(ways)))
            findings.check(
                "in flight: nothing within one tile's time",
                idle_s is not None and idle_s <= max(tile_s, LEAST_TILE_S),
                f"{'never' if idle_s is None else f'{idle_s:.2f} s'}, a tile takes up to {tile_s:.2f} s; {counts}",
            )
            findings.check(
                "the servers' threads stand still within one tile's time",
                still_s is not None and still_s <= max(tile_s, LEAST_TILE_S),
                "never" if still_s is None else f"{still_s:.2f} s",
            )
            allowed = descriptors_before + SPARE_DESCRIPTORS
            until(lambda: descriptors(pid) <= allowed, give_up_s=SETTLE_S)
            left = descriptors(pid)
            findings.check(
                "the gateway loses no descriptor",
                left <= allowed,
                f"{descriptors_before} before, {left} after",
            )
            grown = rss_mb(pid) - memory_before
            findings.check(
                f"the gateway grows by at most {GROWTH_MB} MB",
                grown <= GROWTH_MB,
                f"{grown:+.1f} MB",
            )
            check_servers(findings, running, servers, servers_before)
            after: list[Answer] = [ask(running.url, picture) for picture in asked]
        check_answers(findings, after)


def compute(pids: Iterable[int]) -> bool:
    """Whether one of these processes uses a large part of a core at the moment."""
    before = {pid: processor_s(pid) for pid in pids if alive(pid)}
    time.sleep(LOOK_S)
    return any(
        processor_s(pid) - used_s > COMPUTING * LOOK_S
        for pid, used_s in before.items()
        if alive(pid)
    )


def check_servers(
    findings: Findings,
    running: RunningService,
    servers: dict[int, int],
    before_mb: dict[int, float],
) -> None:
    """Check that the model servers are the same as before, and hold no more."""
    findings.check(
        "the model servers are the same", server_pids(running) == servers, f"{len(servers)}"
    )
    grown = [rss_mb(pid) - before_mb[number] for number, pid in servers.items() if alive(pid)]
    findings.check(
        f"each server grows by at most {GROWTH_MB} MB",
        all(mb <= GROWTH_MB for mb in grown),
        f"up to {max(grown, default=0):+.1f} MB",
    )


def leave(url: str, picture: Picture, chance: random.Random, usual_s: float) -> str:
    """Send a request, close the connection at a random moment, and return the kind of that moment."""
    address = urlsplit(url)
    head = (
        "POST /upscale HTTP/1.1\r\nHost: chaos\r\nContent-Type: application/json\r\n"
        f"Cache-Control: no-cache\r\nContent-Length: {len(picture.body)}\r\n\r\n"
    ).encode()
    way = chance.choice(["sending", "waiting", "waiting", "reading"])
    with socket.create_connection((address.hostname, address.port), timeout=300) as connection:
        if way == "sending":
            connection.sendall(head + picture.body[: chance.randrange(len(picture.body))])
            time.sleep(chance.uniform(0, 0.1))
            return way
        connection.sendall(head + picture.body)
        if way == "waiting":
            time.sleep(chance.uniform(0, usual_s))
        else:
            with contextlib.suppress(ConnectionError):
                connection.recv(chance.randrange(1, 65536))
        return way


def in_flight(running: RunningService) -> int:
    """Return the requests of the gateway, and the tiles of its model servers, as it sees them and as they do."""
    status = running.get("/status")[1]
    count: int = status["queue"]["requests"]
    count += sum(entry["tiles_in_flight"] for entry in status["servers"])
    for port in server_ports(running).values():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=10) as answer:
            count += json.load(answer)["in_flight"]
    return count


if __name__ == "__main__":
    main()
