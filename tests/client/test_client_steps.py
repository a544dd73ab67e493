"""The steps by which the Python clients follow several jobs, and what they read of tiles and previews: no server is needed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from enlarger.client import Tile
from enlarger.client.answers import preview_of, tiles_of
from enlarger.client.calls import Budget, Listen, NextEvent, Send, Sleep, Tell, news_of_all
from enlarger.client.calls import Event as ServerEvent
from enlarger.client.values import Answer
from enlarger.errors import ServerUnreachable, UnexpectedAnswer


def told(id_: str, state: str, **fields: Any) -> bytes:
    """A job as JSON."""
    return json.dumps({"id": id_, "state": state, "job": id_, **fields}).encode()


STREAM = Answer(200, {"content-type": "text/event-stream"}, b"")


def begun() -> Any:
    """The steps for two jobs, up to their first stream."""
    steps = news_of_all(Budget(ends_at=1e12, timeout_s=1e12), ["job_a", "job_b"])
    for id_ in ("job_a", "job_b"):
        step = next(steps) if id_ == "job_a" else steps.send(None)
        assert isinstance(step, Send)
        assert step.request.path == f"/v1/jobs/{id_}"
        assert isinstance(steps.send(Answer(200, {}, told(id_, "queued"))), Tell)
    return steps


def test_broken_stream_continues_after_the_last_event() -> None:
    """With the shared id, and only for jobs that have not ended."""
    steps = begun()
    step = steps.send(None)
    assert isinstance(step, Listen)
    assert step.request.query == {"jobs": "job_a,job_b"}
    assert "Last-Event-ID" not in step.request.headers
    assert isinstance(steps.send(STREAM), NextEvent)
    step = steps.send(ServerEvent("A1", "state", told("job_a", "succeeded").decode()))
    assert isinstance(step, Tell)
    assert (step.job.id, step.job.state) == ("job_a", "succeeded")
    assert isinstance(steps.send(None), NextEvent)
    assert isinstance(steps.throw(ServerUnreachable("it broke")), Sleep)
    step = steps.send(None)
    assert isinstance(step, Listen)
    assert step.request.query == {"jobs": "job_b"}
    assert step.request.headers["Last-Event-ID"] == "A1"
    assert isinstance(steps.send(STREAM), NextEvent)
    progress = '{"job": "job_b", "progress": {"tiles_done": 2, "tiles_total": 4, "fraction": 0.5}}'
    step = steps.send(ServerEvent("A2", "progress", progress))
    assert isinstance(step, Tell)
    assert (step.job.id, step.job.tiles_done) == ("job_b", 2)
    assert isinstance(steps.send(None), NextEvent)
    step = steps.send(ServerEvent("A3", "state", told("job_b", "failed").decode()))
    assert isinstance(step, Tell)
    assert isinstance(steps.send(None), NextEvent)
    with pytest.raises(StopIteration):
        steps.send(None)


def test_job_that_ended_before_its_stream_is_asked_for() -> None:
    """The server refuses it in a stream; the others are followed on."""
    steps = begun()
    assert isinstance(steps.send(None), Listen)
    refused = Answer(422, {"content-type": "application/problem+json"}, b"{}")
    assert isinstance(steps.send(refused), Sleep)
    assert isinstance(steps.send(None), Send)
    step = steps.send(Answer(200, {}, told("job_a", "succeeded")))
    assert isinstance(step, Tell)
    assert step.job.state == "succeeded"
    assert isinstance(steps.send(None), Send)
    assert isinstance(steps.send(Answer(200, {}, told("job_b", "running"))), Tell)
    step = steps.send(None)
    assert isinstance(step, Listen)
    assert step.request.query == {"jobs": "job_b"}


@pytest.mark.parametrize(
    "body", [b"[]", b"{}", b'{"tiles": [1]}', b'{"tiles": [{"index": 0, "x": 0, "y": 0, "w": 1}]}']
)
def test_list_that_is_none_of_tiles_is_refused(body: bytes) -> None:
    """In words, not by a KeyError."""
    with pytest.raises(UnexpectedAnswer):
        tiles_of(Answer(200, {"content-type": "application/json"}, body))


def test_tiles_and_previews_are_read() -> None:
    """And what is no picture is refused."""
    row = b'{"tiles": [{"index": 3, "x": 1, "y": 2, "w": 5, "h": 6, "url": "/x"}]}'
    assert tiles_of(Answer(200, {"content-type": "application/json"}, row)) == (
        Tile(index=3, x_px=1, y_px=2, width_px=5, height_px=6),
    )
    assert preview_of(Answer(200, {"content-type": "image/jpeg"}, b"x")) == b"x"
    with pytest.raises(UnexpectedAnswer, match="not a preview"):
        preview_of(Answer(200, {"content-type": "text/html"}, b"x"))
