"""Does a hanging model server delay a picture?

One model server gets SIGSTOP with tiles in hand, and never SIGCONT: it accepts connections and does not answer. No
picture may fail, or be later than twice its undisturbed time plus the limit of an attempt. The server must be killed
and replaced. If no server with tiles in hand could be stopped, nothing was tested.
"""

from __future__ import annotations

import os
import random
import signal
import time

from running import RunningService
from scene import (
    SERVERS,
    Answer,
    Clients,
    alive,
    begun,
    check_answers,
    options,
    pictures,
    ready_count,
    server_entries,
    server_pids,
    service,
    until,
    warm_up,
)

SIZES = ((160, 140), (250, 190), (400, 300))
LOOK_S = 20
"""Time to find a server with tiles in hand: with three clients nearly all are always busy."""


def main() -> None:
    """Stop one server, and measure the times."""
    parser = options(__doc__)
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--undisturbed", type=float, default=20, help="seconds before the hang")
    parser.add_argument(
        "--attempt-limit",
        type=float,
        default=10,
        help="time limit of an attempt in seconds; small tiles get the shortest limit of the pool",
    )
    parser.add_argument(
        "--replaced-within",
        type=float,
        default=60,
        help="seconds within which another server must be ready",
    )
    arguments = parser.parse_args()
    with begun("hang", arguments) as (folder, findings):
        asked = pictures(folder, arguments.seed, SIZES)
        with service(folder) as running:
            warm_up(running.url, asked)
            with Clients(running.url, asked, arguments.clients, arguments.seed) as before:
                time.sleep(arguments.undisturbed)
                until(lambda: len(slowest(before.answers)) == len(asked))
            with Clients(running.url, asked, arguments.clients, arguments.seed + 1) as clients:
                stopped = stop_a_busy_server(running, random.Random(arguments.seed))
                if stopped is None:
                    findings.check("a busy server hangs", None, f"none was busy in {LOOK_S} s")
                    return
                number, pid = stopped
                killed_s = until(lambda: not alive(pid), give_up_s=arguments.replaced_within)
                replaced_s = until(
                    lambda: server_pids(running)[number] != pid and ready_count(running) == SERVERS,
                    give_up_s=max(0, arguments.replaced_within - (killed_s or 0)),
                )
        check_answers(findings, before.answers + clients.answers)
        usual_s = slowest(before.answers)
        over = [
            (answer.took_s, usual_s[answer.picture.name])
            for answer in clients.answers
            if answer.took_s > 2 * usual_s[answer.picture.name] + arguments.attempt_limit
        ]
        longest = max(clients.answers, key=lambda answer: answer.took_s)
        findings.check(
            "none later than twice its time plus an attempt",
            not over,
            f"{len(over)} of {len(clients.answers)}; the longest took {longest.took_s:.1f} s, "
            f"{usual_s[longest.picture.name]:.1f} s undisturbed",
        )
        findings.check(
            f"the hung server is replaced within {arguments.replaced_within:.0f} s",
            killed_s is not None and replaced_s is not None,
            f"killed after {shown(killed_s)}, another ready {shown(replaced_s)} later",
        )


def stop_a_busy_server(running: RunningService, chance: random.Random) -> tuple[int, int] | None:
    """Send SIGSTOP to a server with tiles in hand; return its number and process id, or None if none is found."""
    give_up = time.monotonic() + LOOK_S
    while time.monotonic() < give_up:
        pids = server_pids(running)
        number = chance.choice(sorted(pids))
        if not has_tiles(running, number):
            time.sleep(0.01)
            continue
        os.kill(pids[number], signal.SIGSTOP)
        # The server may have answered between the check and the signal, and its answer may be on its way.
        time.sleep(0.2)
        if has_tiles(running, number):
            return number, pids[number]
        os.kill(pids[number], signal.SIGCONT)
    return None


def has_tiles(running: RunningService, number: int) -> bool:
    """Whether the gateway waits for tiles of that server."""
    return bool(server_entries(running)[number]["tiles_in_flight"])


def slowest(answers: list[Answer]) -> dict[str, float]:
    """Return the longest time of each picture."""
    seconds: dict[str, float] = {}
    for answer in answers:
        name = answer.picture.name
        seconds[name] = max(seconds.get(name, 0), answer.took_s)
    return seconds


def shown(seconds: float | None) -> str:
    """Return seconds as readable text."""
    return "never" if seconds is None else f"{seconds:.1f} s"


if __name__ == "__main__":
    main()
