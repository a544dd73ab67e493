"""Listeners: callbacks for the progress of a request while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from enlarger.engine import Engine
from enlarger.geometry.rect import Rect
from enlarger.picture.encoding import Statement
from enlarger.picture.values import Header, Samples
from enlarger.request import BytesSource

OnTile = Callable[[int, int], None]
"""Called with tiles done and tiles planned after each tile, on the event loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """The colours of a finished tile, to show a picture while it is made."""

    index: int
    total: int
    """Tiles of the picture."""

    place: Rect
    """Where the tile lies in the result."""

    pixels: Samples
    """The network's output, (H, W, 3), uint16, before the colour lock. Its size differs from ``place`` if the result
    does not have the network's own scale."""

    icc: bytes | None = None
    stated: Statement | None = None
    """What states the colours of the pixels, as in the picture. The profile may be one for gray."""


OnPiece = Callable[[Piece], None]
"""Called with each finished tile of a picture's first frame in its last pass, on the event loop."""


Stage = Literal["fetch", "decode", "infer", "encode"]


def _ignore(*_: object) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Callbacks for the progress of one request. All are called on the event loop."""

    read: Callable[[BytesSource], None] = _ignore
    """Called with the file of the picture when it is here."""

    plan: Callable[[Header, int, float], None] = _ignore
    """Called with the plan: the file's header, its bytes, and the computing in mflop."""

    stage: Callable[[Stage], None] = _ignore
    """Called with each stage as it begins."""

    total: Callable[[int], None] = _ignore
    """Called with the number of tiles, before ``infer`` begins."""

    tile: OnTile = _ignore
    """Called after each finished tile."""

    piece: OnPiece | None = None
    """Called with the pixels of each finished tile, if the result is computed for this request and not shared."""

    through: Callable[[Engine], Engine] = lambda engine: engine
    """Wraps the engine for this request, for instance with a store of finished tiles."""

    def begin_infer(self, total: int) -> None:
        """Report the number of tiles, and then the stage: a job that computes has a number of tiles."""
        self.total(total)
        self.stage("infer")
