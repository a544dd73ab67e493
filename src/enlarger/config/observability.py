"""Settings of logs and traces."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from enlarger.config.group import SettingsGroup, lower, shown
from enlarger.errors import ConfigError

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "text", "json"]


class ObservabilitySettings(SettingsGroup):
    """Settings of logs and traces."""

    log_level: LogLevel = Field(default="info", validation_alias="ENLARGER_LOG_LEVEL")
    """The least important lines that are logged."""

    log_format: LogFormat = Field(default="auto", validation_alias="ENLARGER_LOG_FORMAT")
    """``text`` or ``json``. ``auto`` is text if stderr is a terminal, and JSON otherwise."""

    otlp_endpoint: str | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    """URL of an OpenTelemetry collector, OTLP over HTTP, that gets traces of requests."""

    traces_exporter: str | None = Field(default=None, validation_alias="OTEL_TRACES_EXPORTER")
    """``otlp`` sends traces, to http://localhost:4318 if no collector is named; ``none`` sends none."""

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _lower_case(cls, value: object) -> object:
        return lower(value)

    @property
    def traces_asked_by(self) -> str | None:
        """The variable that asks for traces, or None if no variable does.

        Raises:
            ConfigError: the variable asks for something else than OTLP over HTTP. A process that sends no traces
                need not know.
        """
        # To OpenTelemetry, an empty variable is one that is not set.
        exporter, endpoint = self.traces_exporter or None, self.otlp_endpoint or None
        if exporter not in {None, "otlp", "none"}:
            raise ConfigError(
                f"OTEL_TRACES_EXPORTER: it must be otlp or none, not {shown(exporter)}"
            )
        if exporter == "none" or (exporter is None and endpoint is None):
            return None
        if endpoint is not None and not endpoint.startswith(("http://", "https://")):
            raise ConfigError(
                "OTEL_EXPORTER_OTLP_ENDPOINT: it must begin with http:// or https://, such as "
                f"http://localhost:4318, not {shown(endpoint)}"
            )
        return "OTEL_EXPORTER_OTLP_ENDPOINT" if endpoint is not None else "OTEL_TRACES_EXPORTER"
