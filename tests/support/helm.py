"""Helm, in a process of its own.

Its library contains the runtime of Go, which replaces what the process does on SIGPIPE and SIGSEGV. Twice, a worker of the
tests that had imported it ended without a word, in tests that have nothing to do with Helm but close connections. That
this was the reason is likely, and not proved.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


class HelmError(Exception):
    """Helm refuses the chart or its values."""


def render(chart: Path, values: dict[str, Any], *, name: str, namespace: str) -> dict[str, str]:
    """Return what a chart makes of values: the text of each file, by path."""
    files: dict[str, str] = _run("render", chart, values, name=name, namespace=namespace)
    return files


def lint(chart: Path) -> dict[str, Any]:
    """Return what Helm finds wrong with a chart."""
    found: dict[str, Any] = _run("lint", chart, {})
    return found


def validate(chart: Path, values: dict[str, Any]) -> None:
    """Check values against the schema of a chart.

    Raises:
        HelmError: they do not fit.
    """
    _run("validate", chart, values)


def _run(action: str, chart: Path, values: dict[str, Any], **options: str) -> Any:
    asked = json.dumps({"action": action, "chart": str(chart), "values": values, **options})
    ran = subprocess.run(
        [sys.executable, __file__], input=asked, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    answer = json.loads(ran.stdout)
    if "error" in answer:
        raise HelmError(answer["error"])
    return answer["found"]


def _main() -> None:
    import helm_python as helm

    asked = json.load(sys.stdin)
    action, path, values = (asked.pop(name) for name in ("action", "chart", "values"))
    try:
        if action == "lint":
            found = helm.lint(path)
        else:
            with helm.Chart.load(path) as chart:
                found = (chart.render if action == "render" else chart.validate_schema)(
                    values, **asked
                )
    except helm.HelmError as error:
        answer = {"error": str(error)}
    else:
        answer = {"found": found}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    _main()
