"""``enlarger devices``: the devices of this machine, with what each of them can do."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from enlarger import config
from enlarger.cli.completion import models
from enlarger.cli.console import quiet_logs, write

if TYPE_CHECKING:
    from enlarger.doctor.devices import DeviceReport


def devices(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object in place of a table.")
    ] = False,
    model: Annotated[
        str, typer.Option(help="Id of the model of the test.", autocompletion=models)
    ] = "realesr-animevideov3",
    speed_s: Annotated[
        float,
        typer.Option(
            "--speed",
            min=0,
            max=600,
            help="Seconds of the speed test of each device; 0 leaves it out.",
        ),
    ] = 2,
) -> None:
    """List the devices that can compute, with their memory, precision, golden picture and speed."""
    quiet_logs()
    from enlarger.doctor.devices import examine_devices

    async def gather() -> list[DeviceReport]:
        return [one async for one in examine_devices(config.load(), model, seconds=speed_s)]

    reports = asyncio.run(gather())
    if as_json:
        write(json.dumps({"devices": [asdict(report) for report in reports]}, indent=2))
        return
    for report in reports:
        write(_line(report))
    write("* is what ENLARGER_DEVICE selects.")


def _line(report: DeviceReport) -> str:
    memory, speed = report.memory_mib, report.lr_px_per_s
    driver = f", driver {report.driver}" if report.driver else ""
    facts = [
        f"{report.title} ({report.kind}{driver})" if report.kind != report.title else "",
        "" if memory is None else f"{memory} MiB",
        f"class {report.device_class}",
        report.precision or "",
        f"golden picture: {report.golden}",
        "" if speed is None else f"{speed:,.0f} pixels per second with {report.model}",
    ]
    mark = "*" if report.is_chosen else " "
    return f"{mark} {report.name}: {', '.join(filter(None, facts))}"
