"""What the members of a pool can do together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import reduce
from statistics import fmean

from enlarger.engine.device import CPU, Device, smallest_class
from enlarger.engine.tile import EngineFacts
from enlarger.pool.member import Member
from enlarger.pool.policy import in_rotation


def facts_of_all(members: Sequence[Member]) -> EngineFacts:
    """Return what the ready members can do together, those on the first device of them.

    While no member is ready, the speed is that of the members that may return: requests are admitted by it to wait
    for them.
    """
    devices = devices_of(members)
    ready = [
        (member, member.facts)
        for member in in_rotation(members)
        if member.facts is not None and member.facts.device.id == devices[0].id
    ]
    models = {
        (model.network, model.scale): model
        for _, facts in reversed(ready)
        for model in facts.models
    }
    returning = [member for member in members if member.may_return]
    counted = [member for member, _ in ready] or returning
    # A member that has computed nothing yet is taken to be as fast as the others.
    speeds = _speeds(counted) or _speeds(returning)
    return EngineFacts(
        engine="pool",
        ready=bool(ready),
        models=tuple(models.values()),
        capacity=sum(facts.capacity for _, facts in ready),
        in_flight=sum(member.in_flight for member in members),
        mflop_per_s=fmean(speeds) if speeds else None,
        parallel=sum(member.parallel for member in counted),
        devices=devices,
    )


def devices_of(members: Sequence[Member]) -> tuple[Device, ...]:
    """Return the devices of the ready members, each once and in the order of the members; then those of the others.

    All GPUs have the class of the smallest one, so that each of them can take the tiles of any picture.
    """
    found = [
        member.facts.device
        for member in (*in_rotation(members), *members)
        if member.facts is not None
    ]
    if classes := [device.tile_class for device in found if not device.is_cpu]:
        smallest = reduce(smallest_class, classes)
        found = [
            device if device.is_cpu else replace(device, tile_class=smallest) for device in found
        ]
    return tuple(dict.fromkeys(found)) or (CPU,)


def _speeds(members: Iterable[Member]) -> list[float]:
    """Return the known speeds: one for each tile that a member computes at the same time."""
    return [
        member.mflop_per_s
        for member in members
        for _ in range(member.parallel)
        if member.mflop_per_s is not None
    ]
