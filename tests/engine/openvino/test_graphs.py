"""Networks in bf16: which operations have which type, and how much nearer to f32 that is.

``emulation`` puts the rounding of a processor with bf16 into a graph, so all of this is computed on any processor.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import emulation
import numpy as np
import openvino as ov  # noqa: TID253 - graphs are looked at
import pytest
from held_out import Wear
from openvino import opset14 as ops  # noqa: TID253
from support.pictures import skimage_photo

from enlarger.engine.openvino import graphs
from enlarger.engine.openvino.cache import CompiledNetwork
from enlarger.engine.samples import Floats, to_floats, to_samples
from enlarger.geometry.rect import Pixels
from enlarger.models import Catalogue, Convolution, Model

ANIME, VIDEO = "realesrgan-x4plus-anime", "realesr-animevideov3"

BF16 = graphs.in_precision("bf16")

PHOTOS = {
    "fur": ("chelsea.png", Wear()),
    "noisy face": ("astronaut.png", Wear(noise=16)),
    "compressed cup": ("coffee.png", Wear(quality=20)),
}


@pytest.fixture
def catalogue(model_dir: Path) -> Catalogue:
    """The wheel's models and the made ones."""
    return Catalogue.installed(model_dir)


def run(graph: ov.Model) -> Callable[[Pixels], Floats]:
    """The network, in f32 with what rounding its graph has."""
    compiled = emulation.compiled(graph, 1)
    return lambda pixels: np.array(compiled([to_floats(pixels)])[0])


def before(model: Model) -> Callable[[Pixels], Floats]:
    """The network as the runtime's own bf16 makes it: everything is stored in bf16."""
    return run(emulation.emulated(graphs.build(model), hint="bf16"))


def after(model: Model) -> Callable[[Pixels], Floats]:
    """The network with types of its own."""
    return run(emulation.emulated(graphs.build(model, in_float=BF16), hint="f32"))


def psnr_db(one: Floats, other: Floats) -> float:
    """Peak signal to noise of two results as pictures of 8 bits, in dB."""
    gap = np.clip(one, 0, 1).astype(float) - np.clip(other, 0, 1)
    return float(-10 * np.log10(np.mean(gap**2)))


@pytest.mark.parametrize("model_id", [ANIME, VIDEO])
def test_bf16_is_nearer_to_f32_than_with_all_stored_in_bf16(
    catalogue: Catalogue, model_id: str
) -> None:
    """On photos as people have them, by more than a decibel on the mean, and no photo comes out worse."""
    model = catalogue.choose(model_id, scale=4)
    whole, all_in_bf16, mixed = run(graphs.build(model)), before(model), after(model)
    gains = {}
    for name, (file, wear) in PHOTOS.items():
        square = wear.on(skimage_photo(file)[110:150, 150:190])
        right = whole(square)
        gains[name] = psnr_db(mixed(square), right) - psnr_db(all_in_bf16(square), right)
    assert min(gains.values()) > 0, gains
    assert np.mean(list(gains.values())) > 1, gains


@pytest.mark.parametrize("model_id", [ANIME, VIDEO])
def test_16_bit_gradient_has_about_as_many_values_as_in_f32(
    catalogue: Catalogue, model_id: str
) -> None:
    """What makes the picture is never stored in bf16, which has 18 values between 0.55 and 0.62."""
    model = catalogue.choose(model_id, scale=4)
    row = np.rint(np.linspace(0.55, 0.62, 40) * 65535).astype(np.uint16)
    ramp = np.broadcast_to(row[:, np.newaxis], (12, 40, 3)).copy()

    def values(made: Floats) -> int:
        return len(np.unique(to_samples(made, ramp.dtype)))

    wanted = values(run(graphs.build(model))(ramp))
    assert values(before(model)(ramp)) < 50
    assert values(after(model)(ramp)) > 0.8 * wanted > 1000


def nodes(graph: ov.Model, kind: str) -> list[ov.Node]:
    """The operations of a kind, in their order."""
    return [node for node in graph.get_ordered_ops() if node.get_type_name() == kind]


def types(found: list[ov.Node]) -> list[str]:
    """The types of their results."""
    return [node.get_output_element_type(0).get_type_name() for node in found]


def test_rrdb_convolves_in_bf16_and_adds_in_f32(catalogue: Catalogue) -> None:
    """But for the first and last convolution. A type costs: a convolution too many in f32 would be seen in the time."""
    graph = graphs.build(catalogue.choose(ANIME, scale=4), in_float=BF16)
    convolutions = nodes(graph, "Convolution")
    assert len(convolutions) == 96
    assert types(convolutions) == ["f32", *["bf16"] * 94, "f32"]
    sums = [
        node
        for node in nodes(graph, "Add")
        if all(value.get_node().get_type_name() != "Constant" for value in node.input_values())
    ]
    assert len(sums) == 6 * 4 + 1
    assert set(types(sums)) == {"f32"}
    # One rounding for each dense block, the trunk's last convolution and the tail; as many ways back.
    assert sorted(types(nodes(graph, "Convert"))) == ["bf16"] * 20 + ["f32"] * 20


def test_compact_convolves_in_bf16_and_adds_in_f32(catalogue: Catalogue) -> None:
    """The input by nearest is never rounded."""
    graph = graphs.build(catalogue.choose(VIDEO, scale=4), in_float=BF16)
    assert set(types(nodes(graph, "Convolution"))) == {"bf16"}
    assert types(nodes(graph, "Interpolate")) == ["f32"]
    assert types(nodes(graph, "Add"))[-1] == "f32"


def test_nothing_is_converted_in_f32(catalogue: Catalogue) -> None:
    """A network in f32 is as it was."""
    for model_id in (ANIME, VIDEO):
        model = catalogue.choose(model_id, scale=4)
        graph = graphs.build(model, in_float=graphs.in_precision("f32"))
        assert nodes(graph, "Convert") == []
        assert set(types(nodes(graph, "Convolution"))) == {"f32"}


def test_picture_is_convolved_as_exactly_as_f32_does() -> None:
    """Neighbouring 16-bit samples differ in bits that bf16 does not have, and large weights make much of them."""
    random = np.random.default_rng(0)
    weight = np.zeros((8, 3, 3, 3), np.float32)
    weight[:, 0, 1, 1] = random.uniform(30, 69, 8).astype(np.float32)
    weight[:, 1, 1, 1] = -weight[:, 0, 1, 1]
    layer = Convolution(weight, np.zeros(8, np.float32))
    given = ops.parameter([1, 3, -1, -1], np.float32)
    graph = ov.Model([BF16.leave(BF16.convolve_picture(given, layer))], [given])
    samples = random.uniform(0.5, 1, (1, 3, 4, 4)).astype(np.float32)
    samples[:, 1] = samples[:, 0] - np.float32(2.0**-10)
    made = emulation.compiled(graph, 1)([samples])[0]
    wanted = (samples[:, :1] - samples[:, 1:2]).astype(float) * weight[:, 0, 1, 1][:, None, None]
    assert np.abs(made / wanted - 1).max() < 0.02  # rounded alone, it would be off by all of it


def test_kept_network_in_bf16_has_the_types_in_its_key(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that was compiled before the module of types changed is compiled again."""
    from enlarger.engine.openvino import bfloat16

    model = catalogue.choose("nearest", scale=4)
    CompiledNetwork(tmp_path, model, "bf16", "whole").write(b"compiled")
    assert CompiledNetwork(tmp_path, model, "bf16", "whole").read() is not None
    changed = tmp_path / "bfloat16.py"
    changed.write_text(Path(bfloat16.__file__).read_text() + "\n# another way of rounding\n")
    monkeypatch.setattr(bfloat16, "__file__", str(changed))
    assert CompiledNetwork(tmp_path, model, "bf16", "whole").read() is None
