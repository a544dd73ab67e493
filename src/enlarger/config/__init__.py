"""All settings, in one typed place. Only this package reads the environment.

Names and defaults are those of the HTTP contract; docs/reference/settings.md lists them for users.
A group of settings is a module: ``server``, ``limits``, ``pool``, ``jobs``, ``fetch``, ``access`` and
``observability``. ``settings`` joins them, and ``loading`` fills them.
"""

from __future__ import annotations

from enlarger.config.access import AccessSettings, ApiKey, Network, RateLimit, SigningKey
from enlarger.config.addresses import is_loopback
from enlarger.config.environment import (
    bucket_endpoint,
    bucket_region,
    cores,
    inherited,
    may_be_coloured,
)
from enlarger.config.fetch import FETCH_OFF, FetchSettings, allowed_sources
from enlarger.config.jobs import WHSEC, JobSettings
from enlarger.config.limits import LimitSettings
from enlarger.config.loading import load
from enlarger.config.names import (
    API_KEY_VARIABLE,
    CLIENT_VARIABLES,
    SERVER_URL_VARIABLE,
    check_names,
)
from enlarger.config.observability import LogFormat, LogLevel, ObservabilitySettings
from enlarger.config.origins import ShownSetting, shown_settings
from enlarger.config.pool import MAX_AUTO_SERVERS, PoolSettings
from enlarger.config.server import ServerSettings
from enlarger.config.settings import GROUPS, Settings

__all__ = [
    "API_KEY_VARIABLE",
    "CLIENT_VARIABLES",
    "FETCH_OFF",
    "GROUPS",
    "MAX_AUTO_SERVERS",
    "SERVER_URL_VARIABLE",
    "WHSEC",
    "AccessSettings",
    "ApiKey",
    "FetchSettings",
    "JobSettings",
    "LimitSettings",
    "LogFormat",
    "LogLevel",
    "Network",
    "ObservabilitySettings",
    "PoolSettings",
    "RateLimit",
    "ServerSettings",
    "Settings",
    "ShownSetting",
    "SigningKey",
    "allowed_sources",
    "bucket_endpoint",
    "bucket_region",
    "check_names",
    "cores",
    "inherited",
    "is_loopback",
    "load",
    "may_be_coloured",
    "shown_settings",
]
