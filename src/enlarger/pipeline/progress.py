"""Who wants to know of a request while it runs, and of what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from enlarger.engine import Engine
from enlarger.geometry.rect import Rect
from enlarger.picture.encoding import Statement
from enlarger.picture.values import Header, Samples

OnTile = Callable[[int, int], None]
"""Called with tiles done and tiles planned after each tile, on the event loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """The colours of a finished tile, for who wants to see a picture as it is made."""

    index: int
    total: int
    """Tiles of the picture."""

    place: Rect
    """Where it lies in the result."""

    pixels: Samples
    """As the network made them, (H, W, 3), uint16: before colours are locked, and of another size than ``place``
    where the result is not of the network's own scale."""

    icc: bytes | None = None
    stated: Statement | None = None
    """What says which colours they are, as of the picture; its profile may be for gray."""


OnPiece = Callable[[Piece], None]
"""Called with each finished tile of a picture's first frame in its last pass, on the event loop."""


Stage = Literal["fetch", "decode", "infer", "encode"]


def _ignore(*_: object) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Who wants to know of a request while it runs. All are called on the event loop."""

    plan: Callable[[Header, int, float], None] = _ignore
    """Told what has to be done: what the file says, its bytes, and the computing in mflop."""

    stage: Callable[[Stage], None] = _ignore
    """Told of each stage as it begins."""

    total: Callable[[int], None] = _ignore
    """Told how many tiles there are, before ``infer`` begins."""

    tile: OnTile = _ignore
    """Told of each finished tile."""

    piece: OnPiece | None = None
    """Given the pixels of each finished tile. Only who computes has them, not who shares what another one makes."""

    through: Callable[[Engine], Engine] = lambda engine: engine
    """Puts something between a request and the engine, such as a memory of finished tiles."""
