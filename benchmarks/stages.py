"""``enlarger`` that counts the CPU seconds of its stages, and writes them into a file on SIGUSR2.

A stage counts what its functions take on the thread that calls them, without the stages that they call.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

FILE_VARIABLE = "STAGES_FILE"
"""The environment variable that names the file."""

LOOP, OTHER = "event loop", "other threads"


class Stages:
    """CPU seconds by stage, of this process."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._adding = threading.Lock()
        self._within = threading.local()

    def count(self, owner: object, name: str, stage: str) -> None:
        """Have a function of a module or of a class count its time as that of a stage."""
        function: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(function)
        def counted(*arguments: Any, **options: Any) -> Any:
            outer = getattr(self._within, "inner_s", 0.0)
            self._within.inner_s = 0.0
            started = time.thread_time()
            try:
                return function(*arguments, **options)
            finally:
                took_s = time.thread_time() - started
                with self._adding:
                    self._seconds[stage] += took_s - self._within.inner_s
                self._within.inner_s = outer + took_s

        setattr(owner, name, counted)

    def now(self) -> dict[str, float]:
        """Return the seconds so far. They add up to those of the process."""
        main = threading.main_thread().ident
        assert main is not None
        loop_s = time.clock_gettime(time.pthread_getcpuclockid(main))
        with self._adding:
            seconds = dict(self._seconds)
        others_s = time.process_time() - loop_s - sum(seconds.values())
        return {**seconds, LOOP: loop_s, OTHER: others_s}


def main() -> None:
    """Run ``enlarger`` with its stages counted."""
    from enlarger.cli import main as run
    from enlarger.pipeline import enlarging, planes, size_limit
    from enlarger.storage.drafts import Drafts

    stages = Stages()
    stages.count(size_limit, "encode", "PNG")
    stages.count(planes, "reduce", "resampling")
    stages.count(planes.Plane, "paste", "adding tiles")
    # What ``finish`` does besides is next to nothing.
    stages.count(planes.Plane, "finish", "colour lock")
    stages.count(planes.Plane, "_write_until", "rounding")
    stages.count(enlarging, "_digests", "cutting tiles")
    stages.count(enlarging, "_sources", "cutting tiles")
    stages.count(Drafts, "write", "hash of the file")

    def write(*_: object) -> None:
        path = Path(os.environ[FILE_VARIABLE])
        part = path.with_suffix(".part")
        part.write_text(json.dumps(stages.now()))
        part.replace(path)

    signal.signal(signal.SIGUSR2, write)
    run()
