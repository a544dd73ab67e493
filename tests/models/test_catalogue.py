"""The catalogue: the wheel's models and their arithmetic, rows of ``MODEL_DIR``, and choosing."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.networks import random_layers, write_compact, write_nearest, write_random_rrdb
from support.places import REPOSITORY

from enlarger.errors import UnknownModel, WeightsError
from enlarger.geometry.tiles import BLEND_PX, TileBox, plan
from enlarger.models import Catalogue, Model, not_installed_text
from enlarger.models.builtin import BUILTIN_FOLDER, builtin_wheels
from enlarger.models.golden import GOLDEN_FOLDER
from enlarger.models.own import own_models
from enlarger.models.readers.ncnn import NcnnFiles
from enlarger.picture.values import Content

ANIME = "realesrgan-x4plus-anime"
X4PLUS = "realesrgan-x4plus"
VIDEO = "realesr-animevideov3"
WHEEL = [X4PLUS, ANIME, VIDEO]


K = 3 * 3
"""Weights of a 3x3 kernel."""


def rrdb_mflop_per_px(blocks: int) -> float:
    """RRDBNet of 64 features and growth 32 (Real-ESRGAN paper, and ESRGAN's figure 4), per LR pixel.

    Each block has three dense blocks; each of these has five convolutions, which see all features
    before them. Two of the last four run at twice the size along an edge and at four times.
    """
    dense = K * sum((64 + 32 * number) * 32 for number in range(4)) + K * (64 + 4 * 32) * 64
    low = K * 3 * 64 + blocks * 3 * dense + K * 64 * 64
    doubled = K * 64 * 64
    fourfold = K * 64 * 64 + K * 64 * 64 + K * 64 * 3
    return 2 * (low + 2**2 * doubled + 4**2 * fourfold) / 1e6


def compact_mflop_per_px(body: int, features: int = 64) -> float:
    """SRVGGNetCompact: all at the size of the input; the last makes 4 * 4 pixels of 3 channels."""
    weights = K * (3 * features + body * features * features + features * 4 * 4 * 3)
    return 2 * weights / 1e6


def rrdb_reach_px(blocks: int) -> int:
    """Followed from one result pixel back to the pixels of the input that it sees."""
    farthest = 0
    for pixel in range(4):  # of the four that one LR pixel becomes along an edge
        first, last = pixel - 3, pixel + 3  # three convolutions at four times the size
        first, last = (
            first // 2 - 1,
            last // 2 + 1,
        )  # nearest from half of it, one convolution there
        first, last = first // 2, last // 2
        farthest = max(farthest, -first, last)
    return farthest + 1 + blocks * 3 * 5 + 1  # the trunk's end, the dense blocks, the first


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """The catalogue of an empty ``MODEL_DIR``."""
    return Catalogue.installed(tmp_path_factory.mktemp("empty"))


def rewrite(row: Path, old: str, new: str) -> None:
    """Change a row's text, which must hold ``old`` once."""
    text = row.read_text()
    assert text.count(old) == 1
    row.write_text(text.replace(old, new))


def refusal(folder: Path) -> str:
    """What is said of a ``MODEL_DIR`` that cannot be used."""
    with pytest.raises(WeightsError) as refused:
        Catalogue.installed(folder)
    return str(refused.value)


# The wheel's models


def test_models_of_the_wheel_that_is_always_there_come_first(wheel: Catalogue) -> None:
    """Without a ``MODEL_DIR`` of one's own, or with one that is not there."""
    assert [model.id for model in wheel][: len(WHEEL)] == WHEEL
    assert list(Catalogue.installed(Path("no/such/folder"))) == list(wheel)


@pytest.mark.parametrize("model_id", WHEEL)
def test_wheel_model_states_what_it_is(wheel: Catalogue, model_id: str) -> None:
    """Native scale 4, Real-ESRGAN's own licence, and where it comes from."""
    model = wheel.choose(model_id, scale=4)
    assert model.scale == 4
    assert model.licence == "BSD-3-Clause"
    assert "xinntao/Real-ESRGAN" in model.source
    assert model.architecture == ("compact" if model_id == VIDEO else "rrdb")


@pytest.mark.parametrize("model_id", WHEEL)
def test_wheel_models_row_works_in_a_folder_of_ones_own(tmp_path: Path, model_id: str) -> None:
    """The rows of ``builtin.toml`` have the form of a row of ``MODEL_DIR``, and pass all of its checks."""
    builtin, *_ = builtin_wheels()
    (row,) = (row for row in builtin.models if row.id == model_id)
    wheel_model = Model.of(row, weights_folder=builtin.find(), folder=BUILTIN_FOLDER)
    named = [*wheel_model.files.paths, wheel_model.golden, wheel_model.ranges]
    for path in filter(None, named):
        shutil.copy(path, tmp_path / path.name)
    lines = [
        f"{name} = {json.dumps(Path(value).name if name in {'golden', 'ranges'} else value)}"
        for name, value in row.model_dump(exclude_defaults=True, exclude={"seams"}).items()
    ]
    seams = row.model_dump(exclude_none=True)["seams"]
    table = ", ".join(f"{name} = {value}" for name, value in seams.items())
    (tmp_path / "row.toml").write_text("\n".join([*lines, f"seams = {{ {table} }}"]))
    models, faults = own_models(tmp_path, hashed=True)
    assert faults == []
    (own,) = models
    assert (own.sha256, own.scale, own.halo_px) == (
        wheel_model.sha256,
        wheel_model.scale,
        wheel_model.halo_px,
    )
    assert own.seams == wheel_model.seams
    assert own.read_ranges() if row.ranges else own.ranges is None


@pytest.mark.parametrize(
    "seams", ["7", "{ worst_db = 45.1 }", "{ p999_difference = 'a', max_difference = 2 }"]
)
def test_seams_of_a_row_are_a_table_of_figures(tmp_path: Path, seams: str) -> None:
    """Those of 99.9 % of the samples and of the worst one are needed."""
    row = write_nearest(tmp_path, "own")
    row.write_text(f"{row.read_text()}seams = {seams}\n")
    assert refusal(tmp_path).startswith("own.toml: seams: ")


@pytest.mark.parametrize("model_id", WHEEL)
def test_wheel_model_has_a_golden_picture(wheel: Catalogue, model_id: str) -> None:
    """Beside the package's own input picture."""
    assert wheel.choose(model_id, scale=4).golden == GOLDEN_FOLDER / f"{model_id}.png"
    assert (GOLDEN_FOLDER / f"{model_id}.png").is_file()
    assert (GOLDEN_FOLDER / "input.png").is_file()


@pytest.mark.parametrize("model_id", WHEEL)
def test_wheel_models_weights_are_those_of_the_row(wheel: Catalogue, model_id: str) -> None:
    """The file hashes to what the row says, by verification and by itself."""
    model = wheel.choose(model_id, scale=4)
    model.verify()
    assert hashlib.sha256(model.files.paths[-1].read_bytes()).hexdigest() == model.sha256


@pytest.mark.parametrize(
    ("model_id", "mflop"),
    [
        (X4PLUS, rrdb_mflop_per_px(23)),
        (ANIME, rrdb_mflop_per_px(6)),
        (VIDEO, compact_mflop_per_px(16)),
    ],
)
def test_computing_is_that_of_the_architecture(
    wheel: Catalogue, model_id: str, mflop: float
) -> None:
    """A multiply-add is two operations; biases and activations are left out."""
    assert wheel.choose(model_id, scale=4).mflop_per_px == pytest.approx(mflop, rel=1e-9)


def test_computing_compares_as_the_titles_say(wheel: Catalogue) -> None:
    """The drawing model takes a third of x4plus, the video model a thirtieth of it."""
    cost = {model.id: model.mflop_per_px for model in wheel}
    assert cost[X4PLUS] / cost[ANIME] == pytest.approx(3, rel=0.15)
    assert cost[X4PLUS] / cost[VIDEO] == pytest.approx(30, rel=0.15)


@pytest.mark.parametrize(
    ("model_id", "reach_px"), [(X4PLUS, rrdb_reach_px(23)), (ANIME, rrdb_reach_px(6)), (VIDEO, 18)]
)
def test_reach_is_that_of_the_architecture(wheel: Catalogue, model_id: str, reach_px: int) -> None:
    """One pixel for each 3x3 convolution on the way, of the size that it has there."""
    assert wheel.choose(model_id, scale=4).reach_px == reach_px


@pytest.mark.parametrize(
    ("model_id", "halo_px", "is_exact"),
    [(X4PLUS, 28, False), (ANIME, 28, False), (VIDEO, 18, True)],
)
def test_halo_is_exact_where_it_covers_the_reach(
    wheel: Catalogue, model_id: str, halo_px: int, is_exact: bool
) -> None:
    """RRDB networks see farther than is worth reading; compact ones do not."""
    model = wheel.choose(model_id, scale=4)
    assert (model.halo_px, model.halo_is_exact) == (halo_px, is_exact)
    assert is_exact == (model.halo_px >= model.reach_px)


def last_results() -> dict[tuple[str, str], dict[str, Any]]:
    """The last lines of results.jsonl about all photographs together, by benchmark and model."""
    lines = map(json.loads, (REPOSITORY / "benchmarks" / "results.jsonl").read_text().splitlines())
    return {
        (line["question"], line["model"]): line
        for line in lines
        if line["question"] in {"halos", "seams"} and "photographs" in line
    }


@pytest.mark.parametrize("model_id", WHEEL)
def test_seams_are_as_they_were_measured(wheel: Catalogue, model_id: str) -> None:
    """What is published of a model was measured with the halo that it has, on twenty photographs at least."""
    model = wheel.choose(model_id, scale=4)
    benchmark = "seams" if model.halo_is_exact else "halos"
    line = last_results()[benchmark, model_id]
    assert len(line["photographs"]) >= 20
    (figures,) = (one for one in line["borders"] if one["halo_px"] == model.halo_px)
    assert model.seams is not None
    assert dataclasses.asdict(model.seams).items() <= figures.items()


@pytest.mark.parametrize(("model_id", "worst_db"), [(X4PLUS, 45), (ANIME, 46)])
def test_halo_keeps_textures_at_little_computing(
    wheel: Catalogue, model_id: str, worst_db: float
) -> None:
    """54 dB for the median photograph and 46 dB for the worst (x4plus: 45), at no more than 1.25 times the computing."""
    model = wheel.choose(model_id, scale=4)
    assert model.seams is not None
    assert model.seams.median_db is not None
    assert model.seams.worst_db is not None
    assert model.seams.median_db >= 54
    assert model.seams.worst_db >= worst_db
    boxes = plan(
        1024, 1024, halo_px=model.halo_px, max_tile_px=model.max_tile_px, blend_px=BLEND_PX
    )
    weights = [outline.weights for outline in model.files.graph.outlines if outline.weights]
    tail = 2e-6 * (4 * weights[-4] + 16 * sum(weights[-3:]))
    trunk = 2e-6 * sum(weights[:-4])
    computed = sum(trunk * box.lr_px + tail * tail_px(box) for box in boxes)
    assert len(boxes) == 9
    assert computed <= 1.25 * model.mflop_per_px * 1024**2


def tail_px(box: TileBox) -> int:
    """LR pixels that the tail sees of a tile: blocks of at most 32 px a side of what is kept, and 2 px around each but outside the picture."""
    kept = box.kept_in_tile
    return math.prod(
        length + 2 * 2 * math.ceil(length / 32) - 2 * (first == 0) - 2 * (first + length == read_px)
        for first, length, read_px in (
            (kept.top, kept.height_px, box.rows.read_px),
            (kept.left, kept.width_px, box.columns.read_px),
        )
    )


@pytest.mark.parametrize("model_id", WHEEL)
def test_halo_leaves_most_of_a_tile_to_its_core(wheel: Catalogue, model_id: str) -> None:
    """In the largest square tile, at least half of the pixels are core."""
    model = wheel.choose(model_id, scale=4)
    side = model.max_tile_px**0.5
    assert (side - 2 * model.halo_px) ** 2 >= model.max_tile_px / 2


@pytest.mark.parametrize(("model_id", "layers"), [(X4PLUS, 351), (ANIME, 96), (VIDEO, 35)])
def test_all_layers_of_a_wheel_model_can_be_read(
    wheel: Catalogue, model_id: str, layers: int
) -> None:
    """15 convolutions a block and 6 around them; 18 convolutions with PReLUs between them."""
    assert len(wheel.choose(model_id, scale=4).layers()) == layers


# Models of one's own


def test_row_of_a_folder_is_read_whole(tmp_path: Path) -> None:
    """Every field of the TOML file; paths are beside it. Ranges, which only rrdb has, see ``test_own_models.py``."""
    shutil.copy(GOLDEN_FOLDER / f"{VIDEO}.png", tmp_path / "own.png")
    row = write_compact(
        tmp_path,
        "own",
        random_layers(1, [(3, 8), (8, 8), (8, 48)]),
        golden="own.png",
        licence="MIT",
        title="for maps",
        source="example.com",
    )
    (model,) = (model for model in Catalogue.installed(tmp_path) if model.id == "own")
    assert row == tmp_path / "own.toml"
    assert model == Model(
        id="own",
        title="for maps",
        scale=4,
        architecture="compact",
        files=NcnnFiles(tmp_path / "own.param", tmp_path / "own.bin"),
        sha256=hashlib.sha256((tmp_path / "own.bin").read_bytes()).hexdigest(),
        licence="MIT",
        source="example.com",
        golden=tmp_path / "own.png",
    )
    assert model.reach_px == model.halo_px == 3
    assert model.mflop_per_px == pytest.approx(compact_mflop_per_px(1, features=8))


def test_golden_picture_and_ranges_may_be_left_out(tmp_path: Path) -> None:
    """Nobody may have made them."""
    write_nearest(tmp_path, "own")
    model = Catalogue.installed(tmp_path).choose("own", scale=4)
    assert model.golden is None
    assert model.ranges is None
    with pytest.raises(WeightsError, match="nobody measured"):
        model.read_ranges()


def test_own_models_stand_beside_those_of_the_wheel(model_dir: Path) -> None:
    """Both kinds, each with weights that can be read."""
    catalogue = Catalogue.installed(model_dir)
    assert {model.id for model in catalogue} >= {*WHEEL, "nearest", "tiny-rrdb"}
    assert catalogue.choose("tiny-rrdb", scale=4).reach_px == rrdb_reach_px(1)
    assert catalogue.choose("tiny-rrdb", scale=4).mflop_per_px == pytest.approx(
        rrdb_mflop_per_px(1)
    )
    for name in ("nearest", "tiny-rrdb"):
        catalogue.choose(name, scale=4).verify()


def test_own_row_replaces_a_row_of_the_wheel(tmp_path: Path, wheel: Catalogue) -> None:
    """The row with the same id is replaced. The number of models stays the same."""
    write_random_rrdb(tmp_path, X4PLUS)
    catalogue = Catalogue.installed(tmp_path)
    assert len(catalogue) == len(wheel)
    assert catalogue.choose(X4PLUS, scale=4).files.paths[-1] == tmp_path / f"{X4PLUS}.bin"
    assert catalogue.choose("auto", scale=4).title == "made in a test"


def test_other_files_of_the_folder_are_no_rows(tmp_path: Path, wheel: Catalogue) -> None:
    """Only what ends in .toml is one."""
    for name in ("notes.txt", "old.toml.bak", "weights.bin", "README.md"):
        (tmp_path / name).write_text("id = 5")
    assert len(Catalogue.installed(tmp_path)) == len(wheel)


@pytest.mark.parametrize(
    "field",
    ["id", "title", "scale", "architecture", "param", "bin", "sha256", "licence", "source"],
)
def test_row_without_a_field_names_it(tmp_path: Path, field: str) -> None:
    """File, field, and what is wrong."""
    row = write_nearest(tmp_path, "own")
    lines = row.read_text().splitlines()
    row.write_text("\n".join(line for line in lines if not line.startswith(f"{field} =")))
    assert refusal(tmp_path) == f"own.toml: {field}: is missing (in MODEL_DIR, '{tmp_path}')"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "''"),
        ("id", "'Own'"),
        ("id", "'own model'"),
        ("id", "'../own'"),
        ("id", "'-own'"),
        ("id", f"'{'x' * 65}'"),
        ("id", "'auto'"),
        ("id", "7"),
        ("scale", "2"),
        ("scale", "'4'"),
        ("scale", "4.5"),
        ("architecture", "'swinir'"),
        ("architecture", "'RRDB'"),
        ("sha256", "''"),
        ("sha256", f"'{'A' * 64}'"),
        ("sha256", f"'{'0' * 63}'"),
        ("title", "5"),
        ("golden", "true"),
    ],
)
def test_row_with_a_wrong_value_names_its_field(tmp_path: Path, field: str, value: str) -> None:
    """An id that fits into a header, one of two architectures, scale 4, a hash in hex."""
    row = write_nearest(tmp_path, "own")
    lines = [line for line in row.read_text().splitlines() if not line.startswith(f"{field} =")]
    row.write_text("\n".join([*lines, f"{field} = {value}"]))
    assert refusal(tmp_path).startswith(f"own.toml: {field}: ")


def test_row_with_an_unknown_field_names_it(tmp_path: Path) -> None:
    """A slip of the pen must not be ignored."""
    row = write_nearest(tmp_path, "own")
    rewrite(row, "licence =", "license =")
    row.write_text(row.read_text() + "licence = 'none'\n")
    assert refusal(tmp_path).startswith("own.toml: license: ")


@pytest.mark.parametrize(
    "data", [b"id = ", b"[", b"id = 'own'\nid = 'own'", b"id = '\xff'", b"\x00"]
)
def test_row_that_is_no_toml_is_named(tmp_path: Path, data: bytes) -> None:
    """The file's name is enough to find it."""
    (tmp_path / "own.toml").write_bytes(data)
    assert refusal(tmp_path).startswith("own.toml: is not TOML")


def test_row_that_is_very_long_is_refused_unread(tmp_path: Path) -> None:
    """Its length is known before it takes memory."""
    with (tmp_path / "own.toml").open("wb") as file:
        file.truncate(2**20 + 1)
    assert refusal(tmp_path).startswith("own.toml: 1048577 bytes, at most")


def test_folder_named_like_a_row_is_refused(tmp_path: Path) -> None:
    """It cannot be read."""
    (tmp_path / "own.toml").mkdir()
    assert refusal(tmp_path).startswith("own.toml: cannot be read: it is a folder")


def test_verification_finds_missing_weights(tmp_path: Path) -> None:
    """By the name of the file."""
    write_nearest(tmp_path, "own")
    model = Catalogue.installed(tmp_path).choose("own", scale=4)
    (tmp_path / "own.bin").unlink()
    with pytest.raises(WeightsError, match=r"^own\.bin: cannot be read$"):
        model.verify()


def test_verification_finds_exchanged_weights(tmp_path: Path) -> None:
    """Verifying and reading both compare the hash."""
    write_nearest(tmp_path, "own")
    model = Catalogue.installed(tmp_path).choose("own", scale=4)
    (tmp_path / "own.bin").write_bytes(b"exchanged")
    with pytest.raises(WeightsError, match=r"own\.bin: SHA-256"):
        model.verify()
    with pytest.raises(WeightsError, match=r"own\.bin: SHA-256"):
        model.layers()


# Choosing


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_auto_is_x4plus(wheel: Catalogue, scale: int) -> None:
    """At every scale, also where a model of that scale is installed: installing one changes nobody's bytes."""
    native = dataclasses.replace(wheel.choose(X4PLUS, scale=4), id="realesrgan-x2plus", scale=2)
    for catalogue in (wheel, Catalogue([native, *wheel])):
        assert catalogue.choose("auto", scale=scale).id == X4PLUS


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, X4PLUS), ("photo", X4PLUS), ("drawing", ANIME), ("screen", ANIME), ("text", ANIME)],
)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_detect_suits_what_the_picture_shows(
    wheel: Catalogue, content: Content | None, expected: str, scale: int
) -> None:
    """While nobody has looked, a photo is assumed. These are the models that everybody has."""
    usual = Catalogue(wheel.choose(model_id, scale=4) for model_id in (X4PLUS, ANIME, VIDEO))
    assert usual.choose("detect", scale=scale, content=content).id == expected


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_detect_prefers_a_native_model_that_is_at_least_as_good(
    wheel: Catalogue, scale: int
) -> None:
    """For drawings, a native model of the extra ``models`` is chosen. Photos keep the usual model."""
    native = wheel.choose("detect", scale=scale, content="drawing")
    assert native.id == f"realcugan-se-{scale}x-conservative"
    assert native.scale == scale
    assert wheel.choose("detect", scale=scale, content="photo").id == X4PLUS


def test_detect_takes_the_usual_model_where_a_better_one_is_missing(wheel: Catalogue) -> None:
    """A catalogue of x4plus alone has it for drawings, too."""
    catalogue = Catalogue([wheel.choose(X4PLUS, scale=4)])
    assert catalogue.choose("detect", scale=4, content="drawing").id == X4PLUS


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("model_id", WHEEL)
def test_named_model_is_taken_for_any_scale(wheel: Catalogue, model_id: str, scale: int) -> None:
    """Resampling does the rest."""
    assert wheel.choose(model_id, scale=scale).id == model_id


@pytest.mark.parametrize("model_id", ["", "AUTO", "realesrgan", "RealESRGAN-x4plus", "../x"])
def test_unknown_model_is_refused_with_those_there_are(wheel: Catalogue, model_id: str) -> None:
    """The text helps to mend the request: it has all names where they are few."""
    few = Catalogue(list(wheel)[:3])
    with pytest.raises(UnknownModel) as refused:
        few.choose(model_id, scale=4)
    assert str(refused.value) == (
        f"'{model_id}' is not installed; there are {', '.join(sorted(model.id for model in few))}, auto and detect"
    )


def test_unknown_model_is_refused_with_the_nearest_of_many(wheel: Catalogue) -> None:
    """Those whose names are most like the one that was asked for, and where all are listed."""
    names = sorted(model.id for model in wheel) + [f"other-{number}" for number in range(9)]
    text = not_installed_text("realesrgan-4xplus", names)
    assert text.startswith(
        f"'realesrgan-4xplus' is not installed; the nearest of {len(names)} names are realesrgan-x4plus, "
    )
    assert text.count(", ") == 4
    assert text.endswith("(`enlarger models` and GET /v1/models list them all)")


def test_long_name_is_not_repeated_whole(wheel: Catalogue) -> None:
    """An answer is no place for 10 kB of a stranger's text."""
    with pytest.raises(UnknownModel) as refused:
        wheel.choose("x" * 10_000, scale=4)
    assert len(str(refused.value)) < 300 + sum(len(model.id) + 2 for model in wheel)


def test_auto_without_its_model_is_refused(wheel: Catalogue) -> None:
    """Never another kind of model in silence."""
    catalogue = Catalogue([wheel.choose(VIDEO, scale=4)])
    with pytest.raises(UnknownModel, match="no model"):
        catalogue.choose("auto", scale=4)
