"""Settings of traces: when they are sent."""

from __future__ import annotations

import pytest

from enlarger.config import (
    load,
)
from enlarger.errors import ConfigError

pytestmark = pytest.mark.usefixtures("no_settings")


@pytest.mark.parametrize(
    ("endpoint", "exporter", "variable"),
    [
        (None, None, None),
        ("", "", None),
        ("http://collector:4318", None, "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ("https://collector", "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        (None, "otlp", "OTEL_TRACES_EXPORTER"),
        ("", "otlp", "OTEL_TRACES_EXPORTER"),
        ("http://collector:4318", "none", None),
        ("collector:4317", "none", None),
        (None, "none", None),
    ],
)
def test_traces_are_sent_where_a_collector_is_configured(
    monkeypatch: pytest.MonkeyPatch,
    endpoint: str | None,
    exporter: str | None,
    variable: str | None,
) -> None:
    """By OpenTelemetry's own variables, of which an empty one is not set."""
    for name, value in (
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_TRACES_EXPORTER", exporter),
    ):
        if value is not None:
            monkeypatch.setenv(name, value)
    assert load().observability.traces_asked_by == variable


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_TRACES_EXPORTER", "console"),
        ("OTEL_TRACES_EXPORTER", "otlp,console"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
    ],
)
def test_traces_that_cannot_be_sent_are_a_fault_of_who_sends_any(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    """These variables are for all programs of a machine: those of us that send no traces do not look."""
    monkeypatch.setenv(variable, value)
    settings = load()
    with pytest.raises(ConfigError, match=rf"^{variable}: .*, not '{value}'$"):
        assert settings.observability.traces_asked_by
