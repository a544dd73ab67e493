"""What is wrong with an option stands in ``errors``, also where only the picture tells that it is wrong."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from PIL import Image
from support.gateways import B64, PNG, Start
from support.pictures import encoded, noise

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLEAR = base64.b64encode(encoded(noise(20, 30, 4))).decode()
"""A picture with alpha."""

MOVING = base64.b64encode(
    encoded(
        Image.fromarray(noise(20, 30, seed=1)),
        "GIF",
        save_all=True,
        append_images=[Image.fromarray(noise(20, 30, seed=2))],
        duration=50,
    )
).decode()

FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "too narrow": ({"width": 10}, "width", "range"),
    "too wide": ({"width": 1000}, "width", "range"),
    "too short": ({"short_side": 1}, "short_side", "range"),
    "region outside": ({"region": "20,10,30,30"}, "region", "range"),
    "JPEG with alpha": ({"image_b64": CLEAR, "format": "jpeg"}, "background", "conflict"),
    "JPEG that moves": (
        {"image_b64": MOVING, "format": "jpeg", "frames": "all"},
        "format",
        "conflict",
    ),
    "no int8": ({"precision": "int8"}, "precision", "unsupported"),
    "bytes that nothing fits into": (
        {"format": "jpeg", "max_bytes": 10},
        "max_bytes",
        "range",
    ),
    "two pictures": ({"img_url": "https://example.com/a.png"}, "image_b64", "conflict"),
    "no text": ({"image_b64": 7}, "image_b64", "type"),
    "unknown": ({"sharpen": 1}, "sharpen", "unknown"),
}


@pytest.mark.parametrize(("fields", "option", "reason"), FAULTS.values(), ids=FAULTS)
async def test_fault_is_listed(
    start: Start, fields: dict[str, Any], option: str, reason: str
) -> None:
    """With the option, the reason and the detail of the text, now and of a job."""
    gateway = await start()
    body = {"image_b64": B64, "model": "nearest", **fields}
    async with gateway.http.post("/v1/upscale", json=body) as response:
        problem = await response.json()
    assert (response.status, problem["code"]) == (422, "invalid_option"), problem
    assert [(fault["option"], fault["reason"]) for fault in problem["errors"]] == [(option, reason)]
    async with gateway.http.post("/v1/jobs", json=body) as response:
        job = await response.json()
        if response.status == 422:
            assert job["errors"] == problem["errors"]
            return
    async with gateway.http.get(f"/v1/jobs/{job['id']}?wait=30") as response:
        assert (await response.json())["error"]["errors"] == problem["errors"]


async def test_fault_of_a_query_is_listed(start: Start) -> None:
    """A fault in a query is listed in the same way as one in a body."""
    gateway = await start()
    async with gateway.http.post("/v1/upscale?width=10", data=PNG) as response:
        problem = await response.json()
    assert [fault["option"] for fault in problem["errors"]] == ["width"]
    assert problem["detail"] == f"Invalid width: {problem['errors'][0]['detail']}"
