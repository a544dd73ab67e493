"""Batches without a server: how a request is read, the state of a batch, and its archive."""

from __future__ import annotations

import json
import zipfile
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.gateways import B64, PNG

from enlarger.api.archives import Member, zip_chunks
from enlarger.api.v1.batches import MOST_ITEMS, Asking, member_name, read_batch
from enlarger.errors import EnlargerError, InvalidOption, MalformedJson, RequestError, UnknownModel
from enlarger.jobs.batches import Batch
from enlarger.jobs.job import ENDED, STATES, BatchRecord, Job, State
from enlarger.models import Catalogue
from enlarger.request import BytesSource, UpscaleRequest, UrlSource

RECORD = BatchRecord(id="batch_1", created_at=0.0)
PICTURE = {"image_b64": B64}


def job(state: State = "succeeded", **values: Any) -> Job:
    """Return a job of the batch."""
    given = {"id": "job_1", "state": state, "batch_index": 0, "file_name": "ab.png"}
    return Job(**{**given, "created_at": 0.0, "options": {}, **values})


def asked(catalogue: Catalogue, *, has_webhooks: bool = True, **fields: Any) -> Asking:
    """Return the batch that a request with these fields asks for."""
    return read_batch(
        json.dumps(fields).encode(),
        catalogue=catalogue,
        request_id="r",
        owner="key:a",
        has_webhooks=has_webhooks,
    )


# The state of a batch


@given(st.lists(st.sampled_from(STATES), min_size=1, max_size=6))
def test_state_and_counts_follow_from_the_jobs(states: list[State]) -> None:
    """The batch runs until every job has ended. Each job is counted."""
    batch = Batch(RECORD, tuple(job(state) for state in states))
    assert (batch.state == "running") == any(state not in ENDED for state in states)
    assert (batch.state == "canceled") == (batch.state != "running" and "canceled" in states)
    assert list(batch.counts) == list(STATES)
    assert sum(batch.counts.values()) == len(states)


def test_changes_are_those_of_state() -> None:
    """This includes jobs that do not exist any more."""
    before = Batch(RECORD, (job("queued"), job("running", id="job_2"), job(id="job_3")))
    now = Batch(RECORD, (job("running"), job("running", id="job_2", tiles_done=3)))
    assert [one.id for one in now.changed_since(before)] == ["job_1"]
    assert now.changed_since(now) == []


# Requests


def test_items_win_over_shared_options(catalogue: Catalogue) -> None:
    """A size of an item's own replaces a shared one of another name."""
    items = [
        PICTURE,
        {**PICTURE, "id": "b", "format": "webp", "width": 90},
        {"img_url": "https://a.example/c.png", "scale": 4},
    ]
    read = asked(catalogue, items=items, options={"scale": 3, "format": "jpeg"})
    jobs = [item.request for item in read.items if isinstance(item.request, UpscaleRequest)]
    options = [one.options for one in jobs]
    assert [(one.scale, one.width, one.format) for one in options] == [
        (3, None, "jpeg"),
        (None, 90, "webp"),
        (4, None, "jpeg"),
    ]
    assert [item.id for item in read.items] == [None, "b", None]
    assert jobs[0].source == BytesSource(PNG)
    assert jobs[2].source == UrlSource("https://a.example/c.png")
    assert {one.owner for one in jobs} == {"key:a"}


@pytest.mark.parametrize(
    ("item", "code"),
    [
        (5, "invalid_option"),
        ({}, "missing_input"),
        ({**PICTURE, "sizes": 3}, "invalid_option"),
        ({**PICTURE, "scale": 9}, "invalid_option"),
        ({**PICTURE, "id": 5}, "invalid_option"),
        ({**PICTURE, "id": "x" * 101}, "invalid_option"),
        ({**PICTURE, "id": "a\n"}, "invalid_option"),
        ({**PICTURE, "model": "none"}, "unknown_model"),
        ({**PICTURE, "webhook": "https://a.example/"}, "invalid_option"),
        ({**PICTURE, "inline": True}, "invalid_option"),
        ({**PICTURE, "img_url": "https://a.example/"}, "invalid_option"),
        ({"image_b64": "%"}, "unreadable_image"),
        ({"img_url": "file:///a.png"}, "invalid_url"),
    ],
)
def test_bad_item_is_its_own_problem(catalogue: Catalogue, item: Any, code: str) -> None:
    """The other items are accepted."""
    bad, good = asked(catalogue, items=[item, PICTURE]).items
    assert isinstance(bad.request, EnlargerError)
    assert bad.request.code == code
    assert isinstance(good.request, UpscaleRequest)


@pytest.mark.parametrize(
    ("fields", "option", "reason"),
    [
        ({}, "items", "type"),
        ({"items": {}}, "items", "type"),
        ({"items": []}, "items", "range"),
        ({"items": [PICTURE] * (MOST_ITEMS + 1)}, "items", "range"),
        ({"items": [{**PICTURE, "id": "a"}] * 2}, "items", "conflict"),
        ({"items": [PICTURE], "scale": 2}, "scale", "unknown"),
        ({"items": [PICTURE], "options": [1]}, "options", "type"),
        ({"items": [PICTURE], "options": {"scale": 9}}, "scale", "range"),
        ({"items": [PICTURE], "options": {"img_url": "https://a.example/"}}, "img_url", None),
        ({"items": [PICTURE], "options": {"inline": True}}, "inline", "unsupported"),
        ({"items": [PICTURE], "webhook": "ftp://a.example/"}, "webhook", "type"),
        ({"items": [PICTURE], "webhook": "https://u:p@a.example/"}, "webhook", "type"),
        ({"items": [PICTURE], "webhook": 5}, "webhook", "type"),
    ],
)
def test_broken_envelope_is_refused(
    catalogue: Catalogue, fields: dict[str, Any], option: str, reason: str | None
) -> None:
    """The whole batch is refused, and the error names the part that is wrong."""
    with pytest.raises(InvalidOption) as refused:
        asked(catalogue, **fields)
    fault = refused.value.faults[0]
    assert (fault.option, fault.reason) == (option, reason or "unsupported")


def test_envelope_must_be_json_with_known_models(catalogue: Catalogue) -> None:
    """If no webhooks can be sent, a request for one is refused."""
    with pytest.raises(UnknownModel):
        asked(catalogue, items=[PICTURE], options={"model": "none"})
    with pytest.raises(InvalidOption, match="not set up"):
        asked(catalogue, items=[PICTURE], webhook="https://a.example/", has_webhooks=False)
    with pytest.raises(MalformedJson):
        read_batch(PNG, catalogue=catalogue, request_id="r", owner="", has_webhooks=True)


def test_fingerprint_tells_batches_apart(catalogue: Catalogue) -> None:
    """Items, ids, order, options and webhook make a difference. Another spelling of the same request does not."""
    one = {**PICTURE, "id": "a"}
    first = asked(catalogue, items=[one, PICTURE]).fingerprint
    assert asked(catalogue, items=[one, PICTURE], options=None).fingerprint == first
    others = [
        asked(catalogue, items=[PICTURE, one]),
        asked(catalogue, items=[one]),
        asked(catalogue, items=[one, PICTURE], options={"scale": 3}),
        asked(catalogue, items=[one, PICTURE], webhook="https://a.example/"),
        asked(catalogue, items=[one, {"image_b64": "%"}]),
    ]
    assert len({first, *(other.fingerprint for other in others)}) == len(others) + 1


@given(
    body=st.binary(max_size=80)
    | st.dictionaries(
        st.sampled_from(["items", "options", "webhook"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["id", "image_b64", "scale"]), inner)
            ),
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_body_is_read_or_refused(catalogue: Catalogue, body: bytes) -> None:
    """A refusal is always a fault of the sender."""
    try:
        read = read_batch(body, catalogue=catalogue, request_id="r", owner="", has_webhooks=True)
    except RequestError:
        return
    assert read.items


# The archive


@given(st.text(min_size=1, max_size=100))
def test_names_in_the_archive_are_safe(id_: str) -> None:
    """The name of an item cannot add a folder, leave the archive or make a hidden file."""
    name = member_name(job(item_id=id_, batch_index=7))
    assert name.startswith("007-")
    assert name.endswith(".png")
    assert set(name) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
    assert member_name(job(item_id="../../etc/passwd")) == "000-etc_passwd.png"
    assert member_name(job()) == "000-job_1.png"


async def test_archive_is_sent_while_it_is_made() -> None:
    """It contains each file unchanged, and only one piece of it is in memory at a time."""
    asked_for: list[int] = []

    async def pieces(count: int) -> AsyncIterator[bytes]:
        for number in range(count):
            asked_for.append(number)
            yield bytes([number]) * 1000

    async def members() -> AsyncIterator[Member]:
        yield Member("000-a.png", 5000, pieces(5))
        yield Member("manifest.json", 2, one(b"{}"))

    async def one(data: bytes) -> AsyncIterator[bytes]:
        yield data

    sent = zip_chunks(members())
    first = await anext(sent)
    assert asked_for == [0]
    assert len(first) < 1100
    data = first + b"".join([piece async for piece in sent])
    with zipfile.ZipFile(BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["000-a.png", "manifest.json"]
        assert archive.infolist()[0].compress_type == zipfile.ZIP_STORED
        assert archive.read("000-a.png") == b"".join(bytes([n]) * 1000 for n in range(5))
