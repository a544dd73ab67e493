"""Small programs that a supervisor keeps running."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

WAITS = "sys.stdin.read()"


@dataclass
class Scripts:
    """Starts Python with a script; ``NUMBER`` in it is the server's number, ``LIFE`` counts its starts from 1."""

    script: str
    environment: Mapping[str, str] = field(default_factory=dict)
    starts: list[int] = field(default_factory=list)
    """The numbers of the servers started, in order."""

    def arguments(self, number: int, *, again: bool) -> list[str]:
        """The command line of server ``number``."""
        self.starts.append(number)
        given = f"import os, signal, sys; NUMBER = {number}; LIFE = {self.starts.count(number)}; "
        return [sys.executable, "-S", "-E", "-c", given + self.script]


def lives(pid: int) -> bool:
    """Return whether this process exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
