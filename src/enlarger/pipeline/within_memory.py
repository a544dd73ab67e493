"""A picture whose tiles do not fit into the memory of a GPU starts again whole, in smaller tiles."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from enlarger.engine.device import Device
from enlarger.errors import OutOfMemory
from enlarger.picture.values import Note
from enlarger.pipeline.devices import Devices
from enlarger.pipeline.outcome import Enlarged
from enlarger.pipeline.plan import Plan


async def within_memory(
    enlarge: Callable[[Plan], Awaitable[Enlarged]],
    plan: Plan,
    replan: Callable[[Device], Plan],
    devices: Devices,
) -> tuple[Enlarged, Plan]:
    """Enlarge a picture, in the tiles of smaller classes if those of its own do not fit.

    Args:
        enlarge: enlarges the picture by a plan.
        plan: the plan for the device.
        replan: plans the picture for another class.
        devices: remembers the smaller class.

    Returns:
        The picture, with a note if its tiles became smaller, and the plan that it was made by.

    Raises:
        OutOfMemory: there is no smaller class.
    """
    first = plan.device.tile_class
    while True:
        try:
            enlarged = await enlarge(plan)
        except OutOfMemory:
            device = devices.step_down(plan.device)
            if device is None:
                raise
            plan = replan(device)
            continue
        if plan.device.tile_class == first:
            return enlarged, plan
        detail = f"the memory of {plan.device.id} did not suffice for the tiles of {first}; those of {plan.device.tile_class} were used"
        picture = replace(
            enlarged.picture, notes=(*enlarged.picture.notes, Note("smaller_tiles", detail))
        )
        return replace(enlarged, picture=picture), plan
