"""What ``make chaos`` judges by: growth, shares, verdicts, and that nothing is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import run
from promises import Finding, Findings, growth, read_findings, rise, share_within, table
from support.places import REPOSITORY

CHAOS = REPOSITORY / "chaos"
SHARED = {"promises", "run", "scene"}


def test_growth_is_from_the_second_fifth_to_the_last() -> None:
    """What happens while it warms up, or in a single moment, does not count; what stays does."""
    assert growth([0, 90, 100, 100, 900, 100, 100, 100, 100, 100]) == 0
    assert growth([0, 0, 100, 100, 110, 120, 130, 140, 150, 150]) == 50
    with pytest.raises(ValueError, match="five samples"):
        growth([1, 2, 3, 4])


def test_rise_is_from_peak_to_peak() -> None:
    """However early it comes, and however short it is."""
    assert rise([80, 100, 85], [81, 151, 82]) == 51
    assert rise([80], [131, 20]) == 51
    for before, samples in (([], [1.0]), ([1.0], [])):
        with pytest.raises(ValueError, match="one sample"):
            rise(before, samples)


def test_share_counts_those_within_the_limit() -> None:
    """The limit itself is within."""
    assert share_within([0.5, 2.0, 2.1, 9], 2) == 0.5
    assert share_within([], 2) == 1


def test_findings_are_kept_and_a_broken_one_is_the_exit_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What could not be tried breaks nothing; all that was found can be read back and is in the table."""
    file = tmp_path / "report.jsonl"
    assert read_findings(file) == []
    findings = Findings("kill", file)
    findings.check("no picture fails", held=True, found="0 of 200")
    findings.check("the clock jumps", held=None, found="no libfaketime")
    assert findings.exit_status == 0
    findings.check("all are done", held=False, found="199 of 200")
    assert findings.exit_status == 1
    assert "BROKEN: all are done: 199 of 200" in capsys.readouterr().out
    assert read_findings(file) == [
        Finding("kill", "no picture fails", held=True, found="0 of 200"),
        Finding("kill", "the clock jumps", held=None, found="no libfaketime"),
        Finding("kill", "all are done", held=False, found="199 of 200"),
    ]
    assert [re.split(r"  +", row) for row in table(read_findings(file)).splitlines()] == [
        ["question", "verdict", "promise", "found"],
        ["kill", "holds", "no picture fails", "0 of 200"],
        ["kill", "not tried", "the clock jumps", "no libfaketime"],
        ["kill", "BROKEN", "all are done", "199 of 200"],
    ]


def test_every_script_is_run_and_described() -> None:
    """``make chaos`` runs each script of the folder, and its README says what each must show."""
    scripts = {path.stem for path in CHAOS.glob("*.py")} - SHARED
    assert set(run.SCRIPTS) == scripts
    described = re.findall(r"^\| \[(\w+)\.py\]", (CHAOS / "README.md").read_text(), re.MULTILINE)
    assert set(described) == scripts
