"""What ``enlarger doctor`` finds about Python, its packages, the CPU and the memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.findings import GB, worst

import enlarger
from enlarger.config import Settings, load
from enlarger.doctor import Level, memory, packages, processor, system

pytestmark = pytest.mark.usefixtures("no_settings")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings whose folders are below ``tmp_path``, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return load(cache_dir=tmp_path / "cache", num_servers=1, base_port=0)


# Python and packages


def test_this_installation_has_the_packages_it_needs() -> None:
    """The tests run in one that was made from the package's own requirements."""
    facts = packages.gather()
    assert {"numpy", "openvino", "typer"} <= set(facts.installed)
    found = packages.findings(facts)
    assert worst(found).level is Level.OK
    assert found[0].title.startswith(f"enlarger {enlarger.__version__} on Python ")


@pytest.mark.parametrize(
    ("installed", "told"),
    [
        ({"numpy": "2.2.1", "own": "1.0.1"}, None),
        ({"numpy": "2.10", "own": "1.0.1"}, None),
        ({"numpy": "2.1.9", "own": "1.0.1"}, "numpy 2.1.9 does not fit"),
        ({"numpy": "2.2", "own": "1.0.2"}, "own 1.0.2 does not fit"),
        ({"own": "1.0.1"}, "the package numpy is missing"),
        ({"numpy": "2.2", "own": "1.0.1", "extra": "0.9"}, "extra 0.9 does not fit"),
        ({"numpy": "2.2", "own": "1.0.1", "extra": "2.0"}, "extra 2.0 does not fit"),
    ],
)
def test_packages_that_are_missing_or_too_old(installed: dict[str, str], told: str | None) -> None:
    """Each is named with the command that puts it right. An extra need not be installed."""
    facts = packages.PackageFacts(
        python="3.12.1",
        python_required=">=3.11",
        enlarger="1.0",
        requirements=["numpy>=2.2", "own==1.0.1", 'extra[x]<2,>=1.0; extra == "more"'],
        installed=installed,
    )
    found = worst(packages.findings(facts))
    assert (found.level is Level.OK) == (told is None)
    if told is not None:
        assert found.title == told
        assert found.hint.startswith("pip install '")
    old = worst(packages.findings(replace(facts, python="3.9.18", installed={})))
    assert old.title == "Python 3.9.18 does not fit"


# CPU and memory


def test_this_cpu_is_described(here: Settings) -> None:
    """With what ``auto`` means on it."""
    found = processor.findings(processor.gather(here))
    assert found[0].title.startswith("CPU: ")
    assert found[1].title in {"precision: bf16", "precision: f32"}


CPU = processor.ProcessorFacts(
    name="a CPU",
    cores=4,
    quota=None,
    instructions={"avx2"},
    precisions=("f32",),
    wanted="auto",
    servers=4,
    devices=[("CPU", "a CPU"), ("GPU", "a graphics card")],
)


def test_settings_that_do_not_fit_the_cpu() -> None:
    """A precision that it does not have, more servers than cores, and less time than cores."""
    assert worst(processor.findings(CPU)).level is Level.OK
    assert "graphics card" in processor.findings(CPU)[-1].title
    wrong = worst(processor.findings(replace(CPU, wanted="bf16")))
    assert (wrong.level, wrong.hint) == (Level.ERROR, "set ENLARGER_PRECISION=auto")
    many = worst(processor.findings(replace(CPU, servers=5)))
    assert (many.level, many.hint) == (Level.WARNING, "set NUM_SERVERS=4, or auto")
    quota = worst(processor.findings(replace(CPU, quota=1.5)))
    assert quota.title == "the container may use 1.5 of 4 cores"


def test_memory_that_is_not_enough() -> None:
    """For the servers, it is an error; for all pictures that are admitted, a warning."""
    facts = memory.MemoryFacts(
        available_bytes=8 * GB, limit_bytes=None, servers=2, pictures_bytes=2 * GB
    )
    assert worst(memory.findings(facts)).level is Level.OK
    little = worst(memory.findings(replace(facts, available_bytes=int(1.6 * GB))))
    assert (little.level, little.hint) == (Level.ERROR, "set NUM_SERVERS=1, or free memory")
    less = worst(memory.findings(replace(facts, available_bytes=3 * GB, limit_bytes=4 * GB)))
    assert less.level is Level.WARNING
    assert "of 4.0 GB that the container may use" in less.title
    assert "ENLARGER_PICTURE_MEMORY=" in less.hint
    assert worst(memory.findings(replace(facts, available_bytes=None))).level is Level.WARNING


def test_memory_of_this_machine_is_known(here: Settings) -> None:
    """Linux says it."""
    available = memory.gather(here).available_bytes
    assert available is not None
    assert available > 1 << 20


@pytest.mark.parametrize("version", [1, 2])
def test_limits_of_a_container_are_found(tmp_path: Path, version: int) -> None:
    """The tightest one counts, which may be that of a group above this process's."""
    files = {
        1: {
            "proc/self/cgroup": "3:cpu,cpuacct:/box\n5:memory:/box\n",
            "sys/fs/cgroup/memory/box/memory.limit_in_bytes": "4000",
            "sys/fs/cgroup/memory/box/memory.usage_in_bytes": "1000",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
            "sys/fs/cgroup/cpu/box/cpu.cfs_quota_us": "150000",
            "sys/fs/cgroup/cpu/box/cpu.cfs_period_us": "100000",
        },
        2: {
            "proc/self/cgroup": "0::/outer/inner\n",
            "sys/fs/cgroup/outer/inner/memory.max": "max",
            "sys/fs/cgroup/outer/memory.max": "4000",
            "sys/fs/cgroup/outer/memory.current": "1000",
            "sys/fs/cgroup/outer/inner/cpu.max": "150000 100000",
            "sys/fs/cgroup/outer/cpu.max": "max 100000",
        },
    }
    for name, content in files[version].items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert system.cgroup(tmp_path) == system.Cgroup(4000, 1000, 1.5)
    assert system.cgroup(tmp_path / "elsewhere") == system.Cgroup(None, 0, None)
