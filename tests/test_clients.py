"""What clients really send, over a real socket, on every route that takes it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from gateways import B64, PNG, Start

pytestmark = pytest.mark.asyncio(loop_scope="module")

FORMS = {
    "/v1/upscale": {},
    "/v1/jobs": {},
    "/v1/estimate": {},
    "/v1/compare": {"models": "nearest", "region": "0,0,8,8"},
    "/v1/images/upscale": {},
}
"""Routes that read forms, each with what it needs besides a picture."""

JSON: dict[str, dict[str, Any]] = {
    "/upscale": {"image_b64": B64},
    "/v1/upscale": {"image_b64": B64},
    "/v1/jobs": {"image_b64": B64},
    "/v1/estimate": {"image_b64": B64},
    "/v1/compare": {"image_b64": B64, "models": ["nearest"], "region": "0,0,8,8"},
    "/v1/batches": {"items": [{"image_b64": B64}]},
    "/v1/images/upscale": {"image": B64},
    "/sdapi/v1/extra-single-image": {"image": B64, "upscaler_1": "nearest"},
    "/sdapi/v1/extra-batch-images": {
        "imageList": [{"data": B64, "name": "a"}],
        "upscaler_1": "nearest",
    },
    "/predictions": {"input": {"image": B64}},
    "/v1/predictions": {"version": "enlarger/nearest", "input": {"image": B64}},
    "/v1/models/enlarger/nearest/predictions": {"input": {"image": B64}},
}
"""Routes that read JSON, each with a body that it takes."""


def form(fields: dict[str, str], *, picture: bytes, head: str) -> dict[str, Any]:
    """A request with a form whose picture has just that Content-Disposition, and no Content-Type."""
    parts = [(f'form-data; name="{name}"', value.encode()) for name, value in fields.items()]
    body = b"".join(
        b"--x\r\nContent-Disposition: " + disposition.encode() + b"\r\n\r\n" + data + b"\r\n"
        for disposition, data in [*parts, (head, picture)]
    )
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    return {"data": body + b"--x--\r\n", "headers": kind}


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize("head", ['form-data; name="image"', "form-data; name=image; filename="])
async def test_picture_of_a_form_needs_no_file_name(start: Start, path: str, head: str) -> None:
    """``fetch`` with a ``Blob`` in an array, Go's ``WriteField``, Java's ``ByteArrayBody``: bytes without a name."""
    gateway = await start()
    request = form(FORMS[path], picture=PNG, head=head)
    async with gateway.http.post(path, **request) as response:
        assert response.status in (200, 202), await response.text()
        if path == "/v1/estimate":
            assert (await response.json())["output"] == {"width": 60, "height": 40}


@pytest.mark.parametrize("path", JSON)
async def test_json_may_begin_with_a_byte_order_mark(start: Start, path: str) -> None:
    """Notepad, PowerShell and .NET's ``Encoding.UTF8`` write one."""
    gateway = await start()
    body = json.dumps(JSON[path]).encode("utf-8-sig")
    kind = {"Content-Type": "application/json"}
    async with gateway.http.post(path, data=body, headers=kind) as response:
        assert response.status in (200, 202), await response.text()
