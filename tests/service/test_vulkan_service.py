"""A real service whose model servers compute through Vulkan, on this machine's CPU."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from os import environ
from pathlib import Path

import numpy as np
from PIL import Image
from running import RunningService
from support.pictures import encoded
from support.vulkan import DEVICE, software_device

from enlarger.geometry.rect import Pixels

MODEL = "realesr-animevideov3"


def test_photo_is_upscaled_as_on_the_command_line(
    environment: dict[str, str], tmp_path: Path, photo: Pixels
) -> None:
    """By two model servers, with the same bytes; the answer and the file name the device."""
    device = software_device()
    picture = encoded(np.ascontiguousarray(photo[60:124, 190:254]))
    (tmp_path / "in.png").write_bytes(picture)
    settings = environment | {"ENLARGER_DEVICE": f"{DEVICE},{DEVICE}"}
    with RunningService(tmp_path, settings) as service:
        request = urllib.request.Request(
            f"{service.url}/v1/upscale?scale=4&model={MODEL}&provenance=true",
            data=picture,
            headers={"Content-Type": "image/png"},
        )
        with urllib.request.urlopen(request) as response:
            made = response.read()
            assert response.headers["X-Upscale-Engine"] == "vulkan"
            assert response.headers["X-Upscale-Device"] == f"{device.name} ({device.driver})"
            assert response.headers["X-Upscale-Device-Class"] == device.device.tile_class
    command = [sys.executable, "-m", "enlarger", "upscale", "--quiet", "--provenance"]
    subprocess.run(
        [*command, "--device", DEVICE, "--model", MODEL, "in.png", "out.png"],
        cwd=tmp_path,
        env={**environ, **environment},
        check=True,
        timeout=200,
    )
    assert (tmp_path / "out.png").read_bytes() == made
    assert device.name.encode() in made
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (256, 256)
