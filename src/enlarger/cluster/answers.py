"""What a replica returns for a tile: the upscaled tile, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass

from enlarger.engine.tile import TileResult
from enlarger.errors import EngineFailed, EnlargerError, by_code


@dataclass(frozen=True, slots=True)
class TileFault:
    """An error on its way to the gateway. Ray would wrap an exception, and lose our classes with it."""

    code: str
    text: str
    retry_after_s: float | None = None

    @classmethod
    def of(cls, error: EnlargerError) -> TileFault:
        """Return an error as a value."""
        return cls(error.code, str(error), error.retry_after_s)

    def error(self) -> EnlargerError:
        """Return the exception that the replica raised."""
        kind = by_code(self.code)
        if kind is None:
            return EngineFailed(f"a replica failed with the unknown code {self.code}")
        return kind(self.text, retry_after_s=self.retry_after_s)


TileAnswer = TileResult | TileFault
"""What becomes of one tile of a call."""
