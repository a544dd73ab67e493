"""Can all model servers be restarted under load?

Each model server in turn gets SIGTERM, and the next one only when its successor is ready, with four clients. No
picture may fail, and each must have the pixels of the command line.
"""

from __future__ import annotations

import os
import signal
from functools import partial

from running import RunningService
from scene import (
    SERVERS,
    Clients,
    begun,
    check_answers,
    options,
    pictures,
    server_entries,
    server_pids,
    service,
    until,
)


def main() -> None:
    """Restart one server after the other."""
    parser = options(__doc__)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=1, help="number of restarts of each server")
    arguments = parser.parse_args()
    took_s: list[float | None] = []
    with begun("restart", arguments) as (folder, findings):
        asked = pictures(folder, arguments.seed)
        with (
            service(folder) as running,
            Clients(running.url, asked, arguments.clients, arguments.seed) as clients,
        ):
            for number in [*range(SERVERS)] * arguments.rounds:
                pid = server_pids(running)[number]
                os.kill(pid, signal.SIGTERM)
                took_s.append(until(partial(is_replaced, running, number, pid)))
        check_answers(findings, clients.answers)
        back = [seconds for seconds in took_s if seconds is not None]
        findings.check(
            "every server comes back",
            len(back) == len(took_s),
            f"{len(back)} of {len(took_s)}, the slowest after {max(back, default=0):.1f} s",
        )


def is_replaced(running: RunningService, number: int, pid: int) -> bool:
    """Whether another process computes tiles as that server."""
    state = server_entries(running)[number]["state"]
    return server_pids(running)[number] != pid and state in {"ready", "busy"}


if __name__ == "__main__":
    main()
