"""What the features of an rrdb network are like: the measurement that its int8 arithmetic rests on."""

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
"""Of the file and of each table in it; those of x4plus have 70 KB."""

Table = npt.NDArray[np.float32]
"""Shape (dense blocks, channels): a block's input first, then what its first four convolutions make."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranges:
    """Ranges of one network's features on real pictures; ``scripts/calibrate.py`` measures them."""

    sha256: str
    """Of the weights that they were measured with."""

    low: Table
    high: Table
    mean: Table

    in_float: tuple[int, ...]
    """Blocks of three dense blocks that stay in floating point: those whose rounding would show most."""

    @classmethod
    def read(cls, path: Path, *, sha256: str) -> Ranges:
        """The table in a file.

        Args:
            path: a ``.npz`` file.
            sha256: of the weights it is wanted for.

        Raises:
            WeightsError: the file is missing or damaged, or belongs to other weights.
        """
        try:
            # Pickles are programs: numpy refuses those, and a table longer than the file's word for it ends too early.
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
            path: the file, for the error.
            shape: dense blocks of the network, and channels of each.

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
        """Write the file, in half precision, which is finer than eight bits by far."""
        path.parent.mkdir(parents=True, exist_ok=True)
        half = {name: getattr(self, name).astype(np.float16) for name in ("low", "high", "mean")}
        np.savez_compressed(
            path, sha256=np.array(self.sha256), in_float=np.array(self.in_float, np.int16), **half
        )
