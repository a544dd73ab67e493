"""What several test modules share: pictures, golden pictures, and networks small enough to run at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from support.networks import write_nearest, write_random_rrdb
from support.pictures import skimage_photo
from support.places import REPOSITORY
from support.quiet import QuietLast, how_it_ended, order
from xdist.remote import Producer
from xdist.workermanage import WorkerController

from enlarger import tracing
from enlarger.config import GROUPS
from enlarger.geometry.rect import Pixels

# A machine that is busy with something else is slow, not wrong.
settings.register_profile("enlarger", deadline=None, max_examples=60)
settings.load_profile("enlarger")

# A shell has what it starts in the background ignore Ctrl-C, and the programs that tests start would ignore it, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = [
    "support.enlargements",
    "support.gateways",
    "support.job_rows",
    "support.pipelines",
    "support.stores",
]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests into the order in which they run, and in which they are distributed."""
    items.sort(key=order)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> QuietLast | None:
    """Return the scheduler of ``make test``; with another ``--dist``, pytest-xdist has its own."""
    return QuietLast(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: WorkerController, error: object | None) -> None:
    """Print how a worker ended that crashed."""
    if error:
        node.config.get_terminal_writer().line(f"\n{how_it_ended(node)}")


SHARED_DATA = REPOSITORY.parent / "shared" / "data"


@pytest.fixture(scope="session")
def photo() -> Pixels:
    """A photograph with faces, cloth, metal and blur: 512 x 512, RGB."""
    return skimage_photo("astronaut.png")


def _shared(name: str) -> Path:
    folder = SHARED_DATA / name
    if not folder.is_dir():
        pytest.skip(f"the shared folder data/{name} is not beside the repository")
    return folder


@pytest.fixture(scope="session")
def golden_folder() -> Path:
    """Pictures made by the official weights in PyTorch, which are not part of the repository."""
    return _shared("golden")


@pytest.fixture(scope="session")
def weights_folder() -> Path:
    """Ncnn files of further models, which are not part of the repository."""
    return _shared("weights")


@pytest.fixture(scope="session")
def cases_folder() -> Path:
    """Small files made after public bug reports, which are not part of the repository."""
    return _shared("cases")


@pytest.fixture(scope="session")
def bad_inputs() -> dict[str, bytes]:
    """Files that once broke an image decoder, by name, which are not part of the repository."""
    folder = _shared("bad-inputs")
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".md"}


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where engines of all tests keep compiled networks, so that each is compiled once.

    Workers of pytest-xdist share it, as model servers of one machine do: a file is written aside and renamed, its name
    is a hash of what it was made from, and its checksum is checked.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    (folder / "compiled").mkdir(exist_ok=True)
    return folder / "compiled"


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ``MODEL_DIR`` with two made networks: ``nearest`` (compact) and ``tiny-rrdb``."""
    folder = tmp_path_factory.mktemp("models")
    write_nearest(folder, "nearest")
    write_random_rrdb(folder, "tiny-rrdb")
    return folder


@pytest.fixture(scope="session")
def environment(model_dir: Path, cache_folder: Path) -> dict[str, str]:
    """Settings of every service and command that tests start.

    Samples are exact in f32 alone, and ``auto`` is another precision on another processor. So the precision is named
    here, for all; what ``auto`` means is tested with made processors, in test_processor.py.
    """
    return {
        "MODEL_DIR": str(model_dir),
        "ENLARGER_CACHE_DIR": str(cache_folder),
        "ENLARGER_PRECISION": "f32",
        "ENLARGER_DEVICE": "cpu",
    }


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment has no setting of ours, whatever the developer's shell has."""
    fields = [field for group in GROUPS.values() for field in group.model_fields.values()]
    settings = {str(field.validation_alias) for field in fields}
    for variable in os.environ:
        if variable.upper().startswith("ENLARGER_") or variable in settings:
            monkeypatch.delenv(variable)


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """What is traced in this process during the test."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    yield exporter
    tracing.use(None)
