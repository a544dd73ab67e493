"""Every benchmark runs from its first line to its last: at its smallest, on a network that takes no time."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.places import REPOSITORY

from enlarger.config import cores

FOLDER = REPOSITORY / "benchmarks"

SMALLEST = {
    "alpha": "--model nearest",
    "cutouts": "--model nearest --side 16 --shapes disc outline --edges clean jpeg photo",
    "bf16_mixed": "--model tiny-rrdb --pictures astronaut-noisy --side 16 --gradient 12 10 --tile 16 --rounds 1",
    "cold_start": "--model nearest --rounds 1 --ways help warm",
    "encoders": "--model nearest --side 24 --rounds 1",
    "families": "--only waifu2x-anime --tile 32 --rounds 1",
    "files": "--size 0.1 --rounds 1",
    "linear_light": "--model nearest --side 32",
    "gpu": "--device cpu --models nearest --precisions f32 --tiles 16 --seconds 0.1 --side 32 --pictures 1 --peak 1",
    "halos": "--model tiny-rrdb --halo 4 8 --photo astronaut --width 96 --height 24",
    "memory": "--server-model nearest --gateway-model nearest --side 64 --servers 1",
    "precisions": "f32 --model tiny-rrdb --side 16 --tile 24 --rounds 1",
    "seams": "--model tiny-rrdb --halo 4 --blend 2 --photo astronaut --width 96 --height 48",
    "service": "--model nearest --side 32 --rounds 1 --ways whole tiles two",
    "simulate": "--gpus 20 --hours 0.2",
    "throughput": "--model nearest --clients 1 --pictures 2 --side 48 --rounds 1",
    "tile_memory": "--model nearest --sides 32",
    "waiting_jobs": "--jobs 50 --rounds 3 --database jobs.sqlite3",
}
"""Arguments of each script that needs nothing beyond the dev group. ``make bench-smoke`` runs the others."""


@pytest.fixture(scope="module")
def runs(
    environment: dict[str, str], model_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, subprocess.CompletedProcess[str]]:
    """All of them, side by side: nobody looks at the time here."""
    folder = tmp_path_factory.mktemp("benchmarks")
    (folder / "models").symlink_to(model_dir)
    paths = os.pathsep.join([str(REPOSITORY / "scripts"), *filter(None, sys.path)])

    def run(name: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(FOLDER / f"{name}.py"), *SMALLEST[name].split()],
            cwd=folder,
            env={**os.environ, **environment, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=200,
            check=False,
        )

    with ThreadPoolExecutor(cores()) as threads:
        return dict(zip(SMALLEST, threads.map(run, SMALLEST), strict=True))


@pytest.mark.parametrize("name", SMALLEST)
def test_benchmark_runs_to_its_end(
    runs: dict[str, subprocess.CompletedProcess[str]], name: str
) -> None:
    """It prints figures, and no traceback."""
    done = runs[name]
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert any(letter.isdigit() for letter in done.stdout)


def test_cost_of_the_service_is_measured_by_stage(
    environment: dict[str, str], model_dir: Path, tmp_path: Path
) -> None:
    """``service.py --fake`` prints the CPU seconds of each stage, and what would bind on 16 cores."""
    (tmp_path / "models").symlink_to(model_dir)
    paths = os.pathsep.join([str(REPOSITORY / "scripts"), *filter(None, sys.path)])
    done = subprocess.run(
        [
            *(sys.executable, str(FOLDER / "service.py"), "--fake", "--model", "nearest"),
            *("--side", "64", "--rounds", "1", "--pictures", "2"),
        ],
        cwd=tmp_path,
        env={**os.environ, **environment, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    stages = {line.partition("CPU s/MP  ")[2] for line in done.stdout.splitlines()}
    assert {"PNG", "colour lock", "adding tiles", "event loop", "model servers"} <= stages
    assert "MP/s by the gateway's event loop" in done.stdout


WITH_DOWNLOADS = {"contents", "quality"}
"""Scripts that look at pictures of large packages, which ``make pictures`` downloads."""


def test_no_benchmark_is_left_out() -> None:
    """Each script is run here, or by ``make bench-smoke``; those that need a download, by ``make bench-all``."""
    scripts = {path.stem for path in FOLDER.glob("*.py") if "__main__" in path.read_text()}
    makefile = (REPOSITORY / "Makefile").read_text()
    smoke = makefile.partition("\nbench-smoke:")[2].partition("\n\n")[0]
    others = {name for name in scripts if f"$(MEASURE)/{name}.py" in smoke}
    assert scripts == SMALLEST.keys() | others | WITH_DOWNLOADS
    everything = makefile.partition("\nbench-all:")[2].partition("\n\n")[0]
    assert all(f"$(MEASURE)/{name}.py" in everything for name in WITH_DOWNLOADS)


@pytest.mark.parametrize("script", ["tile_memory", "service", "throughput", "precisions"])
def test_precision_that_a_model_lacks_is_said_in_a_line(
    environment: dict[str, str], model_dir: Path, tmp_path: Path, script: str
) -> None:
    """The model decides, whatever the processor has: the made ones have no table of ranges, so no int8."""
    (tmp_path / "models").symlink_to(model_dir)
    arguments = ["int8"] if script == "precisions" else ["--precision", "int8"]
    paths = os.pathsep.join([str(REPOSITORY / "scripts"), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, str(FOLDER / f"{script}.py"), *arguments, "--model", "nearest"],
        cwd=tmp_path,
        env={**os.environ, **environment, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("nearest is computed here in ")
    assert done.stderr.endswith("not in int8\n")
    assert done.stderr.count("\n") == 1
