"""Findings of ``enlarger doctor``, as several tests look at them."""

from __future__ import annotations

from collections.abc import Sequence

from enlarger.doctor import Finding, Level

GB = 1_000_000_000


def worst(findings: Sequence[Finding]) -> Finding:
    """The first finding of the worst level; one that is not ok has a hint."""
    for finding in findings:
        assert finding.level is Level.OK or finding.hint, finding
    order = [Level.ERROR, Level.WARNING, Level.OK]
    return min(findings, key=lambda finding: order.index(finding.level))
