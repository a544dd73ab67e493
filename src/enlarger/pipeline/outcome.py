"""What came of a request, and what would come of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from enlarger.errors import EnlargerError
from enlarger.picture.values import Header, Note, Picture
from enlarger.pipeline.result_cache import Found
from enlarger.storage import StoredResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What really ran for a picture."""

    model: str
    model_sha256: str
    engine: str
    precision: str
    tiles: int
    tiles_by_server: Counter[str] = field(default_factory=Counter)
    retried: int = 0
    """Times that a tile had to be sent again."""

    repeated: Counter[str] = field(default_factory=Counter)
    """Tiles that were computed again, by reason."""

    reused: int = 0
    """Tiles that were equal to another one and needed no computing."""

    infer_s: float = 0.0
    """Seconds of computing, summed over tiles."""

    color_delta: float = 0.0
    """Mean absolute difference in 8-bit steps between the input and the result averaged to its size; of two
    passes, after the first; of an animation, the mean of its frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enlarged:
    """An enlarged picture, and what really ran."""

    picture: Picture
    ran: Ran


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A finished request. Pixels are in its file alone."""

    ran: Ran
    stored: StoredResult
    width_px: int
    height_px: int
    scale: float
    """How many times wider the whole result is than the whole picture."""

    notes: tuple[Note, ...]
    """All that was changed on the way."""

    kept: tuple[str, ...]
    """What the file has of the picture besides its pixels."""

    header: Header
    input_bytes: int
    found: Found = "miss"
    """Whether it was computed for this request."""

    stages_s: Mapping[str, float] = field(default_factory=dict)
    """Seconds of this request by stage: ``fetch`` (and plan), and if it was computed for it ``queue``, ``decode``,
    ``infer`` and ``encode``."""

    took_s: float = 0.0

    eta_s: float | None = None
    """Seconds that it was expected to take when it was admitted; None if no speed was known, or if it was not
    computed for this request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a request would make and take, if it came now."""

    width_px: int
    height_px: int
    model: str
    precision: str | None
    """What it would be computed in; None while no server has the model ready."""

    tiles: int
    """For its colours; alpha takes as many again."""

    mflop: float
    """Computing, with that for alpha where the file may have some."""

    held_bytes: int
    """Memory for its pixels."""

    waiting: int
    """Requests that are here."""

    eta_s: float | None
    """Seconds until it would be done; None while no speed is known."""

    refusal: EnlargerError | None
    """Why it would be refused now, if it would."""
