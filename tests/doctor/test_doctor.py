"""``enlarger doctor`` finds each thing that a test breaks, and says what to do about it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from running import RunningService
from sqlalchemy import create_engine, text
from support.fakes import nearest
from support.findings import GB, worst
from support.networks import write_nearest
from support.pictures import encoded
from support.places import REPOSITORY
from support.unprivileged import run, unwritable

from enlarger.config import Settings, load, shown_settings
from enlarger.config.loading import SECRETS
from enlarger.doctor import (
    Finding,
    Level,
    cache,
    clock,
    fetching,
    folders,
    models,
    ports,
    server,
    speed,
    stores,
)
from enlarger.doctor import settings as settings_check
from enlarger.doctor.examination import examine
from enlarger.engine.factory import make_engine
from enlarger.errors import ConfigError, WrongSettings
from enlarger.installation import install_command
from enlarger.jobs.rows.database import Database
from enlarger.models import Catalogue
from enlarger.models.golden import GOLDEN_FOLDER

pytestmark = pytest.mark.usefixtures("no_settings")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings whose folders are below ``tmp_path``, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return load(cache_dir=tmp_path / "cache", num_servers=1, base_port=0)


# Settings


def test_settings_have_origins_and_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the findings nor what JSON is made of has a password."""
    monkeypatch.setenv("ENLARGER_DATABASE", "postgresql://me:sesame@db/jobs")
    monkeypatch.setenv("ENLARGER_TILE_TOKEN", "sesame-open-yourself")
    monkeypatch.setenv("ENLARGER_WEBHOOK_SECRETS", "whsec_" + "A" * 32)
    monkeypatch.setenv("ENLARGER_SIGNING_KEYS", "shop:sesame-open-yourself")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:sesame@traces:4318")
    monkeypatch.setenv("FILE_MAX_AGE", "60")
    shown = {one.variable: one for one in shown_settings(load())}
    assert (shown["FILE_MAX_AGE"].value, shown["FILE_MAX_AGE"].origin) == ("60.0", "environment")
    assert (shown["MODEL_DIR"].value, shown["MODEL_DIR"].origin) == ("models", "default")
    hidden = {variable for variable, one in shown.items() if one.value == "(hidden)"}
    assert hidden == set(SECRETS) - {"ENLARGER_API_KEYS"}  # which is not set
    found = settings_check.findings(settings_check.gather(load()))
    assert "sesame" not in repr(found)
    assert "FILE_MAX_AGE=60.0" in [finding.title for finding in found]


def test_settings_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is named, and so are traces that nothing can send."""
    wrong = ConfigError("FILE_MAX_AGE: it must be more than 0, not '-1'")
    found = worst(settings_check.findings(settings_check.gather(wrong)))
    assert (found.level, found.detail) == (Level.ERROR, str(wrong))
    several = WrongSettings(["FILE_MAX_AGE: it is wrong", "NUM_SERVERS: it is, too"])
    details = [one.detail for one in settings_check.findings(settings_check.gather(several))]
    assert details == list(several.texts)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    assert (
        "OTEL_TRACES_EXPORTER"
        in worst(settings_check.findings(settings_check.gather(load()))).detail
    )
    facts = settings_check.SettingsFacts(traces_asked_by="OTEL_TRACES_EXPORTER", has_tracing=False)
    assert install_command("otel") in worst(settings_check.findings(facts)).hint


# Ports


def test_ports_that_are_taken(here: Settings) -> None:
    """By another program: the gateway's own, and one of a model server."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        found = worst(ports.findings(ports.gather(here, "127.0.0.1", taken)))
        assert (found.level, found.title) == (
            Level.ERROR,
            f"port 127.0.0.1:{taken} cannot be used",
        )
        base = load(base_port=taken, num_servers=1)
        found = worst(ports.findings(ports.gather(base, "127.0.0.1", 0)))
        assert found.title == f"port 127.0.0.1:{taken} cannot be used"
        assert "BASE_PORT" in found.detail
    assert worst(ports.findings(ports.gather(base, "127.0.0.1", 0))).level is Level.OK


def test_port_of_the_gateway_among_those_of_model_servers() -> None:
    """Each port is free by itself, but both cannot have it."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        base_port = other.getsockname()[1]
    settings = load(base_port=base_port, num_servers=1)
    for host in ("127.0.0.1", "0.0.0.0"):  # noqa: S104 - bound for a moment
        found = worst(ports.findings(ports.gather(settings, host, base_port)))
        assert found.level is Level.ERROR
        assert f"--port: {base_port} is one of the ports" in found.detail
        assert "set BASE_PORT to another one" in found.hint
    elsewhere = ports.findings(ports.gather(settings, "127.0.0.2", base_port))
    assert worst(elsewhere).level is Level.OK


def test_model_servers_that_cannot_be_reached() -> None:
    """Those of ``ENLARGER_SERVERS``."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        found = ports.findings(ports.gather(load(servers=address), "127.0.0.1", 0))
        assert worst(found).level is Level.OK
    found = ports.findings(ports.gather(load(servers=address), "127.0.0.1", 0))
    assert worst(found).title == f"the model server {address} cannot be reached"


# Folders and cache


def test_no_folder_is_made_or_left_changed(here: Settings, tmp_path: Path) -> None:
    """The user who runs the doctor is not always the one who runs the service."""
    (tmp_path / "uploads").mkdir()
    assert worst(folders.findings(folders.gather(here))).level is not Level.ERROR
    assert [path.name for path in tmp_path.rglob("*")] == ["uploads"]


def test_folders_that_cannot_be_used(here: Settings, tmp_path: Path) -> None:
    """A file in place of a folder is an error; no room, an old clock and locks over a network are told as well."""
    (tmp_path / "uploads").write_bytes(b"")
    found = worst(folders.findings(folders.gather(here)))
    assert (found.level, found.detail) == (Level.ERROR, f"'{tmp_path / 'uploads'}' is a file")
    good = folders.look("ENLARGER_DATABASE", tmp_path, "jobs", is_written=True)
    assert good.problem is None
    assert good.file_system
    good = replace(good, free_bytes=10 * GB, file_system="ext4")
    assert worst(folders.findings([good])).level is Level.OK
    for free_bytes, level in ((1_000_000, Level.ERROR), (500_000_000, Level.WARNING)):
        assert worst(folders.findings([replace(good, free_bytes=free_bytes)])).level is level
    assert "PostgreSQL" in worst(folders.findings([replace(good, file_system="nfs4")])).hint
    assert "clock" in worst(folders.findings([replace(good, skew_s=-90.0)])).title
    cache_folder = replace(good, variable="ENLARGER_CACHE_DIR", problem="read-only")
    assert worst(folders.findings([cache_folder])).level is Level.WARNING


def test_file_system_that_takes_no_files_is_not_called_full(tmp_path: Path) -> None:
    """The file system proc has no size. A disk without a limit has none either, and is not full."""
    for folder in (Path("/proc/results"), Path("/proc")):
        found = worst(folders.findings([folders.look("X", folder, "results", is_written=True)]))
        assert found.level is Level.ERROR
        assert found.detail == "the file system of '/proc', proc, takes no files"
        assert "disk space" not in found.hint
    unlimited = folders.look("X", tmp_path / "new", "results", is_written=True)
    found = worst(folders.findings([replace(unlimited, free_bytes=None)]))
    assert (found.level, "free space unknown" in found.detail) == (Level.OK, True)


def test_temporary_folder_that_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python takes another one without a word, if there is one."""
    (tmp_path / "file").touch()
    for name, why in (("gone", "it does not exist"), ("file", "is a file")):
        monkeypatch.setattr(tempfile, "tempdir", None)  # it is looked for once in a process
        monkeypatch.setenv("TMPDIR", str(tmp_path / name))
        facts = folders.look_at_temporary()
        found = worst(folders.findings([facts]))
        assert (found.level, facts.path) == (Level.WARNING, tmp_path / name)
        assert why in found.detail
        assert found.detail.endswith(f"'{tempfile.gettempdir()}' is used in its place")
        assert worst(folders.findings([replace(facts, instead=None)])).level is Level.ERROR
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert worst(folders.findings([folders.look_at_temporary()])).level is Level.OK


async def test_damaged_compiled_network_is_found(tmp_path: Path) -> None:
    """By its checksum, even where one bit differs."""
    write_nearest(tmp_path, "own")
    settings = load(cache_dir=tmp_path / "cache", model_dir=tmp_path)
    catalogue = Catalogue.installed(tmp_path)
    async with make_engine(
        catalogue, threads=1, precision="f32", cache_folder=tmp_path / "cache"
    ) as engine:
        await engine.load("own")
    facts = cache.gather(settings)
    assert facts.count == len(list((tmp_path / "cache").iterdir())) > 0
    assert worst(cache.findings(facts)).level is Level.OK
    blob = next((tmp_path / "cache").iterdir())
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 1
    blob.write_bytes(content)
    found = worst(cache.findings(cache.gather(settings)))
    assert found.level is Level.WARNING
    assert blob.name in found.detail
    assert f"delete all files *.blob in the folder {tmp_path / 'cache'}:" in found.hint


# Models and speed


async def test_models_that_cannot_be_used(tmp_path: Path) -> None:
    """A wrong golden picture, weights that were exchanged, and a row that cannot be read."""
    golden = nearest(_read(GOLDEN_FOLDER / "input.png"), 4)
    for name, picture in (("good", golden), ("wrong", 255 - golden)):
        (tmp_path / f"{name}.png").write_bytes(encoded(picture))
        row = write_nearest(tmp_path, name)
        row.write_text(f"{row.read_text()}golden = '{name}.png'\n")
    write_nearest(tmp_path, "exchanged")
    (tmp_path / "bad.toml").write_text("id = 1\n")
    catalogue, faults = Catalogue.examined(tmp_path)
    binary = tmp_path / "exchanged.bin"
    binary.write_bytes(binary.read_bytes()[:-1] + b"\x7f")
    own = Catalogue(model for model in catalogue if model.id in {"good", "wrong", "exchanged"})
    async with make_engine(own, threads=1, precision="f32") as engine:
        facts = await models.gather(own, faults, engine, note="MODEL_DIR: there is no folder 'x'")
    problems = {check.id: check.problem for check in facts.checks}
    assert problems.pop("good") is None
    assert "differs from its golden picture" in str(problems["wrong"])
    assert "exchanged.bin" in str(problems["exchanged"])
    found = models.findings(facts)
    assert worst(found).level is Level.ERROR
    levels = [finding.level for finding in found]
    assert levels.count(Level.ERROR) == 3
    assert levels.count(Level.WARNING) == 1
    assert "bad.toml" in repr(found)


async def test_speed_is_measured(tmp_path: Path) -> None:
    """On tiles that were really computed."""
    write_nearest(tmp_path, "own")
    catalogue = Catalogue.installed(tmp_path)
    async with make_engine(catalogue, threads=1, precision="f32") as engine:
        facts = await speed.gather(catalogue.choose("own", scale=4), engine, seconds=0.1)
    assert facts.tiles >= 1
    assert facts.lr_px_per_s > 0
    slow = worst(speed.findings(replace(facts, lr_px_per_s=500)))
    assert slow.level is Level.WARNING
    assert "takes about 2,000 s" in slow.detail
    assert worst(speed.findings(replace(facts, lr_px_per_s=10_000))).level is Level.OK


def _read(path: Path) -> Any:
    import numpy as np

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


# Database and buckets


async def found_in(database: str) -> Finding:
    """What is found in a database."""
    return worst(stores.findings(await stores.gather(load(database=database))))


async def test_database_is_examined_and_not_changed(database: str) -> None:
    """One without tables stays without them; one that a gateway made can be used."""
    file = None if "://" in database else Path(database)
    if file is not None:
        file.touch()
    assert "no tables yet" in (await found_in(database)).detail
    assert "no tables yet" in (await found_in(database)).detail
    made = Database(database)
    await made.open()
    await made.close()
    assert "it can be used; its tables have version" in (await found_in(database)).detail


async def test_databases_that_cannot_be_used(tmp_path: Path) -> None:
    """One that is not SQLite's, one of a later version, one that nothing serves; and no password is shown."""
    file = tmp_path / "jobs.sqlite3"
    assert "at the first start" in (await found_in(str(file))).detail
    assert not file.exists()
    made = Database(str(file))
    await made.open()
    await made.close()
    engine = create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        connection.execute(text("UPDATE enlarger_schema SET version = 1000"))
    engine.dispose()
    later = await found_in(str(file))
    assert later.level is Level.ERROR
    assert "a later version of enlarger" in later.detail
    file.write_bytes(b"this is not a database" * 100)
    assert (await found_in(str(file))).level is Level.ERROR
    wrong = await found_in("host=db password=sesame")
    assert "sesame" not in repr(wrong)
    for mistyped in ("host=db password=sesame", "postgresql:me:sesame@nohost/db"):
        wrong = await found_in(mistyped)
        assert (wrong.level, wrong.hint) == (
            Level.ERROR,
            "correct the setting, or install what is missing",
        )
        assert "sesame" not in repr(wrong)
        assert "sesame" not in repr(folders.gather(load(database=mistyped)))
    away = await found_in("postgresql://me:sesame@127.0.0.1:1/jobs")
    assert (away.level, away.title) == (Level.ERROR, "the PostgreSQL database is not reached")
    assert "sesame" not in repr(away)


async def test_bucket_is_written(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is not there, or a server that is away, is an error."""
    settings = load(upload_folder=bucket)
    found = stores.findings(await stores.gather(settings))
    assert [finding.detail for finding in found[1:]] == ["objects can be written and deleted"] * 2
    missing = load(upload_folder="s3://nobody-made-it/x")
    assert worst(stores.findings(await stores.gather(missing))).level is Level.ERROR
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert worst(stores.findings(await stores.gather(settings))).level is Level.ERROR


# Fetching and the clock


def test_fetching_and_access(monkeypatch: pytest.MonkeyPatch) -> None:
    """Webhooks that cannot be sent, and a service that is open to everybody."""
    here = fetching.gather(load(), "127.0.0.1")
    assert "public addresses" in worst(fetching.findings(here)).detail
    everywhere = worst(fetching.findings(fetching.gather(load(), "0.0.0.0")))  # noqa: S104
    assert "enlarger key" in everywhere.hint
    monkeypatch.setenv("ENLARGER_WEBHOOK_SECRETS", "whsec_" + "A" * 32)
    off = worst(fetching.findings(fetching.gather(load(fetch="off"), "127.0.0.1")))
    assert off.title == "webhooks are not sent"


def test_clocks_that_are_wrong() -> None:
    """One that is behind the installation, and one that nobody synchronises."""
    facts = clock.gather()
    assert facts.installed_s < facts.now_s
    right = replace(facts, is_synchronised=True)
    assert worst(clock.findings(right)).level is Level.OK
    assert worst(clock.findings(replace(right, is_synchronised=None))).level is Level.OK
    assert worst(clock.findings(replace(right, is_synchronised=False))).level is Level.WARNING
    early = replace(right, now_s=0.0)
    assert worst(clock.findings(early)).title == "it is 1970-01-01 00:00:00 UTC"
    assert worst(clock.findings(early)).level is Level.ERROR


# All of it


async def test_wrong_settings_leave_what_needs_none() -> None:
    """Python, the CPU and the clock are examined all the same."""
    wrong = ConfigError("FILE_MAX_AGE: it must be more than 0, not '-1'")
    names = [one.name async for one in examine(wrong, host="127.0.0.1", port=0, speed_s=0)]
    assert names == ["python", "cpu", "settings", "clock"]


async def test_one_check_that_fails_leaves_the_others(tmp_path: Path, here: Settings) -> None:
    """Models cannot even be looked for where ``MODEL_DIR`` is a file; what comes after them is examined."""
    (tmp_path / "models").write_bytes(b"")
    settings = replace(here, server=here.server.model_copy(update={"model_dir": Path("models")}))
    found = {
        one.name: one.findings
        async for one in examine(settings, host="127.0.0.1", port=0, speed_s=0.1)
    }
    assert worst(found["models"]).title == "models cannot be used"
    assert "speed" not in found
    assert {"stores", "fetching", "clock"} <= set(found)


def doctor(*options: str) -> list[str]:
    """The command."""
    return [sys.executable, "-m", "enlarger", "doctor", *options]


def test_command_names_what_is_broken(tmp_path: Path) -> None:
    """As JSON, with exit status 1, in a folder that cannot be written."""
    (tmp_path / "uploads").mkdir()
    unwritable(tmp_path / "uploads")
    result = run(doctor("--json", "--speed", "0", "--port", "0"), tmp_path, BASE_PORT="0")
    told = json.loads(result.stdout)
    errors = [one for one in told["findings"] if one["level"] == "error"]
    assert result.returncode == 1, result.stderr
    assert {one["check"] for one in errors} == {"folders"}
    assert errors[0]["detail"] == "Permission denied"
    assert told["counts"]["error"] == len(errors)
    checks = {one["check"] for one in told["findings"]}
    assert {"python", "cpu", "memory", "ports", "cache", "models", "stores", "clock"} <= checks
    assert "speed" not in checks


def test_command_prints_lines(tmp_path: Path) -> None:
    """With a short speed test, and with exit status 0 where there is no error."""
    result = run(doctor("--speed", "0.1", "--port", "0"), tmp_path, BASE_PORT="0")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "pixels per second" in result.stdout
    lines = result.stdout.splitlines()
    assert lines[-1].startswith("errors: 0, warnings: ")
    page = (REPOSITORY / "docs/how-to/troubleshooting.md").read_text()
    block = page.split("```text\n")[1].split("```")[0]
    checks = [line for line in lines[:-1] if not line.startswith(" ")]
    assert [line for line in block.splitlines()[:-1] if not line.startswith(" ")] == checks
    assert all(f"| `{check}` |" in page for check in checks)


def test_running_service_is_asked(tmp_path: Path, environment: dict[str, str]) -> None:
    """It answers; once it has ended, it does not."""
    with RunningService(tmp_path, environment | {"NUM_SERVERS": "1"}) as service:
        url = service.url
        asked = subprocess.run(
            doctor("--server", url), capture_output=True, text=True, timeout=60, check=False
        )
        assert asked.returncode == 0, asked.stdout + asked.stderr
        assert "model server server-0 is ready" in asked.stdout
        assert "models: realesrgan-x4plus" in asked.stdout
        facts = ports.gather(load(base_port=0), "127.0.0.1", int(url.rpartition(":")[2]))
        assert "runs already" in worst(ports.findings(facts)).title
        good = server.gather(url, None)
    gone = server.findings(server.gather(url, None))
    assert worst(gone).level is Level.ERROR
    starting = {"name": "server-0", "state": "starting", "tiles_done": 0, "rss_mb": None}
    changes: list[tuple[dict[str, Any], Level]] = [
        ({"health": {"reason": "no_engine_ready"}}, Level.ERROR),
        ({"status": {**good.status, "cleanup_task_running": False}}, Level.ERROR),
        ({"status": {**good.status, "version": "0.0.1"}}, Level.WARNING),
        ({"status": {**good.status, "servers": [starting]}}, Level.WARNING),
    ]
    for change, level in changes:
        assert worst(server.findings(replace(good, **change))).level is level
