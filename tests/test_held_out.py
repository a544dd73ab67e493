"""Pictures that int8 is judged by: which they are is written down, and nothing is learned from them."""

from __future__ import annotations

import json
from pathlib import Path

import calibrate
import held_out
import numpy as np
import pytest
from pictures import encoded, noise

RESULTS = Path(__file__).parent.parent / "benchmarks" / "results.jsonl"


def test_every_picture_of_the_results_is_named() -> None:
    """With the package that it comes from."""
    lines = [json.loads(line) for line in RESULTS.read_text().splitlines()]
    judged = [line["psnr_db"] for line in lines if line["question"] == "precisions"]
    assert judged
    assert all(set(names) <= set(held_out.PICTURES) for names in judged)


@pytest.mark.parametrize("name", sorted(held_out.NAMES))
def test_nothing_is_learned_from_them(tmp_path: Path, name: str) -> None:
    """Wherever a file of that name lies, calibration passes it by."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / name).write_bytes(encoded(noise(60, 60, 3)))
    assert list(calibrate.seen([tmp_path], 48, 2)) == []
    (tmp_path / "deep" / "another.png").write_bytes(encoded(noise(60, 60, 3, seed=1)))
    (tile,) = calibrate.seen([tmp_path], 48, 1)
    assert np.array_equal(tile, noise(60, 60, 3, seed=1)[:48, :48])


def test_those_that_are_installed_are_found_and_the_others_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """scikit-image is here for tests; a picture that was exchanged is not taken for the one that was measured."""
    (tmp_path / "baboon.jpg").write_bytes(b"another")
    monkeypatch.setattr(held_out, "OPENCV_DOC", tmp_path)
    here, missing = held_out.found()
    assert here["astronaut"].name == "astronaut.png"
    assert "another picture" in missing["baboon"]
    assert "cards.png of opencv-doc is not installed" in missing["cards"]
    assert set(here) | set(missing) == set(held_out.PICTURES)
    assert set(here).isdisjoint(missing)
