"""What callers may ask for: every option's values, and the sizes that they mean."""

from __future__ import annotations

import json
import math
import re
from contextlib import suppress
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from enlarger.errors import InvalidOption
from enlarger.geometry.rect import Rect
from enlarger.options import Options, read_options

DEFAULTS = {
    "scale": None,
    "width": None,
    "height": None,
    "long_side": None,
    "short_side": None,
    "fit": "inside",
    "region": None,
    "model": "auto",
    "precision": "auto",
    "color_lock": True,
    "color": "keep",
    "quality": None,
    "background": None,
    "metadata": "keep",
    "provenance": False,
}
"""Options that are not given. What ``format`` is then depends on where the result goes."""

SIDES = ("width", "height", "long_side", "short_side")

sides = st.integers(1, 9000)
modes = st.sampled_from([True, False])


def asked(**fields: Any) -> Options:
    """Options of these fields of a JSON body."""
    return read_options(fields, strict=True)


def half_up(exact: Fraction) -> int:
    """The nearest whole number, the larger of two that are as near."""
    return math.floor(exact + Fraction(1, 2))


def enlarged(width_px: int, height_px: int, factor: Fraction) -> tuple[int, int]:
    """Both sides times ``factor``."""
    return half_up(width_px * factor), half_up(height_px * factor)


@pytest.mark.parametrize("strict", [True, False])
def test_nothing_asked_is_twice_the_size_with_the_documented_defaults(strict: bool) -> None:
    """No option is needed."""
    options = read_options({}, strict=strict)
    assert {name: getattr(options, name) for name in DEFAULTS} == DEFAULTS
    assert options.size_px(640, 480) == (1280, 960)


GOOD_JSON = [
    ("scale", 1, 1.0),
    ("scale", 2.5, 2.5),
    ("scale", 8, 8.0),
    *[(name, 1, 1) for name in SIDES],
    *[(name, 8192, 8192) for name in SIDES],
    ("width", 10.0, 10),
    ("fit", "inside", "inside"),
    ("fit", "fill", "fill"),
    ("region", "0,0,1,1", Rect(0, 0, 1, 1)),
    ("region", " 3 , 4,50 ,60 ", Rect(3, 4, 53, 64)),
    ("region", [3, 4, 50, 60], Rect(3, 4, 53, 64)),
    ("model", "realesrgan-x4plus", "realesrgan-x4plus"),
    *[("precision", value, value) for value in ("auto", "f32", "bf16", "f16", "int8")],
    ("color_lock", True, True),
    ("color_lock", False, False),
    ("color", "keep", "keep"),
    ("color", "srgb", "srgb"),
    *[("format", value, value) for value in ("auto", "png", "jpeg", "webp", "avif", "tiff")],
    ("format", "jpg", "jpeg"),
    ("format", "tif", "tiff"),
    ("quality", 1, 1),
    ("quality", 100, 100),
    ("background", "#ffffff", "#ffffff"),
    ("background", "#0aF9E8", "#0aF9E8"),
    ("metadata", "keep", "keep"),
    ("metadata", "strip", "strip"),
    ("provenance", True, True),
    ("provenance", False, False),
    *[(name, None, None) for name in ("scale", *SIDES, "region", "quality", "background")],
]

GOOD_TEXT = [
    ("scale", "1", 1.0),
    ("scale", "2.5", 2.5),
    *[(name, "8192", 8192) for name in SIDES],
    ("fit", "fill", "fill"),
    ("region", "3,4,50,60", Rect(3, 4, 53, 64)),
    ("model", "realesrgan-x4plus", "realesrgan-x4plus"),
    ("precision", "bf16", "bf16"),
    ("color_lock", "true", True),
    ("color_lock", "false", False),
    ("color_lock", "1", True),
    ("color_lock", "0", False),
    ("color", "srgb", "srgb"),
    ("format", "avif", "avif"),
    ("quality", "90", 90),
    ("background", "#0aF9E8", "#0aF9E8"),
    ("metadata", "strip", "strip"),
    ("provenance", "true", True),
    ("provenance", "false", False),
]


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(("name", "value", "meant"), GOOD_JSON)
def test_value_of_the_right_json_type_is_taken(
    name: str, value: object, meant: object, strict: bool
) -> None:
    """Strict or not: numbers, texts, booleans and lists as JSON has them."""
    found = getattr(read_options({name: value}, strict=strict), name)
    assert found == meant
    assert type(found) is type(meant)


@pytest.mark.parametrize(("name", "text", "meant"), GOOD_TEXT)
def test_text_is_taken_where_there_are_only_texts(name: str, text: str, meant: object) -> None:
    """Queries and forms know nothing else."""
    found = getattr(read_options({name: text}, strict=False), name)
    assert found == meant
    assert type(found) is type(meant)


BAD_VALUES: list[tuple[str, object, str]] = [
    ("scale", 0.99, "at least 1"),
    ("scale", 0, "at least 1"),
    ("scale", -2, "at least 1"),
    ("scale", 8.01, "at most 8"),
    ("scale", math.nan, "a number"),
    ("scale", math.inf, "a number"),
    ("scale", [2], "a number"),
    *[(name, 0, "at least 1") for name in SIDES],
    *[(name, -1, "at least 1") for name in SIDES],
    *[(name, 1.5, "a whole number") for name in SIDES],
    *[(name, {}, "number") for name in SIDES],
    ("fit", "contain", "'inside', 'fill', 'outside' or 'cover'"),
    ("fit", "", "'inside', 'fill', 'outside' or 'cover'"),
    ("region", "1,2,3", "x,y,width,height in whole pixels"),
    ("region", "1,2,3,4,5", "x,y,width,height in whole pixels"),
    ("region", "1.5,0,10,10", "x,y,width,height in whole pixels"),
    ("region", "a,b,c,d", "x,y,width,height in whole pixels"),
    ("region", "", "x,y,width,height in whole pixels"),
    ("region", "0,0,9999999999,1", "x,y,width,height in whole pixels"),
    ("region", [1, 2, 3], "x,y,width,height in whole pixels"),
    ("region", [0, 0, 1.5, 1], "x,y,width,height in whole pixels"),
    ("region", [0, 0, 1, True], "x,y,width,height in whole pixels"),
    ("region", [0, 0, 1, [1]], "x,y,width,height in whole pixels"),
    ("region", "-1,0,10,10", "x and y must be from 0, width and height from 1"),
    ("region", "0,-1,10,10", "x and y must be from 0, width and height from 1"),
    ("region", "0,0,0,10", "x and y must be from 0, width and height from 1"),
    ("region", [0, 0, 10, 0], "x and y must be from 0, width and height from 1"),
    ("model", 3, "a string"),
    ("precision", "f64", "'auto', 'f32', 'f16', 'bf16' or 'int8'"),
    ("color_lock", "perhaps", "true or false"),
    ("color_lock", 2, "true or false"),
    ("color", "cmyk", "'keep' or 'srgb'"),
    ("format", "bmp", "'auto', 'png', 'jpeg', 'webp', 'avif' or 'tiff'"),
    ("format", "PNG", "'auto', 'png', 'jpeg', 'webp', 'avif' or 'tiff'"),
    ("quality", 0, "at least 1"),
    ("quality", 101, "at most 100"),
    ("quality", 90.5, "a whole number"),
    ("background", "white", "a colour such as #ffffff"),
    ("background", "ffffff", "a colour such as #ffffff"),
    ("background", "#fff", "a colour such as #ffffff"),
    ("background", "#gggggg", "a colour such as #ffffff"),
    ("background", "#ffffff\n", "a colour such as #ffffff"),
    ("metadata", "drop", "'keep' or 'strip'"),
    ("provenance", "perhaps", "true or false"),
]


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(("name", "value", "allowed"), BAD_VALUES)
def test_bad_value_is_refused_with_the_options_name_and_what_is_allowed(
    name: str, value: object, allowed: str, strict: bool
) -> None:
    """In words that the caller can act on."""
    with pytest.raises(InvalidOption, match=f"^Invalid {name}: .*{re.escape(allowed)}"):
        read_options({name: value}, strict=strict)


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("scale", "two", "a number"),
        ("scale", "", "a number"),
        ("scale", "nan", "a number"),
        ("scale", "0.5", "at least 1"),
        ("scale", "9", "at most 8"),
        ("width", "1.5", "a whole number"),
        ("height", "", "a whole number"),
        ("long_side", "0", "at least 1"),
        ("quality", "best", "a whole number"),
        ("quality", "101", "at most 100"),
        ("color_lock", "", "true or false"),
    ],
)
def test_bad_text_is_refused_as_the_value_would_be(name: str, text: str, allowed: str) -> None:
    """Texts are read, then held against the same rules, and shown."""
    with pytest.raises(InvalidOption, match=f"^Invalid {name}: .*{allowed}.*, not '{text}'$"):
        read_options({name: text}, strict=False)


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("scale", "2", "a number"),
        ("scale", True, "a number"),
        ("width", "640", "a number"),
        ("quality", "90", "a number"),
        ("quality", True, "a number"),
        ("color_lock", "true", "true or false"),
        ("color_lock", 1, "true or false"),
        ("provenance", 0, "true or false"),
        ("fit", 1, "a string"),
        ("model", ["auto"], "a string"),
        ("background", 0xFFFFFF, "a string"),
        ("region", 7, "four whole numbers"),
        ("region", {"x": 0}, "four whole numbers"),
    ],
)
def test_value_of_another_json_type_is_refused_when_strict(
    name: str, value: object, kind: str
) -> None:
    """A JSON body says 2, not "2": a text there is a mistake that would go on to others."""
    with pytest.raises(InvalidOption, match=f"^Invalid {name}: it must be {kind}"):
        read_options({name: value}, strict=True)


@pytest.mark.parametrize("strict", [True, False])
def test_long_value_is_shown_in_part(strict: bool) -> None:
    """An error is not as long as what was sent."""
    with pytest.raises(InvalidOption, match=r"^Invalid format: ") as caught:
        read_options({"format": "x" * 100_000}, strict=strict)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", SIDES)
def test_absurdly_large_side_is_refused_in_few_words(name: str) -> None:
    """A number as long as JSON readers take is a bad option, not a failure of ours."""
    number = json.loads("9" * 4300)
    with pytest.raises(InvalidOption, match=f"^Invalid {name}: ") as caught:
        asked(**{name: number}).size_px(3, 4000)
    assert len(str(caught.value)) < 400


@given(
    fields=st.dictionaries(
        st.sampled_from(sorted(Options.model_fields)),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner),
            max_leaves=5,
        ),
        max_size=4,
    ),
    strict=modes,
)
def test_whatever_json_says_is_taken_or_refused_as_an_option(
    fields: dict[str, Any], strict: bool
) -> None:
    """No value leads to another error than ``InvalidOption``, and none is taken out of range."""
    options = Options()
    with suppress(InvalidOption):
        options = read_options(fields, strict=strict)
    assert options.scale is None or 1 <= options.scale <= 8
    assert options.quality is None or 1 <= options.quality <= 100
    assert all(getattr(options, name) is None or getattr(options, name) >= 1 for name in SIDES)


@pytest.mark.parametrize("strict", [True, False])
def test_fields_that_are_no_options_are_ignored(strict: bool) -> None:
    """A body holds other things as well, of any kind."""
    fields = {"img_url": "https://example.com/cat.jpg", "wait": [1], "Scale": 99, "scale": 3}
    assert read_options(fields, strict=strict) == Options(scale=3)


@pytest.mark.parametrize(
    ("text", "rgb"),
    [("#ffffff", (255, 255, 255)), ("#0080FF", (0, 128, 255)), ("#010203", (1, 2, 3))],
)
def test_background_is_red_green_and_blue(text: str, rgb: tuple[int, int, int]) -> None:
    """Two hexadecimal digits each, in that order."""
    assert asked(background=text).background_rgb == rgb


def test_no_background_is_no_colour() -> None:
    """Transparency stays."""
    assert asked().background_rgb is None


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("scale", "width"),
        ("scale", "height"),
        ("scale", "long_side"),
        ("scale", "short_side"),
        ("long_side", "short_side"),
        ("long_side", "width"),
        ("short_side", "height"),
    ],
)
def test_two_sizes_at_once_are_refused(first: str, second: str, strict: bool) -> None:
    """They may contradict each other; the text names both."""
    with pytest.raises(InvalidOption, match=r"^Invalid size: give one of") as caught:
        read_options({first: 2, second: 800}, strict=strict)
    assert first in str(caught.value)
    assert second in str(caught.value)


def test_width_and_height_are_one_size() -> None:
    """Both together are a box; ``fit`` needs no box to be taken."""
    assert asked(width=100, height=50).size_px(50, 50) == (50, 50)
    assert asked(fit="fill", width=100).size_px(50, 50) == (100, 100)


@given(width_px=sides, height_px=sides, thousandths=st.integers(1000, 8000), strict=modes)
def test_scale_multiplies_both_sides_rounded_half_up(
    width_px: int, height_px: int, thousandths: int, strict: bool
) -> None:
    """The number that was written counts, not what binary makes of it."""
    written = f"{thousandths // 1000}.{thousandths % 1000:03}"
    options = read_options({"scale": float(written) if strict else written}, strict=strict)
    wanted = enlarged(width_px, height_px, Fraction(written))
    assert options.size_px(width_px, height_px) == wanted


@pytest.mark.parametrize(
    ("scale", "side", "wanted"),
    [
        (1.001, 500, 501),  # 500.5
        (1.005, 100, 101),  # 100.5
        (1.005, 1100, 1106),  # 1105.5
        (1.15, 10, 12),  # 11.5
        (2.5, 3, 8),  # 7.5
        (1.499, 1, 1),
        (1.5, 1, 2),
        (8, 1, 8),
        (1, 7, 7),
    ],
)
def test_half_a_pixel_is_rounded_up(scale: float, side: int, wanted: int) -> None:
    """Also where the nearest binary number lies a little below the decimal one."""
    assert asked(scale=scale).size_px(side, side) == (wanted, wanted)


def side_of(width_px: int, height_px: int, name: str) -> int:
    """The side of a picture that an option speaks of."""
    return {
        "width": width_px,
        "height": height_px,
        "long_side": max(width_px, height_px),
        "short_side": min(width_px, height_px),
    }[name]


@given(
    width_px=sides, height_px=sides, sixtyfourths=st.integers(64, 512), side=st.sampled_from(SIDES)
)
def test_one_side_keeps_the_ratio(
    width_px: int, height_px: int, sixtyfourths: int, side: str
) -> None:
    """That side is met exactly; the other follows, rounded half up."""
    length_px = side_of(width_px, height_px, side)
    wanted_px = length_px * sixtyfourths // 64
    size = asked(**{side: wanted_px}).size_px(width_px, height_px)
    assert size == enlarged(width_px, height_px, Fraction(wanted_px, length_px))
    met = {
        "width": size[0],
        "height": size[1],
        "long_side": max(size),
        "short_side": min(size),
    }
    assert met[side] == wanted_px


@pytest.mark.parametrize("name", ["long_side", "short_side"])
def test_long_and_short_side_are_both_of_a_square(name: str) -> None:
    """There they mean the same."""
    assert asked(**{name: 33}).size_px(11, 11) == (33, 33)


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"width": 1000}, (1000, 750)),
        ({"height": 1000}, (1333, 1000)),
        ({"long_side": 1000}, (1000, 750)),
        ({"short_side": 1000}, (1333, 1000)),
        ({"width": 1000, "height": 1000}, (1000, 750)),
        ({"width": 2000, "height": 1000}, (1333, 1000)),
        ({"width": 1000, "height": 1000, "fit": "fill"}, (1000, 1000)),
        ({"width": 1000, "height": 1000, "fit": "outside"}, (1333, 1000)),
        ({"width": 2000, "height": 1000, "fit": "outside"}, (2000, 1500)),
        ({"width": 2000, "height": 1000, "fit": "cover"}, (2000, 1500)),
    ],
)
def test_each_option_means_its_own_size(fields: dict[str, Any], wanted: tuple[int, int]) -> None:
    """For a picture of 640 x 480."""
    assert asked(**fields).size_px(640, 480) == wanted


@given(width_px=sides, height_px=sides, data=st.data())
def test_inside_is_the_largest_result_that_the_box_holds(
    width_px: int, height_px: int, data: st.DataObject
) -> None:
    """Never wider or higher than the box, as wide or as high, and of the picture's ratio."""
    box = data.draw(
        st.tuples(st.integers(width_px, 8 * width_px), st.integers(height_px, 8 * height_px))
    )
    size = asked(width=box[0], height=box[1]).size_px(width_px, height_px)
    assert size[0] <= box[0]
    assert size[1] <= box[1]
    assert size[0] == box[0] or size[1] == box[1]
    factor = min(Fraction(box[0], width_px), Fraction(box[1], height_px))
    assert size == enlarged(width_px, height_px, factor)


@given(width_px=sides, height_px=sides, data=st.data())
def test_fill_is_the_box(width_px: int, height_px: int, data: st.DataObject) -> None:
    """Both sides exactly, whatever becomes of the ratio."""
    box = data.draw(
        st.tuples(st.integers(width_px, 8 * width_px), st.integers(height_px, 8 * height_px))
    )
    options = asked(width=box[0], height=box[1], fit="fill")
    assert options.size_px(width_px, height_px) == box


@given(width_px=sides, height_px=sides, data=st.data())
def test_outside_is_the_smallest_result_that_holds_the_box(
    width_px: int, height_px: int, data: st.DataObject
) -> None:
    """Never narrower or lower than the box, as wide or as high, and of the picture's ratio; cover is in it."""
    factor = data.draw(st.integers(1, 8))
    width = data.draw(st.integers(1, width_px * factor))
    box = data.draw(st.permutations([(width, height_px * factor), (width_px * factor, 1)]))[0]
    outside, cover = (asked(width=box[0], height=box[1], fit=fit) for fit in ("outside", "cover"))
    size = outside.size_px(width_px, height_px)
    assert size == (width_px * factor, height_px * factor)
    assert size == cover.size_px(width_px, height_px)
    assert outside.crop(size) is None
    cropped = cover.crop(size)
    assert cropped is not None
    assert (cropped.width_px, cropped.height_px) == box
    for start, side, whole in (
        (cropped.left, box[0], size[0]),
        (cropped.top, box[1], size[1]),
    ):
        assert abs((whole - side) - 2 * start) <= 1, "as much is cut off at either end"


def test_cover_and_region_are_not_to_be_had_together() -> None:
    """Each is a part of the result."""
    with pytest.raises(InvalidOption, match="cover and region"):
        asked(width=10, height=10, fit="cover", region=[0, 0, 5, 5])


@given(width_px=sides, height_px=sides, data=st.data(), side=st.sampled_from(SIDES))
def test_result_is_from_once_to_eight_times_the_picture(
    width_px: int, height_px: int, data: st.DataObject, side: str
) -> None:
    """What a side asks for beyond is refused, by the option's name."""
    length_px = side_of(width_px, height_px, side)
    too_small = st.integers(1, max(1, length_px - 1))
    too_large = st.integers(8 * length_px + 1, 100_000)
    wanted_px = data.draw(too_small | too_large)
    assume(wanted_px != length_px)
    options = asked(**{side: wanted_px})
    with pytest.raises(InvalidOption, match=f"^Invalid {side}: the result would be"):
        options.size_px(width_px, height_px)


@pytest.mark.parametrize(
    ("box", "wrong"),
    [((9, 10), "width"), ((81, 10), "width"), ((10, 9), "height"), ((10, 81), "height")],
)
def test_both_sides_of_a_box_are_held_to_the_limits(box: tuple[int, int], wrong: str) -> None:
    """The text says which side is wrong and what it may be."""
    options = asked(width=box[0], height=box[1], fit="fill")
    text = rf"the result would be {box[0]}x{box[1]}; its {wrong} may be from 10 to 80 px .* 10x10$"
    with pytest.raises(InvalidOption, match=text):
        options.size_px(10, 10)


def test_box_inside_which_the_picture_does_not_fit_is_refused() -> None:
    """It would have to be reduced, although one side of the box is larger."""
    with pytest.raises(InvalidOption, match="would be 50x50"):
        asked(width=1000, height=50).size_px(100, 100)


@pytest.mark.parametrize("fields", [{"scale": 8}, {"width": 80}, {"long_side": 160}])
def test_eight_times_is_not_too_large(fields: dict[str, Any]) -> None:
    """The limit itself is allowed."""
    assert asked(**fields).size_px(10, 20) == (80, 160)


@pytest.mark.parametrize("fields", [{"scale": 1}, {"width": 10}, {"short_side": 10}])
def test_once_is_not_too_small(fields: dict[str, Any]) -> None:
    """The size of the picture is a size."""
    assert asked(**fields).size_px(10, 20) == (10, 20)


# Animations and the size of the file


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("all", "all"),
        ("first", "first"),
        (1, 1),
        (24, 24),
        (9999, 9999),
        ("2", 2),
        ("25", 25),
        ("999999", 999_999),
        (None, None),
    ],
)
def test_frames_are_a_word_or_a_number(value: object, meant: object, strict: bool) -> None:
    """The number may be a text in JSON as well: the option takes both."""
    found = read_options({"frames": value}, strict=strict).frames
    assert found == meant
    assert type(found) is type(meant)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    "value",
    [0, -1, 1.5, True, False, [], {}, [1], "", "none", "All", "0", "-1", "1.5", " 2", "1e3", "٣²", "9" * 5000, 10**6, 10**4000],
    ids=lambda value: ascii(value)[:20],
)  # fmt: skip
def test_other_frames_are_refused_with_what_is_allowed(value: object, strict: bool) -> None:
    """By the option's name, in few words."""
    with pytest.raises(InvalidOption, match=r"^Invalid frames: it must be ") as caught:
        read_options({"frames": value}, strict=strict)
    assert "all, first or a number of frames" in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("value", [1, 50_000, 10**12])
def test_bytes_of_the_file_are_a_number(value: int) -> None:
    """From one; there is no most."""
    assert asked(max_bytes=value).max_bytes == value
    assert read_options({"max_bytes": str(value)}, strict=False).max_bytes == value


@pytest.mark.parametrize(
    ("value", "allowed", "strict"),
    [
        (0, "at least 1", True),
        (-5, "at least 1", True),
        (1.5, "a whole number", True),
        (True, "a number", True),
        ("50000", "a number", True),
        ([1], "a number", True),
        ("0", "at least 1", False),
        ("50k", "a whole number", False),
        ("", "a whole number", False),
    ],
)
def test_other_bytes_of_the_file_are_refused(value: object, allowed: str, strict: bool) -> None:
    """By the option's name, with what is allowed."""
    with pytest.raises(InvalidOption, match=f"^Invalid max_bytes: it must be {allowed}"):
        read_options({"max_bytes": value}, strict=strict)


def test_neither_is_asked_for_by_default() -> None:
    """The place of a request decides on frames, and a file may have any size."""
    assert (asked().frames, asked().max_bytes) == (None, None)
