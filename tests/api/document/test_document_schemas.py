"""JSON Schemas that are derived from types."""

from __future__ import annotations

from typing import NotRequired

import pydantic
from typing_extensions import TypedDict

from enlarger.api.document.schemas import properties_of, schemas_of
from enlarger.api.streaming import FileText


class Base(TypedDict):
    """A base."""

    first: int
    """The first
    field."""

    plain: str


class Extended(Base):
    """An answer."""

    second: NotRequired[float | None]
    """The second field."""

    base: Base
    """Another answer."""

    file: FileText


class Options(pydantic.BaseModel):
    """Options of a request."""

    number: int = 3
    """A number."""


def test_fields_have_the_texts_of_their_source() -> None:
    """This includes the fields of a base class. No field has a title."""
    found, named = schemas_of([Extended])
    assert found == {id(Extended): {"$ref": "#/components/schemas/Extended"}}
    assert named["Extended"] == {
        "type": "object",
        "description": "An answer.",
        "properties": {
            "first": {"type": "integer", "description": "The first\nfield."},
            "plain": {"type": "string"},
            "second": {
                "anyOf": [{"type": "number"}, {"type": "null"}],
                "description": "The second field.",
            },
            "base": {"$ref": "#/components/schemas/Base", "description": "Another answer."},
            "file": {"type": "string"},
        },
        "required": ["first", "plain", "base", "file"],
    }


def test_a_type_without_a_name_has_its_schema_in_place() -> None:
    """What it refers to is named."""
    type_ = list[Base]
    found, named = schemas_of([type_])
    assert found[id(type_)] == {"type": "array", "items": {"$ref": "#/components/schemas/Base"}}
    assert set(named) == {"Base"}


def test_options_have_texts_and_defaults() -> None:
    """The texts are those that pydantic would show if it had read them when the class was made."""
    assert properties_of(Options) == {
        "number": {"type": "integer", "default": 3, "description": "A number."}
    }
