"""A pool of several devices: pictures are of one kind throughout."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.fakes import NEAREST, NearestEngine, need_of
from support.pool_servers import Server, request

from enlarger.engine.device import CPU, Device
from enlarger.engine.tile import EngineFacts
from enlarger.errors import NoEngineReady
from enlarger.pool.facts import devices_of
from enlarger.pool.health import State
from enlarger.pool.pool import Pool

CARD = Device(name="Card", driver="1", tile_class="gpu-8g")
OTHER = Device(name="Other card", driver="2", tile_class="gpu-4g")


class OnDevice(NearestEngine):
    """An engine on a device."""

    def __init__(self, device: Device, *precisions: str) -> None:
        super().__init__([replace(NEAREST, precisions=precisions or ("f16", "f32"))])
        self.device = device

    def facts(self) -> EngineFacts:
        """Return the facts with this device."""
        return replace(super().facts(), devices=(self.device,))


def servers(*devices: Device, state: State = State.READY) -> list[Server]:
    """A server for each device."""
    return [Server(f"s{number}", OnDevice(one), state=state) for number, one in enumerate(devices)]


async def test_devices_are_those_of_the_members_in_their_order() -> None:
    """Each device is listed once. All GPUs have the class of the smallest one."""
    smaller = replace(CARD, tile_class="gpu-2g")
    assert devices_of(servers(CPU, CARD, CPU)) == (CPU, CARD)
    found = devices_of(servers(CARD, OTHER, smaller, CPU))
    assert found == (smaller, replace(OTHER, tile_class="gpu-2g"), CPU)


async def test_ready_devices_come_first() -> None:
    """A picture does not wait for a card while others compute."""
    gone, (ready,) = Server("gone", OnDevice(CARD)), servers(OTHER)
    gone.leave(State.DRAINING)
    assert [device.name for device in devices_of([gone, ready])] == ["Other card", "Card"]


async def test_unknown_devices_are_taken_for_cpus() -> None:
    """This holds until the first server answers."""
    assert devices_of(servers(CARD, state=State.STARTING)) == (CPU,)


async def test_models_and_speed_are_those_of_the_first_device() -> None:
    """A CPU may have other precisions."""
    members = [Server("gpu", OnDevice(CARD)), Server("cpu", OnDevice(CPU, "bf16", "f32"))]
    async with Pool(members) as pool:
        facts = pool.facts()
        assert [model.precisions for model in facts.models] == [("f16", "f32")]
        assert facts.device == CARD
        assert facts.parallel == 1
        on_cpu = await pool.ready_for(replace(need_of(), device="cpu"))
        assert on_cpu.precisions == ("bf16", "f32")
        with pytest.raises(NoEngineReady):
            await pool.ready_for(replace(need_of(), device=OTHER.id))


async def test_tiles_of_a_picture_go_to_its_device_only() -> None:
    """The other servers get none, even if they are idle."""
    members = servers(CARD, CPU, CARD, OTHER)
    async with Pool(members) as pool:
        for index in range(8):
            await pool.enlarge(replace(request(index=index), device=CARD.id))
        computed = [len(member.engine.requests) for member in members]  # type: ignore[attr-defined]
    assert sum(computed) == 8
    assert computed[1] == computed[3] == 0
    assert computed[0]
    assert computed[2]
