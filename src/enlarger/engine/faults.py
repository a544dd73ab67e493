"""Models that failed to load, until one of their files changes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from enlarger.models import Model
from enlarger.models.files import stamp_of


@dataclass(frozen=True, slots=True)
class _Fault:
    reason: str
    files: tuple[object, ...]
    """State of the model's files when it failed."""


class Faults:
    """The reasons why models failed to load, by model and precision."""

    def __init__(self) -> None:
        self._faults: dict[tuple[str, str], _Fault] = {}

    def reason(self, model: Model, precision: str) -> str | None:
        """Return why a model failed; None if it did not, or if one of its files has changed since."""
        fault = self._faults.get((model.id, precision))
        return fault.reason if fault is not None and fault.files == _state_of(model) else None

    def add(self, model: Model, precisions: Iterable[str], reason: str) -> None:
        """Note that a model failed in some precisions."""
        fault = _Fault(reason, _state_of(model))
        for precision in precisions:
            self._faults[model.id, precision] = fault

    def forget(self, model: Model, precision: str) -> None:
        """Note that a model has loaded."""
        self._faults.pop((model.id, precision), None)


def _state_of(model: Model) -> tuple[object, ...]:
    """Return a value that changes when one of a model's files does."""
    return tuple(map(stamp_of, (*model.files.paths, model.golden, model.ranges)))
