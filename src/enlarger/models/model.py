"""One model of the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from enlarger.errors import WeightsError
from enlarger.models.architectures import KINDS, Kind
from enlarger.models.layers import Graph, Layer
from enlarger.models.ranges import Ranges
from enlarger.models.readers import WeightFiles
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
        )

    @property
    def kind(self) -> Kind:
        """The facts that hold for all networks of its architecture."""
        return KINDS[self.architecture]

    @property
    def graph(self) -> Graph:
        """What its files state of the network."""
        return self.kind.describe(self.files)

    @property
    def margin_px(self) -> int:
        """LR pixels of context that the network takes at each side without making pixels of them."""
        return self.kind.margin_px(self.graph)

    @property
    def size_bytes(self) -> int | None:
        """Size of the weights in bytes; None if the file is missing."""
        return self.files.size_bytes

    @property
    def halo_px(self) -> int:
        """LR pixels of context that a tile reads around its core."""
        return min(self.reach_px, self.kind.most_halo_px)

    @property
    def halo_is_exact(self) -> bool:
        """True if cutting a picture into tiles changes no sample."""
        return self.halo_px == self.reach_px

    @property
    def max_tile_px(self) -> int:
        """LR pixels of the largest tile."""
        return self.kind.max_tile_px

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
