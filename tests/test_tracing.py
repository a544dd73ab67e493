"""Traces: what a span says, how a trace goes from server to server, and that a collector gets it."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, SpanKind, StatusCode
from running import RunningService
from support.fakes import NEAREST, FailsFirst, NearestEngine, StuckEngine, need_of
from support.model_servers import running as running_server
from support.pictures import encoded, noise

from enlarger import tracing
from enlarger.engine.tile import TileRequest
from enlarger.errors import EngineLost, InvalidOption
from enlarger.installation import install_command
from enlarger.pool.member import Member
from enlarger.pool.pool import Pool
from enlarger.pool.remote import RemoteEngine

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER_ID = "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE_ID}-{CALLER_ID}-01"
"""The example of the W3C's Trace Context."""

OPEN_TELEMETRY_IS_NOT_HERE = "import sys; sys.modules['opentelemetry'] = None; "
"""At the start of a program: as if the extra were not installed."""


def named(spans: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    """Those of that name that have ended."""
    return [span for span in spans.get_finished_spans() if span.name == name]


def one(spans: InMemorySpanExporter, name: str) -> ReadableSpan:
    """The only one of that name."""
    (span,) = named(spans, name)
    return span


def parent_of(span: ReadableSpan) -> str | None:
    """Id of the span above, as it travels."""
    return None if span.parent is None else f"{span.parent.span_id:016x}"


def context_of(span: ReadableSpan) -> SpanContext:
    """Its ids."""
    context = span.get_span_context()
    assert context is not None
    return context


def id_of(span: ReadableSpan) -> str:
    """Its own, as it travels."""
    return f"{context_of(span).span_id:016x}"


def trace_of(span: ReadableSpan) -> str:
    """Id of its trace, as it travels."""
    return f"{context_of(span).trace_id:032x}"


# Spans


def test_without_a_start_nothing_is_traced() -> None:
    """Blocks run, and no header is added."""
    with tracing.span("request", caller={"traceparent": TRACEPARENT}, index=1):
        tracing.note(server="one")
        tracing.record("step", 0.1)
        assert tracing.headers() == {}
    tracing.stop()


def test_without_a_start_nothing_is_imported() -> None:
    """The extra need not be there: also for who uses all of the service."""
    program = (
        f"{OPEN_TELEMETRY_IS_NOT_HERE}"
        "import enlarger.cli, enlarger.api, enlarger.model_server.server, enlarger.gateway, enlarger.pool\n"
        "from enlarger import tracing\n"
        "with tracing.span('request', caller={}): tracing.record('step', 1); tracing.note(a=1)\n"
        "assert tracing.headers() == {}\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry.')]\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_span_has_its_time_and_its_facts(spans: InMemorySpanExporter) -> None:
    """Those known at its start, and those noted later, under a name of our own."""
    before = time.time_ns()
    with tracing.span("tile", index=3):
        tracing.note(server="server-1", attempts=2)
    span = one(spans, "tile")
    assert span.attributes == {
        "enlarger.index": 3,
        "enlarger.server": "server-1",
        "enlarger.attempts": 2,
    }
    assert span.start_time is not None
    assert span.end_time is not None
    assert before <= span.start_time <= span.end_time <= time.time_ns()
    assert (span.kind, span.parent) == (SpanKind.INTERNAL, None)
    assert span.status.status_code is StatusCode.UNSET


def test_spans_inside_a_span_are_its_children(spans: InMemorySpanExporter) -> None:
    """Also one that is recorded when it is over, with the time that it took."""
    with tracing.span("request"):
        with tracing.span("tile"):
            pass
        tracing.record("decode", 0.25)
    request, decode = one(spans, "request"), one(spans, "decode")
    assert parent_of(one(spans, "tile")) == parent_of(decode) == id_of(request)
    assert decode.start_time is not None
    assert decode.end_time is not None
    assert decode.end_time - decode.start_time == 250_000_000


async def test_tasks_belong_to_the_span_they_were_made_in(spans: InMemorySpanExporter) -> None:
    """So tiles at once do not become one another's children."""

    async def tile() -> None:
        with tracing.span("tile"):
            await asyncio.sleep(0)

    with tracing.span("request"):
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(tile())
    parents = [parent_of(span) for span in named(spans, "tile")]
    assert parents == 3 * [id_of(one(spans, "request"))]


def test_callers_trace_is_taken_up(spans: InMemorySpanExporter) -> None:
    """The span belongs to the caller's, whatever is around it here."""
    with (
        tracing.span("other"),
        tracing.span("request", caller={"traceparent": TRACEPARENT, "tracestate": "vendor=1"}),
    ):
        assert tracing.headers()["tracestate"] == "vendor=1"
    span = one(spans, "request")
    assert (trace_of(span), parent_of(span)) == (TRACE_ID, CALLER_ID)
    assert span.kind is SpanKind.SERVER


@pytest.mark.parametrize(
    "given", [None, "", "00", f"00-{'0' * 32}-{CALLER_ID}-01", "x" * 10_000, TRACEPARENT.upper()]
)
def test_caller_without_a_usable_trace_begins_one(
    spans: InMemorySpanExporter, given: str | None
) -> None:
    """A trace of its own, and not one that is under way here."""
    caller = {} if given is None else {"traceparent": given}
    with tracing.span("other"), tracing.span("request", caller=caller):
        pass
    span = one(spans, "request")
    assert span.parent is None
    assert trace_of(span) not in {TRACE_ID, trace_of(one(spans, "other"))}


def test_trace_that_the_caller_does_not_keep_is_not_sent(spans: InMemorySpanExporter) -> None:
    """The last flag: not sampled. It goes on as such."""
    with tracing.span("request", caller={"traceparent": f"{TRACEPARENT[:-1]}0"}):
        header = tracing.headers()["traceparent"]
    assert spans.get_finished_spans() == ()
    assert header.startswith(f"00-{TRACE_ID}-")
    assert header.endswith("-00")


def test_span_travels_in_a_header(spans: InMemorySpanExporter) -> None:
    """As the W3C has it: version, trace, span, and flags, the lowest of which says that it is kept."""
    with tracing.span("tile"):
        (header,) = tracing.headers().items()
    span = one(spans, "tile")
    name, value = header
    *fields, flags = value.split("-")
    assert (name, fields) == ("traceparent", ["00", trace_of(span), id_of(span)])
    assert int(flags, 16) & 1
    assert tracing.headers() == {}


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        (EngineLost("at 10.0.0.7"), "engine_lost", StatusCode.ERROR),
        (InvalidOption("Scale must be 2 or 4"), "invalid_option", StatusCode.UNSET),
        (ZeroDivisionError("a secret"), "ZeroDivisionError", StatusCode.ERROR),
        (asyncio.CancelledError(), "CancelledError", StatusCode.ERROR),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_span_says_how_it_failed(
    spans: InMemorySpanExporter, error: BaseException, kind: str, status: StatusCode
) -> None:
    """By the error's code; what the sender can mend is no error of ours."""
    with pytest.raises(type(error)), tracing.span("request"):
        raise error
    span = one(spans, "request")
    assert span.attributes == {"error.type": kind}
    assert (span.status.status_code, span.events) == (status, ())


# From server to server


def request(**fields: Any) -> TileRequest:
    """A tile for ``NEAREST``."""
    return TileRequest(
        pixels=noise(8, 10, 3),
        model=NEAREST.id,
        weights_sha256=NEAREST.sha256,
        scale=NEAREST.scale,
        precision="f32",
        deadline=asyncio.get_running_loop().time() + 100,
        request_id="r-42",
        **fields,
    )


async def test_model_servers_work_belongs_to_the_tile(spans: InMemorySpanExporter) -> None:
    """Each attempt is a child of the tile: the one that failed, and the one that stood."""
    failing = FailsFirst(NearestEngine(), failures=1, error=EngineLost("e"))
    async with (
        running_server(failing) as server,
        aiohttp.ClientSession() as session,
    ):
        engine = RemoteEngine(server.address, session)
        async with Pool([Member("one", engine, probe=engine.probe)]) as pool:
            await pool.ready_for(need_of())
            with tracing.span("tile"):
                result = await pool.enlarge(request())
    assert result.attempts == 2
    failed, done = named(spans, "infer")
    tile = one(spans, "tile")
    assert parent_of(failed) == parent_of(done) == id_of(tile)
    assert trace_of(failed) == trace_of(done) == trace_of(tile)
    assert failed.attributes == {"enlarger.request_id": "r-42", "error.type": "engine_lost"}
    assert done.kind is SpanKind.SERVER
    assert done.attributes is not None
    assert {
        "enlarger.request_id": "r-42",
        "enlarger.model": "nearest",
        "enlarger.precision": "f32",
        "enlarger.infer_s": 0.001,
    }.items() <= done.attributes.items()


async def test_dropped_tile_ends_its_span(spans: InMemorySpanExporter) -> None:
    """On the model server, too."""
    engine = StuckEngine()
    async with running_server(engine) as server, aiohttp.ClientSession() as session:
        client = RemoteEngine(server.address, session)
        await client.probe()
        task = asyncio.create_task(client.enlarge(request()))
        await engine.started.wait()
        task.cancel()
        async with asyncio.timeout(5):
            while not named(spans, "infer"):
                await client.probe()
    span = one(spans, "infer")
    assert span.attributes is not None
    assert span.attributes["error.type"] == "CancelledError"


# The collector


class Collector:
    """Takes what an OTLP exporter sends, and keeps it."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Any]] = []
        """Name of the service, and the span."""

        self.paths: Counter[str] = Counter()
        self.url = ""

    def take(self, path: str, body: bytes) -> None:
        """One request."""
        self.paths[path] += 1
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            facts = {fact.key: fact.value.string_value for fact in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [(facts["service.name"], span) for span in scope.spans]

    def named(self, name: str) -> list[tuple[str, Any]]:
        """Spans of that name, with their service."""
        return [(service, span) for service, span in self.spans if span.name == name]


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that listens on this machine."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.take(self.path, self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.url = f"http://127.0.0.1:{server.server_address[1]}"
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield collector
        finally:
            server.shutdown()
            serving.join()


def test_collector_gets_the_trace_of_a_request(environment: dict[str, str], tmp_path: Path) -> None:
    """From the caller over the gateway to the model servers: one trace, with all steps."""
    with collecting() as collector:
        settings = {
            **environment,
            "NUM_SERVERS": "2",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        }
        with RunningService(tmp_path, settings) as service:
            fields = {"image_b64": encoded_text(), "scale": 4, "model": "nearest"}
            headers = {"Content-Type": "application/json", "X-Request-Id": "r-42"}
            asked = urllib.request.Request(
                f"{service.url}/upscale",
                json.dumps(fields).encode(),
                headers | {"traceparent": TRACEPARENT},
            )
            with urllib.request.urlopen(asked, timeout=60) as reply:
                answer = json.load(reply)
    assert set(collector.paths) == {"/v1/traces"}
    assert {span.trace_id.hex() for _, span in collector.spans} == {TRACE_ID}
    ((service_name, edge),) = collector.named("POST /upscale")
    assert (service_name, edge.parent_span_id.hex()) == ("enlarger-gateway", CALLER_ID)
    for stage in ("fetch", "queue", "decode", "infer", "encode"):
        (step,) = (
            span for service, span in collector.named(stage) if service == "enlarger-gateway"
        )
        assert step.parent_span_id == edge.span_id
    tiles = [span for _, span in collector.named("tile")]
    assert len(tiles) == answer["tiles"]["total"] > 1
    assert {tile.parent_span_id for tile in tiles} == {edge.span_id}
    above = {tile.span_id: tile for tile in tiles}
    computed = set()
    for service_name, span in collector.named("infer"):
        if service_name == "enlarger-model-server":
            tile = above[span.parent_span_id]
            assert edge.start_time_unix_nano <= tile.start_time_unix_nano
            assert tile.start_time_unix_nano <= span.start_time_unix_nano
            # One that waited may have been called back, to a server that had nothing to do.
            if any(fact.key.endswith("infer_s") for fact in span.attributes):
                assert span.end_time_unix_nano <= tile.end_time_unix_nano <= edge.end_time_unix_nano
                computed.add(tile.span_id)
    assert computed == set(above)


def encoded_text() -> str:
    """A picture of several tiles."""
    return base64.b64encode(encoded(noise(200, 300, 3))).decode()


@pytest.mark.parametrize("there", [True, False])
def test_collector_that_takes_nothing_does_not_hold_up_the_end(*, there: bool) -> None:
    """It never answers, or is not there; what was not sent by then is lost, and not every attempt is logged."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        if not there:
            silent.close()
        program = (
            "import time\n"
            "from enlarger import tracing\n"
            "tracing.start('enlarger-gateway', variable='OTEL_EXPORTER_OTLP_ENDPOINT')\n"
            "with tracing.span('request'): pass\n"
            "started = time.monotonic()\n"
            "tracing.stop()\n"
            "print(time.monotonic() - started)\n"
            "import os; os._exit(0)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            capture_output=True,
            env={
                **os.environ,
                "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            },
        )
    assert 0.9 < float(done.stdout) < 3
    assert done.stderr == b""


@pytest.mark.parametrize(
    ("variable", "value"),
    [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318"), ("OTEL_TRACES_EXPORTER", "otlp")],
)
@pytest.mark.parametrize("command", ["serve", "model-server"])
def test_traces_without_the_extra_stop_the_start(command: str, variable: str, value: str) -> None:
    """Exit status 2, and a line that names the variable and what to install."""
    program = (
        f"{OPEN_TELEMETRY_IS_NOT_HERE}sys.argv = ['enlarger', '{command}', '--port', '0']; "
        "from enlarger.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, variable: value},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr == (
        f"enlarger: {variable}: to send traces takes an extra: {install_command('otel')}\n"
    )
