"""``enlarger upscale --server`` and ``enlarger jobs``: real processes, and servers on free ports."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from PIL import Image
from rich.console import Console
from support.fakes import nearest
from support.gateways import PNG, RED, Running, Start, samples
from support.job_servers import JobServer
from support.pictures import encoded, noise
from support.sites import Site, page

from enlarger.client import AsyncClient
from enlarger.options import read_options
from enlarger.picture.sandbox.pool import Decoders
from enlarger.shell import run as shell_run
from enlarger.shell.arguments import asked_of
from enlarger.shell.remote import RemoteWorker
from enlarger.shell.sources import Reader

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command, in a folder, as its user sees it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ENLARGER_")}
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "enlarger", *arguments],
        cwd=folder,
        env={**kept, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def files(folder: Path) -> set[str]:
    """All files below a folder, but for the gateway's own."""
    found = {str(path.relative_to(folder)) for path in folder.rglob("*.*")}
    return {name for name in found if not name.startswith(("uploads", "jobs"))}


def url_of(gateway: Running) -> str:
    """Its address."""
    return f"http://127.0.0.1:{gateway.port}"


@pytest_asyncio.fixture(loop_scope="module")
async def server() -> AsyncIterator[JobServer]:
    """A server with jobs."""
    async with JobServer() as server:
        yield server


async def test_picture_is_enlarged_by_the_server(start: Start, tmp_path: Path) -> None:
    """Four times, as without a server; the line says what really ran."""
    gateway = await start()
    (tmp_path / "in.png").write_bytes(PNG)
    done = await run(tmp_path, "upscale", "--server", url_of(gateway), "in.png", "out.png")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert done.stderr.startswith("out.png: 30x20 to 120x80, realesrgan-x4plus f32, 1 tiles, ")
    assert np.array_equal(samples((tmp_path / "out.png").read_bytes()), nearest(RED, 4))
    assert files(tmp_path) == {"in.png", "out.png"}


async def test_folder_goes_through_with_its_bad_file(start: Start, tmp_path: Path) -> None:
    """By the rules of the shell: names, formats, what is skipped, the exit status."""
    gateway = await start()
    album = tmp_path / "album"
    (album / "deep").mkdir(parents=True)
    (album / "a.png").write_bytes(PNG)
    (album / "deep" / "b.webp").write_bytes(encoded(RED, "WEBP", lossless=True))
    (album / "broken.png").write_bytes(PNG[:60])
    command = ["upscale", "album", "large", "--format", "auto", "--server", url_of(gateway)]
    done = await run(tmp_path, *command)
    assert done.returncode == 1
    assert files(tmp_path / "large") == {"a.png", "deep/b.webp"}
    assert "'album/broken.png'" in done.stderr
    assert "2 upscaled, 0 skipped, 1 failed" in done.stderr
    again = await run(tmp_path, *command, "--skip-existing")
    assert "0 upscaled, 2 skipped (2 there already), 1 failed" in again.stderr


async def test_animation_moves_where_the_name_can(start: Start, tmp_path: Path) -> None:
    """As without a server: all frames, or the first one."""
    gateway = await start()
    frames = [Image.fromarray(noise(20, 30, seed=seed) & 0xE0) for seed in range(3)]
    (tmp_path / "in.gif").write_bytes(
        encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=50, loop=0)
    )
    for name, count in (("out.png", 3), ("out.jpg", 1)):
        done = await run(tmp_path, "upscale", "--server", url_of(gateway), "in.gif", name)
        assert done.returncode == 0, done.stderr
        with Image.open(tmp_path / name) as image:
            assert getattr(image, "n_frames", 1) == count


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["in.png", "out.png", "--scale", "9"], 2, "Invalid scale: it must be at most 8"),
        (["in.png", "out.gif"], 2, "cannot write 'out.gif': the name must end in"),
        (["in.png", "out.png", "--model", "nope"], 2, "nope"),
        (["none.png", "out.png"], 1, "cannot read 'none.png'"),
        (["text.png", "out.png"], 1, "'text.png': "),
        (["in.png", "nowhere/out.png"], 1, "its folder does not exist"),
    ],
)
async def test_failure_says_why(
    start: Start, tmp_path: Path, arguments: list[str], status: int, text: str
) -> None:
    """With the exit statuses of the shell; nothing is written."""
    gateway = await start()
    (tmp_path / "in.png").write_bytes(PNG)
    (tmp_path / "text.png").write_text("no picture")
    done = await run(tmp_path, "upscale", *arguments, "--server", url_of(gateway))
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith("enlarger: ")
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert files(tmp_path) == {"in.png", "text.png"}


async def test_nothing_is_lost_by_a_server_either(start: Start, tmp_path: Path) -> None:
    """The rules for files are those of the shell, whoever enlarges."""
    gateway = await start()
    for name in ("a.png", "b.png", "day1/x.png", "day2/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(PNG)
    server = ["--server", url_of(gateway)]
    for arguments in (["a.png", "b.png"], ["a.png", "a.png"], ["day1", "day1"]):
        done = await run(tmp_path, "upscale", *arguments, *server)
        assert done.returncode == 2, done.stderr
    done = await run(tmp_path, "upscale", "day1", "day2", "out/", *server)
    assert files(tmp_path / "out") == {"day1/x.png", "day2/x.png"}
    done = await run(tmp_path, "upscale", "a.png", "--suffix=-4x", *server)
    assert done.returncode == 0, done.stderr
    long = "x" * 251
    done = await run(tmp_path, "upscale", "a.png", f"{long}.png", *server)
    assert done.returncode == 0, done.stderr
    done = await run(tmp_path, "upscale", "a.png", f"{long}y.png", *server)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert files(tmp_path) == {
        *("a.png", "a-4x.png", "b.png", "day1/x.png", "day2/x.png", f"{long}.png"),
        *("out/day1/x.png", "out/day2/x.png"),
    }
    assert all((tmp_path / name).read_bytes() == PNG for name in ("a.png", "b.png", "day1/x.png"))


async def test_dry_run_asks_the_server(start: Start, tmp_path: Path) -> None:
    """What its own estimate says; nothing is enlarged."""
    gateway = await start()
    (tmp_path / "in.png").write_bytes(PNG)
    done = await run(
        tmp_path, "upscale", "in.png", "out.jpg", "--dry-run", "--server", url_of(gateway)
    )
    assert done.returncode == 0, done.stderr
    line, total = done.stdout.splitlines()
    assert line.startswith("in.png -> out.jpg: 30x20 to 120x80 jpeg in f32, ")
    assert total.startswith("in total: 1 picture, ")
    assert files(tmp_path) == {"in.png"}


async def test_url_is_fetched_by_the_server(start: Start, tmp_path: Path) -> None:
    """By its own rules; its format is known there alone."""
    async with Site({"/cat.webp": page(PNG)}) as site:
        gateway = await start(fetch=site.address)
        command = ["upscale", site.url("/cat.webp"), "out/", "--server", url_of(gateway)]
        done = await run(tmp_path, *command)
        assert done.returncode == 0, done.stderr
        refused = await run(tmp_path, *command, "--format", "auto", "--overwrite")
    assert files(tmp_path) == {"out/cat.png"}
    assert refused.returncode == 2
    assert "the server fetches" in refused.stderr


async def test_result_of_a_job_replaces_nothing_unless_asked(
    server: JobServer, tmp_path: Path
) -> None:
    """Said before the job is waited for."""
    (tmp_path / "in.png").write_bytes(PNG)
    (tmp_path / "out.png").write_bytes(b"precious")
    address = {"ENLARGER_SERVER_URL": server.url}
    submitted = await run(tmp_path, "jobs", "submit", "in.png", "-o", "scale=4", **address)
    command = ["jobs", "save", submitted.stdout.strip(), "out.png"]
    refused = await run(tmp_path, *command, **address)
    assert refused.returncode == 2
    assert "'out.png' is there already" in refused.stderr
    assert (tmp_path / "out.png").read_bytes() == b"precious"
    done = await run(tmp_path, *command, "--overwrite", **address)
    assert done.returncode == 0, done.stderr
    assert np.array_equal(samples((tmp_path / "out.png").read_bytes()), nearest(RED, 4))


@pytest.mark.parametrize("url", ["localhost", "http://[::1", "http://127.0.0.1:99999", "http://"])
async def test_address_that_is_none_is_a_wrong_option(tmp_path: Path, url: str) -> None:
    """Exit status 2."""
    (tmp_path / "in.png").write_bytes(PNG)
    done = await run(tmp_path, "upscale", "--server", url, "in.png", "out.png")
    assert done.returncode == 2
    assert f"'{url}' is no address of a server" in done.stderr


async def test_empty_file_is_called_empty(start: Start, tmp_path: Path) -> None:
    """The server would say that there is no picture in the request."""
    gateway = await start()
    (tmp_path / "in.png").write_bytes(b"")
    done = await run(tmp_path, "upscale", "--server", url_of(gateway), "in.png", "out.png")
    assert (done.returncode, done.stderr) == (1, "enlarger: 'in.png': the file is empty\n")


async def test_server_that_is_away_is_told_once_for_a_run(tmp_path: Path) -> None:
    """Not once for each picture of a folder, with silence before each."""
    (tmp_path / "in").mkdir()
    for number in range(6):
        (tmp_path / "in" / f"{number}.png").write_bytes(PNG)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        began = time.monotonic()
        done = await run(tmp_path, "upscale", "--server", url, "in", "out")
    assert (
        time.monotonic() - began < 15
    )  # of which two seconds are ours; the rest is Python's start
    assert done.returncode == 1
    assert done.stderr.count("cannot reach") == 1, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("key", "text"), [(None, "an API key is needed"), ("no", "not known here")]
)
async def test_key_that_is_wrong_is_told_once_for_a_run(
    start: Start, tmp_path: Path, key: str | None, text: str
) -> None:
    """And otherwise than one that is missing."""
    gateway = await start(api_keys=f"a:sha256-{hashlib.sha256(b'secret').hexdigest()}")
    (tmp_path / "in").mkdir()
    for number in range(3):
        (tmp_path / "in" / f"{number}.png").write_bytes(PNG)
    variables = {"ENLARGER_API_KEY": key} if key else {}
    done = await run(tmp_path, "upscale", "--server", url_of(gateway), "in", "out", **variables)
    assert (done.returncode, done.stderr.count(text)) == (1, 1), done.stderr


async def test_key_comes_from_the_environment(start: Start, tmp_path: Path) -> None:
    """So it stands in no list of processes."""
    gateway = await start(api_keys=f"a:sha256-{hashlib.sha256(b'secret').hexdigest()}")
    (tmp_path / "in.png").write_bytes(PNG)
    command = ["upscale", "--server", url_of(gateway), "in.png", "out.png"]
    refused = await run(tmp_path, *command)
    assert (refused.returncode, "an API key is needed" in refused.stderr) == (1, True)
    done = await run(tmp_path, *command, ENLARGER_API_KEY="secret")
    assert done.returncode == 0, done.stderr


async def test_terminal_sees_tiles(server: JobServer, tmp_path: Path) -> None:
    """As they are made, by the events of a job."""
    (tmp_path / "in.png").write_bytes(PNG)
    said = StringIO()
    asked = asked_of([str(tmp_path / "in.png"), str(tmp_path / "out.png")], None)
    console = Console(file=said, force_terminal=True, width=100)
    async with AsyncClient(server.url) as client, Decoders(1) as decoders:
        worker = RemoteWorker(client, decoders, Reader(), is_watched=True)
        options = read_options({"scale": 4}, strict=True)
        status = await shell_run.run(asked, options, worker, console, output=print)
    assert status == 0, said.getvalue()
    assert server.count("GET", "/events") == 1
    assert np.array_equal(samples((tmp_path / "out.png").read_bytes()), nearest(RED, 4))


async def test_job_from_the_shell(server: JobServer, tmp_path: Path) -> None:
    """Submitted, shown, watched, saved, deleted."""
    (tmp_path / "in.png").write_bytes(PNG)
    address = {"ENLARGER_SERVER_URL": server.url}
    submitted = await run(tmp_path, "jobs", "submit", "in.png", "-o", "scale=4", **address)
    job_id = submitted.stdout.strip()
    assert (submitted.returncode, job_id) == (0, next(iter(server.jobs)))
    watched = await run(tmp_path, "jobs", "watch", job_id, **address)
    assert watched.stdout.splitlines()[-1] == f"{job_id}: succeeded, 4 of 4 tiles"
    saved = await run(tmp_path, "jobs", "save", job_id, "out.png", "--server", server.url)
    assert saved.returncode == 0, saved.stderr
    assert np.array_equal(samples((tmp_path / "out.png").read_bytes()), nearest(RED, 4))
    long = await run(tmp_path, "jobs", "save", job_id, "x" * 260, **address)
    assert (long.returncode, long.stderr.count("\n")) == (1, 1)
    await run(tmp_path, "jobs", "cancel", job_id, **address)
    shown = await run(tmp_path, "jobs", "show", job_id, **address)
    assert shown.stdout == f"{job_id}: expired, 4 of 4 tiles\n"


async def test_option_of_a_job_has_its_type_whatever_its_value(
    start: Start, tmp_path: Path
) -> None:
    """Also that of a default, and where the picture is a URL, so that options are sent as JSON."""
    asked = ("color_lock=true", "scale=2", "provenance=false", "frames=all", "region=0,0,8,8")
    options = [word for pair in asked for word in ("-o", pair)]
    async with Site({"/cat.png": page(PNG)}) as site:
        gateway = await start(fetch=site.address)
        for source in (site.url("/cat.png"), "in.png"):
            (tmp_path / "in.png").write_bytes(PNG)
            command = ["jobs", "submit", source, *options, "--server", url_of(gateway)]
            done = await run(tmp_path, *command)
            assert done.returncode == 0, done.stderr
            job = (await gateway.call("GET", f"/v1/jobs/{done.stdout.strip()}")).body
            assert job["options"]["color_lock"] is True
            assert job["options"]["region"] == [0, 0, 8, 8]


async def test_job_that_fails_ends_the_watch_with_its_error(
    server: JobServer, tmp_path: Path
) -> None:
    """In a line, and in the exit status."""
    server.fail_with = "unreadable_image"
    (tmp_path / "in.png").write_bytes(PNG)
    address = {"ENLARGER_SERVER_URL": server.url}
    submitted = await run(tmp_path, "jobs", "submit", "in.png", **address)
    watched = await run(tmp_path, "jobs", "watch", submitted.stdout.strip(), **address)
    assert watched.returncode == 1
    assert watched.stderr == "enlarger: the text of unreadable_image\n"


async def test_option_of_a_job_that_is_none_is_refused(tmp_path: Path) -> None:
    """Before anything is sent."""
    for option, text in (("scale", "NAME=VALUE"), ("scale=9", "at most 8")):
        done = await run(tmp_path, "jobs", "submit", "in.png", "-o", option)
        assert done.returncode == 2
        assert text in done.stderr
