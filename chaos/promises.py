"""What was promised, and what was found: a line as it is found, a table in the end."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Finding:
    """One promise, held against what happened."""

    question: str
    """The script that asked."""

    promise: str
    held: bool | None
    """None: it could not be tried here."""

    found: str

    @property
    def verdict(self) -> str:
        """In a word."""
        return {True: "holds", False: "BROKEN", None: "not tried"}[self.held]


class Findings:
    """What one script finds.

    Args:
        question: name of the script.
        file: also append each finding to this file, as a line of JSON.
    """

    def __init__(self, question: str, file: Path | None = None) -> None:
        self.question = question
        self._file = file
        self._found: list[Finding] = []

    def check(self, promise: str, held: bool | None, found: str) -> None:
        """Note and print whether a promise held."""
        finding = Finding(self.question, promise, held, found)
        self._found.append(finding)
        print(f"{finding.verdict}: {promise}: {found}", flush=True)
        if self._file is not None:
            with self._file.open("a") as file:
                file.write(json.dumps(asdict(finding)) + "\n")

    @property
    def exit_status(self) -> int:
        """0 unless a promise was broken."""
        return int(any(finding.held is False for finding in self._found))


def read_findings(file: Path) -> list[Finding]:
    """What scripts appended to a file; none if it is not there."""
    lines = file.read_text().splitlines() if file.exists() else []
    return [Finding(**json.loads(line)) for line in lines]


def table(findings: Sequence[Finding]) -> str:
    """All findings in columns."""
    rows = [("question", "verdict", "promise", "found")]
    rows += [(one.question, one.verdict, one.promise, one.found) for one in findings]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]])
        for row in rows
    )


def share_within(ratios: Sequence[float], limit: float) -> float:
    """The share of them that are at most ``limit``; 1 if there are none."""
    return sum(ratio <= limit for ratio in ratios) / len(ratios) if ratios else 1.0


def growth(samples: Sequence[float]) -> float:
    """From the second fifth of a run, when it is warm, to its last fifth; medians, so that no single moment decides.

    Raises:
        ValueError: fewer than five samples.
    """
    fifth = len(samples) // 5
    if not fifth:
        raise ValueError("five samples at least")
    return statistics.median(samples[-fifth:]) - statistics.median(samples[fifth : 2 * fifth])


def rise(before: Sequence[float], samples: Sequence[float]) -> float:
    """How far the peak of a run, however early, is above that of the usual before it: load that can be done has peaks, too.

    Raises:
        ValueError: no samples, of either.
    """
    if not before or not samples:
        raise ValueError("one sample at least, before and during")
    return max(samples) - max(before)
