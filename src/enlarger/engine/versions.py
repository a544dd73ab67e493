"""The models that an engine computes: those that are offered now, and those that running pictures were planned with."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from enlarger.engine.tile import NetworkKey
from enlarger.models import Catalogue, Model

RETIRED_S = 3600.0
"""Tiles of a model that is no longer offered are computed for this long: no picture takes longer."""


class Versions:
    """Models by id and the hashes of their weights and of their graph.

    Args:
        catalogue: the models that are offered.
        clock: returns monotonic seconds.
    """

    def __init__(
        self, catalogue: Catalogue, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._current = _by_id(catalogue)
        self._retired: dict[Model, float] = {}
        """Models that were offered before, with the time when they were last."""

    def __iter__(self) -> Iterator[Model]:
        """Iterate over the current models, and then over those before them, the newest first."""
        yield from self._current.values()
        shown = list(self._current.values())
        until = self._clock() - RETIRED_S
        for model, retired_at in reversed(self._retired.items()):
            if retired_at >= until and not any(_have_same_network(model, one) for one in shown):
                shown.append(model)
                yield model

    def offer(self, catalogue: Catalogue) -> None:
        """Make these the current models."""
        now, before = self._clock(), self._current
        current = _by_id(catalogue)
        retired = {
            model: at for model, at in self._retired.items() if at >= now - RETIRED_S
        } | dict.fromkeys(before.values(), now)
        for model in current.values():
            retired.pop(model, None)
        # Threads and the event loop read them at any time: both are replaced as a whole.
        self._retired, self._current = retired, current

    def current(self, model_id: str) -> Model:
        """Return the model of an id that is offered now.

        Raises:
            KeyError: no such model is offered.
        """
        return self._current[model_id]

    def find(self, network: NetworkKey) -> Model | None:
        """Return the model with this network, of now or before; None if there is none.

        Args:
            network: the network. If it names no graph, the newest model with its weights is returned.
        """
        model_id, sha256, graph_sha256 = network
        return next(
            (
                one
                for one in self
                if (one.id, one.sha256) == (model_id, sha256)
                and graph_sha256 in {"", one.graph_sha256}
            ),
            None,
        )


def _have_same_network(model: Model, other: Model) -> bool:
    # The ids first: the file of another model, which may be missing, is not read.
    return model.id == other.id and model.network_key == other.network_key


def _by_id(catalogue: Catalogue) -> dict[str, Model]:
    """Return the networks by id: a model with noise levels has one for each."""
    return {network.id: network for model in catalogue for network in model.networks}
