"""Does a killed model server cost a picture?

Every two seconds a random model server gets kill -9, with eight clients, until 200 pictures are done. None may fail,
and each must have the pixels that the command line produces undisturbed.

Killing pauses while no server is ready. If five servers were killed before one has started, no work could be done,
and nothing would be shown.
"""

from __future__ import annotations

import os
import random
import signal
import time

from scene import (
    GIVE_UP_S,
    Clients,
    alive,
    begun,
    check_answers,
    options,
    pictures,
    ready_count,
    server_pids,
    service,
)


def main() -> None:
    """Kill and count."""
    parser = options(__doc__)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--every", type=float, default=2, help="seconds between two kills")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    kills = pauses = 0
    with begun("kill", arguments) as (folder, findings):
        asked = pictures(folder, arguments.seed)
        with service(folder) as running:
            give_up = time.monotonic() + arguments.pictures * GIVE_UP_S / 100
            with Clients(running.url, asked, arguments.clients, arguments.seed) as clients:
                while len(clients.answers) < arguments.pictures and time.monotonic() < give_up:
                    time.sleep(arguments.every)
                    living = [pid for pid in server_pids(running).values() if alive(pid)]
                    if living and ready_count(running):
                        os.kill(chance.choice(living), signal.SIGKILL)
                        kills += 1
                    else:
                        pauses += 1
        again = sum(answer.fields["tiles"]["retried"] for answer in clients.answers if answer.right)
        done = sum(not answer.failed for answer in clients.answers)
        check_answers(
            findings,
            clients.answers,
            also=f"; {kills} kills, {pauses} left out, {again} tiles computed elsewhere",
        )
        findings.check(
            "all pictures are done in time",
            done >= arguments.pictures,
            f"{done} of {arguments.pictures}",
        )


if __name__ == "__main__":
    main()
