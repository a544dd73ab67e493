"""Compiled networks kept between runs, in the user's cache folder.

Our own files rather than OpenVINO's ``CACHE_DIR``: its key changes with generated names, so that it
often misses, and a server killed while it writes leaves half a file for the next one to read.
"""

from __future__ import annotations

import hashlib
import tempfile
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openvino as ov
import structlog

from enlarger.engine.openvino import bfloat16, graphs, int8
from enlarger.models import Model
from enlarger.reasons import reason_of

log = structlog.get_logger()

Blob = npt.NDArray[np.uint8]
"""What the runtime imports."""

_HEAD_BYTES = 64
"""What a file begins with: the CRC-32 of the rest, and zeros, so that tensors stay aligned. A flipped bit in a weight may
change too little for the golden picture to show; a CRC tells of each one, at a few gigabytes per second."""

_FORM = "crc32"
"""Changes with the form of the files."""


class CompiledNetwork:
    """One network, or a half of one, in one precision, as this runtime compiled it for this processor."""

    def __init__(self, folder: Path, model: Model, precision: str, part: str) -> None:
        # Whatever the compiled bytes depend on: runtime, processor, weights, and how we write the graph.
        graph = [Path(graphs.__file__), Path(bfloat16.__file__)]
        if precision == "int8" and model.ranges:
            graph += [Path(int8.__file__), model.ranges]
        graph_sha256 = hashlib.sha256(b"".join(path.read_bytes() for path in graph)).hexdigest()
        processor = ov.Core().get_property("CPU", "FULL_DEVICE_NAME")
        key = hashlib.sha256(
            f"{_FORM}|{ov.__version__}|{processor}|{model.sha256}|{graph_sha256}".encode()
        ).hexdigest()
        self._folder = folder
        self._kind = f"{model.id}-{precision}-{part}"
        self._path = folder / f"{self._kind}-{key[:16]}.blob"

    def read(self) -> Blob | None:
        """The bytes to import, or None: there are none, or they are not those that were written."""
        try:
            # Read, not mapped: a file that somebody cuts meanwhile must not end the process.
            kept = np.fromfile(self._path, np.uint8)
        except OSError:
            return None
        head, blob = kept[:_HEAD_BYTES].tobytes(), kept[_HEAD_BYTES:]
        return blob if head == _head(blob.data) else None

    def write(self, blob: BytesIO | bytes) -> None:
        """Keep the bytes, and forget those of earlier versions. A folder that cannot be written is no fault."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self._folder, prefix=".", delete=False) as aside:
                data = blob if isinstance(blob, bytes) else blob.getbuffer()
                aside.write(_head(data))
                aside.write(data)
            Path(aside.name).replace(self._path)
            for path in self._folder.glob(f"{self._kind}-????????????????.blob"):
                if path != self._path:
                    path.unlink(missing_ok=True)
        except OSError as error:
            log.warning(
                "compiled_network_not_kept", folder=str(self._folder), reason=reason_of(error)
            )


def _head(blob: memoryview | bytes) -> bytes:
    return zlib.crc32(blob).to_bytes(4).ljust(_HEAD_BYTES, b"\0")
