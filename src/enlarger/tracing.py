"""Spans that show where the time of a request went, for an OpenTelemetry collector.

Only this module uses OpenTelemetry, which is an extra. Until ``start`` is called, it is not imported, and all other
functions here do nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from enlarger.errors import ConfigError, RequestError
from enlarger.installation import install_command

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

Fact = str | int | float

_TRAVELLING = ("traceparent", "tracestate")
"""Headers that pass a trace from one server to the next: W3C Trace Context."""

_STOP_S = 1.0
"""Seconds that the exporter gets at the end to send the remaining spans."""

_provider: TracerProvider | None = None


class Headers(Protocol):
    """The headers of a request, in any framework's class."""

    def get(self, name: str, default: str, /) -> str: ...  # noqa: D102


def start(service: str, *, variable: str) -> None:
    """Start to send spans to a collector, as the standard ``OTEL_`` variables configure it.

    Args:
        service: name of this process in traces, unless ``OTEL_SERVICE_NAME`` sets another one.
        variable: the setting that turned tracing on.

    Raises:
        ConfigError: the extra is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise ConfigError(
            f"{variable}: to send traces takes an extra: {install_command('otel')}"
        ) from error
    resource = Resource.create({"service.name": service}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    # A lost batch is worth one line of the log; each attempt to send it is not.
    logging.getLogger("opentelemetry.exporter").setLevel(logging.ERROR)
    use(provider)


def use(provider: TracerProvider | None) -> None:
    """Create spans with ``provider`` from now on, or none with None."""
    global _provider
    _provider = provider


def stop() -> None:
    """Send the remaining spans, if the collector accepts them soon."""
    if _provider is not None:
        # This runs on a separate thread, because OpenTelemetry would keep trying for half a minute.
        flush = threading.Thread(target=_provider.shutdown, daemon=True)
        flush.start()
        flush.join(_STOP_S)
    use(None)


@contextmanager
def span(name: str, *, caller: Headers | None = None, **attributes: Fact) -> Iterator[None]:
    """Record a span with the duration and the outcome of the block.

    Args:
        name: name of the step, from a small fixed set.
        caller: headers of the request that the block answers, whose ``traceparent`` becomes the parent. None makes
            the current span the parent.
        attributes: attributes of the span, without the prefix of their names.
    """
    if _provider is None:
        yield
        return
    from opentelemetry.context import Context
    from opentelemetry.trace import SpanKind, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    above = None
    if caller is not None:
        carrier = {header: caller.get(header, "") for header in _TRAVELLING}
        above = TraceContextTextMapPropagator().extract(carrier, context=Context())
    with _provider.get_tracer("enlarger").start_as_current_span(
        name,
        context=above,
        kind=SpanKind.INTERNAL if caller is None else SpanKind.SERVER,
        attributes=_named(attributes),
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield
        except BaseException as error:
            current.set_attribute("error.type", getattr(error, "code", type(error).__name__))
            if not isinstance(error, RequestError):  # a RequestError is the client's mistake
                current.set_status(StatusCode.ERROR)
            raise


def note(**attributes: Fact) -> None:
    """Add attributes to the current span."""
    if _provider is not None:
        from opentelemetry.trace import get_current_span

        get_current_span().set_attributes(_named(attributes))


def record(name: str, took_s: float) -> None:
    """Record a step that ended now and took this long, inside the current span."""
    if _provider is not None:
        now_ns = time.time_ns()
        step = _provider.get_tracer("enlarger").start_span(
            name, start_time=now_ns - round(took_s * 1e9)
        )
        step.end(now_ns)


def headers() -> dict[str, str]:
    """Return the headers that pass the current span to another server: ``traceparent``, or nothing."""
    carrier: dict[str, str] = {}
    if _provider is not None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        TraceContextTextMapPropagator().inject(carrier)
    return carrier


def _named(attributes: Mapping[str, Fact]) -> dict[str, Fact]:
    return {f"enlarger.{name}": value for name, value in attributes.items()}
