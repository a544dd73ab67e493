"""Runs all scripts in turn, and prints one table at the end. The exit status is 1 if one promise is broken."""

from __future__ import annotations

import argparse
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from promises import Finding, Findings, read_findings, table

SCRIPTS = (
    "kill",
    "jobs",
    "hang",
    "failing",
    "overload",
    "fairness",
    "cancel",
    "restart",
    "disk",
    "soak",
)
LIMIT_S = 900
"""The time limit of one script, in addition to the soak's own time. A script that needs longer is stuck."""


def main() -> None:
    """Run all scripts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "scripts", nargs="*", help=f"scripts to run, of {', '.join(SCRIPTS)}; all by default"
    )
    parser.add_argument("--minutes", type=float, default=10, help="minutes of the soak")
    parser.add_argument(
        "--seed", type=int, default=secrets.randbelow(1_000_000), help="seed of the random numbers"
    )
    parser.add_argument("--folder", type=Path, help="folder for the services' logs")
    arguments = parser.parse_args()
    scripts = arguments.scripts or SCRIPTS
    if unknown := set(scripts) - set(SCRIPTS):
        parser.error(f"no such script: {', '.join(sorted(unknown))}")
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        report = Path(temporary) / "report.jsonl"
        for script in scripts:
            more = ["--minutes", str(arguments.minutes)] if script == "soak" else []
            if arguments.folder is not None:
                more += ["--folder", str(arguments.folder / script)]
            command = [sys.executable, str(Path(__file__).with_name(f"{script}.py"))]
            command += ["--seed", str(arguments.seed), "--report", str(report), *more]
            status = run(command, limit_s=LIMIT_S + 60 * arguments.minutes)
            if status and not any(is_broken(one, script) for one in read_findings(report)):
                Findings(script, report).check("it runs to its end", False, f"status {status}")
        findings = read_findings(report)
    broken = sum(one.held is False for one in findings)
    took_min = (time.monotonic() - began) / 60
    print(f"\n{table(findings)}\n\nseed {arguments.seed}, {took_min:.1f} minutes, {broken} broken")
    raise SystemExit(int(broken > 0))


def is_broken(finding: Finding, script: str) -> bool:
    """Whether a finding is a broken promise of that script."""
    return finding.question == script and finding.held is False


def run(command: list[str], *, limit_s: float) -> int:
    """Return a command's exit status. A command that is stuck is interrupted, so that it stops its service."""
    process = subprocess.Popen(command)  # a script of this folder
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        try:
            return process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


if __name__ == "__main__":
    main()
