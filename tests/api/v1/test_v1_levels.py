"""Models that keep the size, and noise levels: from the request to the network that computes, and into the answer."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from support.gateways import Running, Start, samples
from support.levels import CLEANER, LEVELS, write_cleaner
from support.pictures import encoded

from enlarger.engine.openvino.runtime import OpenVINOEngine
from enlarger.models import Catalogue

pytestmark = pytest.mark.asyncio(loop_scope="module")

GRAY = 200
PICTURE = encoded(np.full((20, 30, 3), GRAY, np.uint8))
X4PLUS = "realesrgan-x4plus"


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """The installed models, and ``cleaner``."""
    folder: Path = tmp_path_factory.mktemp("levels")
    write_cleaner(folder)
    return Catalogue.installed(folder)


@pytest_asyncio.fixture(loop_scope="module")
async def gateway(start: Start, catalogue: Catalogue, cache_folder: Path) -> AsyncIterator[Running]:
    """A gateway over a real engine."""
    engine = OpenVINOEngine(catalogue, threads=1, precision="f32", cache_folder=cache_folder)
    async with engine:
        yield await start(engine)


@pytest.mark.parametrize(
    ("asked", "level"), [({}, 1), ({"denoise": "1"}, 1), ({"denoise": "3"}, 3)]
)
async def test_network_of_the_level_computes(
    gateway: Running, asked: dict[str, str], level: int
) -> None:
    """Without the option, that of the model's own level. The size stays, and the answer says which level it was."""
    params = {"model": CLEANER, "color_lock": "false", **asked}
    async with gateway.http.post("/v1/upscale", params=params, data=PICTURE) as response:
        assert response.status == 200, await response.text()
        assert response.headers["X-Upscale-Model"] == CLEANER
        assert response.headers["X-Upscale-Denoise"] == str(level)
        assert response.headers["X-Result-Width"] == "30"
        made = samples(await response.read())
    assert np.abs(made.astype(int) - round(GRAY - 255 * LEVELS[level])).max() <= 1
    async with gateway.http.post("/v1/estimate", params=params, data=PICTURE) as response:
        estimate = await response.json()
    assert (estimate["model"], estimate["denoise"]) == (CLEANER, level)
    assert estimate["output"] == {"width": 30, "height": 20}


async def test_level_is_part_of_the_json(gateway: Running) -> None:
    """Also of a job's result."""
    params = {"model": CLEANER, "denoise": "3"}
    async with gateway.http.post(
        "/v1/upscale", params=params, data=PICTURE, headers={"Accept": "application/json"}
    ) as response:
        body = await response.json()
    assert (body["model"], body["denoise"]) == (CLEANER, 3)
    async with gateway.http.post("/v1/jobs", params=params, data=PICTURE) as response:
        url = (await response.json())["links"]["self"]
    async with gateway.http.get(url, params={"wait": "30"}) as response:
        job = await response.json()
    assert (job["result"]["denoise"], job["options"]["denoise"]) == (3, 3)
    assert (job["options"]["scale"], job["result"]["scale"]) == (1, 1)


@pytest.mark.parametrize(
    ("params", "option", "words"),
    [
        ({"model": CLEANER, "scale": "2"}, "scale", ["cannot upscale", "scale=1", "another model"]),
        ({"model": CLEANER, "width": "60"}, "width", ["cannot upscale", "leave the size out"]),
        ({"model": CLEANER, "short_side": "21"}, "short_side", ["cannot upscale"]),
        ({"model": CLEANER, "denoise": "2"}, "denoise", ["levels 1, 3, not 2"]),
        (
            {"model": X4PLUS, "denoise": "1"},
            "denoise",
            ["has no noise levels", "leave denoise out"],
        ),
        ({"model": "detect", "denoise": "1"}, "denoise", ["has no noise levels"]),
        ({"model": CLEANER, "denoise": "4"}, "denoise", ["at most 3"]),
        ({"model": CLEANER, "denoise": "-1"}, "denoise", ["at least 0"]),
    ],
)
async def test_refusal_names_what_to_do(
    gateway: Running, params: dict[str, str], option: str, words: list[str]
) -> None:
    """422, before anything is computed."""
    async with gateway.http.post("/v1/upscale", params=params, data=PICTURE) as response:
        assert response.status == 422
        problem = await response.json()
    assert problem["code"] == "invalid_option"
    assert problem["errors"][0]["option"] == option
    assert all(word in problem["detail"] for word in words), problem["detail"]


async def test_compatible_route_has_the_models_own_size_as_default(gateway: Running) -> None:
    """``scale`` stays 2 or 4 for all other models."""
    picture = base64.b64encode(PICTURE).decode()
    async with gateway.http.post(
        "/upscale", json={"image_b64": picture, "model": CLEANER}
    ) as response:
        body = await response.json()
        assert response.status == 200, body
    assert body["upscaled_size"] == {"width": 30, "height": 20, "scale": 1}
    for fields in ({"model": CLEANER, "scale": 2}, {"model": X4PLUS, "scale": 1}):
        async with gateway.http.post("/upscale", json={"image_b64": picture, **fields}) as response:
            assert response.status == 400
            assert (await response.json())["code"] == "invalid_option"


async def test_list_says_what_a_model_is_for(gateway: Running) -> None:
    """Native scale, levels with the default, licence with its mark, source and cost."""
    async with gateway.http.get("/v1/models") as response:
        models = {model["id"]: model for model in (await response.json())["models"]}
    cleaner, usual = models[CLEANER], models[X4PLUS]
    assert (cleaner["native_scale"], cleaner["noise_levels"]) == (1, [1, 3])
    assert (cleaner["default_noise_level"], cleaner["non_commercial"]) == (1, True)
    assert cleaner["source"] == "tests/support/levels.py"
    assert "denoise" in cleaner["options"]
    assert cleaner["mflop_per_px"] > 0
    assert (usual["noise_levels"], usual["default_noise_level"]) == ([], None)
    assert usual["non_commercial"] is False
    assert "denoise" not in usual["options"]
    assert not [id_ for id_ in models if "+" in id_]


async def test_comparison_of_all_leaves_out_models_that_keep_the_size(gateway: Running) -> None:
    """Named, they are compared at their own size."""
    form = {"models": CLEANER, "region": "0,0,8,8"}
    async with gateway.http.post("/v1/compare", params=form, data=PICTURE) as response:
        body = await response.json()
        assert response.status == 200, body
    assert [result["model"] for result in body["results"]] == [CLEANER]
    assert body["results"][0]["result"]["width"] == 8


async def test_dialects_keep_the_size_by_default(gateway: Running) -> None:
    """AUTOMATIC1111 lists the model with its scale; without a factor, its clients get the size that the picture has."""
    picture = base64.b64encode(PICTURE).decode()
    async with gateway.http.get("/sdapi/v1/upscalers") as response:
        listed = {one["name"]: one["scale"] for one in await response.json()}
    assert listed[CLEANER] == 1.0
    fields = {"image": picture, "upscaler_1": CLEANER}
    async with gateway.http.post("/sdapi/v1/extra-single-image", json=fields) as response:
        body = await response.json()
        assert response.status == 200, body
    assert samples(base64.b64decode(body["image"])).shape == (20, 30, 3)


async def test_level_that_some_compared_models_have(gateway: Running) -> None:
    """Those that lack it have a problem in their place. If all lack it, the request is refused."""
    params = {"region": "0,0,9,9", "denoise": "3", "scale": "1", "models": f"{X4PLUS},{CLEANER}"}
    async with gateway.http.post("/v1/compare", params=params, data=PICTURE) as response:
        assert response.status == 200, await response.text()
        refused, made = (await response.json())["results"]
    assert (refused["model"], refused["problem"]["code"]) == (X4PLUS, "invalid_option")
    assert (made["model"], made["denoise"]) == (CLEANER, 3)
    params["models"] = X4PLUS
    async with gateway.http.post("/v1/compare", params=params, data=PICTURE) as response:
        assert response.status == 422
        assert f"{X4PLUS} has no noise levels" in await response.text()
