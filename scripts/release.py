"""``make release``: builds sdist and wheel into ``dist``, and lists what an installation contains into ``build/release``.

Two builds of the same commit are equal, byte by byte: files have the time of the commit.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Build, install the wheel into a clean environment, and write its SBOM and licences."""
    (wheel, _) = build(ROOT / "dist")
    lists = ROOT / "build" / "release"
    lists.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        venv.create(name, with_pip=True)
        python = Path(name) / "bin" / "python"
        _run(str(python), "-m", "pip", "install", "-q", str(wheel))
        _run(str(python), "-m", "pip", "uninstall", "-q", "-y", "pip", "setuptools")
        sbom = sbom_of(python, lists / "enlarger.cdx.json")
    (lists / "licences.txt").write_text("".join(f"{line}\n" for line in licences(sbom)))


def build(folder: Path) -> tuple[Path, Path]:
    """Build this checkout into a folder, and return the wheel and the sdist."""
    commit_s = os.environ.get("SOURCE_DATE_EPOCH") or subprocess.check_output(
        ["git", "log", "-1", "--format=%ct"],  # noqa: S607 - whichever git there is
        cwd=ROOT,
        text=True,
    )
    environment = {**os.environ, "SOURCE_DATE_EPOCH": commit_s.strip()}
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, env=environment)  # noqa: S603 - written above
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def sbom_of(python: Path, file: Path) -> dict[str, Any]:
    """Write the SBOM of an environment, in CycloneDX, and return it."""
    _run(
        *(sys.executable, "-m", "cyclonedx_py", "environment", str(python)),
        *("--output-reproducible", "--output-format", "JSON", "--output-file", str(file)),
        *("--pyproject", str(ROOT / "pyproject.toml")),
    )
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def licences(sbom: dict[str, Any]) -> list[str]:
    """Return a line for each package of an SBOM: name, version and licence.

    Raises:
        SystemExit: a package states no licence.
    """
    lines = []
    for part in sorted(sbom["components"], key=lambda one: str(one["name"]).lower()):
        stated = list(_stated(part.get("licenses", ())))
        if not stated:
            raise SystemExit(f"release: {part['name']} {part['version']} states no licence")
        lines.append(f"{part['name']} {part['version']}: {' AND '.join(stated)}")
    return lines


def _stated(entries: Iterable[dict[str, Any]]) -> Iterable[str]:
    for entry in entries:
        licence = entry.get("license", {})
        text = entry.get("expression") or licence.get("id") or licence.get("name")
        if text:
            yield " ".join(str(text).split())[:100]


def installed() -> set[tuple[str, str]]:
    """Return the name, in lower case with dashes, and the version of each package of this environment."""
    return {
        (one.name.lower().replace("_", "-").replace(".", "-"), one.version)
        for one in importlib.metadata.distributions()
    }


def _run(*arguments: str) -> None:
    subprocess.run(arguments, check=True)  # noqa: S603 - commands written above


if __name__ == "__main__":
    main()
