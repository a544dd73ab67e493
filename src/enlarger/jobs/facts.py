"""What a row keeps of a picture, a result and an error: facts, from which each reader makes its own answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from enlarger.engine.device import CPU
from enlarger.errors import EnlargerError, Fault, InvalidOption, by_code
from enlarger.picture.formats import MEDIA_TYPES
from enlarger.picture.values import Content, Header, Note
from enlarger.pipeline.outcome import Outcome
from enlarger.pipeline.result_cache import Found


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFacts:
    """What is known of a picture before it is decoded."""

    width_px: int
    height_px: int
    size_bytes: int
    format: str
    content: Content | None = None
    """What its pixels show; None unless they were looked at."""

    @classmethod
    def of(cls, header: Header, size_bytes: int) -> Self:
        """Return the facts of a file of ``size_bytes`` with this header."""
        return cls(
            width_px=header.width_px,
            height_px=header.height_px,
            size_bytes=size_bytes,
            format=header.format,
            content=header.content,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What ran for a picture, and what became of it on the way."""

    model: str
    model_sha256: str
    engine: str
    precision: str
    tiles: int
    servers: int
    """Model servers that computed its tiles."""

    retried: int
    """How often a tile had to be sent again."""

    repeated: Mapping[str, int]
    """Tiles that were computed again, by reason."""

    reused: int
    """Tiles that were equal to another one and needed no computing."""

    color_delta: float
    """See ``Ran.color_delta``."""

    kept: tuple[str, ...]
    """What the file has of the picture besides its pixels."""

    notes: tuple[Note, ...]
    """All that was changed on the way."""

    found: Found
    """Whether the result was computed for this request."""

    denoise: int | None = None
    """The noise level of the model; None if it has no such choice."""
    device: str = CPU.id
    """Name and driver of the device that computed."""

    device_class: str = CPU.tile_class
    """Class of devices whose tiles the picture was cut into."""

    @classmethod
    def of(cls, outcome: Outcome) -> Self:
        """Return the facts of a finished request."""
        ran = outcome.ran
        return cls(
            model=ran.model,
            model_sha256=ran.model_sha256,
            engine=ran.engine,
            precision=ran.precision,
            tiles=ran.tiles,
            servers=len(ran.tiles_by_server),
            retried=ran.retried,
            repeated=dict(ran.repeated),
            reused=ran.reused,
            color_delta=ran.color_delta,
            kept=outcome.kept,
            notes=outcome.notes,
            found=outcome.found,
            denoise=ran.denoise,
            device=ran.device.id,
            device_class=ran.device.tile_class,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultFacts:
    """What was made of a picture."""

    input: InputFacts
    media_type: str
    size_bytes: int
    sha256: str
    """The hash of the file, as 64 hexadecimal digits."""

    width_px: int
    height_px: int
    scale: float
    """How many times wider the whole result is than the whole picture."""

    run: RunFacts
    stages_s: Mapping[str, float]
    """Seconds of this request by stage."""

    took_s: float

    @classmethod
    def of(cls, outcome: Outcome) -> Self:
        """Return the facts of a finished request."""
        stored = outcome.stored
        return cls(
            input=InputFacts.of(outcome.header, outcome.input_bytes),
            media_type=MEDIA_TYPES[stored.suffix],
            size_bytes=stored.size_bytes,
            sha256=stored.sha256,
            width_px=outcome.width_px,
            height_px=outcome.height_px,
            scale=outcome.scale,
            run=RunFacts.of(outcome),
            stages_s=dict(outcome.stages_s),
            took_s=outcome.took_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorFacts:
    """Why a job has failed."""

    code: str
    detail: str
    """The text of the error, which is written for the sender."""

    faults: tuple[Fault, ...] = ()
    """The options that are wrong, if the error is about options."""

    limit: int | None = None
    actual: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The numbers of the error by name, from which each contract makes its own sentence."""

    @classmethod
    def of(cls, error: EnlargerError) -> Self:
        """Return the facts of an error."""
        return cls(
            code=error.code,
            detail=str(error),
            faults=error.faults if isinstance(error, InvalidOption) else (),
            limit=error.limit,
            actual=error.actual,
            facts=dict(error.facts),
        )

    def error(self) -> EnlargerError:
        """Return the error again; one whose code this version does not know is an internal error."""
        kind = by_code(self.code) or EnlargerError
        error = kind.__new__(kind)
        # Some classes are made of more than is answered, and so than is kept.
        EnlargerError.__init__(
            error, self.detail, limit=self.limit, actual=self.actual, facts=self.facts
        )
        if isinstance(error, InvalidOption):
            error.faults = self.faults
        return error
