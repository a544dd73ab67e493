"""The networks that an engine has loaded, within a memory budget. Each is checked on its golden picture first."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog

from enlarger.engine.faults import Faults
from enlarger.engine.golden_check import check_golden
from enlarger.engine.runtime import Network, Runtime
from enlarger.engine.tile import NetworkCounts
from enlarger.errors import DeviceLost, EngineFailed, EnlargerError, WrongOutput
from enlarger.models import Model

log = structlog.get_logger()

_LOADED_FACTOR = 7
"""Bytes that a loaded network takes for each byte of its weights in f16: measured 7 with x4plus, less with smaller ones.
They are there as they were read and as the processor wants them, both in f32."""

_LEAST_BYTES = 10 << 20
"""What the smallest networks take."""


class _Key(NamedTuple):
    model: Model
    precision: str
    streams: int


@dataclass(slots=True)
class _Slot:
    """A loaded network, or one that is being loaded."""

    network: Network | None = None
    tile_px: int = 0
    """LR pixels of the largest tile that it computed, whose buffers it keeps."""

    users: int = 0
    """Threads that compute with it now."""

    used_at: float = field(default_factory=time.monotonic)


class Networks:
    """Loaded networks by model, precision and streams; models that cannot be loaded; and the measured speed.

    Networks that were used longest ago are released when another one needs their memory. A network in use is never
    released: a thread that needs its memory waits until its tile is done. One network is always allowed, however large.

    Args:
        runtime: what loads the networks.
        budget_bytes: memory that all networks together may take; None is no limit.
    """

    def __init__(self, runtime: Runtime, *, budget_bytes: int | None = None) -> None:
        self._runtime = runtime
        self._budget_bytes = budget_bytes
        self._slots: dict[_Key, _Slot] = {}
        self._changed = threading.Condition()
        """Guards the slots. It is not held while a network is loaded or computes."""

        self._loading: _Key | None = None
        self._line: list[object] = []
        """Threads that wait for memory, the first one first. Nobody overtakes them, or they could wait for ever."""

        self._loads = self._releases = 0
        self._faults = Faults()
        self.mflop_per_s: float | None = None
        """Speed at which one tile is computed; None before the first."""

    @property
    def keys(self) -> list[tuple[str, str, int]]:
        """Model, precision and streams of each network in memory."""
        with self._changed:
            return [(key.model.id, key.precision, key.streams) for key in self._slots]

    @property
    def counts(self) -> NetworkCounts:
        """How many networks were loaded and released, and what those in memory take."""
        with self._changed:
            return NetworkCounts(
                loaded=sum(slot.network is not None for slot in self._slots.values()),
                held_bytes=self._held_bytes(),
                loads=self._loads,
                switches=self._releases,
            )

    def loaded(self, model: Model) -> tuple[str, ...]:
        """Return the precisions in which a model is in memory, or is being loaded."""
        with self._changed:
            return tuple(dict.fromkeys(key.precision for key in self._slots if key.model == model))

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

    def load(self, model: Model, precision: str, streams: int) -> None:
        """Load and check a network unless it is in memory; see ``using`` for the errors."""
        with self.using(model, precision, streams):
            pass

    @contextmanager
    def using(
        self, model: Model, precision: str, streams: int, *, tile_px: int = 0
    ) -> Iterator[Network]:
        """Return the network of a model for as long as the block lasts. It is loaded and checked if necessary.

        Args:
            model: the model.
            precision: a precision that the model has here.
            streams: threads that use the network at the same time.
            tile_px: LR pixels of the tile that it is used for.

        Raises:
            WeightsError: a file is missing or damaged, or does not match the model.
            WrongOutput: the network does not make the golden picture.
            EngineFailed: the runtime failed.
        """
        key = _Key(model, precision, streams)
        slot, is_new = self._take(key, tile_px)
        try:
            if is_new:
                self._fill(key, slot)
            assert slot.network is not None  # noqa: S101 - for the type checker: others wait for the loading
            yield slot.network
        finally:
            with self._changed:
                slot.users -= 1
                slot.used_at = time.monotonic()
                self._changed.notify_all()

    def _fill(self, key: _Key, slot: _Slot) -> None:
        """Load the network of a new slot, or remove the slot if that fails."""
        network = None
        try:
            network = self._load(*key)
            self._faults.forget(key.model, key.precision)
        finally:
            with self._changed:
                self._loading, slot.network = None, network
                if network is None:
                    del self._slots[key]
                else:
                    self._loads += 1
                self._changed.notify_all()

    def _take(self, key: _Key, tile_px: int) -> tuple[_Slot, bool]:
        """Wait until a network may be used, and count one user more; return whether it is still to be loaded."""
        me = object()
        with self._changed:
            try:
                while not self._may_use(key, tile_px, me):
                    self._changed.wait()
            finally:
                if me in self._line:
                    self._line.remove(me)
                    self._changed.notify_all()
            slot = self._slots.get(key)
            is_new = slot is None
            if slot is None:
                slot = self._slots[key] = _Slot()
                self._loading = key
            slot.users += 1
            slot.tile_px = max(slot.tile_px, tile_px)
            slot.used_at = time.monotonic()
        return slot, is_new

    def _may_use(self, key: _Key, tile_px: int, me: object) -> bool:
        """Return whether a network may be used now, or loaded; if it waits for memory, take a place in the line."""
        # One network is loaded at a time: that takes all cores, and the most memory.
        if self._loading == key or (key not in self._slots and self._loading is not None):
            return False
        if self._line and self._line[0] is not me:
            return False
        if self._make_room(key, tile_px):
            return True
        if me not in self._line:
            self._line.append(me)
        return False

    def _make_room(self, key: _Key, tile_px: int) -> bool:
        """Release idle networks until one has room for such a tile; return False if it has to wait for others."""
        if self._budget_bytes is None:
            return True
        own = self._slots.get(key)
        needed = _bytes_of(key, max(tile_px, own.tile_px if own else 0))
        while self._held_bytes(without=key) + needed > self._budget_bytes:
            others = [(other, slot) for other, slot in self._slots.items() if other != key]
            if not others:
                return True
            idle = [(other, slot) for other, slot in others if not slot.users]
            if not idle:
                return False
            oldest, _ = min(idle, key=lambda one: one[1].used_at)
            del self._slots[oldest]
            self._releases += 1
            log.info("model_released", model=oldest.model.id, precision=oldest.precision)
        return True

    def _held_bytes(self, *, without: _Key | None = None) -> int:
        return sum(
            _bytes_of(key, slot.tile_px) for key, slot in self._slots.items() if key != without
        )

    def check_device(self, model: Model, streams: int, cause: Exception) -> None:
        """See whether a device that failed on a tile still makes the golden picture in f32.

        Raises:
            DeviceLost: it does not.
        """
        try:
            self.check(model, "f32", streams)
        except EnlargerError as error:
            device = self._runtime.device.id
            raise DeviceLost(
                f"{device} does not compute any more: {cause}; then {error}"
            ) from cause

    def check(self, model: Model, precision: str, streams: int) -> None:
        """Check a network again on its golden picture; see ``using`` for the errors."""
        with self.using(model, precision, streams) as network:
            self._check(model, precision, network)

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
        black, white = model.black_and_white
        tolerance = self._runtime.tolerances[precision].within(white - black)
        self.measure(check_golden(model, precision, network, tolerance))


def _bytes_of(key: _Key, tile_px: int) -> int:
    """Return the memory of a network that has computed tiles of so many LR pixels."""
    weights = _LOADED_FACTOR * (key.model.size_bytes or 0)
    buffers = key.streams * tile_px * key.model.tile_bytes_per_px
    return max(_LEAST_BYTES, weights) + buffers
