"""Facts of results and errors: what rows keep, and what is made of it again."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter

from enlarger.api.v1.problems import problem_of
from enlarger.errors import EnlargerError, Fault, InvalidOption, OutputTooLarge, all_codes
from enlarger.jobs.facts import ErrorFacts


def again(error: EnlargerError) -> EnlargerError:
    """The error, by way of a row."""
    form = TypeAdapter(ErrorFacts)
    return form.validate_json(form.dump_json(ErrorFacts.of(error))).error()


@pytest.mark.parametrize("kind", sorted(set(all_codes().values()), key=str))
def test_problem_of_a_kept_error_is_that_of_the_error(kind: type[EnlargerError]) -> None:
    """This holds for each class of error, whatever arguments its constructor takes."""
    error = kind("it went wrong")
    error.limit, error.actual = 7, 8
    found = again(error)
    assert type(found) is kind
    assert problem_of(found, request_id="r-1") == problem_of(error, request_id="r-1")


def test_sentence_of_a_kept_error_has_its_numbers() -> None:
    """A contract makes its own sentence of an error from its facts, also when a job has kept it."""
    facts = {"rgb_bytes": 123, "hint": "; frames=2 fits"}
    error = OutputTooLarge("too large", limit=1, actual=2, facts=facts)
    body, _, _ = problem_of(again(error), request_id="r-1")
    assert body["detail"] == "Upscaled image would be too large: ~123 bytes; frames=2 fits"


def test_faults_of_options_are_kept() -> None:
    """All of them, in their order."""
    faults = (Fault("scale", "range", "at most 8"), Fault("ä", "unknown", "there is none"))
    found = again(InvalidOption("Invalid scale: at most 8", faults=faults))
    assert isinstance(found, InvalidOption)
    assert found.faults == faults


def test_error_that_is_not_known_is_internal() -> None:
    """It was written by a version that had more kinds; its text is not shown."""
    body, status, _ = problem_of(ErrorFacts(code="new", detail="x").error(), request_id="r-1")
    assert (status, body["code"]) == (500, "internal_error")
    assert body["detail"] != "x"
