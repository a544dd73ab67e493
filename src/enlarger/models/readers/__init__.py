"""Readers of weights: one module for each file format, which opens a network's files as ``WeightFiles``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from enlarger.models.layers import Floats, Graph, Layer
from enlarger.models.network import Network
from enlarger.models.reach import Geometry


class WeightFiles(Protocol):
    """A network in files of one format."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files that the network is read from. The hash in the catalogue is that of the last one."""

    @property
    def size_bytes(self) -> int | None:
        """Size of the weights in bytes; None if the file is missing."""

    @property
    def graph_sha256(self) -> str:
        """Hash of everything but the weights that decides what is computed: the same weights may be for several graphs.

        Raises:
            WeightsError: a file is missing.
        """

    @property
    def graph(self) -> Graph:
        """The layers without their weights.

        Raises:
            WeightsError: the files do not describe a network, or describe one with a layer that is not supported.
        """

    @property
    def network(self) -> Network:
        """The network as a graph of any operators.

        Raises:
            WeightsError: the files do not describe a network, or describe one with an operator that is not supported.
        """

    @property
    def geometry(self) -> Geometry:
        """The facts that follow from the network as a graph of any operators.

        Raises:
            WeightsError: the files do not describe a network, or describe one with an operator that is not supported.
        """

    def verify(self, sha256: str) -> None:
        """Compare the hash of the weights.

        Raises:
            WeightsError: the file is missing, or has another hash.
        """

    def layers(self, sha256: str) -> list[Layer]:
        """Read the layers with their weights.

        Args:
            sha256: hash that the weights must have.

        Raises:
            WeightsError: a file is missing or damaged, or has another hash.
        """

    def arrays(self, sha256: str) -> Mapping[str, tuple[Floats, ...]]:
        """Read the weights of a network of any operators, by the key of their node.

        Args:
            sha256: hash that the weights must have.

        Raises:
            WeightsError: a file is missing or damaged, or has another hash.
        """

    def check_arrays(self) -> None:
        """Compare the size of the weights with that of a network of any operators; see ``check_size``."""

    def check_size(self) -> None:
        """Compare the size of the weights with that of the layers, without reading them.

        Raises:
            OSError: the file cannot be read.
            WeightsError: the file is too short or too long, or stores weights in a way that is not supported.
        """
