"""Measured ranges of an rrdb network's features, on which its int8 arithmetic is based."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt

from enlarger.errors import WeightsError
from enlarger.models.files import read_bounded

RANGES_FOLDER = Path(__file__).parent / "ranges"

_MOST_BYTES = 1 << 22
"""The limit for the file and for each table in it; those of x4plus have 70 KB."""

Table = npt.NDArray[np.float32]
"""Shape (dense blocks, channels): a block's input first, then the results of its first four convolutions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranges:
    """Ranges of one network's features on real pictures, measured by ``scripts/calibrate.py``."""

    sha256: str
    """Hash of the weights that the ranges were measured with."""

    low: Table
    high: Table
    mean: Table

    in_float: tuple[int, ...]
    """Blocks of three dense blocks that stay in floating point, because their rounding would show most."""

    @classmethod
    def read(cls, path: Path, *, sha256: str) -> Ranges:
        """Read the ranges from a file.

        Args:
            path: a ``.npz`` file.
            sha256: hash of the weights that the ranges are for.

        Raises:
            WeightsError: the file is missing or damaged, or belongs to other weights.
        """
        try:
            # numpy refuses pickles, which are programs. A table that is longer than its stated size is cut off.
            file = BytesIO(read_bounded(path, _MOST_BYTES))
            with np.load(file, allow_pickle=False) as tables:
                if any(entry.file_size > _MOST_BYTES for entry in tables.zip.infolist()):
                    raise WeightsError(f"{path.name}: longer than {_MOST_BYTES} bytes")
                found = cls(
                    sha256=str(tables["sha256"]),
                    low=tables["low"].astype(np.float32),
                    high=tables["high"].astype(np.float32),
                    mean=tables["mean"].astype(np.float32),
                    in_float=tuple(int(block) for block in tables["in_float"]),
                )
        except (OSError, KeyError, ValueError, EOFError, MemoryError, zipfile.BadZipFile) as error:
            raise WeightsError(f"{path.name}: cannot be read as a table of ranges") from error
        if found.sha256 != sha256:
            raise WeightsError(
                f"{path.name}: measured with the weights {found.sha256[:12]}, not with {sha256[:12]}"
            )
        shapes = {table.shape for table in (found.low, found.high, found.mean)}
        if len(shapes) != 1 or not (found.low < found.high).all():
            raise WeightsError(f"{path.name}: its tables do not fit one another")
        return found

    def check_shape(self, path: Path, shape: tuple[int, int]) -> None:
        """Compare the shape of the tables with the one that a network needs.

        Args:
            path: the file, for the error message.
            shape: number of dense blocks of the network, and of channels of each.

        Raises:
            WeightsError: the tables belong to another network.
        """
        if self.low.shape != shape:
            found = " x ".join(map(str, self.low.shape))
            raise WeightsError(
                f"{path.name}: its tables have {found} numbers; this network has {shape[0]} x {shape[1]}; "
                "measure it with scripts/calibrate.py"
            )

    def write(self, path: Path) -> None:
        """Write the file, in half precision, which is much finer than eight bits."""
        path.parent.mkdir(parents=True, exist_ok=True)
        half = {name: getattr(self, name).astype(np.float16) for name in ("low", "high", "mean")}
        np.savez_compressed(
            path, sha256=np.array(self.sha256), in_float=np.array(self.in_float, np.int16), **half
        )
