"""Webhooks: signed, repeated, given up; checked with the reference implementation of Standard Webhooks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from support.receivers import NEW_SECRET, SECRET, Message, Receiver

from enlarger.fetch.fetcher import Fetcher
from enlarger.jobs.batches import Batch
from enlarger.jobs.job import (
    BatchRecord,
    DeliveryRecord,
    Job,
    delivery_id,
    new_batch_id,
    new_job_id,
)
from enlarger.jobs.rows import Rows
from enlarger.jobs.webhooks import PAUSES_S, Webhooks, pause_s, signature, signed_headers

QUICK_S = (0.0, 0.01, 0.01)


@pytest_asyncio.fixture
async def rows(tmp_path: Path) -> AsyncIterator[Rows]:
    """An empty database."""
    async with Rows(str(tmp_path / "jobs.sqlite3")) as opened:
        yield opened


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that accepts everything."""
    async with Receiver() as listening:
        yield listening


def job(**values: Any) -> Job:
    """One that has succeeded."""
    given = {"id": new_job_id(), "state": "succeeded", "created_at": 1.0, "finished_at": 2.0}
    return Job(**{**given, "options": {}, **values})


def webhooks(rows: Rows, rule: str, **options: Any) -> Webhooks:
    """Return a sender with short pauses."""
    given = {
        "secrets": [SecretStr(SECRET)],
        "job_json": lambda job: {"id": job.id, "state": job.state, "name": "Käse"},
        "batch_json": lambda batch: {"id": batch.record.id, "counts": dict(batch.counts)},
        "pauses_s": QUICK_S,
    }
    fetcher = Fetcher(rule, limit_bytes=1000)
    return Webhooks(rows=rows, fetcher=fetcher, **{**given, **options})


async def outcome(rows: Rows, id_: str) -> DeliveryRecord:
    """Return a message once it has ended."""
    async with asyncio.timeout(30):
        while True:
            found = await rows.deliveries.get(id_)
            if found is not None and found.ended_at is not None:
                return found
            await asyncio.sleep(0.01)


# Pure parts


@given(body=st.text(), id_=st.uuids().map(str), timestamp_s=st.integers(0, 2**32))
def test_signature_is_that_of_the_reference(body: str, id_: str, timestamp_s: int) -> None:
    """For any text."""
    expected = Webhook(SECRET).sign(id_, datetime.fromtimestamp(timestamp_s, UTC), body)
    assert signature(SecretStr(SECRET), id_, timestamp_s, body) == expected


def test_signature_of_the_specification() -> None:
    """The example that the specification's own tests have."""
    secret = SecretStr("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    found = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, '{"test": 2432232314}')
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_attempts_have_pauses_and_an_end() -> None:
    """At once, after 5 s, 30 s, 2 min and 10 min."""
    assert [pause_s(attempts) for attempts in range(6)] == [0, 5, 30, 120, 600, None]
    assert len(PAUSES_S) == 5


def test_secrets_are_changed_without_a_gap() -> None:
    """There is a signature for each; a receiver that knows either takes the message."""
    message = DeliveryRecord(id="msg_1", url="", type="", body="{}", created_at=0.0)
    secrets = [SecretStr(NEW_SECRET), SecretStr(SECRET)]
    headers = signed_headers(secrets, message, now=time.time())
    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in (SECRET, NEW_SECRET):
        assert Message(headers, b"{}").verified(secret) == {}
    old = signed_headers(secrets[1:], message, now=time.time())
    with pytest.raises(WebhookVerificationError):
        Message(old, b"{}").verified(NEW_SECRET)


# Sending


@pytest.mark.parametrize(
    ("state", "type_"),
    [
        ("succeeded", "job.succeeded"),
        ("failed", "job.failed"),
        ("canceled", "job.canceled"),
        ("expired", "job.succeeded"),
    ],
)
async def test_end_of_a_job_is_told(rows: Rows, receiver: Receiver, state: str, type_: str) -> None:
    """One message is sent, with the job."""
    record = job(state=state, webhook=receiver.url)
    async with webhooks(rows, receiver.address) as sender:
        await sender.job_ended(record)
        await sender.job_ended(record)
        ended = await outcome(rows, delivery_id(record.id))
    assert (ended.outcome, ended.attempts) == ("delivered", 1)
    (message,) = receiver.messages
    told = message.verified()
    assert (told["type"], told["data"]["id"], told["data"]["name"]) == (type_, record.id, "Käse")
    assert told["timestamp"].endswith("Z")
    assert message.headers["Content-Type"] == "application/json"
    assert message.id == delivery_id(record.id)


async def test_attempts_are_repeated_with_one_id(rows: Rows) -> None:
    """They are repeated until a 2xx. The bytes stay the same, and each attempt is signed with its own time."""
    record = job()
    async with Receiver([500, 404, 299]) as receiver, webhooks(rows, receiver.address) as sender:
        await sender.job_ended(job(id=record.id, webhook=receiver.url))
        ended = await outcome(rows, delivery_id(record.id))
        messages = receiver.messages
    assert (ended.outcome, ended.attempts) == ("delivered", 3)
    assert len({(message.id, message.body) for message in messages}) == 1
    assert [message.verified()["type"] for message in messages] == ["job.succeeded"] * 3


async def test_message_is_given_up(rows: Rows) -> None:
    """After the last attempt."""
    record = job()
    async with Receiver([500]) as receiver, webhooks(rows, receiver.address) as sender:
        await sender.job_ended(job(id=record.id, webhook=receiver.url))
        ended = await outcome(rows, delivery_id(record.id))
        assert (ended.outcome, ended.attempts, len(receiver.messages)) == ("given_up", 3, 3)


async def test_redirects_are_not_followed(rows: Rows) -> None:
    """They count as failures."""
    record = job()
    async with Receiver([307]) as receiver:
        async with webhooks(rows, receiver.address, pauses_s=(0.0,)) as sender:
            await sender.job_ended(job(id=record.id, webhook=receiver.url))
            ended = await outcome(rows, delivery_id(record.id))
        assert (ended.outcome, len(receiver.messages)) == ("given_up", 1)


async def test_receiver_that_is_silent_is_left(rows: Rows) -> None:
    """An attempt has a timeout, and other receivers get their messages meanwhile."""
    record, other = job(), job()
    async with Receiver([0]) as silent, Receiver() as receiver:
        rule = f"{silent.address},{receiver.address}"
        async with webhooks(rows, rule, timeout_s=1.0, pauses_s=(0.0,)) as sender:
            await sender.job_ended(job(id=record.id, webhook=silent.url))
            await silent.came(1)
            await sender.job_ended(job(id=other.id, webhook=receiver.url))
            assert (await outcome(rows, delivery_id(other.id))).outcome == "delivered"
            waiting = await rows.deliveries.get(delivery_id(record.id))
            assert waiting is not None
            assert waiting.ended_at is None
            assert (await outcome(rows, delivery_id(record.id))).outcome == "given_up"


async def test_private_addresses_get_nothing(rows: Rows, receiver: Receiver) -> None:
    """With ``ENLARGER_FETCH=public``, private addresses are refused at any port, by number and by name."""
    port = receiver.address.rpartition(":")[2]
    for url in (receiver.url, f"http://localhost:{port}/", f"http://[::ffff:127.0.0.1]:{port}/"):
        record = job(webhook=url)
        async with webhooks(rows, f":{port}", pauses_s=(0.0,)) as sender:
            await sender.job_ended(record)
            assert (await outcome(rows, delivery_id(record.id))).outcome == "given_up"
    assert receiver.messages == []


async def test_gone_ends_all_to_that_url_of_that_owner(rows: Rows) -> None:
    """After a 410, neither waiting nor later messages are sent to that URL for that owner. Other owners and URLs are not affected."""
    async with Receiver([410, 204]) as receiver, webhooks(rows, receiver.address) as sender:
        ends = []
        for owner, path in (("a", ""), ("a", ""), ("b", ""), ("a", "/else")):
            record = job(owner=owner, webhook=receiver.url + path)
            await sender.job_ended(record)
            ends.append((await outcome(rows, delivery_id(record.id))).outcome)
        assert ends == ["gone", "gone", "delivered", "delivered"]
        assert len(receiver.messages) == 3


async def test_messages_survive_a_restart(rows: Rows) -> None:
    """A waiting message continues with its attempts. A message that was being sent does not wait for the end of its lease."""
    record, busy = job(), job()
    async with Receiver([0, 0, 204]) as receiver:
        async with webhooks(rows, receiver.address) as sender:
            await sender.job_ended(job(id=record.id, webhook=receiver.url))
            await sender.job_ended(job(id=busy.id, webhook=receiver.url))
            await receiver.came(2)
        async with webhooks(rows, receiver.address):
            for told in (record, busy):
                assert (await outcome(rows, delivery_id(told.id))).outcome == "delivered"


async def test_end_that_was_not_told_is_told_later(rows: Rows, receiver: Receiver) -> None:
    """A gateway may be killed between the end of a job and its message. A message that was sent is not sent again."""
    batch = BatchRecord(id=new_batch_id(), created_at=1.0, webhook=receiver.url)
    records = [job(webhook=receiver.url), job(batch_id=batch.id, batch_index=0)]
    await rows.jobs.add(records[0])
    await rows.jobs.add(job(webhook=receiver.url, state="running"))
    await rows.batches.add(batch, records[1:])
    expected = {delivery_id(records[0].id), delivery_id(batch.id)}
    for _ in range(2):
        async with webhooks(rows, receiver.address):
            for id_ in expected:
                await outcome(rows, id_)
    assert {message.id for message in receiver.messages} == expected
    assert len(receiver.messages) == 2


async def test_batch_is_told_of_when_its_last_job_ends(rows: Rows, receiver: Receiver) -> None:
    """The batch has one message, and its jobs have none."""
    batch = BatchRecord(id=new_batch_id(), created_at=1.0, webhook=receiver.url)
    records = [job(batch_id=batch.id, batch_index=index, state="running") for index in range(2)]
    await rows.batches.add(batch, records)
    async with webhooks(rows, receiver.address) as sender:
        for record in records:
            assert await rows.batches.awaiting_webhook() == []
            ended = await rows.jobs.update(record.id, state="failed")
            assert ended is not None
            await sender.job_ended(ended)
        await outcome(rows, delivery_id(batch.id))
    (message,) = receiver.messages
    told = message.verified()
    assert told["type"] == "batch.finished"
    assert told["data"] == {"id": batch.id, "counts": {**dict(told["data"]["counts"]), "failed": 2}}
    assert Batch(batch, tuple(await rows.jobs.of_batch(batch.id))).state == "finished"


async def test_without_a_secret_nothing_is_told(rows: Rows, receiver: Receiver) -> None:
    """A receiver could not tell such a message from a forged one."""
    record = job(webhook=receiver.url)
    await rows.jobs.add(record)
    async with webhooks(rows, receiver.address, secrets=()) as sender:
        await sender.job_ended(record)
        await asyncio.sleep(0.1)
    assert await rows.deliveries.get(delivery_id(record.id)) is None
    assert receiver.messages == []
