"""Promises and findings: a line for each finding, and a table at the end."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Finding:
    """One promise, compared with what happened."""

    question: str
    """The script that made the finding."""

    promise: str
    held: bool | None
    """None if the promise could not be tested here."""

    found: str

    @property
    def verdict(self) -> str:
        """Return the result as one word."""
        return {True: "holds", False: "BROKEN", None: "not tried"}[self.held]


class Findings:
    """The findings of one script.

    Args:
        question: name of the script.
        file: a file to which each finding is also appended, as a line of JSON.
    """

    def __init__(self, question: str, file: Path | None = None) -> None:
        self.question = question
        self._file = file
        self._found: list[Finding] = []

    def check(self, promise: str, held: bool | None, found: str) -> None:
        """Record and print whether a promise was kept."""
        finding = Finding(self.question, promise, held, found)
        self._found.append(finding)
        print(f"{finding.verdict}: {promise}: {found}", flush=True)
        if self._file is not None:
            with self._file.open("a") as file:
                file.write(json.dumps(asdict(finding)) + "\n")

    @property
    def exit_status(self) -> int:
        """Return 0 unless a promise was broken."""
        return int(any(finding.held is False for finding in self._found))


def read_findings(file: Path) -> list[Finding]:
    """Return the findings that scripts appended to a file; none if the file does not exist."""
    lines = file.read_text().splitlines() if file.exists() else []
    return [Finding(**json.loads(line)) for line in lines]


def table(findings: Sequence[Finding]) -> str:
    """Return all findings in columns."""
    rows = [("question", "verdict", "promise", "found")]
    rows += [(one.question, one.verdict, one.promise, one.found) for one in findings]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]])
        for row in rows
    )


def share_within(ratios: Sequence[float], limit: float) -> float:
    """Return the share of ratios that are at most ``limit``; 1 if there are none."""
    return sum(ratio <= limit for ratio in ratios) / len(ratios) if ratios else 1.0


def growth(samples: Sequence[float]) -> float:
    """Return the growth from the second fifth of a run, when it is warm, to its last fifth.

    Both are medians, so that no single moment decides.

    Raises:
        ValueError: there are fewer than five samples.
    """
    fifth = len(samples) // 5
    if not fifth:
        raise ValueError("five samples at least")
    return statistics.median(samples[-fifth:]) - statistics.median(samples[fifth : 2 * fifth])


def rise(before: Sequence[float], samples: Sequence[float]) -> float:
    """Return how far the peak of a run is above the peak of the usual load before it.

    Raises:
        ValueError: one of the two has no samples.
    """
    if not before or not samples:
        raise ValueError("one sample at least, before and during")
    return max(samples) - max(before)
