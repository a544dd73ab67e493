"""What is to be done with a file: one pure function, and what its plan says of cost, memory and limits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import NEAREST
from plans import planned

from enlarger.engine.tile import Need
from enlarger.errors import (
    AnimationUnsupported,
    EnlargerError,
    ImageTooLarge,
    InvalidOption,
    OutputTooLarge,
)
from enlarger.geometry.rect import Rect
from enlarger.models import Catalogue
from enlarger.options import Options
from enlarger.picture.values import FORMATS, Header
from enlarger.pipeline.plan import (
    Limits,
    check_output,
    check_side,
    choose_precision,
    frame_count,
    plan,
)

WITH_ALL, WITH_BF16, WITH_F32 = ("bf16", "f32", "int8"), ("bf16", "f32"), ("f32",)
INT8_FIRST = ("int8", "bf16", "f32")

ONE, SEVERAL = 1, 7
"""Frames in a file."""


@pytest.fixture
def catalogue(model_dir: Path) -> Catalogue:
    """The installed models, ``nearest`` among them."""
    return Catalogue.installed(model_dir)


def header(width_px: int, height_px: int) -> Header:
    """That of a PNG file."""
    return Header(
        format="png", width_px=width_px, height_px=height_px, mode="RGB", depth_bits=8, frames=1
    )


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
    """``auto`` means the model's first for 8 bits and f32 for more; what somebody named holds, or is refused."""
    expected = eight_bits if depth_bits == 8 else more_bits
    model = replace(NEAREST, precisions=available)
    if expected is None:
        with pytest.raises(InvalidOption, match="is not to be had"):
            choose_precision(wish, setting=setting, depth_bits=depth_bits, model=model)
    else:
        chosen = choose_precision(wish, setting=setting, depth_bits=depth_bits, model=model)
        assert chosen == expected


@pytest.mark.parametrize(("width_px", "height_px"), [(2048, 2048), (2048, 1), (1, 2048)])
def test_side_of_the_limit_passes(width_px: int, height_px: int) -> None:
    """2048 x 2048 at scale 4 is the largest by the defaults: 8192 squared pixels."""
    check_side(header(width_px, height_px), 2048)
    check_output(planned(width_px, height_px, (4 * width_px, 4 * height_px)), 67_108_864)


@pytest.mark.parametrize(("width_px", "height_px"), [(2049, 1), (1, 2049), (2049, 2049)])
def test_side_over_the_limit_is_refused(width_px: int, height_px: int) -> None:
    """By one pixel, in either direction; the error has what contracts make their sentences of."""
    with pytest.raises(ImageTooLarge) as refusal:
        check_side(header(width_px, height_px), 2048)
    assert f"{width_px}x{height_px} px" in str(refusal.value)
    assert refusal.value.facts == {"width_px": width_px, "height_px": height_px}
    assert (refusal.value.limit, refusal.value.actual) == (2048, 2049)


@pytest.mark.parametrize(("scale", "output_px"), [(2, 4800), (4, 19200), (1.5, 2700)])
def test_output_of_the_limit_passes_and_one_pixel_over_it_is_refused(
    scale: float, output_px: int
) -> None:
    """40 x 30 makes 1200 scale² pixels, of three bytes each."""
    plan = planned(40, 30, (int(40 * scale), int(30 * scale)))
    check_output(plan, output_px)
    with pytest.raises(OutputTooLarge) as refusal:
        check_output(plan, output_px - 1)
    error = refusal.value
    assert str(error).startswith(f"the result would have {output_px} pixels; ")
    assert (error.limit, error.actual) == (output_px - 1, output_px)
    assert error.facts == {
        "input_px": (40, 30),
        "scale": scale,
        "rgb_bytes": output_px * 3,
        "hint": "",
    }


FRAMES: list[tuple[str, int, object, int | type[EnlargerError]]] = [
    *((kind, ONE, wish, 1) for kind in FORMATS for wish in (None, "all", "first", 1, 3, 500)),
    *((kind, SEVERAL, wish, 1) for kind in FORMATS for wish in ("first", 1)),
    *((kind, SEVERAL, None, AnimationUnsupported) for kind in ("png", "webp", "gif", "avif")),
    *((kind, SEVERAL, "all", 7) for kind in ("png", "webp", "gif", "avif")),
    *((kind, SEVERAL, 3, 3) for kind in ("png", "webp", "gif", "avif")),
    ("gif", SEVERAL, 7, 7),
    ("gif", SEVERAL, 9, 7),
    ("tiff", SEVERAL, None, 1),
    ("tiff", SEVERAL, "all", InvalidOption),
    ("tiff", SEVERAL, 2, InvalidOption),
    ("gif", 501, "all", InvalidOption),
    ("gif", 501, 501, InvalidOption),
    ("gif", 501, 9999, InvalidOption),
    ("gif", 501, 500, 500),
    ("gif", 500, "all", 500),
    ("gif", 2**31 - 1, "all", InvalidOption),
    ("gif", 2**31 - 1, 2, 2),
]
"""Format, frames in the file, what is asked for, and what comes of it where 500 are allowed."""


@pytest.mark.parametrize(
    ("kind", "there", "wish", "expected"), FRAMES, ids=lambda value: getattr(value, "__name__", str(value))
)  # fmt: skip
def test_frames_to_enlarge(
    kind: str, there: int, wish: Any, expected: int | type[EnlargerError]
) -> None:
    """One, unless several are there that move, and are wanted."""
    several = replace(header(40, 30), format=kind, frames=there)
    options = Options(frames=wish)
    if isinstance(expected, int):
        assert frame_count(options, several, limit=500) == expected
    else:
        with pytest.raises(expected):
            frame_count(options, several, limit=500)


def test_refusals_of_frames_say_what_to_do() -> None:
    """Each with words that can be sent as they are."""
    several = replace(header(40, 30), format="gif", frames=501)
    with pytest.raises(
        AnimationUnsupported, match=r"501 frames.*frames=all, frames=first, or a number"
    ):
        frame_count(Options(), several, limit=500)
    with pytest.raises(
        InvalidOption, match=r"^Invalid frames: .*501 frames.*frames=500"
    ) as refused:
        frame_count(Options(frames="all"), several, limit=500)
    assert (refused.value.limit, refused.value.actual) == (500, 501)
    pages = replace(several, format="tiff", frames=3)
    with pytest.raises(
        InvalidOption, match=r"^Invalid frames: the 3 pages of a tiff .*frames=first"
    ):
        frame_count(Options(frames="all"), pages, limit=500)


@pytest.mark.parametrize(
    ("frames", "most_px", "hint"),
    [
        (3, 3 * 19200 - 1, " in 3 frames; frames=2 fits"),
        (3, 19200, " in 3 frames; frames=1 fits"),
        (3, 19199, ""),
        (1, 19199, ""),
    ],
)
def test_output_counts_all_frames(frames: int, most_px: int, hint: str) -> None:
    """And the text says how many would fit, where any do."""
    plan = planned(40, 30, (160, 120), frames=frames)
    check_output(plan, 19200 * frames)
    with pytest.raises(OutputTooLarge) as refusal:
        check_output(plan, most_px)
    assert str(refusal.value).startswith(f"the result would have {19200 * frames} pixels{hint}; ")
    assert refusal.value.facts["hint"] == hint
    assert (refusal.value.limit, refusal.value.actual) == (most_px, 19200 * frames)


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
        header(40, 30),
        Options(region="30,20,10,10", model="nearest"),
        catalogue=catalogue,
        limits=Limits(),
    )
    assert inside.region == Rect(30, 20, 40, 30)
    for region in ("31,20,10,10", "30,21,10,10", "40,30,1,1"):
        with pytest.raises(InvalidOption, match=r"^Invalid region: it ends at .*40x30 px"):
            plan(header(40, 30), Options(region=region), catalogue=catalogue, limits=Limits())


def test_plan_states_what_the_catalogue_says_of_its_model(catalogue: Catalogue) -> None:
    """Scale, halo, tiles and the need of an engine are those of the row, and the cost is that of these tiles."""
    model = catalogue.choose("nearest", scale=4)
    made = plan(
        header(400, 300), Options(scale=4, model="nearest"), catalogue=catalogue, limits=Limits()
    )
    assert made.model is model
    assert made.size_px == made.out_px == (1600, 1200)
    assert made.need == Need(
        model="nearest",
        weights_sha256=model.sha256,
        scale=4,
        lr_px=max(box.lr_px for box in made.way.passes[0].boxes),
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
    moving = replace(header(40, 30), format="gif", frames=3)
    options = Options(scale=4, frames="all", model="nearest")
    assert plan(moving, options, catalogue=catalogue, limits=Limits()).frames == 3
    with pytest.raises(expected):
        plan(moving, options, catalogue=catalogue, limits=limits)
