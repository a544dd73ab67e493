"""The contract with engines: what a request and an engine's facts say of themselves, also in another process."""

from __future__ import annotations

import dataclasses
import json
import pickle
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import NEAREST, NearestEngine
from support.pictures import noise

from enlarger.engine.tile import TileRequest
from enlarger.geometry.rect import Rect


def request(*, deadline: float = 0.0, keep: Rect | None = None) -> TileRequest:
    """A tile of 9 rows and 7 columns."""
    return TileRequest(
        pixels=noise(9, 7, 3),
        model=NEAREST.id,
        weights_sha256=NEAREST.sha256,
        scale=NEAREST.scale,
        precision="f32",
        deadline=deadline,
        admitted_at=deadline - 5,
        owner="picture",
        request_id="test",
        keep=keep,
        options={"denoise": 0.5},
    )


@st.composite
def parts(draw: st.DrawFn) -> Rect:
    """Parts of that tile of at least one pixel."""
    left, top = draw(st.integers(0, 6)), draw(st.integers(0, 8))
    return Rect(left, top, draw(st.integers(left + 1, 7)), draw(st.integers(top + 1, 9)))


@given(keep=parts() | st.none())
def test_core_is_the_part_to_keep(keep: Rect | None) -> None:
    """Without one, all of the tile."""
    asked = request(keep=keep)
    kept = keep or Rect(0, 0, 7, 9)
    assert asked.kept == kept
    assert np.array_equal(asked.core, asked.pixels[kept.top : kept.bottom, kept.left : kept.right])


def test_model_is_found_by_its_id() -> None:
    """Nothing but the id decides."""
    other = dataclasses.replace(NEAREST, id="other", scale=2)
    known = dataclasses.replace(NearestEngine().facts(), models=(NEAREST, other))
    assert known.model("other") == other
    assert known.model("third") is None


def test_copy_of_a_request_is_equal() -> None:
    """All that it says travels along."""
    asked = request(deadline=time.monotonic() + 60, keep=Rect(1, 2, 3, 4))
    copy = pickle.loads(pickle.dumps(asked))  # noqa: S301  # written in the same line
    assert np.array_equal(copy.pixels, asked.pixels)
    for field in dataclasses.fields(TileRequest):
        if field.name not in ("pixels", "deadline", "admitted_at"):
            assert getattr(copy, field.name) == getattr(asked, field.name)


_READ = """
import json, pickle, sys, time

beginning, now = time.monotonic(), time.monotonic
time.monotonic = lambda: now() - beginning - 1e6  # a machine that was started at another time
asked = pickle.loads(sys.stdin.buffer.read())
print(json.dumps([asked.deadline - time.monotonic(), time.monotonic() - asked.admitted_at, asked.owner]))
"""


def test_times_and_owner_mean_the_same_in_another_process() -> None:
    """Its clock has another beginning; what travels is the time left, and the owner's id."""
    asked = request(deadline=time.monotonic() + 60)
    ended = subprocess.run(
        [sys.executable, "-c", _READ], input=pickle.dumps(asked), capture_output=True, check=True
    )
    left_s, since_s, owner = json.loads(ended.stdout)
    assert left_s == pytest.approx(60, abs=1)
    assert since_s == pytest.approx(-55, abs=1)
    assert owner == "picture"
