"""Readers of weights: one module for each file format, which opens a network's files as ``WeightFiles``."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from enlarger.models.layers import Graph, Layer


class WeightFiles(Protocol):
    """A network in files of one format."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files that the network is read from. The hash in the catalogue is that of the last one."""

    @property
    def size_bytes(self) -> int | None:
        """Size of the weights in bytes; None if the file is missing."""

    @property
    def graph(self) -> Graph:
        """The layers without their weights.

        Raises:
            WeightsError: the files do not describe a network, or describe one with a layer that is not supported.
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

    def check_size(self) -> None:
        """Compare the size of the weights with that of the layers, without reading them.

        Raises:
            OSError: the file cannot be read.
            WeightsError: the file is too short or too long, or stores weights in a way that is not supported.
        """
