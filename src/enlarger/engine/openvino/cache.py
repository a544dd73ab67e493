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
"""Bytes of a compiled network, which the runtime imports."""

_HEAD_BYTES = 64
"""Length of the head: the CRC-32 of the rest, and zeros, so that tensors stay aligned. A flipped bit in a weight may
change too little for the golden picture to show; a CRC detects each one, at a few gigabytes per second."""

_FORM = "crc32"
"""Name of the file format, which is part of the key."""


class CompiledNetwork:
    """The file of one part of a network, in one precision, as this runtime compiled it for this device.

    Args:
        folder: folder with all compiled networks.
        model: the model.
        precision: its precision.
        part: name of the part.
        device: OpenVINO's name of the device.
    """

    def __init__(
        self, folder: Path, model: Model, precision: str, part: str, *, device: str = "CPU"
    ) -> None:
        # The key has whatever the compiled bytes depend on: runtime, processor, weights, and how we write the graph.
        graph = [*sorted(Path(graphs.__file__).parent.glob("*.py")), Path(bfloat16.__file__)]
        if precision == "int8" and model.ranges:
            graph += [Path(int8.__file__), model.ranges]
        graph_sha256 = hashlib.sha256(b"".join(path.read_bytes() for path in graph)).hexdigest()
        processor = ov.Core().get_property(device, "FULL_DEVICE_NAME")
        layers = graphs.layers_of(model)
        key = hashlib.sha256(
            f"{_FORM}|{ov.__version__}|{device}|{processor}|{model.sha256}|{graph_sha256}{layers}".encode()
        ).hexdigest()
        self._folder = folder
        of_device = "" if device == "CPU" else f"-{device.lower()}"
        self._kind = f"{model.id}-{precision}-{part}{of_device}"
        self._path = folder / f"{self._kind}-{key[:16]}.blob"

    def read(self) -> Blob | None:
        """Return the bytes to import; None if there are none, or if they are not the ones that were written."""
        return _read(self._path)

    def write(self, blob: BytesIO | bytes) -> None:
        """Write the bytes, and delete those of earlier versions. A folder that cannot be written is only logged."""
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


def damaged(folder: Path) -> list[Path]:
    """Return the files of compiled networks in a folder that cannot be read, or are not as they were written."""
    return [path for path in sorted(folder.glob("*.blob")) if _read(path) is None]


def _read(path: Path) -> Blob | None:
    try:
        # Read, not mapped: a file that is cut meanwhile must not end the process.
        kept = np.fromfile(path, np.uint8)
    except OSError:
        return None
    head, blob = kept[:_HEAD_BYTES].tobytes(), kept[_HEAD_BYTES:]
    return blob if head == _head(blob.data) else None


def _head(blob: memoryview | bytes) -> bytes:
    return zlib.crc32(blob).to_bytes(4).ljust(_HEAD_BYTES, b"\0")
