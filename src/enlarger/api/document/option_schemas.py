"""The schemas of the options of pictures, for an interface with its own default scale."""

from __future__ import annotations

import copy
from functools import cache

from enlarger.api.document.schemas import Schema, properties_of
from enlarger.options import Options

_options = cache(lambda: properties_of(Options))


def option_schemas(default_scale: int) -> dict[str, Schema]:
    """Return the schema of each option by its name.

    Args:
        default_scale: the scale of requests that state no size.
    """
    found = copy.deepcopy(_options())
    found["scale"]["description"] += (
        f" Where no size is given it is {default_scale}, and 1 for models that keep the size."
    )
    return found
