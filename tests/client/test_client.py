"""The Python client, waiting and awaiting alike: against a real gateway, and against a server with jobs that misbehaves."""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from support.clients import BOTH, Ask
from support.fakes import NearestEngine, nearest
from support.gateways import PNG, RED, Start, samples
from support.job_servers import TILES, JobServer
from support.pictures import encoded
from support.places import REFERENCE
from support.sites import Site, page

import enlarger
from enlarger import AsyncClient, errors
from enlarger.client import JobStatus, Upscaled
from enlarger.engine.tile import ModelFacts
from enlarger.errors import EnlargerError

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(params=BOTH)
def ask(request: pytest.FixtureRequest) -> Ask:
    """Each test is run with both clients."""
    return BOTH[request.param]


@pytest_asyncio.fixture(loop_scope="module")
async def server() -> AsyncIterator[JobServer]:
    """A server with jobs."""
    async with JobServer() as server:
        yield server


@pytest_asyncio.fixture(params=["fake", "gateway"], loop_scope="module")
async def server_url(request: pytest.FixtureRequest, server: JobServer, start: Start) -> str:
    """Return the URL of a server whose jobs work: the fake server without its faults, then a real gateway."""
    if request.param == "fake":
        return server.url
    return f"http://127.0.0.1:{(await start()).port}"


def assert_enlarged(picture: Upscaled, scale: int = 4) -> None:
    """It is the usual picture, enlarged, and says so."""
    assert np.array_equal(samples(picture.data), nearest(RED, scale))
    assert (picture.width_px, picture.height_px) == (30 * scale, 20 * scale)
    assert (picture.original_width_px, picture.original_height_px) == (30, 20)
    assert picture.media_type == "image/png"
    assert picture.sha256 == hashlib.sha256(picture.data).hexdigest()


def names(folder: Path) -> set[str]:
    """Return the names of all files in a folder, except those of the gateway itself."""
    return {path.name for path in folder.iterdir() if not path.name.startswith(("uploads", "jobs"))}


# Pictures, at a real gateway


@pytest.mark.parametrize("form", ["path", "name", "bytes", "file"])
async def test_picture_is_enlarged(start: Start, ask: Ask, tmp_path: Path, form: str) -> None:
    """However it is given; what was done to it stands beside it."""
    gateway = await start()
    path = tmp_path / "in.png"
    path.write_bytes(PNG)
    source = {"path": path, "name": str(path), "bytes": PNG, "file": BytesIO(PNG)}[form]
    picture = await ask(
        f"http://127.0.0.1:{gateway.port}", lambda one: one.upscale(source, scale=4)
    )
    assert_enlarged(picture)
    assert picture.model == "realesrgan-x4plus"
    assert (picture.precision, picture.tiles, picture.notes) == ("f32", 1, ())
    assert picture.request_id
    assert picture.save(tmp_path / "out.png").read_bytes() == picture.data
    assert names(tmp_path) == {"in.png", "out.png"}


async def test_url_is_fetched_by_the_server(start: Start, ask: Ask) -> None:
    """Under its rules."""
    async with Site({"/cat.png": page(PNG)}) as site:
        gateway = await start(fetch=site.address)
        url = f"http://127.0.0.1:{gateway.port}"
        assert_enlarged(await ask(url, lambda one: one.upscale(site.url("/cat.png"), scale=4)))


async def test_options_arrive(start: Start, ask: Ask) -> None:
    """Each kind of value, from bytes and with a URL alike."""
    async with Site({"/cat.png": page(PNG)}) as site:
        gateway = await start(fetch=site.address)
        for source in (PNG, site.url("/cat.png")):
            picture = await ask(
                f"http://127.0.0.1:{gateway.port}",
                lambda one, source=source: one.upscale(
                    source,
                    scale=2.5,
                    region=(5, 4, 10, 8),
                    format="webp",
                    quality=100,
                    color_lock=False,
                    background="#ffffff",
                ),
            )
            assert (picture.width_px, picture.height_px) == (25, 20)
            assert picture.media_type == "image/webp"
            assert picture.notes == ("resampled",)


async def test_result_is_not_saved_under_a_name_of_another_format(
    start: Start, ask: Ask, tmp_path: Path
) -> None:
    """A PNG called .webp helps nobody; nothing is written."""
    gateway = await start()
    picture = await ask(f"http://127.0.0.1:{gateway.port}", lambda one: one.upscale(PNG, scale=2))
    with pytest.raises(errors.InvalidOption, match='ask for format="webp"'):
        picture.save(tmp_path / "out.webp")
    with pytest.raises(errors.UnwritableFile, match="No such file"):
        picture.save(tmp_path / "nowhere" / "out.png")
    assert names(tmp_path) == set()


async def test_estimate_and_models(start: Start, ask: Ask, models: list[ModelFacts]) -> None:
    """A picture and its size alone lead to the same estimate. A refused request is a result, not an exception."""
    gateway = await start(NearestEngine(models, mflop_per_s=1000))
    url = f"http://127.0.0.1:{gateway.port}"
    by_size = await ask(url, lambda one: one.estimate(size_px=(30, 20), scale=3))
    assert by_size == await ask(url, lambda one: one.estimate(PNG, scale=3))
    assert (by_size.is_accepted, by_size.width_px, by_size.height_px) == (True, 90, 60)
    assert by_size.eta_s is not None
    assert by_size.wait_s == 0
    assert by_size.precision == "f32"
    refused = await ask(url, lambda one: one.estimate(size_px=(5000, 20)))
    assert not refused.is_accepted
    assert isinstance(refused.problem, errors.ImageTooLarge)
    with pytest.raises(errors.InvalidOption, match="either a picture or size_px"):
        await ask(url, lambda one: one.estimate())
    listed = await ask(url, lambda one: one.models())
    assert listed.default["4"] == "realesrgan-x4plus"
    best = next(model for model in listed.models if model.id == "realesrgan-x4plus")
    assert (best.native_scale, best.ready_on, len(best.sha256)) == (4, 1, 64)
    assert (await ask(url, lambda one: one.status()))["status"] == "running"
    assert (await ask(url, lambda one: one.health()))["status"] == "healthy"


# The documentation


EXAMPLES = re.findall(
    r"^```python\n(.*?)^```",
    (REFERENCE / "client.md").read_text(),
    re.MULTILINE | re.DOTALL,
)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
async def test_example_of_the_documentation_runs(
    start: Start, server: JobServer, tmp_path: Path, number: int
) -> None:
    """As it stands there, but for the address; those with jobs at a server that has them."""
    example = EXAMPLES[number]
    gateway = await start()
    has_jobs = "submit" in example and "jobs.events" not in example
    url = server.url if has_jobs else f"http://127.0.0.1:{gateway.port}"
    (tmp_path / "in.jpg").write_bytes(encoded(RED, "JPEG"))
    assert "http://127.0.0.1:8000" in example
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", example.replace("http://127.0.0.1:8000", url)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert names(tmp_path) - {"in.jpg"} or "unsupported_format 415" in done.stdout


# Errors


@pytest.mark.parametrize(
    ("source", "options", "expected"),
    [
        (b"no picture", {}, errors.UnsupportedFormat),
        (PNG[:60], {}, errors.UnreadableImage),
        (PNG, {"scale": 9}, errors.InvalidOption),
        (PNG, {"model": "nope"}, errors.UnknownModel),
        ("http://127.0.0.1/x", {}, errors.SourceUnreachable),
        ("not-there.png", {}, errors.UnreadableImage),
    ],
)
async def test_error_is_the_class_of_its_code(
    start: Start, ask: Ask, source: Any, options: Any, expected: type[EnlargerError]
) -> None:
    """With the server's text, and without a second attempt."""
    gateway = await start()
    with pytest.raises(expected) as caught:
        await ask(f"http://127.0.0.1:{gateway.port}", lambda one: one.upscale(source, **options))
    if source != "not-there.png":
        assert caught.value.request_id
        assert caught.value.status == expected.status
    if options.get("scale") == 9:
        assert isinstance(caught.value, errors.InvalidOption)
        assert caught.value.faults == (errors.Fault("scale", "range", "it must be at most 8"),)


async def test_key_is_shown(start: Start, ask: Ask) -> None:
    """And asked for."""
    digest = hashlib.sha256(b"secret").hexdigest()
    gateway = await start(api_keys=f"a:sha256-{digest}")
    url = f"http://127.0.0.1:{gateway.port}"
    assert_enlarged(await ask(url, lambda one: one.upscale(PNG, scale=4), api_key="secret"))
    with pytest.raises(errors.Unauthorized):
        await ask(url, lambda one: one.upscale(PNG, scale=4))


async def test_health_of_a_server_that_cannot_work(
    start: Start, ask: Ask, models: list[ModelFacts]
) -> None:
    """Is told, not raised."""
    async with Site(
        {"/health": page(b'{"status": "unhealthy", "reason": "starting"}', 503)}
    ) as site:
        health = await ask(site.url(""), lambda one: one.health())
    assert (health["status"], health["reason"]) == ("unhealthy", "starting")


async def test_no_server_says_what_to_do(ask: Ask) -> None:
    """After the attempts that were allowed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(errors.ServerUnreachable) as caught:
            await ask(url, lambda one: one.models(), attempts=2)
    assert url in str(caught.value)
    assert "enlarger serve" in str(caught.value)


@pytest.mark.alone
async def test_refused_connections_are_tried_for_two_seconds(ask: Ask) -> None:
    """A server that restarts is back by then; a wrong address never is, whatever attempts are left."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(errors.ServerUnreachable):
            await ask(url, lambda one: one.models(), attempts=100)
    assert 0.2 < time.monotonic() - began < 3.5


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, BytesIO])
async def test_picture_may_be_bytes_of_any_kind(start: Start, ask: Ask, kind: Any) -> None:
    """As buffers come from other libraries."""
    gateway = await start()
    picture = await ask(
        f"http://127.0.0.1:{gateway.port}", lambda one: one.upscale(kind(PNG), scale=4)
    )
    assert_enlarged(picture)


@pytest.mark.parametrize(
    "source", [None, 7, StringIO("text"), [1, 2]], ids=["none", "number", "text", "list"]
)
async def test_what_is_no_picture_is_a_type_error_in_words(ask: Ask, source: Any) -> None:
    """It names what is taken; nothing is sent."""
    with pytest.raises(TypeError, match="'rb', or an http or https URL, not "):
        await ask("http://127.0.0.1:9", lambda one: one.upscale(source))


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (page(b"<html>", content_type="text/html"), "no picture of an enlarger server: text/html"),
        (page(b"<html>", 404, content_type="text/html"), "404 text/html; is this the address"),
        (page(b"", 301, location="https://elsewhere/"), "sends on to https://elsewhere/"),
    ],
)
async def test_other_servers_are_told_apart(ask: Ask, answer: bytes, text: str) -> None:
    """What answers there is no enlarger."""
    async with Site({"/v1/upscale": answer}) as site:
        with pytest.raises(errors.UnexpectedAnswer, match=text):
            await ask(site.url(""), lambda one: one.upscale(b""))


# Repeats


async def test_refusal_is_repeated_after_the_time_it_names(server: JobServer, ask: Ask) -> None:
    """``Retry-After`` is kept, and the work is done once."""
    server.refusals = [(503, "queue_full", {"Retry-After": "1"})]
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert_enlarged(await ask(server.url, lambda one: one.upscale(PNG, scale=4)))
    assert loop.time() - began >= 1
    assert len(server.jobs) == 1


async def test_refusal_that_stays_is_raised(server: JobServer, ask: Ask) -> None:
    """After so many attempts; with the time to come back."""
    server.refusals = [(429, "rate_limited", {"Retry-After": "0"})] * 3
    with pytest.raises(errors.RateLimited) as caught:
        await ask(server.url, lambda one: one.upscale(PNG), attempts=3)
    assert (caught.value.retry_after_s, caught.value.status) == (0, 429)
    assert caught.value.request_id == "r-fake"
    assert server.count("POST") == 3


async def test_fault_of_the_sender_is_not_repeated(server: JobServer, ask: Ask) -> None:
    """It would be refused again."""
    server.refusals = [(413, "output_too_large", {})]
    with pytest.raises(errors.OutputTooLarge, match="the text of output_too_large"):
        await ask(server.url, lambda one: one.upscale(PNG))
    assert server.count("POST") == 1


async def test_code_of_a_newer_server_is_its_base_class(server: JobServer, ask: Ask) -> None:
    """With the code itself."""
    server.refusals = [(422, "too_beautiful", {})]
    with pytest.raises(errors.RequestError, match="the text of too_beautiful") as caught:
        await ask(server.url, lambda one: one.upscale(PNG))
    assert (caught.value.code, caught.value.status) == ("too_beautiful", 422)


async def test_lost_answer_does_not_do_the_work_twice(server: JobServer, ask: Ask) -> None:
    """The repeated request has the key of the first; another call has another."""
    server.lose_answers = 1
    assert_enlarged(await ask(server.url, lambda one: one.upscale(PNG, scale=4)))
    assert (server.count("POST"), len(server.jobs)) == (2, 1)
    await ask(server.url, lambda one: one.upscale(PNG, scale=4))
    assert len(server.jobs) == 2


async def test_damaged_result_is_seen(server: JobServer, ask: Ask) -> None:
    """By its hash."""
    server.damage = lambda data: data[:-1] + b"x"
    with pytest.raises(errors.UnexpectedAnswer, match="damaged"):
        await ask(server.url, lambda one: one.upscale(PNG))


# Jobs


async def test_answer_that_becomes_a_job_is_followed(server_url: str, ask: Ask) -> None:
    """The caller sees the picture alone."""
    assert_enlarged(await ask(server_url, lambda one: one.upscale(PNG, scale=4)))


async def test_progress_is_told(server_url: str, ask: Ask) -> None:
    """From the queue to the end; it never falls."""
    told: list[JobStatus] = []
    picture = await ask(server_url, lambda one: one.upscale(PNG, scale=4, on_progress=told.append))
    assert_enlarged(picture)
    assert told[-1].state == "succeeded"
    assert [one.fraction for one in told] == sorted(one.fraction for one in told)
    assert told[-1].tiles_done == told[-1].tiles_total


async def test_job_goes_its_way(server_url: str, ask: Ask) -> None:
    """Submitted, found again by its id, waited for, fetched, deleted."""
    handle = await ask(server_url, lambda one: one.submit(PNG, scale=4))
    ended = await ask(server_url, lambda one: one.jobs.get(handle.id).wait())
    assert (ended.id, ended.state, ended.is_finished) == (handle.id, "succeeded", True)
    assert (await ask(server_url, lambda one: one.jobs.get(handle.id).status())).is_finished
    assert_enlarged(await ask(server_url, lambda one: one.jobs.get(handle.id).result()))
    gone = await ask(server_url, lambda one: one.jobs.get(handle.id).cancel())
    assert gone.state == "expired"
    with pytest.raises(errors.RequestError) as caught:
        await ask(server_url, lambda one: one.jobs.get(handle.id).result())
    assert (caught.value.code, caught.value.status) == ("result_expired", 410)


def all_events(handle: Any) -> Any:
    """Return all events of a job handle, synchronous or asynchronous."""

    async def awaited() -> list[JobStatus]:
        return [status async for status in handle.events()]

    return (
        awaited() if isinstance(handle, enlarger.client.AsyncJobHandle) else list(handle.events())
    )


async def test_events_are_those_of_the_job(server: JobServer, ask: Ask) -> None:
    """Each tile, and the end."""
    server.gate, server.listeners_open_gate = asyncio.Event(), True
    handle = await ask(server.url, lambda one: one.submit(PNG, scale=4))
    told = await ask(server.url, lambda one: all_events(one.jobs.get(handle.id)))
    assert {one.tiles_done for one in told} == set(range(TILES + 1))
    assert told[-1].state == "succeeded"


async def test_broken_stream_goes_on_where_it_broke(server: JobServer, ask: Ask) -> None:
    """By ``Last-Event-ID``: nothing is told twice, nothing is left out."""
    server.break_after = 3
    server.gate, server.listeners_open_gate = asyncio.Event(), True
    told: list[JobStatus] = []
    await ask(server.url, lambda one: one.upscale(PNG, scale=4, on_progress=told.append))
    resumed = [
        one.headers.get("Last-Event-ID") for one in server.asked if one.path.endswith("/events")
    ]
    assert resumed[:3] == [None, "3", "6"]
    assert [one.tiles_done for one in told if one.state == "running"] == [0, 1, 2, 3, 4]


async def test_server_without_events_is_asked(server: JobServer, ask: Ask) -> None:
    """Again and again."""
    server.has_events = False
    told: list[JobStatus] = []
    assert_enlarged(
        await ask(server.url, lambda one: one.upscale(PNG, scale=4, on_progress=told.append))
    )
    assert server.count("GET", "/events") == 1
    assert told[-1].state == "succeeded"


async def test_streams_that_tell_nothing_are_given_up(server: JobServer, ask: Ask) -> None:
    """Some proxies hold them back: the job is asked for instead."""
    server.break_after = 0
    server.gate, server.listeners_open_gate = asyncio.Event(), True
    told: list[JobStatus] = []
    assert_enlarged(
        await ask(server.url, lambda one: one.upscale(PNG, scale=4, on_progress=told.append))
    )
    assert server.count("GET", "/events") == 3
    assert told[-1].state == "succeeded"


@pytest.mark.parametrize("is_watched", [False, True])
async def test_job_that_fails_raises_why(server: JobServer, ask: Ask, is_watched: bool) -> None:
    """As the request itself would have."""
    server.fail_with = "source_refused"
    options = {"on_progress": lambda _: None} if is_watched else {}
    with pytest.raises(errors.SourceRefused, match="the text of source_refused"):
        await ask(server.url, lambda one: one.upscale(PNG, **options))


async def test_cancelled_job_has_no_result(server: JobServer, ask: Ask) -> None:
    """And says so."""
    server.gate = asyncio.Event()
    handle = await ask(server.url, lambda one: one.submit(PNG))
    assert (await ask(server.url, lambda one: one.jobs.get(handle.id).cancel())).state == "canceled"
    with pytest.raises(EnlargerError) as caught:
        await ask(server.url, lambda one: one.jobs.get(handle.id).result())
    assert (caught.value.code, caught.value.status) == ("job_without_result", 409)


async def test_unknown_job_is_not_found(server: JobServer, ask: Ask) -> None:
    """Whatever is in its name."""
    for name in ("job_0", "a/b?c#d", ".."):
        with pytest.raises(EnlargerError) as caught:
            await ask(server.url, lambda one, name=name: one.jobs.get(name).status())
        assert caught.value.status == 404


async def test_call_that_takes_too_long_cancels_its_job(server: JobServer, ask: Ask) -> None:
    """Nobody else knows of it."""
    server.gate = asyncio.Event()
    with pytest.raises(errors.TimedOut, match=r"0\.3 s"):
        await ask(server.url, lambda one: one.upscale(PNG, timeout_s=0.3))
    (job,) = server.jobs.values()
    assert job.state == "canceled"


async def test_wait_that_takes_too_long_leaves_the_job(server: JobServer, ask: Ask) -> None:
    """It was submitted to go on."""
    server.gate = asyncio.Event()
    handle = await ask(server.url, lambda one: one.submit(PNG))
    with pytest.raises(errors.TimedOut):
        await ask(server.url, lambda one: one.jobs.get(handle.id).wait(timeout_s=0.3))
    assert server.jobs[handle.id].state == "queued"


async def test_listener_that_raises_cancels_the_job(server: JobServer, ask: Ask) -> None:
    """Its error comes through."""
    server.gate = asyncio.Event()

    def stop(_: JobStatus) -> None:
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        await ask(server.url, lambda one: one.upscale(PNG, on_progress=stop))
    (job,) = server.jobs.values()
    assert job.state == "canceled"


async def test_cancelled_task_cancels_its_job(server: JobServer) -> None:
    """A stop stops the work at the server, too."""
    server.gate = asyncio.Event()
    seen = asyncio.Event()
    async with AsyncClient(server.url) as client:
        call = client.upscale(PNG, on_progress=lambda _: seen.set())
        task = asyncio.create_task(call)
        await seen.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    (job,) = server.jobs.values()
    assert job.state == "canceled"
