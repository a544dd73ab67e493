"""Finds out before anything is started whether the model servers of this machine can have their ports."""

from __future__ import annotations

from enlarger.asgi.server import bind
from enlarger.config import PoolSettings
from enlarger.errors import ConfigError

HOST = "127.0.0.1"
"""The address of model servers that the gateway starts."""


def check_server_port(port: int, settings: PoolSettings, *, gateway_port: int) -> None:
    """Listen on a port of a model server for a moment, while the gateway listens on its own.

    Args:
        port: one of ``settings.server_ports``.
        settings: how many ports the model servers use.
        gateway_port: the port that the gateway listens on.

    Raises:
        ConfigError: nothing else can listen there. If the gateway has the port, the text names both options.
    """
    ports = settings.server_ports
    try:
        bind(
            HOST,
            port,
            variable="BASE_PORT",
            way_out=f"{len(ports)} in a row are used: set another one, or 0, so that each model server takes a free one",
        ).close()
    except ConfigError as error:
        if port != gateway_port:
            raise
        raise ConfigError(
            f"--port: {port} is one of the ports {ports[0]} to {ports[-1]} of the model servers (BASE_PORT, NUM_SERVERS); "
            "name another port, or set BASE_PORT to another one, or to 0, so that each model server takes a free one"
        ) from error
