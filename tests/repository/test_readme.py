"""The README: sentences that anybody can read, and times that follow from what was measured."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import median

import pytest
from support.places import REPOSITORY

from enlarger.geometry.tiles import plan
from enlarger.models import Catalogue

README = (REPOSITORY / "README.md").read_text()
RECORDS = [
    json.loads(line)
    for line in (REPOSITORY / "benchmarks" / "results.jsonl").read_text().splitlines()
]
SIZES = {"512 x 512": (512, 512), "2 megapixels": (1600, 1250), "24 megapixels": (6000, 4000)}
CORES = (2, 8, 32)
MODELS = {model.id: model for model in Catalogue.installed(Path("models-that-are-not-there"))}


def measured(question: str, model: str) -> dict[str, dict[str, object]]:
    """The newest record on the CPU that the README names, which has AVX2 and neither bf16 nor VNNI."""
    return next(
        record
        for record in reversed(RECORDS)
        if (record["question"], record.get("model")) == (question, model)
        and record["machine"]["processor"] == "AMD EPYC"
        and not record["machine"]["features"]
    )


def px_per_s(model: str) -> float:
    """LR pixels that two cores compute in a second; where nobody measured it, by the operations of x4plus."""
    known = "realesr-animevideov3" if model == "realesr-animevideov3" else "realesrgan-x4plus"
    speed = measured("engines", known)["lr_px_per_s"]["enlarger f32"]
    assert isinstance(speed, int)
    return speed * MODELS[known].mflop_per_px / MODELS[model].mflop_per_px


def handling_s_per_megapixel() -> float:
    """Decoding, colours and encoding of a megapixel of the result."""
    text = (REPOSITORY / "benchmarks" / "RESULTS.md").read_text()
    (seconds,) = re.findall(r"([\d.]+) s of CPU time per megapixel", text)
    return float(seconds)


def calculated_s(model: str, size: tuple[int, int], cores: int) -> float:
    """One tile per core at a time, and then what the gateway does."""
    row = MODELS[model]
    tiles = plan(
        *size,
        halo_px=row.halo_px,
        max_tile_px=row.max_tile_px,
        blend_px=row.blend_px,
    )
    tile_s = max(tile.lr_px for tile in tiles) / (px_per_s(model) / 2)
    rounds = -(-len(tiles) // cores)
    return rounds * tile_s + handling_s_per_megapixel() * 16 * size[0] * size[1] / 1e6


def shown(seconds: float) -> str:
    """With two digits."""
    for unit, length_s in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length_s:
            return f"{float(f'{seconds / length_s:.2g}'):g} {unit}"
    return f"{float(f'{seconds:.2g}'):g} s"


def table() -> dict[tuple[str, str], list[str]]:
    """The cells of the table of times by model and size."""
    found, model = {}, ""
    for line in re.findall(r"^\| (.*) \|$", README, re.MULTILINE):
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 5 and cells[1] in SIZES:
            model = cells[0].strip("`") or model
            found[model, cells[1]] = cells[2:]
    return found


TIMED = ("realesrgan-x4plus", "realesrgan-x4plus-anime", "realesr-animevideov3")
"""The models of the default installation whose times the README has."""


def test_the_table_has_the_models_that_it_names() -> None:
    """And each size."""
    assert set(table()) == {(model, size) for model in TIMED for size in SIZES}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("model", TIMED)
def test_times_follow_from_measurements(model: str, size: str) -> None:
    """A bold one was measured; the others are calculated from speed, tiles and cores."""
    for cell, cores in zip(table()[model, size], CORES, strict=True):
        if cell.startswith("**"):
            assert (size, cores) == ("512 x 512", 2)
            seconds = measured("service", model)["seconds"]["two"]
            assert isinstance(seconds, list)
            assert cell == f"**{median(seconds):.0f} s**"
        else:
            assert cell == shown(calculated_s(model, SIZES[size], cores))


def test_sentences_are_short() -> None:
    """None has more than 25 words, in text, lists and tables."""
    text = re.sub(r"```.*?```|<!--.*?-->", "", README, flags=re.DOTALL)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    parts = re.split(r"\n\n|\n(?=- |\d\. |\|)|(?<=[.:!?])\s|(?<=[.:!?]\*\*)\s|\|", text)
    long = [part for part in parts if len(re.findall(r"[\w`]\S*", part)) > 25]
    assert long == []
