"""Whether half precision is right on a device: on some it makes black, green or shifted pictures."""

from __future__ import annotations

import structlog

from enlarger.engine.networks import Networks
from enlarger.errors import WrongOutput
from enlarger.models import Model
from enlarger.reasons import reason_of

log = structlog.get_logger()

HALF, WHOLE = "f16", "f32"

_MOST_FAILURES = 1
"""A device whose half precision fails more often computes in f32 from then on."""


class Half:
    """Decides where f32 takes the place of f16, and counts how often f16 failed.

    Args:
        device: the device, for the log.
        networks: its networks.
    """

    def __init__(self, device: str, networks: Networks) -> None:
        self._device = device
        self._networks = networks
        self._failures = 0

    @property
    def is_trusted(self) -> bool:
        """Whether tiles are still computed in f16."""
        return self._failures <= _MOST_FAILURES

    def offers(self, model: Model, precision: str) -> bool:
        """Return whether new pictures may be computed in a precision."""
        is_off = precision == HALF and not self.is_trusted
        return not is_off and self._networks.fault(model, precision) is None

    def stands_for(self, model: Model, precision: str) -> str:
        """Return the precision in which tiles of pictures that have begun are computed."""
        return WHOLE if precision == HALF and not self.offers(model, HALF) else precision

    def settle(self, model: Model, precision: str, streams: int) -> str:
        """Return the same, after loading the network in f16 and comparing it with its golden picture.

        Raises:
            WeightsError: the files cannot be used.
            EngineFailed: the runtime failed.
        """
        precision = self.stands_for(model, precision)
        if precision != HALF:
            return precision
        try:
            self._networks.load(model, HALF, streams)
        except WrongOutput as error:
            self._networks.disable(model, (HALF,), str(error))
            log.warning("half_precision_wrong", model=model.id, reason=reason_of(error))
            self._fail(str(error))
            return WHOLE
        return HALF

    def judge(self, asked: str, ran: str, reason: str | None) -> None:
        """Take note of a tile.

        Args:
            asked: the precision that the tile was computed in first.
            ran: the precision whose result stood.
            reason: why it was computed again, if it was.
        """
        if asked == HALF and ran != HALF:
            self._fail(f"a tile had to be computed again: {reason}")

    def _fail(self, reason: str) -> None:
        """Count a failure, and say so once when it is one too many."""
        self._failures += 1
        if self._failures == _MOST_FAILURES + 1:
            log.warning("half_precision_given_up", device=self._device, reason=reason)
