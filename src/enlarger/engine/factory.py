"""The engines of this process by name. The only place that names a runtime: a new one adds a line to ``RUNTIMES``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from enlarger.engine.local import LocalEngine
from enlarger.errors import ConfigError
from enlarger.models import Catalogue


class Maker(Protocol):
    """Makes an engine; see ``make_engine`` for its arguments."""

    def __call__(
        self,
        catalogue: Catalogue,
        *,
        threads: int,
        precision: str,
        cache_folder: Path | None,
        one_picture: bool,
    ) -> LocalEngine:
        """Make an engine."""


def _openvino() -> Maker:
    from enlarger.engine.openvino.runtime import OpenVINOEngine

    return OpenVINOEngine


RUNTIMES: dict[str, Callable[[], Maker]] = {"openvino": _openvino}
"""Makers by the name of their runtime, which is imported when it is used."""


def make_engine(
    catalogue: Catalogue,
    *,
    runtime: str = "openvino",
    threads: int,
    precision: str = "auto",
    cache_folder: Path | None = None,
    one_picture: bool = False,
) -> LocalEngine:
    """Make an engine in this process.

    Args:
        catalogue: models that may be requested.
        runtime: a key of ``RUNTIMES``.
        threads: compute threads.
        precision: precision that ``auto`` stands for; ``auto`` takes the best of the device.
        cache_folder: folder for compiled networks; None keeps none.
        one_picture: whether tiles belong to one picture at a time; see ``LocalEngine``.

    Raises:
        ConfigError: there is no such runtime, or its device does not have ``precision``.
    """
    if runtime not in RUNTIMES:
        raise ConfigError(f"there is no runtime '{runtime}'; there are {', '.join(RUNTIMES)}")
    return RUNTIMES[runtime]()(
        catalogue,
        threads=threads,
        precision=precision,
        cache_folder=cache_folder,
        one_picture=one_picture,
    )
