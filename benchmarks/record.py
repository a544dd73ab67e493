"""Records every benchmark's figures with machine, commit, command, date, and each run."""

from __future__ import annotations

import json
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from enlarger import config
from enlarger.geometry.rect import Pixels

RESULTS = Path(__file__).parent / "results.jsonl"


def photo(name: str = "astronaut.png") -> Pixels:
    """Return a photograph of scikit-image, RGB. The default is "astronaut": 512 x 512, public domain."""
    import skimage

    # This reads the file itself, because skimage's own loaders would use the network.
    with Image.open(Path(skimage.__file__).parent / "data" / name) as image:
        return np.asarray(image.convert("RGB"))


def machine() -> dict[str, Any]:
    """Return the properties of the machine that figures depend on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": config.cores(),
        "features": [flag for flag in ("avx512_bf16", "avx512_vnni", "amx_bf16") if flag in flags],
        "python": platform.python_version(),
        "openvino": version("openvino"),
        "numpy": version("numpy"),
        "pillow": version("pillow"),
    }


def commit(folder: Path = RESULTS.parent) -> str:
    """Return the measured commit, with ``-dirty`` if files differ from it. Changed results do not count.

    Args:
        folder: a folder in the checkout.
    """

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - the user's git
            ["git", *arguments],  # noqa: S607 - wherever that is
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )

    same = git("diff", "--quiet", "HEAD", "--", ":/", f":(exclude){RESULTS.name}").returncode == 0
    return git("rev-parse", "--short", "HEAD").stdout.strip() + ("" if same else "-dirty")


def record(question: str, figures: dict[str, Any]) -> None:
    """Append one line to ``results.jsonl``."""
    line = {
        "question": question,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "command": shlex.join(["python", "/".join(Path(sys.argv[0]).parts[-2:]), *sys.argv[1:]]),
        "machine": machine(),
        **figures,
    }
    with RESULTS.open("a") as results:
        results.write(json.dumps(line) + "\n")
