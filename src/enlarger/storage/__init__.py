"""Everything that the service keeps: results, and the inputs, tiles and pieces of jobs, in a folder or a bucket."""

from enlarger.storage.drafts import Draft, check_room
from enlarger.storage.places import result_store, storage_at
from enlarger.storage.results import PreviewKind, ResultStore, StoredResult, sweep_regularly
from enlarger.storage.storage import ObjectFacts, Storage, Sweep

__all__ = [
    "Draft",
    "ObjectFacts",
    "PreviewKind",
    "ResultStore",
    "Storage",
    "StoredResult",
    "Sweep",
    "check_room",
    "result_store",
    "storage_at",
    "sweep_regularly",
]
