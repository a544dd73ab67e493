"""Decoding in real processes: they answer as the function does, and whatever happens to one, the next works."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.colours import cicp, gama, png_with
from support.file_limits import no_more_open_files
from support.pictures import (
    RGB,
    RGB_ALPHA,
    SRGB,
    encoded,
    icc_profile,
    noise,
    noise16,
    oriented,
    png,
    png_chunk,
    tiff,
)

from enlarger.errors import EnlargerError, OpenFilesExhausted, UnreadableImage, UnsupportedFormat
from enlarger.picture import sandbox
from enlarger.picture.decode import decode, probe
from enlarger.picture.sandbox import protocol
from enlarger.picture.sandbox.limits import CPU_LIMIT_S
from enlarger.picture.sandbox.pool import Decoders
from enlarger.picture.sandbox.process import DecoderProcess
from enlarger.picture.values import Picture

SMALL = encoded(noise(5, 7, 3))

FILES = {
    "gray": encoded(noise(4, 6, 1)),
    "gray-alpha": encoded(noise(4, 6, 2)),
    "rgb": encoded(noise(64, 48, 3), icc_profile=icc_profile(b"RGB ")),
    "rgba": encoded(noise(4, 6, 4)),
    "16-bit": png(noise(3, 5, 3).astype(np.uint16) * 257, colour=RGB, depth_bits=16),
    "turned": oriented(noise(16, 24, 3), 6, "JPEG"),
    "palette": encoded(Image.fromarray(noise(9, 8, 3)).quantize(4)),
    "webp": encoded(noise(6, 5, 4), "WEBP", lossless=True),
    "bmp": encoded(noise(6, 5, 3), "BMP"),
    "16-bit gray": tiff(noise16(7, 3, 1), "minisblack"),
    "tiff": encoded(noise(6, 5, 3), "TIFF", compression="tiff_lzw"),
    "avif": encoded(noise(6, 5, 3), "AVIF"),
    "cmyk": encoded(Image.new("CMYK", (4, 4), (9, 8, 7, 6)), "JPEG"),
    "metadata": oriented(
        noise(16, 24, 3), 1, "JPEG", xmp=b"<x/>", dpi=(300, 150), icc_profile=SRGB
    ),
}
"""A file of each kind."""

BROKEN = {
    "empty": b"",
    "text": b"not a picture",
    "cut": encoded(noise(40, 40, 3))[:500],
    "head": b"\x89PNG\r\n\x1a\n",
}
"""Files that are refused."""

LONG_S = 60
"""A time that plays no part."""


PARENT = """
import asyncio, sys
from pathlib import Path
from enlarger.picture.sandbox.process import DecoderProcess
from enlarger.picture.sandbox.pool import Decoders

async def main():
    data = Path(sys.argv[1]).read_bytes()
    async with Decoders(2) as decoders:
        await asyncio.gather(decoders.probe(data), decoders.probe(data))
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
"""A program with two decoder processes, which waits to be killed."""

Running = Callable[[], set[int]]


def decoder_processes(parent: int) -> set[int]:
    """Its decoder processes that run or are stopped; one that has ended has no command line."""
    found = set()
    for folder in Path("/proc").iterdir():
        try:
            command = (folder / "cmdline").read_bytes()
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # no process, or one that ended in between
        if b"enlarger.picture.sandbox" in command and int(fields[1]) == parent:
            found.add(int(folder.name))
    return found


@pytest.fixture
def running() -> Iterator[Running]:
    """Decoder processes that the test started and that have not ended. When it ends, so have they."""
    before = decoder_processes(os.getpid())
    yield lambda: decoder_processes(os.getpid()) - before
    left = decoder_processes(os.getpid()) - before
    for process in left:
        os.kill(process, signal.SIGKILL)
    assert left == set()


async def idle_process(decoders: Decoders, running: Running) -> int:
    """The only process of ``decoders``, which has answered and waits for the next question."""
    assert await decoders.probe(SMALL) == probe(SMALL)
    (process,) = running()
    return process


async def ended(descriptor: int) -> None:
    """Return when the process behind this descriptor has ended."""
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, over.set)
    try:
        await asyncio.wait_for(over.wait(), LONG_S)
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def kill(process: int) -> None:
    """Kill it, and return when it has ended."""
    descriptor = os.pidfd_open(process)
    os.kill(process, signal.SIGKILL)
    await ended(descriptor)


def stop(process: int) -> None:
    """Make it hang, as a decoder may in an endless loop; returns when it does."""
    os.kill(process, signal.SIGSTOP)
    os.waitid(os.P_PID, process, os.WSTOPPED | os.WNOWAIT)


def assert_same(one: Picture, other: Picture) -> None:
    """Every field, and every sample."""
    assert np.array_equal(one.samples, other.samples)
    assert one.samples.dtype == other.samples.dtype
    for field in fields(Picture):
        if field.name != "samples":
            assert getattr(one, field.name) == getattr(other, field.name)


def bomb(side_px: int) -> bytes:
    """A PNG of a few bytes whose header speaks of ``side_px`` squared pixels of 4 bytes."""
    header = struct.pack(">IIBBBBB", side_px, side_px, 8, RGB_ALPHA, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            png_chunk(b"IHDR", header),
            png_chunk(b"IDAT", zlib.compress(bytes(1000))),
            png_chunk(b"IEND", b""),
        ]
    )


# Answers


async def test_processes_answer_as_the_function_does(running: Running) -> None:
    """Header and picture of each kind of file, all asked for at once; and they outlive the processes."""
    async with Decoders(2) as decoders:
        headers = await asyncio.gather(*(decoders.probe(data) for data in FILES.values()))
        pictures = await asyncio.gather(*(decoders.decode(data) for data in FILES.values()))
        assert len(running()) == 2
    for data, header, picture in zip(FILES.values(), headers, pictures, strict=True):
        assert header == probe(data)
        assert_same(picture, decode(data))


async def test_process_that_was_started_ahead_answers_first(running: Running) -> None:
    """No other one is started for the first question."""
    async with Decoders(2, first=DecoderProcess()) as decoders:
        async with asyncio.timeout(LONG_S):
            while not running():  # noqa: ASYNC110 - it has no name before it runs, and nobody tells
                await asyncio.sleep(0.01)
        (ahead,) = running()
        assert await idle_process(decoders, running) == ahead


async def test_process_that_nobody_asked_ends(running: Running) -> None:
    """With the decoders that started it."""
    async with Decoders(1, first=DecoderProcess()):
        async with asyncio.timeout(LONG_S):
            while not running():  # noqa: ASYNC110 - it has no name before it runs, and nobody tells
                await asyncio.sleep(0.01)
    async with asyncio.timeout(LONG_S):
        while running():  # noqa: ASYNC110 - it is killed, and nobody tells
            await asyncio.sleep(0.01)


async def test_conversion_to_srgb_is_asked_for_across_the_socket(running: Running) -> None:
    """The option reaches the process, and the picture is the one that the function makes."""
    data = encoded(noise(6, 5, 3), icc_profile=SRGB)
    async with Decoders(1) as decoders:
        picture = await decoders.decode(data, to_srgb=True)
    assert picture.icc is None
    assert_same(picture, decode(data, to_srgb=True))


async def test_stated_colours_come_across_the_socket(running: Running) -> None:
    """What a file says of its colours without a profile is whole, and the format of the result reaches the process."""
    data = png_with(cicp(9, 16), {b"cLLI": bytes(8)}, samples=noise16(6, 8, 3))
    async with Decoders(1) as decoders:
        kept = await decoders.decode(data, kind="png")
        converted = await decoders.decode(data, kind="jpeg")
        linear = await decoders.decode(png_with(gama(100_000)))
    assert kept.stated is not None
    assert kept.stated == decode(data).stated
    assert linear.own == decode(png_with(gama(100_000))).own is not None
    assert converted.stated is None
    assert_same(converted, decode(data, kind="jpeg"))


async def test_refusal_is_that_of_the_function_and_keeps_the_process(running: Running) -> None:
    """The same class and the same words; a broken file is no reason to start a process anew."""
    async with Decoders(1) as decoders:
        process = await idle_process(decoders, running)
        for data in BROKEN.values():
            with pytest.raises(EnlargerError) as here:
                decode(data)
            with pytest.raises(type(here.value)) as there:
                await decoders.decode(data)
            assert str(there.value) == str(here.value)
        assert await idle_process(decoders, running) == process


async def test_processes_start_when_they_are_needed(running: Running) -> None:
    """None at first, and one for calls that come one after another."""
    async with Decoders(3) as decoders:
        assert running() == set()
        process = await idle_process(decoders, running)
        assert await idle_process(decoders, running) == process


async def test_nothing_is_left_open(running: Running) -> None:
    """Descriptors of shared memory and sockets, after answers and refusals alike."""

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    async with Decoders(1) as decoders:
        await idle_process(decoders, running)
        before = descriptors()
        for data in [*FILES.values(), *BROKEN.values()]:
            with contextlib.suppress(EnlargerError):
                await decoders.decode(data)
        assert descriptors() == before


# What may happen to a process


async def test_process_that_died_idle_is_replaced(running: Running) -> None:
    """The next picture is not to blame: it is decoded, in a new process."""
    async with Decoders(1) as decoders:
        process = await idle_process(decoders, running)
        await kill(process)
        assert_same(await decoders.decode(SMALL), decode(SMALL))
        assert await idle_process(decoders, running) != process


async def test_process_that_died_working_is_replaced(running: Running) -> None:
    """Its picture is refused, since it may well be the cause; the next is decoded."""
    async with Decoders(1) as decoders:
        process = await idle_process(decoders, running)
        stop(process)
        task = asyncio.create_task(decoders.decode(SMALL))
        await asyncio.sleep(0)  # it takes the process
        await kill(process)
        with pytest.raises(UnreadableImage, match="cannot be decoded"):
            await task
        assert await idle_process(decoders, running) != process


async def test_process_that_takes_too_long_is_killed(running: Running) -> None:
    """Its picture is refused, and its place is free: the next call does not wait for ever.

    No process has even started within a hundredth of a second.
    """
    async with Decoders(1, timeout_s=0.01) as decoders:
        for _ in range(2):
            with pytest.raises(UnreadableImage, match="takes too long"):
                await asyncio.wait_for(decoders.decode(SMALL), LONG_S)
            assert running() == set()


async def test_cancelled_call_ends_its_process(running: Running) -> None:
    """What is being decoded is worth nothing any more; the next call gets a new process."""
    async with Decoders(1) as decoders:
        process = await idle_process(decoders, running)
        stop(process)
        task = asyncio.create_task(decoders.decode(SMALL))
        await asyncio.sleep(0)  # it takes the process
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert running() == set()
        assert await idle_process(decoders, running) != process


async def test_call_cancelled_while_its_process_starts_leaves_none(running: Running) -> None:
    """The process that nobody waits for is ended, and the next call gets another."""
    async with Decoders(1) as decoders:
        task = asyncio.create_task(decoders.decode(SMALL))
        while not running():  # noqa: ASYNC110 - the system sets no event of ours
            await asyncio.sleep(0)
        (process,) = running()
        descriptor = os.pidfd_open(process)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await ended(descriptor)
        assert await idle_process(decoders, running) != process


async def test_cancelled_call_that_waits_changes_nothing(running: Running) -> None:
    """It had no process yet: the one at work goes on, and its place is not lost."""
    async with Decoders(1) as decoders:
        process = await idle_process(decoders, running)
        stop(process)
        working = asyncio.create_task(decoders.decode(SMALL))
        waiting = asyncio.create_task(decoders.decode(SMALL))
        await asyncio.sleep(0)  # the first takes the process, the second waits for it
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        os.kill(process, signal.SIGCONT)
        assert_same(await working, decode(SMALL))
        assert await idle_process(decoders, running) == process


async def test_closing_ends_all_processes(running: Running) -> None:
    """Idle ones and one that hangs; the picture of that one is refused."""
    async with Decoders(2) as decoders:
        await asyncio.gather(decoders.probe(SMALL), decoders.probe(SMALL))
        assert len(running()) == 2
        for process in running():
            stop(process)
        task = asyncio.create_task(decoders.decode(SMALL))
        await asyncio.sleep(0)  # it takes one of them
    try:
        assert running() == set()
        with pytest.raises(UnreadableImage):
            await task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_bomb_is_refused_for_its_memory(running: Running) -> None:
    """A header of 200000 x 200000 asks for 160 GB; the process may have 4 GiB, and survives the refusal."""
    async with Decoders(1) as decoders:
        process = await idle_process(decoders, running)
        limit = 4 * 1024**3
        assert resource.prlimit(process, resource.RLIMIT_AS) == (limit, limit)
        header = await decoders.probe(bomb(200_000))
        assert (header.width_px, header.height_px) == (200_000, 200_000)
        with pytest.raises(UnreadableImage, match="too much memory"):
            await decoders.decode(bomb(200_000))
        assert await idle_process(decoders, running) == process


async def test_decoder_has_so_much_processor_time_for_each_picture(running: Running) -> None:
    """Counted from the question: many small pictures never use it up. And it leaves no core behind."""
    async with Decoders(1) as decoders:
        process = await idle_process(decoders, running)
        soft, hard = resource.prlimit(process, resource.RLIMIT_CPU)
        resource.prlimit(process, resource.RLIMIT_CPU, (1000, hard))
        assert await idle_process(decoders, running) == process
        assert resource.prlimit(process, resource.RLIMIT_CPU) in [
            (soft + more, hard) for more in (0, 1)
        ]
        assert CPU_LIMIT_S < soft <= CPU_LIMIT_S + 10
        assert resource.prlimit(process, resource.RLIMIT_CORE) == (0, 0)


async def test_process_that_computes_for_too_long_is_killed_by_the_kernel() -> None:
    """The kernel kills it whether or not the gateway waits for it. The gateway treats it as a decoder that died."""
    endless = (
        "from enlarger.picture.sandbox.limits import limit_cpu\nlimit_cpu(1)\nwhile True: pass"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", endless)
    assert await asyncio.wait_for(process.wait(), LONG_S) == -signal.SIGXCPU


async def test_file_writes_nothing_into_the_log(
    running: Running, capfd: pytest.CaptureFixture[str]
) -> None:
    """Libtiff prints what it thinks of a file, with texts of that file."""
    page = Image.fromarray(noise(90, 90, 1)[:, :, 0] > 127)
    data = encoded(page, "TIFF", compression="group4")
    pixels = slice(data.index(b"II*\0") + 8 + 20, 2000)
    damaged = data[: pixels.start] + b"\x55" * (pixels.stop - pixels.start) + data[pixels.stop :]
    decode(damaged)
    assert capfd.readouterr().err != ""
    async with Decoders(1) as decoders:
        await decoders.decode(damaged)
    assert capfd.readouterr().err == ""
    failing = await asyncio.create_subprocess_exec(
        sys.executable, "-m", sandbox.__name__, "no number", stderr=asyncio.subprocess.PIPE
    )
    _, told = await failing.communicate()
    assert b"ValueError" in told


async def test_interrupt_from_the_terminal_does_not_reach_a_process(running: Running) -> None:
    """It stands in a session of its own: a Ctrl-C is the gateway's to handle, which finishes its work."""
    async with Decoders(1) as decoders:
        process = await idle_process(decoders, running)
        assert os.getsid(process) == process


async def test_processes_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    """Even by SIGKILL, which lets it clean up nothing."""
    path = tmp_path / "small.png"
    path.write_bytes(SMALL)
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, path, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    try:
        assert await parent.stdout.readline() == b"ready\n"
        processes = decoder_processes(parent.pid)
        assert len(processes) == 2
        descriptors = [os.pidfd_open(process) for process in processes]
    finally:
        parent.kill()
        await parent.wait()
    for descriptor in descriptors:
        await ended(descriptor)


# What crosses the socket


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected sockets."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_message_and_memory_cross_the_socket(ends: tuple[socket.socket, socket.socket]) -> None:
    """As they were sent, one after the other."""
    ours, theirs = ends
    sent: list[tuple[dict[str, Any], bytes]] = [
        ({"a": 1}, b"first"),
        ({"b": "\u00e9"}, bytes(100_000)),
        ({}, b"x"),
    ]
    for message, data in sent:
        protocol.send(ours, message, protocol.shared_memory(data))
        received, memory = protocol.receive(theirs)
        assert received == message
        assert memory is not None
        with memory:
            assert bytes(memory) == data


def test_empty_memory_is_none(ends: tuple[socket.socket, socket.socket]) -> None:
    """Nothing can be mapped of a length of zero."""
    ours, theirs = ends
    protocol.send(ours, {"question": "probe"}, protocol.shared_memory(b""))
    assert protocol.receive(theirs) == ({"question": "probe"}, None)


@pytest.mark.parametrize("sent", [b"", b"\x05", b"\x05\0\0\0{}"])
def test_other_side_that_goes_away_is_an_end(
    ends: tuple[socket.socket, socket.socket], sent: bytes
) -> None:
    """Before a message or in the middle of it."""
    ours, theirs = ends
    descriptor = protocol.shared_memory(b"")
    if sent:
        socket.send_fds(ours, [sent], [descriptor])
    os.close(descriptor)
    ours.close()
    with pytest.raises(EOFError):
        protocol.receive(theirs)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"error": "unsupported_format", "text": "no picture"}, UnsupportedFormat),
        ({"error": "unreadable_image", "text": "no picture"}, UnreadableImage),
        ({"error": "no_such_code", "text": "no picture"}, UnreadableImage),
    ],
)
def test_refusal_crosses_the_socket_as_its_code(
    ends: tuple[socket.socket, socket.socket], answer: dict[str, Any], error: type[EnlargerError]
) -> None:
    """And comes out as the class of that code, with its text."""
    ours, theirs = ends
    protocol.send(theirs, answer, protocol.shared_memory(b""))
    with pytest.raises(error, match=r"^no picture$"):
        protocol.ask(ours, "decode", SMALL)
    assert protocol.receive(theirs)[0] == {"question": "decode"}


def test_picture_without_its_memory_is_an_end(ends: tuple[socket.socket, socket.socket]) -> None:
    """The process has lost its way, and is replaced as if it had died."""
    ours, theirs = ends
    protocol.send(theirs, {"shape": [1, 1, 3]}, protocol.shared_memory(b""))
    with pytest.raises(EOFError):
        protocol.ask(ours, "decode", SMALL)


# Open files


@pytest.mark.parametrize("started", [True, False])
async def test_picture_without_open_files_is_not_the_senders_fault(started: bool) -> None:
    """Neither for the memory that holds it nor for a process to read it: later it is read."""
    async with Decoders(1) as decoders:
        if started:
            await decoders.probe(SMALL)
        with no_more_open_files(), pytest.raises(OpenFilesExhausted):
            await decoders.decode(SMALL)
        assert_same(await decoders.decode(SMALL), decode(SMALL))


def test_memory_that_cannot_be_received_is_an_error_of_this_process(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """The system delivers the message without its descriptor then, which looks like nonsense of the other process."""
    ours, theirs = ends
    protocol.send(theirs, {"answer": 1}, protocol.shared_memory(b"samples"))
    with no_more_open_files(), pytest.raises(OSError, match="Too many open files"):
        protocol.receive(ours)


# Animations


@pytest.mark.parametrize("frames", [1, 2, 9])
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "AVIF"])
async def test_animation_crosses_the_socket(running: Running, kind: str, frames: int) -> None:
    """As many frames as are wanted, their times and how often they are played, with all that goes with them."""
    images = [Image.fromarray(noise(9, 14, 3, seed=seed)) for seed in range(3)]
    options: dict[str, Any] = {} if kind == "GIF" else {"icc_profile": SRGB}
    data = encoded(
        images[0],
        kind,
        save_all=True,
        append_images=images[1:],
        duration=[10, 20, 30],
        loop=5,
        **options,
    )
    async with Decoders(1) as decoders:
        picture = await decoders.decode(data, frames=frames)
        turned = await decoders.decode(data, frames=frames, to_srgb=True)
        still = await decoders.decode(data)
    for found, expected in (
        (picture, decode(data, frames=frames)),
        (turned, decode(data, frames=frames, to_srgb=True)),
        (still, decode(data)),
    ):
        assert_same(replace(found, motion=None), replace(expected, motion=None))
        assert len(found.frames) == len(expected.frames)
        for one, other in zip(found.frames, expected.frames, strict=True):
            assert np.array_equal(one, other)
        if expected.motion is None:
            assert found.motion is None
        else:
            assert found.motion is not None
            assert found.motion.durations_ms == expected.motion.durations_ms
            assert found.motion.plays == expected.motion.plays
    assert len(picture.frames) == min(frames, 3)


async def test_animation_beyond_the_memory_is_refused(running: Running) -> None:
    """However little it takes in the file; the process survives."""
    blank = Image.new("P", (2048, 2048))
    data = bytearray(
        encoded(blank, "GIF", save_all=True, append_images=[Image.new("P", (1, 1), 1)])
    )
    first = data.index(b",")
    frame = bytes(data[first:-1])
    async with Decoders(1) as decoders:
        process = await idle_process(decoders, running)
        many = bytes(data[:-1]) + frame * 300 + b";"
        with pytest.raises(UnreadableImage, match="too much memory"):
            await decoders.decode(many, frames=300)
        assert await idle_process(decoders, running) == process
