"""Which kind of storage a setting names."""

from __future__ import annotations

from pathlib import Path

from enlarger.storage.bucket import opened_bucket
from enlarger.storage.faults import JOBS, RESULTS, Wording
from enlarger.storage.folder import Folder
from enlarger.storage.results import ResultStore
from enlarger.storage.storage import Storage


def storage_at(place: str | Path, wording: Wording = JOBS) -> Storage:
    """The storage in a folder, which is made if it is missing, or below ``s3://bucket/prefix``.

    Raises:
        ConfigError: The folder cannot be made, or the URL or a variable of the bucket is wrong.
    """
    if "://" in str(place):
        return opened_bucket(str(place), wording)
    return Folder(Path(place), wording)


async def result_store(
    place: str | Path, *, shared: str | Path | None = None, max_age_s: float
) -> ResultStore:
    """The results in a folder or a bucket, which is tried first.

    Args:
        place: ``UPLOAD_FOLDER``.
        shared: ``ENLARGER_BLOBS``, where it is set: the results of jobs are moved there from a folder.
        max_age_s: The life of a result.

    Raises:
        BackendAway: A bucket cannot be reached now.
        ConfigError: A place cannot be used.
    """
    storage = storage_at(place, RESULTS)
    await storage.check()
    if shared is None or not isinstance(storage, Folder):
        return ResultStore(storage, max_age_s=max_age_s)
    return ResultStore(storage, shared=storage_at(shared), max_age_s=max_age_s)
