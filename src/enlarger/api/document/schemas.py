"""JSON Schemas, derived from types: their fields, and the texts in their source."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Collection, Mapping
from functools import cache
from itertools import pairwise
from typing import Any, Literal, NotRequired

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from typing_extensions import TypedDict, get_original_bases

Schema = dict[str, Any]
"""A JSON Schema in the dialect of OpenAPI 3.1."""

PLACE = "#/components/schemas/{model}"
"""Where references between schemas lead."""


class Document(TypedDict):
    """An OpenAPI document."""

    openapi: str
    info: dict[str, Any]
    servers: NotRequired[list[dict[str, str]]]
    tags: list[dict[str, str]]
    paths: dict[str, Any]
    components: dict[str, Any]


def schemas_of(types: Collection[Any]) -> tuple[dict[int, Schema], dict[str, Schema]]:
    """Return a schema for each type, by its ``id``, and the named schemas that these refer to."""
    mode: Literal["serialization"] = "serialization"
    inputs = [(id(type_), mode, TypeAdapter(type_)) for type_ in types]
    found, named = TypeAdapter.json_schemas(
        inputs, ref_template=PLACE, schema_generator=_FromSource
    )
    return {key: schema for (key, _), schema in found.items()}, named.get("$defs", {})


def properties_of(model: type[BaseModel]) -> dict[str, Schema]:
    """Return the schemas of a model's fields, with their texts."""
    made: dict[str, Schema] = model.model_json_schema(schema_generator=_FromSource)["properties"]
    return made


class _FromSource(GenerateJsonSchema):
    """Describes fields with the text below each of them, and adds no titles.

    Pydantic can read these texts as well, but does so when it creates a class: that would double the time that it takes for
    the options, and every start would wait for it.
    """

    def field_title_should_be_set(self, _: Any) -> bool:
        return False

    def typed_dict_schema(self, schema: Any) -> Schema:
        return _described(super().typed_dict_schema(schema), schema["cls"])

    def model_schema(self, schema: Any) -> Schema:
        return _described(super().model_schema(schema), schema["cls"])


def _described(schema: Schema, cls: type) -> Schema:
    del schema["title"]
    for name, text in _texts(cls).items():
        schema["properties"][name]["description"] = text
    return schema


def _texts(cls: type) -> dict[str, str]:
    """Return the text of each field of a class, and of the classes that it extends."""
    found: dict[str, str] = {}
    for base in get_original_bases(cls):
        if getattr(base, "__annotations__", None):
            found |= _texts(base)
    return found | _texts_in(cls.__module__).get(cls.__qualname__, {})


@cache
def _texts_in(module: str) -> Mapping[str, dict[str, str]]:
    """Return the texts of the fields of each class in a module."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    found: dict[str, dict[str, str]] = {}
    for cls in tree.body:
        for field, below in pairwise(cls.body if isinstance(cls, ast.ClassDef) else ()):
            match cls, field, below:
                case (
                    ast.ClassDef(name=name),
                    ast.AnnAssign(target=ast.Name(id=of)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    found.setdefault(name, {})[of] = inspect.cleandoc(text)
    return found
