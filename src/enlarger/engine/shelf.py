"""The models that a gateway offers now, and how processes follow ``MODEL_DIR`` while they run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from enlarger.errors import OpenFilesExhausted
from enlarger.models import Catalogue, Model
from enlarger.models.copies import Copies
from enlarger.models.folder import LeftOut, ModelFolder
from enlarger.reasons import reason_of
from enlarger.repeated import Repeated

log = structlog.get_logger()

LOOK_EVERY_S = 1.0
"""Seconds between two looks at ``MODEL_DIR``."""

_USE_COPIES_EVERY = 600
"""Looks between two times that copies of models are marked as used, and old ones are deleted."""

_NEXT_START = "the next start will refuse it; `enlarger models check` shows what is wrong"


@dataclass(slots=True)
class Shelf:
    """The catalogue that is offered now. It is replaced as a whole, so whoever has begun with one keeps it."""

    catalogue: Catalogue
    left_out: tuple[LeftOut, ...] = ()
    """The rows of ``MODEL_DIR`` that are not offered as they are now."""


def adopted(
    current: Catalogue, wanted: Catalogue, is_served: Callable[[Model], bool]
) -> tuple[Catalogue, list[Model]]:
    """Return the catalogue to offer, and the models that are to be offered once a model server has them.

    Each process follows its own folder. A gateway that sees a model first must not plan pictures with it yet: no model
    server could compute their tiles. What was offered before is offered until then.

    Args:
        current: what is offered now.
        wanted: what the folder has now.
        is_served: returns whether a model server has this network.
    """
    before = {model.id: model for model in current}
    models, waiting = [], []
    for model in wanted:
        known = before.get(model.id)
        is_known = known is not None and known.computes_as(model)
        if is_known or all(is_served(network) for network in model.networks):
            models.append(model)
            continue
        waiting.append(model)
        if known is not None:
            models.append(known)
    return Catalogue(models), waiting


class Restocking:
    """Keeps a shelf up to date with ``MODEL_DIR``, and logs what changes.

    Args:
        shelf: what is offered.
        folder: what the folder has.
        is_served: see ``adopted``.
    """

    def __init__(
        self, shelf: Shelf, folder: ModelFolder, is_served: Callable[[Model], bool]
    ) -> None:
        self._shelf = shelf
        self._folder = folder
        self._is_served = is_served
        self._faults = folder.left_out

    async def run(self, *, every_s: float = LOOK_EVERY_S) -> None:
        """Follow the folder for ever."""
        await follow(self._folder, self._update, every_s=every_s)

    def _update(self, has_changed: bool) -> None:
        del (
            has_changed
        )  # a model server may have a model only now that the folder has had for a while
        shelf, folder = self._shelf, self._folder
        catalogue, waiting = adopted(shelf.catalogue, folder.catalogue, self._is_served)
        _log_changes(shelf.catalogue, catalogue)
        log_faults(self._faults, folder.left_out)
        self._faults = folder.left_out
        offered = {model.id for model in catalogue}
        shelf.catalogue = catalogue
        shelf.left_out = folder.left_out + tuple(
            LeftOut(
                folder.rows[model.id],
                "no model server has it yet",
                model.id if model.id in offered else None,
            )
            for model in waiting
            if model.id in folder.rows
        )


def models_in(model_dir: Path, *, copies_in: Path, is_checked: bool) -> ModelFolder:
    """Return the models of ``MODEL_DIR`` for an engine.

    Args:
        model_dir: the folder.
        copies_in: the folder for copies of them.
        is_checked: the models were checked before. One that broke since then must not keep the others from coming
            back.

    Raises:
        ConfigError, WeightsError: the folder or a model cannot be used.
    """
    models = ModelFolder(model_dir, Copies(copies_in, model_dir))
    if is_checked:
        models.start_again()
        log_faults((), models.left_out)
    else:
        models.start()
    return models


async def offer_those_in(models: ModelFolder, offer: Callable[[Catalogue], None]) -> None:
    """Follow ``MODEL_DIR`` for ever, and have an engine offer the models as they are at each time."""
    faults = models.left_out

    def looked(has_changed: bool) -> None:
        nonlocal faults
        if has_changed:
            log_faults(faults, models.left_out)
            faults = models.left_out
            offer(models.catalogue)

    await follow(models, looked)


async def follow(
    folder: ModelFolder, looked: Callable[[bool], None], *, every_s: float = LOOK_EVERY_S
) -> None:
    """Look at ``MODEL_DIR`` for ever.

    Args:
        folder: looks at it.
        looked: called after each look with whether a model or a fault is another one now.
        every_s: seconds between two looks.
    """
    broken = Repeated()
    looks = 0
    while True:
        await asyncio.sleep(every_s)
        looks += 1
        try:
            looked(await asyncio.to_thread(folder.look))
            if looks % _USE_COPIES_EVERY == 0:
                await asyncio.to_thread(folder.use_copies)
            broken.over()
        except OpenFilesExhausted as error:
            if (left_out := broken.occurred()) is not None:
                log.warning("models_not_followed", reason=reason_of(error), left_out=left_out)
        except (
            Exception
        ):  # nobody waits for this task: it would end unseen, and no change would be noticed
            if (left_out := broken.occurred()) is not None:
                log.exception("models_not_followed", left_out=left_out)


def log_faults(before: tuple[LeftOut, ...], now: tuple[LeftOut, ...]) -> None:
    """Log each row that cannot be used, unless it was so before for the same reason."""
    for row in now:
        if row not in before:
            log.error(
                "model_left_out",
                row=row.row,
                reason=row.reason,
                still_offered=row.model,
                hint=_NEXT_START,
            )


def _log_changes(before: Catalogue, now: Catalogue) -> None:
    known = {model.id: model for model in before}
    left = known.keys() - {model.id for model in now}
    for model in now:
        if model.id not in known:
            log.info("model_added", model=model.id, sha256=model.sha256)
        elif not known[model.id].computes_as(model):
            log.info("model_replaced", model=model.id, sha256=model.sha256)
    for model_id in sorted(left):
        log.info("model_gone", model=model_id)
