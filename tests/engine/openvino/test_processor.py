"""What ``auto`` means on a processor: decided from descriptions of processors that need not be at hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.fakes import need_of

from enlarger.engine.openvino.processor import Processor, instructions, this_processor
from enlarger.engine.openvino.runtime import OpenVINOEngine
from enlarger.errors import ConfigError
from enlarger.models import Catalogue

WITH_INT8 = {"realesrgan-x4plus", "realesrgan-x4plus-anime"}
"""Models that come with a table of ranges."""

AVX2 = {"sse4_2", "avx", "avx2", "fma"}
AVX512 = {*AVX2, "avx512f", "avx512bw", "avx512vl", "avx512dq"}
X86 = {"FP32", "INT8", "BIN", "EXPORT_IMPORT"}
"""Capabilities that OpenVINO states on every x86 processor: INT8 also where sums of pairs overflow."""

PROCESSORS = {
    "Zen 3: no AVX-512": (Processor(X86, AVX2), ("f32",)),
    "Skylake-X: AVX-512 alone": (Processor(X86, AVX512), ("f32",)),
    "Cascade Lake: VNNI without bf16": (Processor(X86, {*AVX512, "avx512_vnni"}), ("f32", "int8")),
    "Alder Lake: VNNI without AVX-512": (Processor(X86, {*AVX2, "avx_vnni"}), ("f32", "int8")),
    "bf16 without VNNI": (
        Processor({*X86, "BF16"}, {*AVX512, "avx512_bf16"}),
        ("bf16", "f32"),
    ),
    "Zen 4: bf16 and VNNI": (
        Processor({*X86, "BF16"}, {*AVX512, "avx512_bf16", "avx512_vnni"}),
        ("bf16", "f32", "int8"),
    ),
    "Sapphire Rapids: AMX": (
        Processor({*X86, "BF16", "FP16"}, {*AVX512, "amx_tile", "amx_bf16", "amx_int8"}),
        ("bf16", "f32", "int8"),
    ),
    "AMX of which the system tells nothing": (Processor({*X86, "BF16"}, set()), ("bf16", "f32")),
    "an ARM processor": (Processor({"FP32", "FP16", "EXPORT_IMPORT"}, set()), ("f32",)),
}
"""Descriptions, and what each computes in: what ``auto`` means first."""


@pytest.mark.parametrize("name", PROCESSORS)
def test_precisions_follow_from_the_description(name: str) -> None:
    """bf16 and int8 each where there are instructions for it, f32 everywhere; int8 is never what ``auto`` means."""
    processor, expected = PROCESSORS[name]
    assert processor.precisions == expected
    assert processor.precisions[0] != "int8"


@pytest.mark.parametrize("precision", ["auto", "f32", "bf16", "int8"])
@pytest.mark.parametrize("name", PROCESSORS)
async def test_facts_name_what_each_model_has_on_a_processor(
    model_dir: Path, name: str, precision: str
) -> None:
    """The setting stands first where the model has it, then the processor's best; int8 only for models with a table."""
    processor, expected = PROCESSORS[name]
    catalogue = Catalogue.installed(model_dir)
    if precision not in {"auto", *expected}:
        with pytest.raises(ConfigError, match=rf"ENLARGER_PRECISION: .* not '{precision}'"):
            OpenVINOEngine(catalogue, threads=1, precision=precision, processor=processor)
        return
    async with OpenVINOEngine(
        catalogue, threads=1, precision=precision, processor=processor
    ) as engine:
        for model in engine.facts().models:
            has = [one for one in expected if one != "int8" or model.id in WITH_INT8]
            assert sorted(model.precisions) == sorted(has)
            assert model.precisions[0] == (precision if precision in has else expected[0])
            assert await engine.ready_for(need_of(model)) == model


CPUINFO = """processor\t: 0
model name\t: A processor
vmx flags\t: ept avx512_vnni
flags\t\t: fpu avx2 avx_vnni
bugs\t\t: spectre_v1

processor\t: 1
flags\t\t: fpu avx2 amx_int8
"""


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        (CPUINFO, {"fpu", "avx2", "avx_vnni"}),
        ("processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\n", set()),
        ("flags", set()),
        ("", set()),
    ],
    ids=["x86", "ARM", "a line cut short", "nothing"],
)
def test_instructions_are_those_of_the_first_core(cpuinfo: str, expected: set[str]) -> None:
    """In the words of Linux; where it lists none there are none to rely on."""
    assert instructions(cpuinfo) == expected


def test_this_processor_computes_in_f32() -> None:
    """Whatever else it has."""
    assert "f32" in this_processor().precisions
