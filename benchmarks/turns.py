"""Runs ways in turn: each round runs all of them, so that a machine that is slow for a while slows them all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

Seconds = dict[str, list[float]]
"""The seconds of each way, one entry per round."""


def in_turn(ways: Mapping[str, Callable[[], float]], rounds: int) -> Seconds:
    """Return the seconds that each way reports in each round, and print them as they come."""
    seconds: Seconds = {name: [] for name in ways}
    for round_ in range(rounds):
        for name, run in ways.items():
            seconds[name].append(round(run(), 5))
        times = "  ".join(f"{name} {runs[-1]:.2f} s" for name, runs in seconds.items())
        print(f"round {round_ + 1}: {times}", flush=True)
    return seconds


def timed(
    run: Callable[[], object], clock: Callable[[], float] = time.perf_counter
) -> Callable[[], float]:
    """Return a way that measures the seconds of a call."""

    def way() -> float:
        started = clock()
        run()
        return clock() - started

    return way


def ratio(seconds: Seconds, over: str, under: str) -> float:
    """Return the median of the ratios within each round, which is robust if a machine slows down for a while."""
    pairs = zip(seconds[over], seconds[under], strict=True)
    return round(statistics.median(a / b for a, b in pairs), 3)
