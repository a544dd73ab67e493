"""Errors of replicas come back as the exceptions that they were."""

from __future__ import annotations

import pickle

import pytest

from enlarger.cluster.answers import TileFault
from enlarger.errors import DeadlineExceeded, EngineFailed, EnlargerError, ModelNotHere, OutOfMemory


@pytest.mark.parametrize(
    "error",
    [ModelNotHere("not here"), OutOfMemory("full", retry_after_s=3), DeadlineExceeded("late")],
    ids=lambda error: error.code,
)
def test_error_survives_the_way(error: EnlargerError) -> None:
    """Class, text and pause are those of the replica."""
    arrived = pickle.loads(pickle.dumps(TileFault.of(error))).error()  # noqa: S301 - our own bytes
    assert type(arrived) is type(error)
    assert (str(arrived), arrived.retry_after_s) == (str(error), error.retry_after_s)


def test_unknown_code_is_a_failed_engine() -> None:
    """A replica of another version may fail in a way that this version does not know."""
    error = TileFault("brand_new", "text").error()
    assert isinstance(error, EngineFailed)
    assert "brand_new" in str(error)
