"""The container image and ``docs/how-to/container.md``: it is built, run as a container is, and upscales a photo."""

from __future__ import annotations

import argparse
import re
import shlex
import signal
import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image as Picture
from support.doc_blocks import commands_on
from support.images import Container, Image, program
from support.places import DOCS, REPOSITORY
from support.proxies import free_port, nginx_reads

from enlarger.config import GROUPS

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(1500)]

PAGE = DOCS / "how-to" / "container.md"

LIMIT_BYTES = 650_000_000


def test_linter_finds_nothing() -> None:
    """Hadolint reads the Dockerfile, and what its RUN lines say to the shell."""
    done = subprocess.run(
        [program("hadolint"), "Dockerfile"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_image_says_how_it_is_run(image: Image) -> None:
    """User, signal, health check, volumes and labels are those that the page names."""
    config = image.config
    assert config["User"] == "10001:10001"
    assert config["StopSignal"] == "SIGTERM"
    assert set(config["Volumes"]) == {"/var/lib/enlarger", "/var/cache/enlarger"}
    assert config["Healthcheck"]["Test"][0] == "CMD"
    assert set(config["ExposedPorts"]) == {"8000/tcp"}
    labels = {key.rpartition(".")[2]: text for key, text in config["Labels"].items()}
    assert (labels["title"], labels["version"]) == ("enlarger", "1.2.3")
    assert "BSD-3-Clause" in labels["licenses"]


def test_image_is_small_and_has_bytecode_but_no_pip(image: Image) -> None:
    """Nothing can be installed into it, and nothing has to be compiled when it starts."""
    with image.mounted() as root:
        counted = subprocess.check_output(["/usr/bin/du", "-sxb", str(root)], text=True)
        assert int(counted.split()[0]) < LIMIT_BYTES
        (packages,) = (root / "opt" / "enlarger" / "lib").glob("python3*/site-packages")
        pips = [root / "usr" / "lib" / "python3" / "dist-packages" / "pip", packages / "pip"]
        assert not any(pip.exists() for pip in pips)
        assert not list(root.glob("usr/bin/pip*")) + list(root.glob("opt/enlarger/bin/pip*"))
        sources = list((packages / "enlarger").rglob("*.py"))
        compiled = list((packages / "enlarger").rglob("*.pyc"))
        assert len(sources) == len(compiled) > 100
        found = [
            "/usr/bin/find",
            "/opt",
            "!",
            "-type",
            "l",
            "(",
            "-perm",
            "/022",
            "-o",
            "!",
            "-user",
            "0",
            ")",
        ]
        writable = subprocess.check_output(["/usr/sbin/chroot", str(root), *found], text=True)
        assert writable == ""


def _docker_run(text: str) -> argparse.Namespace:
    """The options of the page's command, which has no others."""
    parser = argparse.ArgumentParser()
    for flag in ("--detach", "--read-only"):
        parser.add_argument(flag, action="store_true")
    for option in ("--name", "--tmpfs", "--cap-drop", "--security-opt", "--publish"):
        parser.add_argument(option)
    parser.add_argument("--volume", action="append")
    parser.add_argument("image")
    docker, run, *rest = shlex.split(text.replace("\\\n", " "))
    assert (docker, run) == ("docker", "run")
    return parser.parse_args(rest)


def test_commands_of_the_page_upscale_a_photo(image: Image, cat: bytes, tmp_path: Path) -> None:
    """On a root that nobody can write, without capabilities, without any network but its own."""
    build, run, upscale, stop, *_ = commands_on(PAGE)
    assert build.split() == ["docker", "build", "--tag", "enlarger:cpu", "."]
    options = _docker_run(run)
    assert (options.tmpfs, options.cap_drop, options.security_opt) == (
        "/tmp",  # noqa: S108 - of the container
        "ALL",
        "no-new-privileges",
    )
    assert options.read_only
    assert options.image == "enlarger:cpu"
    volumes = {}
    for volume in options.volume:
        name, _, place = volume.partition(":")
        (tmp_path / name).mkdir()
        volumes[place] = tmp_path / name
    assert set(volumes) == set(image.config["Volumes"])
    (tmp_path / "cat.jpg").write_bytes(cat)
    with (
        image.mounted() as root,
        Container(root, image.config, volumes, tmp_path / "log") as container,
    ):
        container.wait_until_healthy()
        for place in ("/var/new", "/opt/enlarger/new", "/models/new"):
            done = container.call("touch", place, inside=True)
            assert "Read-only file system" in done.stderr
        status = Path(f"/proc/{container.pid}/status").read_text()
        assert re.search(r"^Uid:\s+10001\s+10001", status, re.MULTILINE)
        assert re.search(r"^CapBnd:\s+0+$", status, re.MULTILINE)
        done = container.call("bash", "-c", f"cd {tmp_path} && {upscale}")
        assert done.returncode == 0, (done.stderr, container.log.read_text()[-3000:])
        check_is_the_cat((tmp_path / "cat-4x.png").read_bytes(), cat)
        assert any(volumes["/var/cache/enlarger"].rglob("*"))
        assert any(volumes["/var/lib/enlarger"].glob("upscaled_*"))
        assert stop.split()[:2] == ["docker", "stop"]
        assert container.stop(signal.SIGTERM, within_s=20) == 0


def test_vulkan_image_upscales_on_a_vulkan_device(image: Image, cat: bytes, tmp_path: Path) -> None:
    """The one that Mesa computes on the CPU: with the image's own loader, driver and ncnn."""
    vulkan = image.builder.build("vulkan")
    results = tmp_path / "results"
    results.mkdir()
    (results / "cat.jpg").write_bytes(cat)
    command = ("upscale", "cat.jpg", "big.png", "--model", "realesr-animevideov3")
    with (
        vulkan.mounted() as root,
        Container(
            root,
            vulkan.config,
            {"/var/lib/enlarger": results},
            tmp_path / "log",
            (*command, "--device", "vulkan:0"),
        ) as container,
    ):
        assert container.wait(within_s=200) == 0, container.log.read_text()[-3000:]
    check_is_the_cat((results / "big.png").read_bytes(), cat)


def check_is_the_cat(result: bytes, cat: bytes) -> None:
    """The result has four times the size, and is the photo if it is reduced again."""
    with Picture.open(BytesIO(cat)) as before, Picture.open(BytesIO(result)) as after:
        assert after.size == (4 * before.width, 4 * before.height)
        reduced = np.asarray(after.convert("RGB").resize(before.size, Picture.Resampling.BOX))
        difference = np.abs(reduced.astype(float) - np.asarray(before.convert("RGB")))
    assert difference.mean() < 6  # 4.03 was seen in bf16


# compose.yaml

COMPOSE: dict[str, Any] = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name for name, service in SERVICES.items() if service["image"] == "enlarger:cpu"}


def test_profiles_are_those_of_the_page() -> None:
    """Each line with ``docker compose`` names one, with the variables that its services read."""
    typed = [text for text in commands_on(PAGE) if "docker compose" in text]
    named = {}
    for text in typed:
        profile = re.search(r"--profile (\w+)", text)
        assert profile is not None
        named[profile[1]] = set(re.findall(r"(\w+)=", text))
    read: dict[str, set[str]] = {}
    for service in SERVICES.values():
        (profile_name,) = service["profiles"]
        variables = re.findall(r"\$\{(\w+):-\}", str(service))
        read.setdefault(profile_name, set()).update(variables)
    assert named == read


@pytest.mark.parametrize("name", sorted(OURS))
def test_services_of_compose_are_closed(name: str) -> None:
    """Ours have a read-only root and no capabilities, and time to finish what they do."""
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["tmpfs"] == ["/tmp"]  # noqa: S108 - of the container
    assert service["stop_grace_period"] == "60s"
    settings = {
        str(field.validation_alias)
        for group in GROUPS.values()
        for field in group.model_fields.values()
    }
    own = {key for key in service.get("environment", {}) if not key.startswith("AWS_")}
    assert own <= settings


def test_compose_refers_only_to_what_it_has() -> None:
    """Volumes, and services that others name or wait for; ports are published for this machine only."""
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source, place, *_ = volume.split(":")
            assert source in COMPOSE["volumes"] or (REPOSITORY / source).is_file()
            assert place.startswith("/")
        assert set(service.get("depends_on", [])) <= set(SERVICES)
        assert all(port.startswith("127.0.0.1:8000:") for port in service.get("ports", []))
    named = SERVICES["gateway"]["environment"]["ENLARGER_SERVERS"].split(",")
    assert {server.partition(":")[0] for server in named} <= set(SERVICES)
    trusted = SERVICES["gateway-1"]["environment"]["ENLARGER_TRUSTED_PROXIES"]
    assert trusted == SERVICES["nginx"]["networks"]["default"]["ipv4_address"]


def test_model_servers_of_compose_run_in_the_image(
    image: Image, cat: bytes, tmp_path: Path
) -> None:
    """The gateway of the profile ``apart`` upscales a photo with a model server that its command started."""
    token = {"ENLARGER_TILE_TOKEN": "0123456789abcdef"}
    compiled, results = tmp_path / "compiled", tmp_path / "results"
    compiled.mkdir()
    results.mkdir()
    (tmp_path / "cat.jpg").write_bytes(cat)
    server = SERVICES["model-server-1"]
    with image.mounted() as root:
        volumes = {"/var/cache/enlarger": compiled}
        with Container(
            root, image.config, volumes, tmp_path / "server.log", server["command"], token
        ) as apart:
            gateway = Container(
                root,
                image.config,
                {"/var/lib/enlarger": results},
                tmp_path / "gateway.log",
                environment={**token, "ENLARGER_SERVERS": "127.0.0.1:5002"},
                network=apart,
            )
            with gateway:
                gateway.wait_until_healthy()
                check = server["healthcheck"]["test"]
                assert apart.call(*check[1:], inside=True).returncode == 0
                done = gateway.call(
                    *("curl", "-sf", "--data-binary", f"@{tmp_path / 'cat.jpg'}"),
                    *("-o", str(tmp_path / "big.png")),
                    "http://localhost:8000/v1/upscale?scale=4&model=realesr-animevideov3",
                )
                assert done.returncode == 0, gateway.log.read_text()[-3000:]
    with Picture.open(tmp_path / "big.png") as picture:
        assert picture.size == (384, 336)


def test_nginx_reads_its_configuration(tmp_path: Path) -> None:
    """With addresses of this machine for the names of containers."""
    text = (REPOSITORY / "deploy" / "compose" / "nginx.conf").read_text()
    text = re.sub(r"gateway-\d", "127.0.0.1", text).replace("8080", str(free_port()))
    nginx_reads(tmp_path, text)


def test_programs_are_installed() -> None:
    """Those that the image is built with."""
    assert all(map(program, ("buildah", "mmdebstrap", "unshare", "nsenter", "ip")))
