"""Python, and the packages that enlarger needs."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from enlarger.doctor.finding import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageFacts:
    """What is installed, and what is required."""

    python: str
    """Version of Python, such as ``3.12.4``."""

    python_required: str
    """The versions of Python that can be used, such as ``>=3.11``."""

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
        name = Requirement(requirement).name
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return PackageFacts(
        python=".".join(map(str, sys.version_info[:3])),
        python_required=str(facts["Requires-Python"]),
        enlarger=str(facts["Version"]),
        requirements=requirements,
        installed=installed,
    )


def findings(facts: PackageFacts) -> list[Finding]:
    """Return what is wrong with Python and the packages."""
    found = []
    if not SpecifierSet(facts.python_required).contains(facts.python, prereleases=True):
        found.append(
            Finding.error(
                f"Python {facts.python} does not fit",
                hint=f"install Python {facts.python_required}",
            )
        )
    else:
        found.append(Finding.ok(f"enlarger {facts.enlarger} on Python {facts.python}"))
    right = 0
    for requirement in map(Requirement, facts.requirements):
        name, specifier = requirement.name, requirement.specifier
        installed = facts.installed.get(name)
        is_wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if installed is None and not is_wanted:
            continue  # an extra that nobody asked for
        hint = f"pip install '{name}{specifier}'"
        if installed is None:
            found.append(Finding.error(f"the package {name} is missing", hint=hint))
        elif not specifier.contains(installed, prereleases=True):
            found.append(
                Finding.error(
                    f"{name} {installed} does not fit", f"{specifier} is required", hint=hint
                )
            )
        else:
            right += 1
    found.append(Finding.ok(f"{right} packages have versions that fit"))
    return found
