"""``enlarger mcp`` and ``docs/how-to/mcp.md`` with the client of the package ``mcp``: over stdio and HTTP, in this process and at a server."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from PIL import Image
from running import RunningService
from support.doc_blocks import commands_on, texts_on
from support.pictures import encoded, skimage_photo
from support.places import DOCS, REPOSITORY

QUICK = {"model": "realesr-animevideov3"}
TOOLS = ["list_models", "estimate", "upscale", "submit_job", "job", "save_job", "cancel_job"]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with a photo of a cat."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    cat = encoded(skimage_photo("chelsea.png")[80:164, 130:226], "JPEG")
    (folder / "cat.jpg").write_bytes(cat)
    return folder


PAGE = DOCS / "how-to" / "mcp.md"
INSTALL, HTTP, AT_SERVER = (shlex.split(text) for text in commands_on(PAGE))
(CLIENT,) = (json.loads(text)["mcpServers"]["enlarger"] for text in texts_on(PAGE, "json"))


def command(typed: list[str], folder: Path, **changed: str) -> list[str]:
    """A command of the page with this folder, and with other words changed."""
    assert typed[0].rpartition("/")[2] == "enlarger"
    changed |= {"~/Pictures": str(folder), "/home/me/Pictures": str(folder)}
    return [sys.executable, "-m", "enlarger", *(changed.get(word, word) for word in typed[1:])]


@asynccontextmanager
async def over_stdio(folder: Path, environment: dict[str, str]) -> AsyncIterator[Client]:
    """A client that starts the process as the page says, and ends it."""
    program, *rest = command([CLIENT["command"], *CLIENT["args"]], folder)
    started = StdioServerParameters(command=program, args=rest, env=environment)
    async with Client(stdio_client(started)) as client:
        yield client


@contextmanager
def over_http(arguments: list[str], environment: dict[str, str]) -> Iterator[str]:
    """The URL of a process that serves over HTTP, and ends after SIGTERM."""
    with subprocess.Popen(
        arguments,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            found = re.search(r"http://127\.0\.0\.1:\d+/mcp", process.stderr.readline())
            assert found is not None
            yield found[0]
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 128 + signal.SIGTERM
        finally:
            process.kill()


async def called(client: Client, tool: str, **arguments: Any) -> Any:
    """What a tool returns; it must succeed."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return result.structured_content


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    """Why a tool does not do something."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    (content,) = result.content
    assert content.type == "text"
    return content.text


def files_in(folder: Path) -> list[str]:
    """The names of all files, hidden ones too."""
    return sorted(path.name for path in folder.iterdir())


def check_is_the_cat(result: Path) -> None:
    """The result has four times the size, and is the photo if it is reduced again."""
    with Image.open(result) as after, Image.open(result.parent / "cat.jpg") as before:
        assert after.size == (4 * before.width, 4 * before.height)
        reduced = np.asarray(after.convert("RGB").resize(before.size, Image.Resampling.BOX))
        assert np.abs(reduced.astype(float) - np.asarray(before)).mean() < 4


async def check_everything(client: Client, pictures: Path) -> None:
    """All tools do what they say, on the photo."""
    tools = (await client.list_tools()).tools
    assert [tool.name for tool in tools] == TOOLS
    models = (await called(client, "list_models"))["result"]
    assert {"realesrgan-x4plus", "realesr-animevideov3"} <= {model["id"] for model in models}
    for wrong in ("../models", "job_1/events", ".."):
        why = await refused(client, "cancel_job", id=wrong)
        assert f"there is no job '{wrong}'" in why

    # The texts that a client reads state the default that the tools have.
    assert "The default scale is 4," in str(client.instructions)
    schema = tools[1].input_schema["properties"]["options"]["properties"]["scale"]
    assert schema["description"].endswith(
        "Where no size is given it is 4, and 1 for models that keep the size."
    )
    expected = await called(client, "estimate", picture="cat.jpg", options=QUICK)
    assert (expected["width_px"], expected["height_px"]) == (384, 336)

    reports: list[tuple[float, float | None]] = []

    async def note(progress: float, total: float | None = None, message: str | None = None) -> None:
        del message
        reports.append((progress, total))

    upscaled = await client.call_tool(
        "upscale",
        {"picture": "cat.jpg", "result": "big.png", "options": QUICK},
        progress_callback=note,
    )
    assert not upscaled.is_error, upscaled.content
    check_is_the_cat(pictures / "big.png")
    assert reports

    again = await refused(client, "upscale", picture="cat.jpg", result="big.png", options=QUICK)
    assert "no file is replaced" in again

    job = await called(client, "submit_job", picture="cat.jpg", format="webp", options=QUICK)
    assert job["state"] in ("queued", "running", "succeeded")
    ended = await called(client, "job", id=job["id"], wait_seconds=50)
    assert (ended["state"], ended["fraction"], ended["problem"]) == ("succeeded", 1, None)
    wrong = await refused(client, "save_job", id=job["id"], result="job.png")
    assert re.search(r"'.*job\.png': the picture is (image/)?webp", wrong)
    await called(client, "save_job", id=job["id"], result="job.webp")
    check_is_the_cat(pictures / "job.webp")
    await called(client, "cancel_job", id=job["id"])
    assert "is gone" in await refused(client, "save_job", id=job["id"], result="late.webp")
    assert files_in(pictures) == ["big.png", "cat.jpg", "job.webp"]


def at_server(folder: Path, url: str) -> list[str]:
    """The page's command that lets a server compute, here over HTTP."""
    return [*command(AT_SERVER, folder, **{"http://gpu-box:8000": url}), "--http", "0"]


def test_page_installs_an_extra_that_exists() -> None:
    """And lists every tool, in the order in which clients see them."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert INSTALL == [".venv/bin/python", "-m", "pip", "install", ".[mcp]"]
    assert "mcp" in project["optional-dependencies"]
    assert re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE) == TOOLS


async def test_process_upscales_over_stdio(pictures: Path, environment: dict[str, str]) -> None:
    """Without a server, with the real weights."""
    async with over_stdio(pictures, environment) as client:
        await check_everything(client, pictures)


async def test_server_upscales_over_http(
    pictures: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """A gateway with one model server does the work, and this process has the folders."""
    with (
        RunningService(tmp_path, {**environment, "NUM_SERVERS": "1"}) as service,
        over_http(at_server(pictures, service.url), environment) as url,
    ):
        async with Client(url) as client:
            await check_everything(client, pictures)


async def test_errors_say_what_is_wrong(
    pictures: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """Over HTTP, with the smallest network: paths outside, options, models, jobs, and a damaged file."""
    (pictures / "broken.png").write_bytes(b"not a picture")
    (tmp_path / "secret.png").write_bytes(b"a secret")
    quick = {"model": "nearest"}
    with over_http(command(HTTP, pictures, **{"8765": "0"}), environment) as url:
        async with Client(url) as client:

            async def why(picture: str = "cat.jpg", result: str = "new.png", **options: Any) -> str:
                return await refused(
                    client, "upscale", picture=picture, result=result, options=quick | options
                )

            outside = str(tmp_path / "secret.png")
            assert "is outside of the folders" in await why(picture=outside)
            assert "is outside of the folders" in await why(result=str(tmp_path / "new.png"))
            assert "not there" in await why(picture="dog.jpg")
            assert "File name too long" in await why(picture=f"{'a' * 300}.jpg")
            assert "File name too long" in await why(result=f"{'a' * 300}.png")
            assert "it must be at most 8" in await why(scale=9)
            assert "there is no such option; there are scale" in await why(scal=2)
            assert "start `enlarger mcp` with --precision" in await why(precision="f32")
            assert "'giant'" in await why(model="giant")
            assert "broken.png" not in await why(picture="broken.png")
            assert "format" in await refused(client, "estimate", picture="cat.jpg", format="gif")
            assert "there is no job 'job_1'" in await refused(client, "job", id="job_1")
            failed = await called(client, "submit_job", picture="broken.png", options=quick)
            ended = await called(client, "job", id=failed["id"], wait_seconds=50)
            assert ended["state"] == "failed"
            assert ended["problem"]
            text = await refused(client, "save_job", id=failed["id"], result="new.png")
            assert ended["problem"] in text
            assert files_in(pictures) == ["broken.png", "cat.jpg"]


def test_wrong_folder_ends_the_command(tmp_path: Path) -> None:
    """With the status of a wrong option, before anything is loaded."""
    done = subprocess.run(
        command(HTTP, tmp_path / "gone"), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "is not a folder; name one that exists" in done.stderr
