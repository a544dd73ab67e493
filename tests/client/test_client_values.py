"""The pure parts of the Python client: requests, answers, events, repeats. And what importing it brings."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

import enlarger
from enlarger import Client, errors
from enlarger.client import JobStatus, UpscaleOptions
from enlarger.client.answers import (
    after_event,
    error_from,
    error_of,
    estimate_of,
    job_from,
    job_of,
    models_of,
    upscaled_of,
)
from enlarger.client.calls import Budget, Send, Sleep, Tell, sent, waited
from enlarger.client.requests import Request, job_path, picture_request
from enlarger.client.retry import Patience, pause_s, retry_after_s
from enlarger.client.values import Answer
from enlarger.errors import EnlargerError, NotFound, QueueFull, RequestError, UnexpectedAnswer
from enlarger.jobs.job import new_job_id
from enlarger.options import Options, read_options

NOW = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)

JOB_FIELDS = st.dictionaries(
    st.sampled_from(
        ["id", "state", "stage", "progress", "queue", "eta_s", "error", "models", "default"]
    ),
    JSON
    | st.dictionaries(
        st.sampled_from(["tiles_done", "tiles_total", "fraction", "position", "code", "detail"]),
        JSON,
    ),
)
"""Objects with the names of the contract and anything behind them."""


# Requests


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "scale": st.floats(1, 8),
        "region": st.tuples(*[st.integers(1, 500)] * 4),
        "color_lock": st.booleans(),
        "quality": st.integers(1, 100),
        "frames": st.sampled_from(["all", "first"]) | st.integers(1, 99),
        "background": st.just("#aabbcc"),
        "format": st.sampled_from(["png", "webp", "auto"]),
    },
)


@given(OPTIONS)
def test_options_in_a_query_and_in_json_mean_the_same(options: dict[str, Any]) -> None:
    """To the server that reads them: what was asked for, to the last digit."""
    by_query = picture_request("/v1/upscale", b"...", options).query
    by_json = json.loads(picture_request("/v1/upscale", "http://a/b", options).body)
    assert by_json.pop("img_url") == "http://a/b"
    wanted = Options(**options)
    assert read_options(by_query, strict=False) == wanted
    assert read_options(by_json, strict=True) == wanted


@given(
    st.text() | st.sampled_from(["", "..", "job_", "job_/..", "job_1/events", "job_1?", "job_1\n"])
)
def test_what_is_no_job_id_leads_to_no_path(job_id: str) -> None:
    """Whatever was typed: neither to other parts of the server, nor to a request."""
    with pytest.raises(NotFound, match="the id of a job is job_ with letters and digits"):
        job_path(job_id, "result")


def test_job_id_is_one_segment_of_the_path() -> None:
    """As the server made it."""
    job_id = new_job_id()
    assert job_path(job_id, "result") == f"/v1/jobs/{job_id}/result"


# Answers


@given(
    status=st.integers(200, 599),
    kind=st.sampled_from(["application/json", "text/html", ""]),
    body=st.binary() | JOB_FIELDS.map(lambda fields: json.dumps(fields).encode()),
)
def test_any_answer_is_read_or_refused(status: int, kind: str, body: bytes) -> None:
    """By an error of ours, whatever a server sends."""
    answer = Answer(status, {"content-type": kind} if kind else {}, body)
    error = error_of(answer, now=NOW)
    assert (error is None) == (status < 300)
    assert error is None or (error.status == status and str(error))
    for read in (job_of, upscaled_of, estimate_of, models_of):
        with suppress(UnexpectedAnswer):
            read(answer)


def known(cls: type[EnlargerError] = EnlargerError) -> list[type[EnlargerError]]:
    """All errors with a code of their own."""
    below = [one for child in cls.__subclasses__() for one in known(child)]
    return [*([cls] if "code" in vars(cls) else []), *below]


@pytest.mark.parametrize("cls", known(), ids=lambda cls: cls.code)
def test_every_code_becomes_its_class(cls: type[EnlargerError]) -> None:
    """With text, numbers and request id."""
    problem = {"code": cls.code, "detail": "the text", "limit": 7, "actual": 9, "request_id": "r"}
    error = error_from(problem, status=cls.status)
    assert type(error) is cls
    assert (str(error), error.limit, error.actual, error.request_id) == ("the text", 7, 9, "r")
    assert (error.code, error.status, error.retryable) == (cls.code, cls.status, cls.retryable)


@pytest.mark.parametrize(
    ("status", "cls"), [(418, RequestError), (503, errors.CapacityError), (501, EnlargerError)]
)
def test_unknown_code_becomes_a_base_class(status: int, cls: type[EnlargerError]) -> None:
    """By its status; what the server says of a repeat is believed."""
    body = json.dumps({"code": "new", "detail": "text", "retryable": True}).encode()
    error = error_of(Answer(status, {"content-type": "application/problem+json"}, body))
    assert type(error) is cls
    assert error is not None
    assert (error.code, error.status, error.retryable) == ("new", status, True)


@pytest.mark.parametrize(("status", "is_retryable"), [(502, True), (503, True), (404, False)])
def test_proxy_without_its_server_is_asked_again(status: int, is_retryable: bool) -> None:
    """Its pages have no code."""
    error = error_of(Answer(status, {"content-type": "text/html"}, b"<html>"))
    assert isinstance(error, UnexpectedAnswer)
    assert error.retryable == is_retryable


# Jobs and events

RUNNING = job_from({"id": "job_1", "state": "running", "progress": {"tiles_done": 2}})


@given(st.sampled_from(["state", "progress", "tile", ""]), st.text() | JOB_FIELDS.map(json.dumps))
def test_any_event_is_read_or_refused(kind: str, data: str) -> None:
    """By an error of ours; kinds of a newer server change nothing."""
    with suppress(UnexpectedAnswer):
        after = after_event(RUNNING, kind, data)
        assert kind in ("state", "progress") or after is RUNNING
        assert after.id == RUNNING.id or kind == "state"


def test_event_of_progress_keeps_the_rest_of_the_job() -> None:
    """It tells what has changed."""
    data = '{"stage": "infer", "progress": {"tiles_done": 5, "tiles_total": 12, "fraction": 0.42}, "eta_s": 26.0}'
    after = after_event(RUNNING, "progress", data)
    assert after == replace(
        RUNNING, stage="infer", tiles_done=5, tiles_total=12, fraction=0.42, eta_s=26.0
    )


@pytest.mark.parametrize("state", ["canceled", "expired"])
def test_job_without_result_says_why(state: str) -> None:
    """One that works, or has worked, says nothing."""
    with pytest.raises(RequestError, match=r"job_1"):
        JobStatus(id="job_1", state=state).check()
    JobStatus(id="job_1", state="succeeded").check()


# Repeats

ERRORS = st.builds(
    lambda after, retryable: _refusal(after, retryable=retryable),
    st.none() | st.floats(0, 200),
    st.booleans(),
)


def _refusal(after_s: float | None, *, retryable: bool = True) -> EnlargerError:
    error = QueueFull("full", retry_after_s=after_s)
    error.retryable = retryable
    return error


@given(
    error=ERRORS,
    attempts=st.integers(1, 20),
    failures=st.integers(1, 10_000),
    left_s=st.floats(0, 1000),
    chance=st.floats(0, 1),
)
def test_pause_is_bounded(
    error: EnlargerError, attempts: int, failures: int, left_s: float, chance: float
) -> None:
    """By attempts, by the time that is left, by what the server says, and only where a repeat may help."""
    patience = Patience(attempts)
    pause = pause_s(patience, error, failures=failures, left_s=left_s, chance=chance)
    if pause is not None:
        assert error.retryable
        assert failures < attempts
        assert 0 <= pause < left_s
        after_s = error.retry_after_s
        assert after_s is None or after_s <= pause <= after_s + patience.first_pause_s
        assert after_s is not None or pause <= patience.longest_pause_s
    elif error.retryable and failures < attempts and error.retry_after_s is None:
        assert left_s <= patience.longest_pause_s


def test_pauses_double() -> None:
    """Each from a half of its length to the whole."""
    pauses = [
        pause_s(Patience(9), _refusal(None), failures=failures, left_s=1000, chance=chance)
        for chance in (0, 1)
        for failures in range(1, 9)
    ]
    assert pauses[:8] == [0.25, 0.5, 1, 2, 4, 8, 15, 15]
    assert pauses[8:] == [0.5, 1, 2, 4, 8, 16, 30, 30]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("17", 17),
        (" 0 ", 0),
        ("Sun, 22 Nov 2026 10:30:05 GMT", 5),
        ("Sun, 22 Nov 2026 10:29:00 GMT", 0),
        ("Sun, 22 Nov 2026 10:30:05 -0000", None),
        ("soon", None),
        ("-5", None),
        ("1e3", None),
        ("²", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_a_number_or_a_date(header: str | None, expected: float | None) -> None:
    """Anything else says nothing."""
    assert retry_after_s(header, now=NOW) == expected


@given(st.text())
def test_any_retry_after_is_read(header: str) -> None:
    """Or says nothing."""
    found = retry_after_s(header, now=NOW)
    assert found is None or found >= 0


# Steps


def budget(seconds: float = 100, **facts: Any) -> Budget:
    """With a clock that stands."""
    return Budget(ends_at=seconds, timeout_s=seconds, clock=lambda: 0, chance=lambda: 0, **facts)


def answered(code: str, status: int, after_s: int) -> Answer:
    """A refusal."""
    headers = {"content-type": "application/problem+json", "retry-after": str(after_s)}
    problem = {"code": code, "detail": "text", "retryable": True}
    return Answer(status, headers, json.dumps(problem).encode())


def test_work_that_goes_on_is_waited_for_beyond_all_attempts() -> None:
    """A key whose first request is unanswered yet is no failure."""
    steps = sent(budget(patience=Patience(2)), Request("POST", "/v1/upscale"))
    step = next(steps)
    for _ in range(10):
        assert isinstance(step, Send)
        assert steps.send(answered("idempotency_in_progress", 409, 3)) == Sleep(3)
        step = next(steps)
    with pytest.raises(StopIteration) as end:
        steps.send(Answer(200, {}, b"done"))
    assert end.value.value.body == b"done"


def test_refusals_are_counted_from_the_last_answer() -> None:
    """Two seconds of refused connections end a call; an answer in between begins them anew."""
    now = 0.0
    ends = Budget(
        ends_at=100,
        timeout_s=100,
        patience=Patience(100),
        clock=lambda: now,
        chance=lambda: 0,
    )
    refused = errors.ServerUnreachable("nobody listens")
    refused.is_refused = True
    steps = sent(ends, Request("GET", "/"))
    next(steps)
    assert isinstance(steps.throw(refused), Sleep)
    now = 1.5
    next(steps)
    assert steps.send(answered("queue_full", 503, 1)) == Sleep(1)
    now = 3.0
    next(steps)
    assert isinstance(steps.throw(refused), Sleep)
    now = 4.9
    next(steps)
    with pytest.raises(errors.ServerUnreachable, match="nobody listens"):
        steps.throw(refused)


def test_silence_until_the_end_of_the_time_is_a_timeout() -> None:
    """And no fault of the server."""
    seconds = iter([0.0, 10.0])
    ends = Budget(ends_at=10, timeout_s=10, clock=lambda: next(seconds))
    steps = sent(ends, Request("GET", "/"))
    step = next(steps)
    assert isinstance(step, Send)
    assert step.silence_s == 10
    with pytest.raises(errors.TimedOut, match="within 10 s"):
        steps.throw(errors.ServerUnreachable("silent"))


def test_server_that_does_not_hold_its_answers_is_asked_once_a_second() -> None:
    """It need not know ``wait``."""
    body = json.dumps({"id": "job_1", "state": "running"}).encode()
    steps = waited(budget(), RUNNING)
    for _ in range(3):
        step = next(steps)
        assert isinstance(step, Send)
        assert step.request.query == {"wait": "20"}
        assert isinstance(steps.send(Answer(200, {}, body)), Tell)
        assert next(steps) == Sleep(1)


# The package


def test_options_are_those_of_the_server() -> None:
    """By name; a new one fails here until the client has it."""
    assert set(get_type_hints(UpscaleOptions)) == set(Options.model_fields)


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://x", "http://", "", "http://a..b"])
def test_address_that_is_none_is_refused(url: str) -> None:
    """Before anything is sent."""
    with pytest.raises(errors.ConfigError, match="no address of a server"):
        Client(url)


@pytest.mark.parametrize("key", ["", " ", "a\nb", "schlüssel"])
def test_key_that_is_none_is_refused(key: str) -> None:
    """It could not be sent."""
    with pytest.raises(errors.ConfigError, match="api_key"):
        Client("http://127.0.0.1:8000", api_key=key)


def imported(code: str) -> set[str]:
    """Modules that are there after this code, in a Python of its own."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(done.stdout.split())


def test_client_brings_nothing_of_the_server() -> None:
    """A program that asks a server needs no network, no web server and no samples; asking for neither is quick."""
    heavy = {"openvino", "quart", "numpy", "PIL", "pydantic", "aiohttp", "hypercorn", "typer"}
    modules = imported("from enlarger import Client, AsyncClient")
    assert {"enlarger.client", "httpx2"} <= modules
    assert modules & heavy == set()
    assert not any(name.startswith("httpx2") for name in imported("import enlarger"))


def test_package_has_no_other_names() -> None:
    """Those that are not there are missed as usual."""
    with pytest.raises(AttributeError, match="no attribute 'Klient'"):
        _ = enlarger.Klient
