"""The networks that an engine has loaded. Each is checked on its golden picture before anything uses it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

import structlog

from enlarger.engine.faults import Faults
from enlarger.engine.golden_check import check_golden
from enlarger.engine.runtime import Network, Runtime
from enlarger.errors import EngineFailed, WrongOutput
from enlarger.models import Model

log = structlog.get_logger()


class Networks:
    """Loaded networks by model, precision and streams; models that cannot be loaded; and the measured speed.

    Args:
        runtime: what loads the networks.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._loaded: dict[tuple[str, str, int], Network] = {}
        self._faults = Faults()
        self._loading = threading.Lock()
        self.mflop_per_s: float | None = None
        """Speed at which one tile is computed; None before the first."""

    @property
    def keys(self) -> list[tuple[str, str, int]]:
        """Model, precision and streams of each loaded network."""
        return list(self._loaded)

    def measure(self, mflop_per_s: float) -> None:
        """Follow the speed; the newest tiles count most."""
        before = self.mflop_per_s
        self.mflop_per_s = mflop_per_s if before is None else 0.7 * before + 0.3 * mflop_per_s

    def fault(self, model: Model, precision: str) -> str | None:
        """Return why a model cannot be used; None if it can, or if one of its files has changed since."""
        return self._faults.reason(model, precision)

    def disable(self, model: Model, precisions: Iterable[str], reason: str) -> None:
        """Note that a model cannot be used in some precisions until one of its files changes."""
        self._faults.add(model, precisions, reason)

    def get(self, model: Model, precision: str, streams: int) -> Network:
        """Return the network of a model, which the first call loads and checks.

        Raises:
            WeightsError: a file is missing or damaged, or does not match the model.
            WrongOutput: the network does not make the golden picture.
            EngineFailed: the runtime failed.
        """
        key = (model.id, precision, streams)
        with self._loading:
            if key not in self._loaded:
                self._loaded[key] = self._load(model, precision, streams)
                self._faults.forget(model, precision)
            return self._loaded[key]

    def _load(self, model: Model, precision: str, streams: int) -> Network:
        started = time.perf_counter()
        network = self._restore(model, precision, streams)
        if network is None:
            network = self._runtime.make(model, precision, streams)
            self._check(model, precision, network)
            self._runtime.keep(model, precision, network)
        log.info(
            "model_loaded",
            model=model.id,
            precision=precision,
            took_s=round(time.perf_counter() - started, 2),
        )
        return network

    def _restore(self, model: Model, precision: str, streams: int) -> Network | None:
        """Return the network that an earlier run kept; None if there is none, or if it is damaged."""
        network = self._runtime.restore(model, precision, streams)
        if network is None:
            return None
        try:
            self._check(model, precision, network)
        except (EngineFailed, WrongOutput):
            log.warning("compiled_network_discarded", model=model.id, precision=precision)
            return None
        return network

    def _check(self, model: Model, precision: str, network: Network) -> None:
        """See ``check_golden``."""
        tolerance = self._runtime.tolerances[precision]
        self.measure(check_golden(model, precision, network, tolerance))
