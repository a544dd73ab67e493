"""Tiles within the memory of a device: one that does not fit is computed in halves, where halves are exact."""

from __future__ import annotations

from threading import Event

import structlog

from enlarger.engine.runtime import Network
from enlarger.engine.samples import Output
from enlarger.errors import OutOfMemory
from enlarger.geometry.rect import Pixels, Rect
from enlarger.models import Model

log = structlog.get_logger()


class WithinMemory:
    """Computes tiles, and remembers by model and precision which size did not fit."""

    def __init__(self) -> None:
        self._too_large_px: dict[tuple[str, str], int] = {}

    def enlarge(
        self,
        network: Network,
        model: Model,
        precision: str,
        pixels: Pixels,
        keep: Rect,
        abandoned: Event | None = None,
    ) -> Output:
        """Enlarge a part of a tile; see ``Network``.

        Raises:
            OutOfMemory: the tile does not fit, and the network sees farther than the tile's halo, so that halves would
                make another picture.
            Abandoned: ``abandoned`` was set, and the tile was not computed to its end.
            EngineFailed: the runtime failed.
        """
        lr_px = pixels.shape[0] * pixels.shape[1]
        key = (model.id, precision)
        if lr_px < self._too_large_px.get(key, lr_px + 1):
            try:
                return network.enlarge(pixels, keep, abandoned)
            except OutOfMemory:
                self._too_large_px[key] = lr_px
                log.warning("tile_too_large_for_device", model=model.id, lr_px=lr_px)
        if not model.halo_is_exact:
            raise OutOfMemory(f"the device cannot hold a tile of {lr_px} LR pixels of {model.id}")
        halves, axis = _halves(keep)
        made = []
        for half in halves:
            window = half.expanded(model.halo_px, Rect.whole(pixels.shape[1], pixels.shape[0]))
            part = pixels[window.slices]
            if part.shape[0] * part.shape[1] >= lr_px:
                raise OutOfMemory(f"the device cannot hold the halo of a tile of {model.id}")
            made.append(
                self.enlarge(network, model, precision, part, half.within(window), abandoned)
            )
        return Output.joined(made[0], made[1], axis=axis)


def _halves(keep: Rect) -> tuple[tuple[Rect, Rect], int]:
    """Return the halves of a part, cut across its longer side, and the axis of rows or columns that they follow on."""
    if keep.height_px >= keep.width_px:
        middle = (keep.top + keep.bottom) // 2
        return (
            Rect(keep.left, keep.top, keep.right, middle),
            Rect(keep.left, middle, keep.right, keep.bottom),
        ), 0
    middle = (keep.left + keep.right) // 2
    return (
        Rect(keep.left, keep.top, middle, keep.bottom),
        Rect(middle, keep.top, keep.right, keep.bottom),
    ), 1
