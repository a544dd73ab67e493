"""The devices of this machine: what each of them is, and how it computes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from enlarger import config
from enlarger.doctor import speed
from enlarger.errors import EnlargerError
from enlarger.reasons import reason_of

if TYPE_CHECKING:
    from enlarger.engine.factory import Listed
    from enlarger.models import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceReport:
    """What was found out about a device."""

    name: str
    """Its name in ``ENLARGER_DEVICE``."""

    title: str
    """The driver's name of it."""

    driver: str
    kind: str
    """``cpu``, ``discrete``, ``integrated``, ``virtual``, ``software``, ``gpu`` or ``npu``."""

    device_class: str
    memory_mib: int | None
    """Memory that may be used; None if the device does not tell."""

    is_chosen: bool
    """Whether ``ENLARGER_DEVICE`` names it, or ``auto`` selects it."""

    model: str
    """The model of the test."""

    precision: str | None = None
    """The precision that ``auto`` stands for; None if the device cannot compute."""

    golden: str
    """``ok``, or what is wrong with the golden picture."""

    lr_px_per_s: float | None = None
    """Input pixels per second; None if the device cannot compute, or if nobody measured."""


async def examine_devices(
    settings: config.Settings, model_id: str, *, seconds: float
) -> AsyncIterator[DeviceReport]:
    """Yield a report on each device.

    Args:
        settings: folders, precision and which device is chosen.
        model_id: the model of the test.
        seconds: seconds of the speed test of each device; 0 leaves it out.

    Raises:
        UnknownModel: there is no such model.
    """
    from enlarger.engine.factory import choose, listed_devices
    from enlarger.models import Catalogue

    model = Catalogue.installed(settings.server.model_dir).choose(model_id, scale=4)
    chosen = choose(settings.pool.devices).devices
    for device in listed_devices():
        yield await _report(
            device, model, settings, seconds=seconds, is_chosen=_is_in(device, chosen)
        )


def _is_in(device: Listed, chosen: tuple[str, ...]) -> bool:
    """Return whether one of the names of a setting means the device."""
    for name in chosen:
        runtime, _, which = name.partition(":")
        if device.name == name or (
            device.name.startswith(f"{runtime}:")
            and which
            and which.casefold() in device.device.name.casefold()
        ):
            return True
    return False


async def _report(
    device: Listed, model: Model, settings: config.Settings, *, seconds: float, is_chosen: bool
) -> DeviceReport:
    from enlarger.engine.factory import make_engine
    from enlarger.models import Catalogue

    precision, golden, lr_px_per_s = None, "ok", None
    try:
        engine = make_engine(
            Catalogue([model]),
            device=device.name,
            threads=config.cores(),
            cache_folder=settings.server.cache_folder,
        )
        async with engine:
            await engine.load(model.id)
            precision = engine.facts().models[0].precisions[0]
            if seconds:
                lr_px_per_s = (await speed.gather(model, engine, seconds=seconds)).lr_px_per_s
    except EnlargerError as error:
        golden = reason_of(error)
    return DeviceReport(
        name=device.name,
        title=device.device.name,
        driver=device.device.driver,
        kind=device.kind,
        device_class=device.device.tile_class,
        memory_mib=device.memory_mib,
        is_chosen=is_chosen,
        model=model.id,
        precision=precision,
        golden=golden,
        lr_px_per_s=lr_px_per_s,
    )
