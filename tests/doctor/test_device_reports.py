"""``enlarger devices``: a report on each device, on the real ones of this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from os import environ
from pathlib import Path

from support.vulkan import DEVICE, software_device

MODEL = "nearest"


def run(environment: dict[str, str], folder: Path, *arguments: str) -> str:
    """What the command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "enlarger", "devices", "--model", MODEL, *arguments],
        cwd=folder,
        env={**environ, **environment},
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
    )
    return done.stdout


def test_devices_are_measured(environment: dict[str, str], tmp_path: Path) -> None:
    """The CPU and, if Vulkan is here, llvmpipe; the one that the setting names is marked."""
    device = software_device()
    settings = environment | {"ENLARGER_DEVICE": DEVICE}
    rows = json.loads(run(settings, tmp_path, "--json", "--speed", "0.2"))["devices"]
    by_name = {row["name"]: row for row in rows}
    cpu, vulkan = by_name["cpu"], by_name[f"vulkan:{device.index}"]
    assert (cpu["kind"], cpu["golden"], cpu["is_chosen"]) == ("cpu", "ok", False)
    assert cpu["lr_px_per_s"] > 0
    assert (vulkan["title"], vulkan["kind"], vulkan["golden"]) == (device.name, "software", "ok")
    assert (vulkan["precision"], vulkan["is_chosen"]) == ("f16", True)
    assert vulkan["memory_mib"] > 0
    assert vulkan["lr_px_per_s"] > 0


def test_devices_are_printed_as_lines(environment: dict[str, str], tmp_path: Path) -> None:
    """One for each, without a measurement if nobody wants one."""
    lines = run(environment, tmp_path, "--speed", "0").splitlines()
    assert lines[0].startswith("* cpu: class cpu, ")
    assert lines[0].endswith("golden picture: ok")
    assert lines[-1] == "* is what ENLARGER_DEVICE selects."
