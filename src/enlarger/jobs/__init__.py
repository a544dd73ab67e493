"""Requests that outlive their connection, and the process."""

from enlarger.jobs.batches import Batch, Batches, Item
from enlarger.jobs.blobs import Blobs
from enlarger.jobs.feeds import Event, Feeds
from enlarger.jobs.jobs import Asked, Jobs, View
from enlarger.jobs.record import JobRecord, input_json
from enlarger.jobs.rows import Rows
from enlarger.jobs.runner import Runner, Told, Tracked, Words
from enlarger.jobs.webhooks import Webhooks

__all__ = [
    "Asked",
    "Batch",
    "Batches",
    "Blobs",
    "Event",
    "Feeds",
    "Item",
    "JobRecord",
    "Jobs",
    "Rows",
    "Runner",
    "Told",
    "Tracked",
    "View",
    "Webhooks",
    "Words",
    "input_json",
]
