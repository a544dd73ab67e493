"""The applications of a Ray Serve cluster: how many replicas, with what each, and how they are replaced."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ray import serve
from ray.serve.schema import ServeApplicationSchema, ServeDeploySchema

from enlarger.cluster.replica import ModelReplica, ReplicaSettings
from enlarger.config import ServerSettings, Settings
from enlarger.config.devices import DeviceName
from enlarger.config.observability import LogFormat, LogLevel
from enlarger.engine.factory import CPU_NAME
from enlarger.errors import ConfigError
from enlarger.precision import Precision

PREFIX = "enlarger-"
"""Names of our applications begin like this, so that others may share the cluster."""

DEPLOYMENT = "models"
"""Name of the deployment in each of them."""

_CPU_STREAMS = 4
"""The most tiles that an engine computes at once on a CPU; it has one stream for each thread up to here."""

_GPU_STREAMS = 2
"""While one tile is computed, the samples of another one are on their way."""

GATEWAYS = 8
"""Gateways that may fill a replica at the same time, as in ``ModelServer``. A replica that took only what one gateway
sends would refuse the others, and Ray Serve would send their calls again and again, half a second apart."""


class ApplicationArguments(BaseModel):
    """The ``args`` of an application in a Serve config."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"[a-z0-9-]{1,40}")
    """Name of the application without ``enlarger-``; one for each kind of device."""

    device: DeviceName = "cpu"
    """What computes, as ``ENLARGER_DEVICE`` names it: the same kind of device on all nodes that run replicas."""

    threads: int = Field(default=1, ge=1)
    """Compute threads of a replica."""

    model_dir: str = "models"
    cache_folder: str = Field(default_factory=lambda: str(ServerSettings().cache_folder))
    model_memory_mib: int = Field(
        default=ServerSettings.model_fields["model_memory_mib"].default, ge=1
    )
    """MiB that the networks in the memory of a replica may take."""

    precision: Precision = "auto"
    log_level: LogLevel = "info"
    log_format: LogFormat = "auto"


def calls_at_once(device: str, threads: int) -> int:
    """Return how many calls a gateway sends to a replica: those that it computes, and as many that wait to be next.

    A gateway sends as many tiles to a model server. More would wait at one replica while another one has none: on two
    replicas of one thread, four calls instead of two cost 8 % of the throughput (``benchmarks/throughput.py --ray``).
    """
    is_cpu = device in {"auto", CPU_NAME} or device.endswith(":CPU")
    return 2 * (min(threads, _CPU_STREAMS) if is_cpu else _GPU_STREAMS)


def build(arguments: Mapping[str, Any]) -> serve.Application:
    """Return an application, as ``import_path: enlarger.cluster.deployment:build`` of a Serve config names it.

    Args:
        arguments: the ``args`` of the config; see ``ApplicationArguments``.

    Raises:
        ConfigError: an argument is wrong.
    """
    return _application(arguments, {})


def local_config(settings: Settings) -> ServeDeploySchema:
    """Return the config of a cluster that the gateway starts on this machine: a replica for each model server."""
    pool, seen = settings.pool, settings.observability
    return ServeDeploySchema(
        applications=[
            _application_schema(
                settings.server,
                device=device,
                threads=pool.threads_per_server,
                options={"num_replicas": count},
                log_level=seen.log_level,
                log_format=seen.log_format,
            )
            for device, count in Counter(pool.server_devices).items()
        ]
    )


def growing_config(
    server: ServerSettings, *, device: str, threads: int, least: int, most: int
) -> ServeDeploySchema:
    """Return a config whose replicas grow and shrink with the tiles that are being computed.

    Args:
        server: folders and precision.
        device: what computes.
        threads: compute threads, and CPUs, of each replica.
        least: fewest replicas.
        most: most replicas.
    """
    growing = {
        "min_replicas": least,
        "max_replicas": most,
        # Half of the calls that a gateway sends: one that keeps all replicas busy calls for more of them.
        "target_ongoing_requests": calls_at_once(device, threads) / 2,
        "policy": {"policy_function": "enlarger.cluster.autoscaling:replicas_for_tiles"},
        "upscale_delay_s": 10,
        "downscale_delay_s": 300,
    }
    options = {"autoscaling_config": growing}
    return ServeDeploySchema(
        applications=[_application_schema(server, device=device, threads=threads, options=options)]
    )


def _application_schema(
    server: ServerSettings,
    *,
    device: str,
    threads: int,
    options: Mapping[str, Any],
    **arguments: str,
) -> ServeApplicationSchema:
    name = re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")[:40]
    return ServeApplicationSchema(
        name=f"{PREFIX}{name}",
        route_prefix=None,
        import_path="enlarger.cluster.deployment:build",
        args={
            "name": name,
            "device": device,
            "threads": threads,
            "model_dir": str(server.model_dir.resolve()),
            "cache_folder": str(server.cache_folder),
            "model_memory_mib": server.model_memory_mib,
            "precision": server.precision,
            **arguments,
        },
        deployments=[{"name": DEPLOYMENT, **options}],
    )


def as_yaml(config: ServeDeploySchema) -> str:
    """Return a config as ``serve deploy`` and a RayService take it."""
    stated = config.model_dump(mode="json", exclude_unset=True)
    return str(yaml.safe_dump({"proxy_location": "Disabled", **stated}, sort_keys=False))


def read_config(path: Path) -> ServeDeploySchema:
    """Read a Serve config in YAML, which ``serve deploy`` and a RayService take as well.

    Raises:
        ConfigError: the file cannot be read, is no Serve config, or has an application that is not ours.
    """
    try:
        config = ServeDeploySchema.model_validate(yaml.safe_load(path.read_text()))
    except OSError as error:
        raise ConfigError(f"{path}: it cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValidationError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: it is no config of Ray Serve: {error}") from error
    wrong = [one.name for one in config.applications if not one.name.startswith(PREFIX)]
    if wrong or not config.applications:
        raise ConfigError(
            f"{path}: it must have applications whose names begin with '{PREFIX}'"
            + (f", not '{wrong[0]}'" if wrong else "")
        )
    return config


def run(config: ServeDeploySchema) -> None:
    """Deploy the applications of a config, and do not wait for their replicas.

    Raises:
        ConfigError: an argument of an application is wrong.
    """
    serve.start(proxy_location="Disabled")
    serve.run_many(
        [
            serve.RunTarget(
                target=_application(one.args, _options(one)), name=one.name, route_prefix=None
            )
            for one in config.applications
        ],
        wait_for_ingress_deployment_creation=False,
        wait_for_applications_running=False,
    )


def _application(arguments: Mapping[str, Any], options: Mapping[str, Any]) -> serve.Application:
    """See ``build``; ``options`` are those that a config states for the deployment."""
    try:
        given = ApplicationArguments.model_validate(arguments)
    except ValidationError as error:
        fault = error.errors()[0]
        raise ConfigError(
            f"args.{'.'.join(map(str, fault['loc']))} of an application: {fault['msg']}"
        ) from error
    calls = calls_at_once(given.device, given.threads)
    most_calls = options.get("max_ongoing_requests", GATEWAYS * calls)
    settings = ReplicaSettings(
        deployment=given.name,
        calls_at_once=min(calls, most_calls),
        **given.model_dump(exclude={"name"}),
    )
    defaults: dict[str, Any] = {
        "max_ongoing_requests": most_calls,
        # Without a limit, a deployment that is full would make callers wait for ever (ray#64496).
        "max_queued_requests": 64,
        "health_check_period_s": 5,
        "health_check_timeout_s": 30,
        "graceful_shutdown_timeout_s": 60,
        # A rolling update starts the new replica first.
        "max_surge_percent": 100,
        "ray_actor_options": {"num_cpus": given.threads},
    }
    return (
        serve.deployment(ModelReplica)
        .options(name=DEPLOYMENT, **{**defaults, **options})
        .bind(settings)
    )


def _options(application: ServeApplicationSchema) -> dict[str, Any]:
    """Return what a config states for the deployment of an application."""
    return next(
        (
            one.model_dump(exclude_unset=True, exclude={"name"})
            for one in application.deployments
            if one.name == DEPLOYMENT
        ),
        {},
    )


def remove() -> list[str]:
    """Remove our applications, once their replicas have computed what they hold; returns their names."""
    names = sorted(name for name in serve.status().applications if name.startswith(PREFIX))
    for name in names:
        serve.delete(name)
    return names
