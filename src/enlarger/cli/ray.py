"""``enlarger ray``: models on a Ray cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from enlarger import config
from enlarger.cli.console import console, say, write
from enlarger.cluster.environment import prepare
from enlarger.errors import BackendAway, ConfigError
from enlarger.installation import install_command

if TYPE_CHECKING:
    from enlarger.cluster.state import ClusterState

AddressOption = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        help="Head of the cluster, host:port, or auto for the one on this machine. Default: ENLARGER_RAY_ADDRESS.",
    ),
]

ray = typer.Typer(help="Deploy models on a Ray cluster, and show them.", no_args_is_help=True)


@ray.command("deploy")
def ray_deploy(
    config_file: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="Serve config in YAML. Without it, one application that grows with the load.",
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(help="What computes: cpu, vulkan:0 and so on; see `enlarger devices`.")
    ] = "cpu",
    threads: Annotated[
        int, typer.Option(min=1, help="Compute threads, and CPUs, of each replica.")
    ] = 1,
    min_replicas: Annotated[int, typer.Option(min=1, help="Fewest replicas.")] = 1,
    max_replicas: Annotated[int, typer.Option(min=1, help="Most replicas.")] = 8,
    write_config: Annotated[
        Path | None,
        typer.Option(
            "--write", metavar="FILE", help="Write the config to a new file, and deploy nothing."
        ),
    ] = None,
    address: AddressOption = None,
    timeout_s: Annotated[
        float, typer.Option("--timeout", min=0, help="Seconds to wait for the replicas.")
    ] = 600,
) -> None:
    """Deploy models on a cluster, or replace them one by one while they are used."""
    settings = _imported(address)
    from enlarger.cluster import deployment, state
    from enlarger.cluster.connection import connected

    if min_replicas > max_replicas:
        raise ConfigError(f"--min-replicas: it must be at most --max-replicas, {max_replicas}")
    if config_file is not None:
        wanted = deployment.read_config(config_file)
    else:
        wanted = deployment.growing_config(
            settings.server, device=device, threads=threads, least=min_replicas, most=max_replicas
        )
    if write_config is not None:
        try:
            with write_config.open("x") as file:
                file.write(deployment.as_yaml(wanted))
        except OSError as error:
            raise ConfigError(f"--write: {write_config}: {error.strerror}") from error
        say(f"{write_config} is written; `enlarger ray deploy --config {write_config}` deploys it")
        return
    with connected(_address(settings.pool.ray_address)):
        deployment.run(wanted)
        names = [application.name for application in wanted.applications]
        fault = state.wait_until_running(names, timeout_s=timeout_s)
        if fault is not None:
            raise BackendAway(fault)
        state.wait_until_reported(names)
        _print(state.cluster_state())


@ray.command("status")
def ray_status(
    address: AddressOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the replicas, with node, device, queue and speed of each."""
    settings = _imported(address)
    from enlarger.cluster.connection import connected
    from enlarger.cluster.state import cluster_state

    with connected(_address(settings.pool.ray_address)):
        state = cluster_state()
    if as_json:
        write(json.dumps(state.as_json(), indent=2))
    else:
        _print(state)
    if not state.applications:
        say("no models are deployed; `enlarger ray deploy` deploys them")
        raise typer.Exit(1)


@ray.command("down")
def ray_down(address: AddressOption = None) -> None:
    """Remove our applications from the cluster, after the tiles that they are computing."""
    settings = _imported(address)
    from enlarger.cluster.connection import connected
    from enlarger.cluster.deployment import remove

    with connected(_address(settings.pool.ray_address)):
        removed = remove()
    say(f"removed {', '.join(removed)}" if removed else "there was nothing to remove")


def _imported(address: str | None) -> config.Settings:
    """Load the settings, and import Ray.

    Raises:
        ConfigError: Ray is not installed.
    """
    settings = config.load(ray_address=address)
    prepare(_address(settings.pool.ray_address))
    try:
        import ray  # noqa: F401 - whether it is there
    except ModuleNotFoundError as error:
        raise ConfigError(f"ray: the package is not installed: {install_command('ray')}") from error
    return settings


def _address(given: str | None) -> str:
    """Return the address of a cluster that runs: a command must not start one that ends with it."""
    return given or "auto"


def _print(state: ClusterState) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for heading in (
        "application",
        "state",
        "replica",
        "node",
        "device",
        "in flight",
        "done",
        "Mflop/s",
        "MB",
    ):
        table.add_column(heading, no_wrap=True)
    for application in state.applications:
        if not application.replicas:
            table.add_row(*map(Text, (application.name, application.state)))
        for replica in application.replicas:
            facts = replica.facts
            speed = f"{facts.mflop_per_s:.0f}" if facts.mflop_per_s else "-"
            table.add_row(
                *map(
                    Text,
                    (
                        application.name,
                        application.state,
                        replica.replica,
                        replica.node,
                        facts.device.id,
                        f"{facts.in_flight}/{facts.capacity}",
                        str(replica.tiles_done),
                        speed,
                        str(replica.rss_bytes // 1_000_000),
                    ),
                )
            )
    console.print(table)
