"""The container image, built by buildah on a base that mmdebstrap makes, and run as a container engine would run it.

There is no container engine here, and no registry. A container is a chroot in namespaces of its own for mounts, processes and
network, without capabilities, as a user that is not root.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from support.places import REPOSITORY
from support.stores import missing

RELEASE = "bookworm"
BASE = "localhost/base"

_SLIM = ("doc", "man", "info", "locale")
"""Folders of /usr/share that Debian's slim images lack as well."""

_BUILD_S = 1200
_START_S = 180


def program(name: str) -> str:
    """The path of a program, which root needs here; without it the test is skipped, or fails in CI."""
    here = Path(sys.executable).parent
    path = shutil.which(name, path=f"{here}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None or os.geteuid() != 0:
        missing(name if path is None else f"{name} for root, who is not the user here: it")
    assert path is not None
    return path


@dataclass(frozen=True)
class Image:
    """An image in a store of its own."""

    builder: Builder
    name: str
    config: Mapping[str, Any]
    """What it says about user, environment, command and so on."""

    @contextmanager
    def mounted(self) -> Iterator[Path]:
        """Its files, until the end of the block."""
        container = self.builder.call("from", "--pull-never", self.name)
        try:
            yield Path(self.builder.call("mount", container))
        finally:
            self.builder.call("rm", container)


class Builder:
    """Buildah with its store in a folder.

    Args:
        folder: everything that is built is below it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._command = [
            program("buildah"),
            *("--root", str(folder / "storage"), "--runroot", str(folder / "run")),
        ]

    def call(self, *arguments: str, timeout_s: float = 120) -> str:
        """What buildah prints."""
        done = subprocess.run(
            [*self._command, *arguments],
            cwd=REPOSITORY,
            env={**os.environ, "BUILDAH_ISOLATION": "chroot"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == 0, (arguments, done.stdout[-3000:], done.stderr[-3000:])
        return done.stdout.strip()

    def make_base(self) -> None:
        """Debian as its slim images are, from the sources of packages that this machine has."""
        archive = self._folder / "base.tar"
        sources = Path("/etc/apt/sources.list.d/debian.sources")
        subprocess.run(
            [
                program("mmdebstrap"),
                "--variant=minbase",
                "--include=usr-is-merged",
                "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
                *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _SLIM),
                RELEASE,
                str(archive),
                *([str(sources)] if sources.exists() else []),
            ],
            check=True,
            capture_output=True,
            timeout=_BUILD_S,
        )
        container = self.call("from", "scratch")
        self.call("add", "--quiet", container, str(archive), "/")
        self.call("commit", "--quiet", "--format", "docker", container, BASE)
        self.call("rm", container)
        archive.unlink()

    def build(self, target: str, **arguments: str) -> Image:
        """What the Dockerfile makes of this checkout.

        Args:
            target: one of its stages.
            arguments: values of its arguments other than BASE.
        """
        name = f"localhost/enlarger:{target}"
        self.call(
            *("build", "--format", "docker", "--layers=false", "--pull-never"),
            *("--target", target, "--tag", name),
            *("--build-arg", f"BASE={BASE}"),
            *(f"--build-arg={key}={value}" for key, value in arguments.items()),
            *_index_of_this_machine(self._folder),
            ".",
            timeout_s=_BUILD_S,
        )
        return self.image(target)

    def image(self, target: str) -> Image:
        """What was built for a target."""
        name = f"localhost/enlarger:{target}"
        config = json.loads(self.call("inspect", "--type", "image", name))["Docker"]["config"]
        return Image(self, name, config)


def _index_of_this_machine(folder: Path) -> list[str]:
    """What the build needs to find packages where pip finds them here: its settings, certificates and folders."""
    shown = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    found: dict[str, str] = {}
    for line in shown.splitlines():
        key, _, value = line.partition("=")
        found.setdefault(key.rpartition(".")[2], value.strip("'\""))
    settings: dict[str, str] = {
        key: found[key] for key in ("index-url", "extra-index-url", "find-links") if key in found
    }
    options: list[str] = []
    certificates = os.environ.get("SSL_CERT_FILE") or found.get("cert")
    if certificates:
        settings["cert"] = "/run/secrets/ca"
        options += ["--secret", f"id=ca,src={certificates}"]
    for place in " ".join(settings.values()).split():
        path = urlsplit(place).path if place.startswith("file:") else place
        if path.startswith("/") and Path(path).is_dir():
            # An index consists of pages and of the files beside them.
            top = Path(path).parent if place.startswith("file:") else Path(path)
            options += ["--volume", f"{top}:{top}:ro"]
    file = folder / "pip.conf"
    lines = [f"{key} = {value}" for key, value in settings.items()]
    file.write_text("\n".join(["[global]", *lines, ""]))
    return [*options, "--secret", f"id=pip,src={file}"]


_RUN = """
set -eu
root=$1; shift
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
while [ "$1" != -- ]; do mount --bind "$1" "$root$2"; shift 2; done
shift
mount -o remount,bind,ro "$root"
ip link set lo up
exec chroot "$root" /usr/bin/setpriv --reuid "$1" --regid "$2" --clear-groups --no-new-privs \
    --bounding-set=-all --inh-caps=-all -- /usr/bin/env -i -C "$3" "${@:4}"
"""
"""Arguments: the files of the image; volumes, as folder and mount point; ``--``; user, group and folder; and the rest is
variables and the command. The root is read-only except for /tmp and the volumes."""


@dataclass
class Container:
    """A command that runs in an image, in a network that has nothing but itself."""

    root: Path
    config: Mapping[str, Any]
    volumes: Mapping[str, Path]
    """Folders, by where the container has them. They are given to its user."""

    log: Path
    command: Sequence[str] | None = None
    """What is used instead of the image's own command."""

    environment: Mapping[str, str] = field(default_factory=dict)

    network: Container | None = None
    """The container whose network it shares. None: it has a network of its own."""

    def __enter__(self) -> Container:
        user, _, group = self.config["User"].partition(":")
        for folder in self.volumes.values():
            os.chown(folder, int(user), int(group))
        variables = [
            *self.config["Env"],
            *(f"{key}={value}" for key, value in self.environment.items()),
        ]
        command = self.config["Cmd"] if self.command is None else self.command
        volumes = [text for there, here in self.volumes.items() for text in (str(here), there)]
        unshare = program("unshare")
        network = (
            [unshare, "--net"]
            if self.network is None
            else [program("nsenter"), "--net", "--target", str(self.network.pid), unshare]
        )
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *network,
                    *("--mount", "--pid", "--fork", "--kill-child"),
                    *("bash", "-c", _RUN, "container", str(self.root), *volumes, "--"),
                    *(user, group, self.config["WorkingDir"], *variables),
                    *self.config["Entrypoint"],
                    *command,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            # The end of the first process ends all others. That of `unshare` would not: the signal that a child asks
            # for its parent's death is forgotten when the child changes its user.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        """The container's first process, as this machine numbers it."""
        me = self._process.pid
        give_up = time.monotonic() + _START_S
        while not (children := Path(f"/proc/{me}/task/{me}/children").read_text().split()):
            assert self._process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < give_up
            time.sleep(0.02)
        return int(children[0])

    def call(
        self, *command: str, inside: bool = False, timeout_s: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in the network of the container.

        Args:
            command: the program and its arguments.
            inside: whether the program is one of the image, and runs as the container's user.
            timeout_s: how long it may take.
        """
        user, _, group = self.config["User"].partition(":")
        spaces = ["--net"]
        if inside:
            spaces += ["--mount", "--pid", "--root", "--setuid", user, "--setgid", group]
            command = ("/usr/bin/env", "-i", *self.config["Env"], *command)
        return subprocess.run(
            [program("nsenter"), "--target", str(self.pid), *spaces, "--", *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def wait_until_healthy(self) -> None:
        """Wait until the image's own health check succeeds."""
        kind, *check = self.config["Healthcheck"]["Test"]
        assert kind == "CMD"
        give_up = time.monotonic() + _START_S
        while True:
            assert self._process.poll() is None, self.log.read_text()[-3000:]
            done = self.call(*check, inside=True)
            if done.returncode == 0:
                return
            assert time.monotonic() < give_up, (done.stderr, self.log.read_text()[-3000:])
            time.sleep(2)

    def wait(self, within_s: float) -> int:
        """The exit status of the first process, once it has ended."""
        return self._process.wait(within_s)

    def stop(self, signal_number: int, *, within_s: float) -> int:
        """Send a signal to the first process, and return its exit status."""
        os.kill(self.pid, signal_number)
        return self.wait(within_s)
