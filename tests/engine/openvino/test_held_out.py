"""Pictures that int8 is judged by: which they are is written down, and nothing is learned from them."""

from __future__ import annotations

import json
from pathlib import Path

import calibrate
import held_out
import numpy as np
import pytest
from support.pictures import encoded, noise
from support.places import REPOSITORY

RESULTS = REPOSITORY / "benchmarks" / "results.jsonl"


def test_every_picture_of_the_results_is_named() -> None:
    """With the package that it comes from."""
    lines = [json.loads(line) for line in RESULTS.read_text().splitlines()]
    judged = [line["psnr_db"] for line in lines if line["question"] == "precisions"]
    assert judged
    assert all(
        set(names) <= set(held_out.PICTURES) or set(names) == set(held_out.HARD) for names in judged
    )
    mixed = [line["variants"].values() for line in lines if line["question"] == "bf16_mixed"]
    assert all(
        set(figures["psnr_db"]) == set(held_out.HARD) for variants in mixed for figures in variants
    )


def test_a_worn_tile_of_each_picture_is_learned_from_if_wanted(tmp_path: Path) -> None:
    """The same wear as the hard photos have, on other pictures; the other tiles are as they were."""
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(encoded(noise(60, 60, 3, seed=number)))
    plain = list(calibrate.seen([tmp_path], 48, 1))
    tiles = list(calibrate.seen([tmp_path], 48, 1, worn=True))
    assert all(np.array_equal(*pair) for pair in zip(plain, tiles[::2], strict=True))
    wears = [wear for _, wear in held_out.HARD.values() if wear != held_out.Wear()]
    for tile, worn, wear in zip(plain, tiles[1::2], wears, strict=True):
        assert np.array_equal(worn, wear.on(tile))


def test_hard_photos_are_the_same_each_time_and_worn() -> None:
    """They are made of pictures that nothing is learned from; only the named wear changes them."""
    square = noise(16, 16, 3)
    assert len(held_out.HARD) >= 10
    for _, wear in held_out.HARD.values():
        worn = wear.on(square)
        assert worn.shape == square.shape
        assert worn.dtype == np.uint8
        assert np.array_equal(worn, wear.on(square))
        assert np.array_equal(worn, square) == (wear == held_out.Wear())


def test_a_hard_photo_that_is_not_there_is_said_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name may be wrong, or its package not installed."""
    monkeypatch.setattr(held_out, "OPENCV_DOC", tmp_path)
    with pytest.raises(SystemExit, match=r"^baboon: baboon\.jpg of opencv-doc is not installed$"):
        held_out.hard(16, lambda *_: noise(16, 16, 3), ["baboon", "chelsea"])
    with pytest.raises(SystemExit, match=r"^cat: there is baboon, "):
        held_out.hard(16, lambda *_: noise(16, 16, 3), ["cat"])


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
