"""What a model server says of itself crosses to the gateway, and what is refused on the way."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import NEAREST

from enlarger.engine.device import CPU, Device
from enlarger.engine.tile import EngineFacts, ModelFacts
from enlarger.errors import BadTile
from enlarger.wire import facts_from_json, facts_to_json

names = st.text("abcxyz0189._-", min_size=1, max_size=20)
hashes = st.text("0123456789abcdef", min_size=64, max_size=64)
model_facts = st.builds(
    ModelFacts,
    id=names,
    scale=st.integers(1, 8),
    halo_px=st.integers(0, 64),
    halo_is_exact=st.booleans(),
    blend_px=st.integers(0, 16),
    multiple_px=st.integers(1, 8),
    max_tile_px=st.integers(1, 10**6),
    mflop_per_px=st.floats(0.01, 1000),
    sha256=hashes,
    graph_sha256=st.just("") | hashes,
    precisions=st.lists(st.sampled_from(["f32", "bf16"]), min_size=1, unique=True).map(tuple),
)
engine_facts = st.builds(
    EngineFacts,
    engine=names,
    ready=st.booleans(),
    models=st.lists(model_facts, max_size=3).map(tuple),
    capacity=st.integers(1, 50),
    in_flight=st.integers(0, 50),
    mflop_per_s=st.none() | st.floats(0.1, 1e9),
)


@given(facts=engine_facts)
def test_facts_survive_json(facts: EngineFacts) -> None:
    """What a server says of itself is what the gateway knows of it."""
    assert facts_from_json(json.loads(json.dumps(facts_to_json(facts)))) == facts


@given(max_tile_px=st.integers(1, 10**6))
def test_longest_side_is_that_of_a_square_tile(max_tile_px: int) -> None:
    """``max_side`` squared fits into the tile, and one more would not."""
    model = dataclasses.replace(NEAREST, max_tile_px=max_tile_px)
    side = facts_to_json(facts(model))["models"][0]["max_side"]
    assert side**2 <= max_tile_px < (side + 1) ** 2


def facts(*models: ModelFacts) -> EngineFacts:
    """Those of an engine that has these models."""
    return EngineFacts(
        engine="openvino", ready=True, models=models, capacity=2, in_flight=1, mflop_per_s=None
    )


def test_facts_carry_the_names_of_the_contract() -> None:
    """The fields of section C.3 that are the engine's own."""
    value = facts_to_json(facts(NEAREST))
    assert (value["ready"], value["capacity"], value["in_flight"]) == (True, 2, 1)
    assert value["models"][0] | {"mflop_per_px": 0, "halo_is_exact": None} == {
        "id": "nearest",
        "scale": 4,
        "halo": 2,
        "halo_is_exact": None,
        "multiple_of": 1,
        "blend": 0,
        "max_side": 32,
        "max_tile_px": 1024,
        "mflop_per_px": 0,
        "channels": [3],
        "dtypes": ["uint8", "uint16"],
        "precisions": ["f32", "bf16"],
        "loaded": None,
        "engine": "openvino",
        "sha256": "0" * 64,
        "graph_sha256": "",
    }


def test_unknown_fact_is_ignored() -> None:
    """A newer server may say more."""
    value = facts_to_json(facts(NEAREST)) | {"uptime_s": 5}
    value["models"][0]["colour"] = "blue"
    assert facts_from_json(value) == facts(NEAREST)


@pytest.mark.parametrize(
    "name", ["engine", "ready", "models", "capacity", "in_flight", "mflop_per_s"]
)
def test_facts_without_a_field_are_refused(name: str) -> None:
    """An older server is not guessed at."""
    value = facts_to_json(facts(NEAREST))
    del value[name]
    with pytest.raises(BadTile, match="not complete"):
        facts_from_json(value)


@pytest.mark.parametrize(
    "name",
    ["id", "scale", "halo", "halo_is_exact", "max_tile_px", "mflop_per_px", "sha256", "precisions"],
)
def test_facts_without_a_field_of_a_model_are_refused(name: str) -> None:
    """Nor is what its models can do."""
    value = facts_to_json(facts(NEAREST))
    del value["models"][0][name]
    with pytest.raises(BadTile, match="not complete"):
        facts_from_json(value)


@pytest.mark.parametrize("value", [None, [], "ready", {"models": None}, 5])
def test_facts_that_are_no_facts_are_refused(value: Any) -> None:
    """Other JSON is not the response of a model server."""
    with pytest.raises(BadTile, match="not complete"):
        facts_from_json(value)


@pytest.mark.parametrize("models", [5, None, ["nearest"], [None], [[]]])
def test_models_that_are_no_models_are_refused(models: Any) -> None:
    """Each model is an object in a list."""
    with pytest.raises(BadTile, match="not complete"):
        facts_from_json(facts_to_json(facts()) | {"models": models})


def test_device_of_a_server_crosses() -> None:
    """One that names none is a CPU; an unknown class is not guessed."""
    card = Device(name="Card", driver="1.2", tile_class="gpu-8g")
    facts = EngineFacts(
        engine="vulkan",
        ready=True,
        models=(NEAREST,),
        capacity=2,
        in_flight=0,
        mflop_per_s=None,
        devices=(card,),
    )
    sent = facts_to_json(facts)
    assert facts_from_json(sent) == facts
    older = {name: value for name, value in sent.items() if name not in {"driver", "device_class"}}
    assert facts_from_json(older).devices == (CPU,)
    with pytest.raises(BadTile, match="no class of devices gpu-99g"):
        facts_from_json(sent | {"device_class": "gpu-99g"})
