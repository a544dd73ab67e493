"""Settings of the model servers: how many, where, and when one is replaced."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from enlarger.config.addresses import HOST, is_port
from enlarger.config.devices import DeviceName, check_devices
from enlarger.config.environment import cores
from enlarger.config.group import SettingsGroup, WrongPart, lower, none_if_auto, split_list

MAX_AUTO_SERVERS = 5
"""``NUM_SERVERS=auto`` starts one model server per core, and no more than this."""

_SERVERS = (
    "each must be host:port with a port from 1 to 65535, such as 10.0.0.7:5002, without http://"
)

_TOKEN = re.compile(r"[!-~][ -~]{14,}[!-~]")
"""The token travels in a header."""


def _address(text: str) -> str:
    """Return ``host:port`` as it is."""
    host, _, port = text.rpartition(":")
    if not (HOST.fullmatch(host) and is_port(port)):
        raise WrongPart(_SERVERS, text)
    return text


def _ray_address(text: str) -> str:
    """Return ``host:port`` or ``auto`` as it is."""
    host, _, port = text.rpartition(":")
    if text != "auto" and not (HOST.fullmatch(host) and is_port(port)):
        raise WrongPart(
            "it must be host:port of the cluster's head, such as 10.0.0.7:6379, or auto for the cluster on this machine",
            text,
        )
    return text


Address = Annotated[str, AfterValidator(_address)]
"""``host:port``."""


class PoolSettings(SettingsGroup):
    """Settings of the model servers."""

    num_servers: int | None = Field(default=None, ge=1, validation_alias="NUM_SERVERS")
    """Model servers started here for the CPU. ``auto``: one per core, at most 5."""

    devices: Annotated[tuple[DeviceName, ...], AfterValidator(check_devices), NoDecode] = Field(
        default=("auto",), validation_alias="ENLARGER_DEVICE"
    )
    """What computes: ``auto``, ``cpu``, ``vulkan:0`` and so on, with commas. A GPU has one model server. ``auto``: the
    GPUs, if the extra ``vulkan`` is installed and there are some, else the CPU."""

    base_port: int = Field(default=5002, ge=0, le=65535, validation_alias="BASE_PORT")
    """Port of the first local model server; the others follow. 0: each takes a free one."""

    server_memory_mib: int = Field(default=4096, ge=1, validation_alias="ENLARGER_SERVER_MEMORY")
    """MiB that a model server started here may hold; one with more is replaced, without losing a tile."""

    server_tiles: int | None = Field(default=None, ge=1, validation_alias="ENLARGER_SERVER_TILES")
    """Tiles after which a model server started here is replaced. ``auto``: never."""

    tile_token: SecretStr | None = Field(default=None, validation_alias="ENLARGER_TILE_TOKEN")
    """Secret that gateway and model servers share, so that nobody else can use these. Required off the loopback
    address."""

    servers: Annotated[tuple[Address, ...], NoDecode] = Field(
        default=(), validation_alias="ENLARGER_SERVERS"
    )
    """``host:port`` of model servers that run elsewhere, with commas. If it is set, none are started here."""

    engine: Annotated[Literal["servers", "ray"], BeforeValidator(lower)] = Field(
        default="servers", validation_alias="ENLARGER_ENGINE"
    )
    """What computes tiles: model servers, or replicas on a Ray cluster (``enlarger[ray]``)."""

    ray_address: Annotated[str, AfterValidator(_ray_address)] | None = Field(
        default=None, validation_alias="ENLARGER_RAY_ADDRESS"
    )
    """``host:port`` of the head of a Ray cluster, or ``auto`` for the one on this machine. If it is unset, the gateway
    starts one for itself."""

    @property
    def shared_engine(self) -> tuple[str, ...]:
        """Addresses that are equal for gateways on the same engine; empty if no other gateway uses this one's.

        Gateways that attach to the Ray cluster of their machine (``auto``) are not known to use the same one.
        """
        if self.engine != "ray":
            return self.servers
        return (self.ray_address,) if self.ray_address and self.ray_address != "auto" else ()

    @field_validator("num_servers", "server_tiles", mode="before")
    @classmethod
    def _auto(cls, value: object) -> object:
        return none_if_auto(value)

    @field_validator("tile_token")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _TOKEN.fullmatch(value.get_secret_value()):
            raise ValueError(
                "it must have at least 16 characters, all of them visible ASCII; `openssl rand -hex 32` makes one"
            )
        return value

    @field_validator("servers", "devices", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return split_list(value)

    @property
    def server_count(self) -> int:
        """Model servers to start here."""
        return len(self.server_devices)

    @property
    def server_devices(self) -> tuple[str, ...]:
        """The device of each model server to start here."""
        for_cpu = min(cores(), MAX_AUTO_SERVERS) if self.num_servers is None else self.num_servers
        return tuple(
            device
            for device in self.devices
            for _ in range(for_cpu if device in {"auto", "cpu"} else 1)
        )

    @property
    def server_ports(self) -> range:
        """Ports of the model servers to start here; empty if none are started, or if each takes a free port."""
        if self.servers or self.engine == "ray" or not self.base_port:
            return range(0)
        return range(self.base_port, self.base_port + self.server_count)

    @property
    def threads_per_server(self) -> int:
        """Compute threads of one model server: cores divided by servers, at least one."""
        return max(1, cores() // self.server_count)

    def on(self, devices: tuple[str, ...]) -> PoolSettings:
        """Return the same settings for these devices, which were chosen for ``auto``."""
        return self.model_copy(update={"devices": devices})

    @property
    def token(self) -> str | None:
        """The text of ``tile_token``."""
        return None if self.tile_token is None else self.tile_token.get_secret_value()
