"""What is done with a file: one pure function, and what its plan says about cost and memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.fakes import NEAREST
from support.plans import planned, png_header

from enlarger.engine.tile import Need
from enlarger.errors import (
    EnlargerError,
    ImageTooLarge,
    InvalidOption,
    OutputTooLarge,
)
from enlarger.geometry.rect import Rect
from enlarger.models import Catalogue
from enlarger.options import Options
from enlarger.pipeline.limits import Limits
from enlarger.pipeline.plan import choose_precision, plan

WITH_ALL, WITH_BF16, WITH_F32 = ("bf16", "f32", "int8"), ("bf16", "f32"), ("f32",)
INT8_FIRST = ("int8", "bf16", "f32")


@pytest.fixture
def catalogue(model_dir: Path) -> Catalogue:
    """The installed models, ``nearest`` among them."""
    return Catalogue.installed(model_dir)


@pytest.mark.parametrize(
    ("wish", "setting", "available", "eight_bits", "more_bits"),
    [
        ("auto", "auto", WITH_BF16, "bf16", "f32"),
        ("auto", "auto", WITH_ALL, "bf16", "f32"),
        ("auto", "auto", INT8_FIRST, "int8", "f32"),
        ("auto", "auto", WITH_F32, "f32", "f32"),
        ("auto", "auto", ("bf16",), "bf16", "bf16"),  # there is nothing better
        ("auto", "f32", WITH_BF16, "f32", "f32"),
        ("auto", "bf16", WITH_BF16, "bf16", "bf16"),
        ("auto", "int8", WITH_ALL, "int8", "int8"),
        ("auto", "int8", WITH_BF16, "bf16", "f32"),  # as auto, where the model has no int8
        ("bf16", "auto", WITH_BF16, "bf16", "bf16"),
        ("int8", "f32", WITH_ALL, "int8", "int8"),
        ("f32", "bf16", WITH_BF16, "f32", "f32"),
        ("bf16", "auto", WITH_F32, None, None),
        ("int8", "auto", WITH_BF16, None, None),
        ("auto", "bf16", WITH_F32, None, None),
    ],
)
@pytest.mark.parametrize("depth_bits", [8, 10, 12, 16])
def test_auto_keeps_the_depth_of_the_picture(
    wish: str,
    setting: str,
    available: tuple[str, ...],
    eight_bits: str | None,
    more_bits: str | None,
    depth_bits: int,
) -> None:
    """``auto`` selects the model's first precision for 8 bits, and f32 for more. A precision that is named is used or refused."""
    expected = eight_bits if depth_bits == 8 else more_bits
    model = replace(NEAREST, precisions=available)
    if expected is None:
        with pytest.raises(InvalidOption, match="is not available"):
            choose_precision(wish, setting=setting, depth_bits=depth_bits, model=model)
    else:
        chosen = choose_precision(wish, setting=setting, depth_bits=depth_bits, model=model)
        assert chosen == expected


@pytest.mark.parametrize(
    ("size_px", "region", "expected"),
    [
        ((160, 120), None, (40, 30)),
        ((40, 30), None, (40, 30)),
        ((52, 39), None, (40, 30)),
        ((160, 120), Rect(10, 10, 20, 15), (10, 5)),
        ((100, 75), Rect.whole(1, 1), (1, 1)),
        ((40, 240), None, (40, 30)),
    ],
)
def test_least_size_is_that_of_the_picture(
    size_px: tuple[int, int], region: Rect | None, expected: tuple[int, int]
) -> None:
    """It is that of the part, where a part of it is wanted."""
    assert planned(40, 30, size_px, region=region).least_size_px == expected


def test_memory_of_an_animation_grows_with_its_frames() -> None:
    """By no less than what frames take in 8 bits; and one is held to what it needs."""
    needed = [planned(40, 30, (160, 120), frames=frames).held_bytes for frames in (1, 2, 100, 101)]
    assert needed == sorted(needed)
    assert needed[0] == 4 * 2 * (1200 + 19200 + 19200)
    assert needed[3] - needed[2] == 4 * (1200 + 2 * 19200)


def test_region_that_reaches_outside_is_refused(catalogue: Catalogue) -> None:
    """By one pixel in either direction; a region that ends at the border is taken."""
    inside = plan(
        png_header(40, 30),
        Options(region="30,20,10,10", model="nearest"),
        catalogue=catalogue,
        limits=Limits(),
    )
    assert inside.region == Rect(30, 20, 40, 30)
    for region in ("31,20,10,10", "30,21,10,10", "40,30,1,1"):
        with pytest.raises(InvalidOption, match=r"^Invalid region: it ends at .*40x30 px"):
            plan(png_header(40, 30), Options(region=region), catalogue=catalogue, limits=Limits())


def test_plan_states_what_the_catalogue_says_of_its_model(catalogue: Catalogue) -> None:
    """Scale, halo, tiles and the need of an engine are those of the row, and the cost is that of these tiles."""
    model = catalogue.choose("nearest", scale=4)
    made = plan(
        png_header(400, 300),
        Options(scale=4, model="nearest"),
        catalogue=catalogue,
        limits=Limits(),
    )
    assert made.model is model
    assert made.size_px == made.out_px == (1600, 1200)
    assert made.need == Need(
        model="nearest",
        weights_sha256=model.sha256,
        scale=4,
        graph_sha256=model.graph_sha256,
        lr_px=max(box.lr_px for box in made.way.passes[0].boxes),
        device="cpu",
    )
    assert made.cost(77).mflop == model.mflop_per_px * made.way.lr_px
    assert made.cost(77).input_bytes == 77


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (Limits(max_side_px=39), ImageTooLarge),
        (Limits(max_output_px=160 * 120 * 3 - 1), OutputTooLarge),
        (Limits(max_frames=2), InvalidOption),
        (Limits(max_frame_px=160 * 120 * 3 - 1), InvalidOption),
    ],
)
def test_each_limit_is_held(
    catalogue: Catalogue, limits: Limits, expected: type[EnlargerError]
) -> None:
    """A GIF of 40x30 and three frames, four times as large; without a limit it is taken."""
    moving = replace(png_header(40, 30), format="gif", frames=3)
    options = Options(scale=4, frames="all", model="nearest")
    assert plan(moving, options, catalogue=catalogue, limits=Limits()).frames == 3
    with pytest.raises(expected):
        plan(moving, options, catalogue=catalogue, limits=limits)
