"""A model with noise levels that keeps the size of a picture, for tests: rows and files of ``MODEL_DIR``."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from enlarger.models import Convolution
from support.networks import layer_line, pack, param_text

CLEANER = "cleaner"
"""Id of the model. It takes 0.1 from each sample at level 1, which is its own, and 0.3 at level 3."""

LEVELS = {1: 0.1, 3: 0.3}
"""What each noise level takes from samples in [0, 1], so that results tell which network ran."""


def write_cleaner(folder: Path) -> None:
    """Write the row, and the files of its two noise levels."""
    for level in LEVELS:
        convolution = _darker(LEVELS[level])
        lines = ["Input data 0 1 blob_0", layer_line(convolution, 0)]
        (folder / f"{CLEANER}{level}.param").write_text(param_text(lines))
        (folder / f"{CLEANER}{level}.bin").write_bytes(pack([convolution]))
    digests = {
        level: hashlib.sha256((folder / f"{CLEANER}{level}.bin").read_bytes()).hexdigest()
        for level in LEVELS
    }
    (folder / f"{CLEANER}.toml").write_text(
        f"""id = "{CLEANER}"
title = "made in a test"
scale = 1
architecture = "generic"
param = "{CLEANER}1.param"
bin = "{CLEANER}1.bin"
sha256 = "{digests[1]}"
licence = "CC-BY-NC-4.0"
source = "tests/support/levels.py"
noise_level = 1

[denoise.3]
param = "{CLEANER}3.param"
bin = "{CLEANER}3.bin"
sha256 = "{digests[3]}"
"""
    )


def _darker(amount: float) -> Convolution:
    weight = np.zeros((3, 3, 3, 3), np.float32)
    weight[range(3), range(3), 1, 1] = 1
    return Convolution(weight, np.full(3, -amount, np.float32))
