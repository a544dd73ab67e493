"""One model of the catalogue."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from enlarger.errors import Fault, InvalidOption, WeightsError
from enlarger.models.architectures import KINDS, Kind
from enlarger.models.layers import Graph, Layer
from enlarger.models.ranges import Ranges
from enlarger.models.reach import Frame
from enlarger.models.readers import WeightFiles
from enlarger.models.readers.ncnn import NcnnFiles
from enlarger.models.rows import Row, Seams


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model: what it is, where its files are, and what follows for tiles."""

    id: str
    """Name in requests."""

    title: str
    """One line on what it is for."""

    scale: int
    """HR pixels per LR pixel along an edge."""

    architecture: str
    """Name of its kind of network, a key of ``KINDS``."""

    files: WeightFiles
    """Files that it is read from."""

    sha256: str
    """Hash of the weights, which each load checks."""

    licence: str
    source: str

    golden: Path | None = None
    """The enlargement of ``golden/input.png`` that the network must make; None if there is none to compare with."""

    ranges: Path | None = None
    """Table of ranges, made by ``scripts/calibrate.py``, that int8 needs; None if the model has no int8."""

    seams: Seams | None = None
    """Measured differences between tiles and the whole; None if nobody measured."""

    noise_level: int | None = None
    """How much noise its network removes, from 0 to 3; None if there is no such choice, or if it leaves noise alone."""

    levels: Mapping[int, Model] = field(default_factory=dict, hash=False)
    """The networks of other noise levels. Each is a model of its own for engines, and none for requests."""

    @classmethod
    def of(cls, row: Row, *, weights_folder: Path, folder: Path) -> Model:
        """Return the model of a row.

        Args:
            row: the row.
            weights_folder: folder that the row's weights are relative to.
            folder: folder that its golden picture and its ranges are relative to.
        """
        return cls(
            id=row.id,
            title=row.title,
            scale=row.scale,
            architecture=row.architecture,
            files=row.weights(weights_folder),
            sha256=row.sha256,
            licence=row.licence,
            source=row.source,
            golden=folder / row.golden if row.golden else None,
            ranges=folder / row.ranges if row.ranges else None,
            seams=row.seams,
            noise_level=row.noise_level,
            levels={
                level: cls.of(other, weights_folder=weights_folder, folder=folder)
                for level, other in row.levels()
            },
        )

    @property
    def networks(self) -> tuple[Model, ...]:
        """The model at each noise level: what engines must have for it."""
        return self, *self.levels.values()

    @property
    def network_key(self) -> tuple[str, str, str]:
        """What names its network, for engines: the id, and the hashes of the weights and of the graph.

        Raises:
            WeightsError: the file that describes the graph is missing.
        """
        return self.id, self.sha256, self.graph_sha256

    @property
    def graph_sha256(self) -> str:
        """Hash of the graph that the weights are for; see ``WeightFiles``."""
        return self.files.graph_sha256

    def computes_as(self, other: Model) -> bool:
        """Return whether two models have the same networks, so that they differ in words alone."""
        return self == other or [one.network_key for one in self.networks] == [
            one.network_key for one in other.networks
        ]

    @property
    def denoise(self) -> tuple[int, ...]:
        """The noise levels that may be requested; empty if there are none."""
        own = () if self.noise_level is None else (self.noise_level,)
        return tuple(sorted({*own, *self.levels}))

    def at(self, noise_level: int | None) -> Model:
        """Return the network of a noise level; None stands for the network that the model is without one.

        Raises:
            KeyError: the level is not one of ``denoise``.
        """
        if noise_level is None or noise_level == self.noise_level:
            return self
        return self.levels[noise_level]

    def network(self, denoise: int | None) -> Model:
        """Return the network that a request with this option needs.

        Raises:
            InvalidOption: the model does not have that noise level.
        """
        if denoise is None or denoise in self.denoise:
            return self.at(denoise)
        if self.denoise:
            levels = ", ".join(map(str, self.denoise))
            detail = f"{self.id} has the noise levels {levels}, not {denoise}"
        else:
            detail = f"{self.id} has no noise levels; leave denoise out, or name a model that has some (`/v1/models` lists them)"
        raise InvalidOption.of(Fault("denoise", "unsupported", detail))

    def check_factor(self, factor: float, *, option: str = "scale") -> None:
        """Check that a model that keeps the size is not asked to enlarge.

        Args:
            factor: how many times as wide or as high as its picture the result is to be.
            option: the option that says so, for the error.

        Raises:
            InvalidOption: it is.
        """
        if self.scale == 1 and factor > 1:
            detail = (
                f"{self.id} cleans a picture at its own size and cannot upscale it; leave the size out or set scale=1, "
                "and send the result to another model to upscale it"
            )
            raise InvalidOption.of(Fault(option, "unsupported", detail))

    @property
    def is_residual(self) -> bool:
        """Whether its files describe what is to be added to the picture."""
        return isinstance(self.files, NcnnFiles) and self.files.is_residual

    @property
    def black_and_white(self) -> tuple[float, float]:
        """The numbers that its network takes, and makes, for black and for white."""
        files = self.files
        return (files.black, files.white) if isinstance(files, NcnnFiles) else (0.0, 1.0)

    @property
    def is_non_commercial(self) -> bool:
        """Whether its licence forbids commercial use."""
        return re.search(r"\bNC\b|non[- ]?commercial", self.licence, re.IGNORECASE) is not None

    @property
    def marked_title(self) -> str:
        """The title, with a mark if the licence forbids commercial use."""
        return f"{self.title} (non-commercial)" if self.is_non_commercial else self.title

    @property
    def kind(self) -> Kind:
        """The facts that hold for all networks of its architecture."""
        return KINDS[self.architecture]

    @property
    def graph(self) -> Graph:
        """What its files state of the network."""
        return self.kind.describe(self.files)

    @property
    def frame(self) -> Frame:
        """What lies between a tile and what the network takes and makes."""
        return self.kind.frame(self.graph)

    @property
    def size_bytes(self) -> int | None:
        """Size of the weights in bytes; None if the file is missing."""
        return self.files.size_bytes

    @property
    def halo_px(self) -> int:
        """LR pixels of context that a tile reads around its core."""
        is_local = self.kind.is_local(self.graph)
        # Where tiles differ in what they compute of all of their pixels, they fade into one another, and each is right
        # as far as it fades.
        wanted = self.reach_px if is_local else self.reach_px + self.kind.blend_px
        return min(wanted, self.kind.most_halo_px)

    @property
    def halo_is_exact(self) -> bool:
        """True if cutting a picture into tiles changes no sample."""
        return self.kind.is_local(self.graph) and self.halo_px == self.reach_px

    @property
    def blend_px(self) -> int:
        """LR pixels to which a tile fades into its neighbours beyond its core."""
        return 0 if self.halo_is_exact else self.kind.blend_px

    @property
    def multiple_px(self) -> int:
        """Tiles begin at multiples of this."""
        return self.frame.multiple_px

    @property
    def max_tile_px(self) -> int:
        """LR pixels of the largest tile."""
        return self.kind.max_tile_px(self.graph)

    @property
    def tile_bytes_per_px(self) -> int:
        """Bytes of memory for each LR pixel of a tile in f32."""
        return self.kind.tile_bytes_per_px(self.graph)

    @property
    def reach_px(self) -> int:
        """Distance that a result pixel sees, in LR pixels."""
        return self.kind.reach_px(self.graph)

    @property
    def mflop_per_px(self) -> float:
        """Computing for one LR pixel, in million floating-point operations (a multiply-add is two)."""
        return self.kind.mflop_per_px(self.graph)

    def verify(self) -> None:
        """Compare the hash of the weights.

        Raises:
            WeightsError: the file is missing, or has another hash.
        """
        self.files.verify(self.sha256)

    def layers(self) -> list[Layer]:
        """Read the layers with their weights.

        Raises:
            WeightsError: a file is missing or damaged, or has another hash.
        """
        return self.files.layers(self.sha256)

    def read_ranges(self) -> Ranges:
        """Read the ranges of the network's features.

        Raises:
            WeightsError: the model has none, or they are damaged, or belong to other weights.
        """
        if self.ranges is None:
            raise WeightsError(f"{self.id}: nobody measured the ranges that int8 needs")
        return Ranges.read(self.ranges, sha256=self.sha256)
