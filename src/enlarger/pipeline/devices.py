"""Which device a picture is computed on, and for which class of devices it is cut into tiles."""

from __future__ import annotations

from dataclasses import dataclass, replace

import structlog

from enlarger.engine.device import Device, largest_tile_px, smaller_class, smallest_class
from enlarger.engine.tile import EngineFacts
from enlarger.errors import InvalidOption
from enlarger.models import Model

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ForClass:
    """A model with the tiles of a class of devices, for the planning of tiles."""

    model: Model
    tile_class: str

    @property
    def scale(self) -> int:
        """HR pixels per LR pixel along an edge."""
        return self.model.scale

    @property
    def halo_px(self) -> int:
        """LR pixels of context that a tile reads around its core."""
        return self.model.halo_px

    @property
    def blend_px(self) -> int:
        """LR pixels to which a tile fades into its neighbours beyond its core."""
        return self.model.blend_px

    @property
    def multiple_px(self) -> int:
        """Tiles begin at multiples of this."""
        return self.model.multiple_px

    @property
    def max_tile_px(self) -> int:
        """LR pixels of the largest tile."""
        return largest_tile_px(self.model, self.tile_class)


class Devices:
    """Chooses devices, and remembers where the memory was too small for the tiles of a class."""

    def __init__(self) -> None:
        self._classes: dict[str, str] = {}

    def choose(self, facts: EngineFacts, wish: str | None) -> Device:
        """Return the device for a picture: the first one, or the first that a request names.

        Args:
            facts: what computes here.
            wish: name of a device, or a part of it; None for the usual one.

        Raises:
            InvalidOption: there is no such device.
        """
        device = facts.devices[0]
        # While no model server is ready, nobody knows the devices, and the picture waits for one.
        if wish is not None and facts.ready:
            named = [one for one in facts.devices if wish.casefold() in one.id.casefold()]
            if not named:
                known = ", ".join(one.id for one in facts.devices)
                raise InvalidOption(
                    f"Invalid device: there is no '{wish[:40]}' on this server; there is {known}",
                    reason="unsupported",
                )
            device = named[0]
        smaller = self._classes.get(device.id)
        if device.is_cpu or smaller is None:
            return device
        return replace(device, tile_class=smallest_class(device.tile_class, smaller))

    def step_down(self, device: Device) -> Device | None:
        """Return the device with the next smaller class, for this picture and all later ones; None if there is none."""
        smaller = smaller_class(device.tile_class)
        if smaller is None:
            return None
        self._classes[device.id] = smaller
        log.warning("smaller_class", device=device.id, before=device.tile_class, after=smaller)
        return replace(device, tile_class=smaller)
