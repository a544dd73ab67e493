"""Settings of the model servers: how many, where, and when one is replaced."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from enlarger.config.addresses import HOST, is_port
from enlarger.config.environment import cores
from enlarger.config.group import SettingsGroup, WrongPart, none_if_auto, split_list

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


Address = Annotated[str, AfterValidator(_address)]
"""``host:port``."""


class PoolSettings(SettingsGroup):
    """Settings of the model servers."""

    num_servers: int | None = Field(default=None, ge=1, validation_alias="NUM_SERVERS")
    """Model servers started here. ``auto``: one per core, at most 5."""

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
    """``host:port`` of model servers that somebody else runs, with commas. If it is set, none are started here."""

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

    @field_validator("servers", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return split_list(value)

    @property
    def server_count(self) -> int:
        """Model servers to start here."""
        return min(cores(), MAX_AUTO_SERVERS) if self.num_servers is None else self.num_servers

    @property
    def threads_per_server(self) -> int:
        """Compute threads of one model server: cores divided by servers, at least one."""
        return max(1, cores() // self.server_count)

    @property
    def token(self) -> str | None:
        """The text of ``tile_token``."""
        return None if self.tile_token is None else self.tile_token.get_secret_value()
