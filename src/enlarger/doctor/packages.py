"""Python, and the packages that enlarger needs."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata

from enlarger.doctor.finding import Finding

_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*(?:(>=|==)\s*([0-9.]+))?\s*(;.*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageFacts:
    """What is installed, and what is required."""

    python: str
    """Version of Python, such as ``3.12.4``."""

    python_required: str
    """The least version of Python, such as ``3.11``."""

    enlarger: str
    """Version of enlarger."""

    requirements: Sequence[str]
    """Requirements as the metadata of the package has them, such as ``numpy>=2.2``."""

    installed: Mapping[str, str]
    """Versions of the packages in ``requirements`` that are installed."""


def gather() -> PackageFacts:
    """Read the metadata of the installed packages."""
    facts = metadata.metadata("enlarger")
    requirements = metadata.requires("enlarger") or []
    installed = {}
    for requirement in requirements:
        name = _parts(requirement)[0]
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return PackageFacts(
        python=".".join(map(str, sys.version_info[:3])),
        python_required=str(facts["Requires-Python"]).removeprefix(">="),
        enlarger=str(facts["Version"]),
        requirements=requirements,
        installed=installed,
    )


def findings(facts: PackageFacts) -> list[Finding]:
    """Return what is wrong with Python and the packages."""
    found = []
    if _release(facts.python) < _release(facts.python_required):
        found.append(
            Finding.error(
                f"Python {facts.python} is too old",
                hint=f"install Python {facts.python_required} or newer",
            )
        )
    else:
        found.append(Finding.ok(f"enlarger {facts.enlarger} on Python {facts.python}"))
    right = 0
    for requirement in facts.requirements:
        name, operator, version, marker = _parts(requirement)
        installed = facts.installed.get(name)
        if installed is None and marker:
            continue  # an extra that nobody asked for
        wanted = f"'{name}{operator}{version}'"
        if installed is None:
            found.append(
                Finding.error(f"the package {name} is missing", hint=f"pip install {wanted}")
            )
        elif not _meets(installed, operator, version):
            found.append(
                Finding.error(
                    f"{name} {installed} does not fit",
                    f"{operator}{version} is required",
                    hint=f"pip install {wanted}",
                )
            )
        else:
            right += 1
    found.append(Finding.ok(f"{right} packages have versions that fit"))
    return found


def _parts(requirement: str) -> tuple[str, str, str, str]:
    """Return name, operator, version and marker of a requirement; what is absent is empty."""
    match = _REQUIREMENT.match(requirement)
    if match is None:
        return requirement, "", "", ""
    name, operator, version, marker = (part or "" for part in match.groups())
    return name, operator, version, marker


def _meets(installed: str, operator: str, version: str) -> bool:
    if not operator:
        return True
    has, wanted = _release(installed), _release(version)
    return has >= wanted if operator == ">=" else has == wanted


def _release(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, without zeros at the end: 3.14 is 3.14.0."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    numbers = [int(part) for part in match[0].split(".")] if match else []
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)
