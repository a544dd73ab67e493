"""How ``make test`` distributes the tests: on all cores, and those that measure time or memory alone, at the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest
from support.places import TESTS
from support.quiet import alone_in

CONFTEST = """
import pytest
from support.quiet import QuietLast, how_it_ended, order

@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    items.sort(key=order)

def pytest_xdist_make_scheduler(config, log):
    return QuietLast(config, log)

def pytest_testnodedown(node, error):
    if error:
        print(how_it_ended(node))

def pytest_configure(config):
    config.addinivalue_line("markers", "alone: runs last")
"""

MODULE = """
import os, time
from pathlib import Path
import pytest

def record(kind):
    began = time.monotonic()
    time.sleep(0.1)
    worker = os.environ["PYTEST_XDIST_WORKER"]
    with Path("log").open("a") as log:
        log.write(f"{kind} {__name__} {worker} {began} {time.monotonic()}\\n")

@pytest.mark.parametrize("number", range(4))
def test_beside_others(number):
    record("beside")

@pytest.mark.alone
def test_alone():
    record("alone")
"""


def distributed(folder: Path, **modules: str) -> subprocess.CompletedProcess[str]:
    """Run tests on three workers: the module above three times, and others by name."""
    (folder / "conftest.py").write_text(CONFTEST)
    sources = {"test_a": MODULE, "test_b": MODULE, "test_c": MODULE, **modules}
    for name, source in sources.items():
        (folder / f"{name}.py").write_text(source)
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST")}
    command = [sys.executable, "-m", "pytest", "-p", "xdist", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, "-q", "--rootdir", str(folder), "-n", "3", "--dist", "loadfile"],
        cwd=folder,
        env={**inherited, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=False,
    )


def recorded(folder: Path) -> list[tuple[str, str, str, float, float]]:
    """Return what each test recorded: its kind, module and worker, and when it began and ended."""
    lines = [line.split() for line in (folder / "log").read_text().splitlines()]
    return [
        (kind, module, worker, float(began), float(ended))
        for kind, module, worker, began, ended in lines
    ]


def assert_alone(folder: Path) -> None:
    """No test with the marker overlaps another test."""
    for one, other in combinations(recorded(folder), 2):
        if "alone" in (one[0], other[0]):
            assert one[4] <= other[3] or other[4] <= one[3]


def test_marked_tests_run_after_all_others_and_alone(tmp_path: Path) -> None:
    """The tests of a file share a worker. All have one report: its last line counts the failures of both kinds."""
    failing = "import pytest\n\ndef test_no():\n    assert False\n\n"
    failing += "@pytest.mark.alone\ndef test_no_alone():\n    assert False\n"
    done = distributed(tmp_path, test_d=failing)
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines()[-1].startswith("2 failed, 15 passed in ")
    assert_alone(tmp_path)
    tests = recorded(tmp_path)
    for module in ("test_a", "test_b", "test_c"):
        assert len({test[2] for test in tests if test[:2] == ("beside", module)}) == 1
    assert len({test[2] for test in tests if test[0] == "alone"}) == 1


@pytest.mark.parametrize(
    ("end", "how"),
    [
        ("os._exit(3)", "exited with status 3"),
        ("os.kill(os.getpid(), 9)", "was ended by signal 9"),
    ],
)
def test_worker_that_crashes_is_replaced(tmp_path: Path, end: str, how: str) -> None:
    """The test that ended it fails, and how the process ended is printed. All others run, and the marked ones alone."""
    done = distributed(tmp_path, test_d=f"import os\n\ndef test_end():\n    {end}\n")
    assert done.returncode == 1, done.stderr
    assert how in done.stdout
    assert "1 failed, 15 passed in " in done.stdout.splitlines()[-1]
    assert len(recorded(tmp_path)) == 15
    assert_alone(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_library_has_replaced_what_signals_do() -> None:
    """Python ignores SIGPIPE. Go's runtime, for one, does not, and then a connection that closes may end a worker."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    assert int(status["SigIgn"], 16) >> (signal.SIGPIPE - 1) & 1


MARKED = [
    path
    for path in sorted(TESTS.rglob("test_*.py"))
    if "mark.alone" in path.read_text() and path != Path(__file__)
]


@pytest.mark.parametrize("file", MARKED, ids=lambda path: path.stem)
def test_marker_is_a_decorator_of_each_test(file: Path) -> None:
    """It would not be found in another form, such as ``pytestmark``."""
    assert len(alone_in(file)) == file.read_text().count("mark.alone")
