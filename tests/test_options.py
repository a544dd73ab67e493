"""An option that ``request.py`` has is everywhere that users look for it; where it is not, the place is named."""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

import pydantic
import typer.main
from support.places import REFERENCE

from enlarger import cli
from enlarger.api.document.operations import OPERATIONS
from enlarger.client import UpscaleOptions
from enlarger.options import Options

PICTURES = REFERENCE / "pictures.md"

Words = Mapping[str, frozenset[str]]
"""Options, and of each the words that it takes."""


def lacking(wanted: Words, places: Mapping[str, Words]) -> list[str]:
    """What each place lacks, in words."""
    faults = []
    for place, found in places.items():
        for name, words in wanted.items():
            if name not in found:
                faults.append(f"{place} lacks the option {name}")
            else:
                missing = sorted(words - found[name])
                faults += [
                    f"{place} lacks the value {word} of the option {name}" for word in missing
                ]
        faults += [
            f"{place} has {name}, which is no option" for name in found if name not in wanted
        ]
    return faults


def words_of(annotation: Any) -> frozenset[str]:
    """The words that a type names."""
    if get_origin(annotation) is Literal:
        return frozenset(word for word in get_args(annotation) if isinstance(word, str))
    parts = get_args(annotation) if get_origin(annotation) is not None else ()
    return frozenset().union(*map(words_of, parts))


def in_job(model: type[pydantic.BaseModel]) -> Words:
    """The options themselves."""
    return {name: words_of(field.annotation) for name, field in model.model_fields.items()}


def in_shell() -> Words:
    """Those of ``enlarger upscale``, with the words of their help; what only the shell has is left out."""
    command = typer.main.get_command(cli.app).commands["upscale"]  # type: ignore[attr-defined]
    found = {
        max(parameter.opts, key=len).removeprefix("--").replace("-", "_"): _in_text(
            parameter.help or ""
        )
        for parameter in command.params
        if parameter.param_type_name == "option"
    }
    return {name: words for name, words in found.items() if name in Options.model_fields}


def in_client() -> Words:
    """Those of the client's keyword arguments."""
    hints = typing.get_type_hints(UpscaleOptions)
    return {name: words_of(hint) for name, hint in hints.items()}


def in_documentation() -> Words:
    """Those of the table in pictures.md, with all words of their rows; ``model`` and ``precision`` are in models.md."""
    text = PICTURES.read_text()
    table = text[text.index("\n## Options\n") :]
    table = table[: table.index("\n**Rounding.**")]
    models = (PICTURES.parent / "models.md").read_text()
    found: dict[str, frozenset[str]] = {}
    for row in re.findall(r"^\| (`.*)\|$", table, re.MULTILINE):
        cell, rest = row.split("|", 1)
        words = rest + (models if "models.md" in rest else "")
        found |= dict.fromkeys(re.findall(r"`(\w+)`", cell), _in_text(words))
    return found


def in_openapi() -> Words:
    """Those of the JSON body of ``POST /v1/upscale``, but for what is no option of a picture."""
    (body,) = (
        one
        for one in OPERATIONS["POST", "/v1/upscale"].bodies
        if one.media_type == "application/json"
    )
    others = {"img_url", "image_b64", "inline", "webhook"}
    return {
        name: _in_text(str(schema))
        for name, schema in body.schema["properties"].items()
        if name not in others
    }


def _in_text(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.lower()))


def places() -> dict[str, Words]:
    """All that must have an option that ``request.py`` has."""
    return {
        "`enlarger upscale` in cli/upscale.py": in_shell(),
        "UpscaleOptions in client/requests.py": in_client(),
        "docs/reference/pictures.md": in_documentation(),
        "the OpenAPI document": in_openapi(),
    }


def test_every_option_is_everywhere() -> None:
    """In the shell, the client, the documentation and the document for programs; so is each word that it takes."""
    assert lacking(in_job(Options), places()) == []


class Sharper(Options):
    """Options with one more, and with one more word, in ``request.py`` alone."""

    sharpen: float | None = None
    color: Literal["keep", "srgb", "p3"] = "keep"  # type: ignore[assignment]


def test_option_in_job_alone_is_missed_in_each_place() -> None:
    """Each is named, with what it lacks."""
    assert lacking(in_job(Sharper), places()) == [
        fault
        for place in places()
        for fault in (
            f"{place} lacks the value p3 of the option color",
            f"{place} lacks the option sharpen",
        )
    ]


def test_option_that_is_gone_is_found_where_it_stayed() -> None:
    """The other way round."""
    wanted = {name: words for name, words in in_job(Options).items() if name != "quality"}
    assert lacking(wanted, places()) == [
        f"{place} has quality, which is no option" for place in places()
    ]


def test_options_of_the_compatible_route_are_listed() -> None:
    """All of ``/upscale`` but those that set the size, which it has for itself."""
    text = (PICTURES.parent / "http-api.md").read_text()
    section = text[text.index("\n## POST /upscale\n") :].partition("Other fields are ignored")[0]
    listed = set(re.findall(r"`(\w+)`", section))
    sizes = {"width", "height", "long_side", "short_side", "fit", "max_bytes"}
    assert set(Options.model_fields) - sizes <= listed
    assert not sizes & listed
