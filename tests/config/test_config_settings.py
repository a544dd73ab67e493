"""Settings that follow from several groups."""

from __future__ import annotations

import pytest

from enlarger.config import (
    load,
)

pytestmark = pytest.mark.usefixtures("no_settings")


def test_jobs_lie_beside_the_results() -> None:
    """Where nothing else is said, one folder holds all that is kept."""
    settings = load(upload_folder="kept")
    assert settings.database_url == "kept/jobs.sqlite3"
    assert settings.blobs_place == "kept/jobs"


def test_jobs_lie_where_the_operator_says() -> None:
    """Each in a place of its own."""
    settings = load(database="/fast/jobs.sqlite3", blobs="s3://bucket")
    assert settings.database_url == "/fast/jobs.sqlite3"
    assert settings.blobs_place == "s3://bucket"


def test_results_may_lie_in_a_bucket() -> None:
    """The files of jobs lie below it, and the database on the disk."""
    settings = load(upload_folder="s3://bucket/prefix")
    assert settings.server.upload_folder == "s3://bucket/prefix"
    assert settings.blobs_place == "s3://bucket/prefix/jobs"
    assert settings.database_url == "uploads/jobs.sqlite3"
