"""Work that ends together, and holds nothing afterwards."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from enlarger.errors import EngineFailed
from enlarger.pipeline.together import together


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Switch the garbage collector off, so that an object ends only if nothing refers to it."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Picture:
    """Something large."""


async def give(value: int) -> int:
    """Return the value after a moment."""
    await asyncio.sleep(0)
    return value


async def fail(error: Exception) -> int:
    """Raise the error."""
    await asyncio.sleep(0)
    raise error


class Endless:
    """Runs until it is cancelled."""

    def __init__(self) -> None:
        self.ended = False

    async def run(self) -> int:
        """Wait for ever, and take a moment to clean up."""
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.ended = True
        return 0


async def test_results_are_in_order() -> None:
    """The order does not depend on which of them ends first."""
    assert await together(give(number) for number in range(5)) == [0, 1, 2, 3, 4]
    assert await together(()) == []


async def test_first_error_ends_the_others() -> None:
    """They are cancelled, and have ended when it is raised."""
    endless = Endless()
    with pytest.raises(ZeroDivisionError):
        await together([endless.run(), fail(ZeroDivisionError())])
    assert endless.ended


async def test_error_of_ours_comes_before_others() -> None:
    """If several errors are raised together, one of ours is reported."""
    with pytest.raises(EngineFailed):
        await together([fail(ZeroDivisionError()), fail(EngineFailed("e"))])


async def test_caller_who_leaves_takes_all_along() -> None:
    """When the caller has been cancelled, everything that it started has ended."""
    endless = Endless()
    task = asyncio.create_task(together([endless.run(), give(1)]))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert endless.ended


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("ending", ["cancelled", "failed"])
async def test_what_callers_hold_is_let_go(ending: str) -> None:
    """The objects are released at once, because a picture of hundreds of megabytes must not wait for the garbage collector."""
    held: list[weakref.ref[Picture]] = []

    async def request() -> None:
        picture = Picture()
        held.append(weakref.ref(picture))
        error = fail(EngineFailed("e")) if ending == "failed" else Endless().run()
        await together([Endless().run(), error])

    task = asyncio.create_task(request())
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        assert isinstance(task.exception(), EngineFailed)
    del task
    await asyncio.sleep(0)
    assert held[0]() is None
