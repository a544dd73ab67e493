"""The schemas of options state the default scale of the interface that they describe."""

from __future__ import annotations

from typing import Any

import pytest

from enlarger.api.dialects import cog
from enlarger.api.document import requests
from enlarger.api.document.option_schemas import option_schemas
from enlarger.api.document.schemas import properties_of
from enlarger.options import DEFAULT_SCALE, Options


def scale_text(schema: Any) -> str:
    """What a schema says of the scale."""
    text: str = schema["properties"]["scale"]["description"]
    return text


def test_text_of_the_scale_has_the_default() -> None:
    """The other options have the texts of their source."""
    found, source = option_schemas(3), properties_of(Options)
    assert found.pop("scale")["description"].endswith(
        "Where no size is given it is 3, and 1 for models that keep the size."
    )
    del source["scale"]
    assert found == source


@pytest.mark.parametrize(
    ("schema", "scale"),
    [
        (requests.options(), DEFAULT_SCALE),
        (requests.PREDICTION.schema["properties"]["input"], cog.DEFAULT_SCALE),
    ],
)
def test_requests_state_their_own_default(schema: Any, scale: int) -> None:
    """Predictions have another one than the routes of ours."""
    assert f"it is {scale}," in scale_text(schema)
