"""The units of ``deploy/systemd`` and ``docs/how-to/systemd.md``: systemd's own tools read them, and their commands run."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Picture
from support.doc_blocks import commands_on, texts_on
from support.images import Container, Image, program
from support.places import DOCS, REPOSITORY

from enlarger.config import GROUPS

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(1500)]

PAGE = DOCS / "how-to" / "systemd.md"
UNITS = REPOSITORY / "deploy" / "systemd"
GATEWAY = UNITS / "enlarger.service"
MODEL_SERVER = UNITS / "enlarger-model-server@.service"

EXPOSURE = 2.0
"""The most that the page says, of 10."""

PORT = "5002"
DYNAMIC_USER = "61184"
"""The first of those that systemd gives to units with ``DynamicUser``."""

_LONG_S = 120


def lines_of(unit: Path) -> Mapping[str, list[str]]:
    """The values of each key, in order, for the instance of the page."""
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", unit.read_text(), re.MULTILINE):
        found.setdefault(key, []).append(value.replace("%i", PORT))
    return found


@pytest.fixture
def copied(tmp_path: Path) -> list[str]:
    """The units, with a command that this machine has, as arguments of ``systemd-analyze``."""
    names = []
    for unit in (GATEWAY, MODEL_SERVER):
        name = unit.name.replace("@", f"@{PORT}")
        text = unit.read_text().replace("/opt/enlarger/bin/enlarger", "/bin/true")
        (tmp_path / unit.name).write_text(text)
        names.append(str(tmp_path / name))
    return names


def analyze(*arguments: str) -> str:
    """What ``systemd-analyze`` prints; it must succeed."""
    done = subprocess.run(
        [program("systemd-analyze"), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, (done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout + done.stderr


def test_systemd_reads_the_units_without_a_word(copied: list[str]) -> None:
    """No key is unknown, and no value is wrong."""
    assert analyze("verify", *copied) == ""


def test_exposure_is_as_low_as_the_page_says(copied: list[str]) -> None:
    """``security`` fails if a unit is above the threshold, in tenths."""
    assert f"below {EXPOSURE:.0f} of 10" in PAGE.read_text()
    for unit in (GATEWAY, MODEL_SERVER):
        file = str(Path(copied[0]).parent / unit.name)
        analyze("security", "--offline=true", f"--threshold={10 * EXPOSURE:.0f}", file)


def test_settings_of_the_units_and_of_the_page_exist() -> None:
    """And the page installs the files that there are."""
    settings = {
        str(field.validation_alias)
        for group in GROUPS.values()
        for field in group.model_fields.values()
    }
    (example,) = texts_on(PAGE, "ini")
    shown = example.splitlines()
    for unit in (GATEWAY, MODEL_SERVER):
        shown += lines_of(unit)["Environment"]
    assert {line.partition("=")[0] for line in shown} <= settings
    typed = "".join(commands_on(PAGE))
    for file in re.findall(r"^cp (\S+) /etc/systemd/system/$", typed, re.MULTILINE):
        assert (REPOSITORY / file).is_file()
    assert typed.count("\ncp ") + typed.startswith("cp ") == 2
    (environment,) = re.findall(r"/opt/\w+", lines_of(GATEWAY)["ExecStart"][0])
    assert f"python3 -m venv {environment}\n{environment}/bin/pip install .\n" in typed


def started(
    unit: Path, image: Image, root: Path, volumes: dict[str, Path], log: Path, **options: Any
) -> Container:
    """The command of a unit as systemd starts it: its user, its variables, its folder, and what it may write."""
    lines = lines_of(unit)
    (command,) = lines["ExecStart"]
    variables = {"PATH": "/usr/sbin:/usr/bin", **options.pop("environment", {})}
    config = {
        "User": f"{DYNAMIC_USER}:{DYNAMIC_USER}",
        "Env": [*(f"{name}={text}" for name, text in variables.items()), *lines["Environment"]],
        "WorkingDir": lines["WorkingDirectory"][0],
        "Entrypoint": shlex.split(command),
        "Cmd": [],
        "Healthcheck": image.config["Healthcheck"],
    }
    return Container(root, config, volumes, log, **options)


def test_commands_of_the_units_run_as_systemd_starts_them(
    image: Image, cat: bytes, tmp_path: Path
) -> None:
    """A model server and a gateway: systemd hears that it is ready, alive and stopping, and a photo is upscaled."""
    folders = {}
    for name in ("state", "compiled", "run", "server"):
        folders[name] = tmp_path / name
        folders[name].mkdir()
    (tmp_path / "cat.jpg").write_bytes(cat)
    token = {"ENLARGER_TILE_TOKEN": "0123456789abcdef"}
    heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    heard.bind(str(folders["run"] / "notify"))
    os.chown(folders["run"] / "notify", int(DYNAMIC_USER), int(DYNAMIC_USER))
    heard.settimeout(_LONG_S)
    with closing(heard), image.mounted() as root:
        # systemd makes these folders, as StateDirectory= and CacheDirectory= say.
        assert lines_of(GATEWAY)["StateDirectory"] == ["enlarger"]
        assert lines_of(GATEWAY)["CacheDirectory"] == ["enlarger"]
        (cache,) = lines_of(MODEL_SERVER)["CacheDirectory"]
        for place in (root / "var" / "cache" / cache, root / "run" / "systemd"):
            place.mkdir(parents=True, exist_ok=True)
        server = started(
            MODEL_SERVER,
            image,
            root,
            {f"/var/cache/{cache}": folders["server"]},
            tmp_path / "server.log",
            environment=token,
        )
        with server:
            gateway = started(
                GATEWAY,
                image,
                root,
                {
                    "/var/lib/enlarger": folders["state"],
                    "/var/cache/enlarger": folders["compiled"],
                    "/run/systemd": folders["run"],
                },
                tmp_path / "gateway.log",
                environment={
                    **token,
                    "ENLARGER_SERVERS": f"127.0.0.1:{PORT}",
                    "NOTIFY_SOCKET": "/run/systemd/notify",
                    "WATCHDOG_USEC": "1000000",
                },
                network=server,
            )
            with gateway:
                messages = [heard.recv(4096).decode()]
                while not messages[-1].startswith("READY=1"):
                    messages.append(heard.recv(4096).decode())
                assert messages[-1] == "READY=1\nSTATUS=Accepts pictures on 127.0.0.1:8000"
                assert gateway.call(*gateway.config["Healthcheck"]["Test"][1:]).returncode == 0
                done = gateway.call(
                    *("curl", "-sf", "--data-binary", f"@{tmp_path / 'cat.jpg'}"),
                    *("-o", str(tmp_path / "big.png")),
                    "http://localhost:8000/v1/upscale?scale=4&model=realesr-animevideov3",
                )
                assert done.returncode == 0, gateway.log.read_text()[-3000:]
                os.kill(gateway.pid, signal.SIGTERM)
                while not messages[-1].startswith("STOPPING=1"):
                    messages.append(heard.recv(4096).decode())
                assert messages.count("WATCHDOG=1") >= 3
                assert gateway.wait(20) == 0
    with Picture.open(tmp_path / "big.png") as picture:
        assert picture.size == (384, 336)
