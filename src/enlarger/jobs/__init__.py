"""Requests that outlive their connection, and the process."""

from enlarger.jobs.batches import Batch, Batches, Item
from enlarger.jobs.endings import Endings, JobHooks
from enlarger.jobs.event_streams import Event, EventStreams, Shown
from enlarger.jobs.facts import InputFacts, ResultFacts, RunFacts
from enlarger.jobs.files import JobFiles
from enlarger.jobs.inputs import InputPreviews
from enlarger.jobs.intake import Asked, Intake
from enlarger.jobs.job import Job
from enlarger.jobs.jobs import Jobs
from enlarger.jobs.presence import Presence
from enlarger.jobs.progress import JobProgress, Prospects, View
from enlarger.jobs.results import OpenPart, Results
from enlarger.jobs.rows import Rows
from enlarger.jobs.runner import Runner
from enlarger.jobs.shared_results import SharedOutcomes
from enlarger.jobs.watching import Watching
from enlarger.jobs.webhooks import Webhooks
from enlarger.jobs.work import JobWork

__all__ = [
    "Asked",
    "Batch",
    "Batches",
    "Endings",
    "Event",
    "EventStreams",
    "InputFacts",
    "InputPreviews",
    "Intake",
    "Item",
    "Job",
    "JobFiles",
    "JobHooks",
    "JobProgress",
    "JobWork",
    "Jobs",
    "OpenPart",
    "Presence",
    "Prospects",
    "ResultFacts",
    "Results",
    "Rows",
    "RunFacts",
    "Runner",
    "SharedOutcomes",
    "Shown",
    "View",
    "Watching",
    "Webhooks",
]
