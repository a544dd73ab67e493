"""An installation on a clean Debian: from the wheel, by a user without a home, in a network that has nothing but itself."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
import release
from PIL import Image as Picture
from support.images import RELEASE, Container, program

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(900)]

PLACE = "/srv/enlarger"
USER = {
    "User": "12345:12345",
    "Env": ["PATH=/usr/bin:/bin", "HOME=/nonexistent", "LANG=C.UTF-8"],
    "WorkingDir": PLACE,
    "Entrypoint": [],
}
"""A user whom the system does not know, and whose home does not exist."""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, and the wheels of all that it depends on."""
    wheel, _ = release.build(tmp_path_factory.mktemp("built"))
    folder = tmp_path_factory.mktemp("wheels")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "-q", "--dest", str(folder)),
            *("--only-binary", ":all:", "--python-version", "3.11", str(wheel)),
        ],
        check=True,
        timeout=600,
    )
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Debian with Python and its venv, and a folder for the user."""
    folder = tmp_path_factory.mktemp("clean") / "root"
    sources = Path("/etc/apt/sources.list.d/debian.sources")
    subprocess.run(
        [
            *(program("mmdebstrap"), "--variant=minbase"),
            "--include=usr-is-merged,python3,python3-venv,curl",
            "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
            *(RELEASE, str(folder)),
            *([str(sources)] if sources.exists() else []),
        ],
        check=True,
        capture_output=True,
        timeout=600,
    )
    for place in (PLACE, "/wheels"):
        (folder / place.lstrip("/")).mkdir(parents=True)
    yield folder
    shutil.rmtree(folder)


def test_wheel_is_installed_used_and_stopped(
    root: Path, wheels: Path, cat: bytes, tmp_path: Path
) -> None:
    """With pip alone. A photo is upscaled by a service that stops with status 0, and by the command line."""
    home = tmp_path / "home"
    home.mkdir()
    volumes = {PLACE: home, "/wheels": wheels}

    def container(*command: str) -> Container:
        return Container(root, USER, volumes, tmp_path / "log", command)

    install = ".venv/bin/pip install --no-index --find-links /wheels --no-cache-dir enlarger"
    with container("sh", "-c", f"python3 -m venv .venv && {install}") as installing:
        assert installing.wait(within_s=300) == 0, installing.log.read_text()[-3000:]
    (home / "cat.jpg").write_bytes(cat)
    with container(".venv/bin/enlarger", "serve") as service:
        give_up = time.monotonic() + 180
        while service.call("curl", "-sf", "http://localhost:8000/readyz", inside=True).returncode:
            assert time.monotonic() < give_up, service.log.read_text()[-3000:]
            time.sleep(1)
        upscale = "http://localhost:8000/v1/upscale?scale=2"
        done = service.call(
            *("curl", "-sf", "--data-binary", f"@{PLACE}/cat.jpg"),
            *("-o", f"{PLACE}/served.png", upscale),
            inside=True,
        )
        assert done.returncode == 0, (done.stderr, service.log.read_text()[-3000:])
        assert service.stop(signal.SIGTERM, within_s=30) == 0
        log = service.log.read_text()
    assert not re.search(r'"level": "(error|critical)"|Traceback', log), log[-3000:]
    with container(
        ".venv/bin/enlarger", "upscale", "cat.jpg", "typed.png", "--scale", "2"
    ) as typed:
        assert typed.wait(within_s=180) == 0, typed.log.read_text()[-3000:]
    sizes = set()
    with Picture.open(BytesIO(cat)) as before:
        for name in ("served.png", "typed.png"):
            with Picture.open(home / name) as after:
                sizes.add(after.size)
        assert sizes == {(2 * before.width, 2 * before.height)}
