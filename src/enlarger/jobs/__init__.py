"""Requests that outlive their connection, and the process."""

from enlarger.jobs.batches import Batch, Batches, Item
from enlarger.jobs.event_streams import Event, EventStreams
from enlarger.jobs.job import Job, input_json
from enlarger.jobs.jobs import Asked, Jobs, View
from enlarger.jobs.rows import Rows
from enlarger.jobs.runner import JobHooks, JobPresenter, JobProgress, Runner
from enlarger.jobs.webhooks import Webhooks

__all__ = [
    "Asked",
    "Batch",
    "Batches",
    "Event",
    "EventStreams",
    "Item",
    "Job",
    "JobHooks",
    "JobPresenter",
    "JobProgress",
    "Jobs",
    "Rows",
    "Runner",
    "View",
    "Webhooks",
    "input_json",
]
