"""How a picture is upscaled and written: the options of a request, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Annotated, Any, Literal, get_args, get_origin

import pydantic
from pydantic_core import ErrorDetails

from enlarger.errors import Fault, InvalidOption
from enlarger.geometry.rect import Rect
from enlarger.precision import Precision

SCALES = (2, 4)
"""What the compatible routes offer."""

FLAGS = {"true": True, "1": True, "false": False, "0": False}
"""Booleans as texts, in lower case."""

MAX_FACTOR = 8
"""How many times wider and higher a result may be than its picture."""

DEFAULT_SCALE = 2

MAX_NOISE_LEVEL = 3
"""Noise levels are from 0 to this."""

AUTO, DETECT = "auto", "detect"
"""What requests say in place of a model's id: the usual model, and one for what the pixels show."""

MAX_SIDE_PX = 999_999
"""More than any result has. A number without a bound could be too long to be written in an error."""

Side = Annotated[int, pydantic.Field(ge=1, le=MAX_SIDE_PX)]

_START = {"type": "integer", "minimum": 0, "maximum": 999_999_999}
_LENGTH = {"type": "integer", "minimum": 1, "maximum": 999_999_999}
_REGION_SCHEMA = {
    "anyOf": [
        {"type": "string", "pattern": r"^[0-9]{1,9}, ?[0-9]{1,9}(, ?[1-9][0-9]{0,8}){2}$"},
        {
            "type": "array",
            "prefixItems": [_START, _START, _LENGTH, _LENGTH],
            "minItems": 4,
            "maxItems": 4,
        },
    ]
}

Region = Annotated[
    Rect,
    pydantic.PlainSerializer(lambda part: (part.left, part.top, part.width_px, part.height_px)),
    pydantic.WithJsonSchema(_REGION_SCHEMA),
]
"""A part of the upright picture; written as its left, top, width and height."""

_COLOUR = "^#[0-9a-fA-F]{6}$"


FORMAT_ALIASES = {"jpg": "jpeg", "tif": "tiff"}
"""Formats by the other names that people have for them."""


class Options(pydantic.BaseModel):
    """How a picture is upscaled and written. The names are those of requests."""

    model_config = pydantic.ConfigDict(frozen=True, extra="ignore")

    scale: Annotated[float, pydantic.Field(ge=1, le=MAX_FACTOR, allow_inf_nan=False)] | None = None
    """Pixels of the result per pixel of the picture, along an edge."""

    width: Side | None = None
    """Width of the result in pixels. Without ``height``, the aspect ratio is kept; with it, see ``fit``."""

    height: Side | None = None
    """Height of the result in pixels. Without ``width``, the aspect ratio is kept; with it, see ``fit``."""

    long_side: Side | None = None
    """Longer side of the result in pixels. The aspect ratio is kept."""

    short_side: Side | None = None
    """Shorter side of the result in pixels. The aspect ratio is kept."""

    fit: Literal["inside", "fill", "outside", "cover"] = "inside"
    """How the result fits into a box of ``width`` and ``height``. ``inside`` makes it as large as the box allows,
    ``outside`` as small as covers the box, and ``cover`` crops the latter to the box around its middle; these keep the
    aspect ratio. ``fill`` stretches the picture to the box."""

    region: Region | None = None
    """Part of the picture to upscale, as ``x,y,width,height`` in its pixels. The result has the pixels that the whole
    result would have there."""

    model: str = "auto"
    """Id of a model. ``auto`` selects the usual model. ``detect`` looks at the pixels and selects a model for what they
    show."""

    denoise: Annotated[int, pydantic.Field(ge=0, le=MAX_NOISE_LEVEL)] | None = None
    """How much noise a model with noise levels removes. The default is the level that the model states."""

    precision: Precision = "auto"
    """Precision of the computation. ``auto`` is the one that the operator set; one that is not available is refused."""

    device: Annotated[str, pydantic.Field(min_length=1, max_length=200)] | None = None
    """Name of a device, or a part of the name, on a server with several. The default is the first device that the
    server lists."""

    color_lock: bool = True
    """Whether colours of large areas are corrected to those of the picture."""

    alpha_edge: Literal["keep", "clean"] = "keep"
    """What is done with half-transparent edges. ``clean`` removes the colour of the background that a cut-out was cut
    from."""

    color: Literal["keep", "srgb"] = "keep"
    """Whether the result keeps the colour profile or is converted to sRGB."""

    format: Literal["auto", "png", "jpeg", "webp", "avif", "tiff"] | None = None
    """Format of the result. ``auto`` is the format of the picture, or PNG for BMP and GIF. The default is the one that
    the name of the result implies, or PNG."""

    quality: Annotated[int, pydantic.Field(ge=1, le=100)] | None = None
    """Quality of JPEG, WebP and AVIF."""

    max_bytes: Annotated[int, pydantic.Field(ge=1)] | None = None
    """Largest size of the file in bytes. The quality, then the width and height are reduced until it fits."""

    frames: Literal["all", "first"] | Side | None = None
    """Frames of an animation to upscale: ``all``, ``first``, or the number of frames from the start. ``/v1``
    refuses an animation that comes without it."""

    background: Annotated[str, pydantic.Field(json_schema_extra={"pattern": _COLOUR})] | None = None
    """Colour that replaces transparency, such as ``#ffffff``."""

    metadata: Literal["keep", "strip"] = "keep"
    """Whether EXIF, XMP and resolution are kept. The colour profile is kept in either case."""

    provenance: bool = False
    """Whether the model, its hash and the options are written into the file."""

    @pydantic.field_validator("region", mode="before")
    @classmethod
    def _numbers(cls, value: object) -> object:
        if value is None or isinstance(value, Rect):
            return value
        parts = re.split(r"\s*,\s*", value.strip()) if isinstance(value, str) else value
        if not (
            isinstance(parts, (list, tuple))
            and len(parts) == 4
            and all(re.fullmatch(r"-?\d{1,9}", str(part)) for part in parts)
        ):
            raise ValueError("it must be x,y,width,height in whole pixels")
        left, top, width, height = (int(part) for part in parts)
        if min(left, top) < 0 or min(width, height) < 1:
            raise ValueError("x and y must be from 0, width and height from 1")
        return Rect.sized(left, top, width, height)

    @pydantic.field_validator("format", mode="before")
    @classmethod
    def _usual_name(cls, value: object) -> object:
        return FORMAT_ALIASES.get(value, value) if isinstance(value, str) else value

    @pydantic.field_validator("frames", mode="before")
    @classmethod
    def _count(cls, value: object) -> object:
        if isinstance(value, str) and value.isdecimal() and len(value) <= 6:
            value = int(value)
        is_count = type(value) is int and 1 <= value <= MAX_SIDE_PX  # True is an int, too
        if not (is_count or value in ("all", "first", None)):
            raise ValueError("it must be all, first or a number of frames")
        return value

    @pydantic.field_validator("background")
    @classmethod
    def _colour(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"#[0-9a-fA-F]{6}", value):
            raise ValueError("it must be a colour such as #ffffff")
        return value

    @pydantic.model_validator(mode="after")
    def _one_size(self) -> Options:
        given = [name for name in ("scale", "long_side", "short_side") if getattr(self, name)]
        given += ["width/height"] if self.width or self.height else []
        if len(given) > 1:
            raise ValueError(f"give one of {' and '.join(given)}, not both")
        if self.region and self.fit == "cover":
            raise ValueError("fit=cover and region are both a part of the result: give one of them")
        return self

    @property
    def looks_at_pixels(self) -> bool:
        """Whether the plan depends on what the pixels show."""
        return self.model == DETECT

    @property
    def has_size(self) -> bool:
        """Whether the request states the size of the result."""
        sizes = (self.scale, self.width, self.height, self.long_side, self.short_side)
        return any(size is not None for size in sizes)

    @property
    def background_rgb(self) -> tuple[int, int, int] | None:
        """``background`` as numbers."""
        if self.background is None:
            return None
        red, green, blue = bytes.fromhex(self.background[1:])
        return red, green, blue

    def size_px(
        self, width_px: int, height_px: int, *, default_scale: int = DEFAULT_SCALE
    ) -> tuple[int, int]:
        """Width and height of the result for a picture of that size. Sides are rounded half up.

        Args:
            width_px: width of the picture.
            height_px: height of the picture.
            default_scale: the scale of requests that state no size.

        Raises:
            InvalidOption: the result would be smaller than the picture, or more than 8 times as large.
        """
        size = self._size_px(width_px, height_px, default_scale)
        for name, side, length in (("width", size[0], width_px), ("height", size[1], height_px)):
            if not length <= side <= MAX_FACTOR * length:
                raise InvalidOption(
                    f"Invalid {self.size_option}: the result would be {size[0]}x{size[1]}; its {name} may be "
                    f"from {length} to {MAX_FACTOR * length} px for this picture of {width_px}x{height_px}"
                )
        return size

    def crop(self, size_px: tuple[int, int]) -> Rect | None:
        """What is wanted of a whole result of that size, in its pixels; None for all, or what ``region`` says."""
        if self.fit != "cover" or not (self.width and self.height):
            return None
        left, top = size_px[0] // 2 - self.width // 2, size_px[1] // 2 - self.height // 2
        return Rect.sized(left, top, self.width, self.height)

    @property
    def size_option(self) -> str:
        """The first option that states the size of the result; ``scale`` if none does."""
        names = ("width", "height", "long_side", "short_side", "scale")
        return next((name for name in names if getattr(self, name) is not None), "scale")

    def _size_px(self, width_px: int, height_px: int, default_scale: int) -> tuple[int, int]:
        if self.width and self.height:
            if self.fit == "fill":
                return self.width, self.height
            width_is_narrower = self.width * height_px <= self.height * width_px
            if width_is_narrower == (self.fit == "inside"):
                return self.width, _share(height_px, self.width, width_px)
            return _share(width_px, self.height, height_px), self.height
        by_width = self.width or (
            (self.long_side if width_px >= height_px else None)
            or (self.short_side if width_px <= height_px else None)
        )
        if by_width:
            return by_width, _share(height_px, by_width, width_px)
        by_height = self.height or self.long_side or self.short_side
        if by_height:
            return _share(width_px, by_height, height_px), by_height
        # As it was written: 1.005 is a little less in binary, and 100 px would become 100, not 101.
        scale = Fraction(str(default_scale if self.scale is None else self.scale))
        part, whole = scale.numerator, scale.denominator
        return _share(width_px, part, whole), _share(height_px, part, whole)


def _share(side: int, part: int, whole: int) -> int:
    """``side * part / whole``, rounded half up, in whole numbers."""
    return max(1, (2 * side * part + whole) // (2 * whole))


def read_options(fields: Mapping[str, Any], *, strict: bool) -> Options:
    """Options from the fields of a request.

    Args:
        fields: by name; those that are no options are ignored.
        strict: values have the types of JSON; if not, they may be texts.

    Raises:
        InvalidOption: values that cannot be used; the text names the first option and what is allowed.
    """
    known = {name: fields[name] for name in Options.model_fields if name in fields}
    # Not pydantic's own strict mode: it would refuse 2 for a number with a fraction, and lists for tuples.
    mistyped = _mistyped(known) if strict else []
    wrong = {fault.option for fault in mistyped}
    try:
        options = Options.model_validate(
            {name: value for name, value in known.items() if name not in wrong}
        )
    except pydantic.ValidationError as error:
        faults = [*mistyped, *map(_fault, error.errors())]
        raise _invalid(faults, fields, is_shown=not mistyped) from error
    if mistyped:
        raise _invalid(mistyped, fields, is_shown=False)
    return options


def _invalid(
    faults: Sequence[Fault], fields: Mapping[str, Any], *, is_shown: bool
) -> InvalidOption:
    """Return the error for faults. ``is_shown``: whether its text has the first value, if there is one."""
    first = faults[0]
    has_value = is_shown and first.option in fields
    shown = f", not {str(fields[first.option])[:40]!r}" if has_value else ""
    return InvalidOption(f"Invalid {first.option}: {first.detail}{shown}", faults=faults)


_REASONS = {
    "bool": "it must be true or false",
    "int": "it must be a whole number",
    "float": "it must be a number",
    "finite": "it must be a number",
    "string": "it must be a string",
    "greater": "it must be at least {ge:g}",
    "less": "it must be at most {le:g}",
    "literal": "it must be {expected}",
}
"""Our words for what pydantic finds, by the first word of its error's type."""


def _fault(error: ErrorDetails) -> Fault:
    if not error["loc"]:
        return Fault("size", "conflict", error["msg"].removeprefix("Value error, "))
    text = _REASONS.get(error["type"].split("_")[0])
    detail = (
        error["msg"].removeprefix("Value error, ")
        if text is None
        else text.format(**error.get("ctx", {}))
    )
    is_another_type = error["type"].endswith(("_parsing", "_type"))
    return Fault(str(error["loc"][0]), "type" if is_another_type else "range", detail)


_JSON_KINDS: tuple[tuple[type, tuple[type, ...], str], ...] = (
    (bool, (bool,), "true or false"),
    (Rect, (str, list), "four whole numbers"),
    (float, (int, float), "a number"),
    (int, (int, float), "a number"),
    (str, (str,), "a string"),
)
"""A type in the annotation of an option, the JSON values that it takes, and their name. The first that fits counts."""


def _types_in(annotation: object) -> set[type]:
    """All types that an annotation names, with those of the words of a ``Literal``."""
    if get_origin(annotation) is Literal:
        return {type(word) for word in get_args(annotation)}
    if isinstance(annotation, type):
        return {annotation}
    return {kind for part in get_args(annotation) for kind in _types_in(part)}


def _json_kind(types: set[type]) -> tuple[tuple[type, ...], str] | None:
    """What JSON may hold for an option; None where it takes words as well as numbers, which its validator checks."""
    if {int, str} <= types:
        return None
    return next((taken, name) for kind, taken, name in _JSON_KINDS if kind in types)


_TAKEN = {
    name: _json_kind(_types_in(field.annotation)) for name, field in Options.model_fields.items()
}


def _mistyped(fields: Mapping[str, Any]) -> list[Fault]:
    """JSON values that are not of the kind that their option takes."""
    faults = []
    for name, value in fields.items():
        kind = _TAKEN[name]
        if value is None or kind is None:
            continue
        is_right = isinstance(value, kind[0]) and (bool in kind[0] or not isinstance(value, bool))
        if not is_right:
            faults.append(Fault(name, "type", f"it must be {kind[1]}"))
    return faults
