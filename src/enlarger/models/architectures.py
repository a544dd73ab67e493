"""What the layers of a network must be for it to run here: the rules of each architecture, on the ``.param`` text alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from enlarger.models.weights import Outline

Architecture = Literal["rrdb", "compact"]

SCALE = 4
"""The only scale that networks have here."""

FEATURES = 64
"""Channels of an rrdb network between its blocks."""

_COLOURS = 3
_LEAK = 0.2
_LEAK_TOLERANCE = 1e-4
_AROUND_BLOCKS = 6
"""Convolutions of an rrdb network besides its dense blocks."""

_A_BLOCK = 15
"""Convolutions of a block: three dense blocks of five."""


@dataclass(frozen=True, slots=True)
class _Expected:
    """A convolution that an architecture has at some place."""

    inputs: int
    outputs: int
    is_leaky: bool = False

    def fits(self, outline: Outline) -> bool:
        slope = _LEAK if self.is_leaky else 1.0
        return (
            outline.kind == "Convolution"
            and (outline.inputs, outline.outputs) == (self.inputs, self.outputs)
            and abs(outline.slope - slope) < _LEAK_TOLERANCE
        )

    def __str__(self) -> str:
        return f"{self.inputs} to {self.outputs} channels{' with a leak of 0.2' if self.is_leaky else ''}"


def misfit(architecture: Architecture, outlines: Sequence[Outline]) -> str | None:
    """Why layers do not make a network of an architecture and of scale 4; None if they do.

    Args:
        architecture: what the row of the catalogue says.
        outlines: the layers with parameters, in order.
    """
    return _misfit_of_rrdb(outlines) if architecture == "rrdb" else _misfit_of_compact(outlines)


def dense_blocks(outlines: Sequence[Outline]) -> int:
    """How many dense blocks an rrdb network has."""
    return 3 * ((len(outlines) - _AROUND_BLOCKS) // _A_BLOCK)


def growth(outlines: Sequence[Outline]) -> int:
    """How many channels each convolution of a dense block adds in an rrdb network."""
    return outlines[1].outputs


def _misfit_of_rrdb(outlines: Sequence[Outline]) -> str | None:
    if any(outline.kind == "PReLU" for outline in outlines):
        return "it has PReLU layers, which networks of kind compact have"
    blocks, rest = divmod(len(outlines) - _AROUND_BLOCKS, _A_BLOCK)
    if rest or blocks < 1:
        return (
            f"it has {len(outlines)} convolutions; an rrdb network of scale {SCALE} has {_A_BLOCK} in each block "
            f"and {_AROUND_BLOCKS} besides"
        )
    if outlines[0].inputs in (4 * _COLOURS, 16 * _COLOURS):
        scale = 2 if outlines[0].inputs == 4 * _COLOURS else 1
        return f"it is an rrdb network of scale {scale}; only scale {SCALE} can run here"
    return _first_misfit(outlines, _rrdb(blocks, growth(outlines)))


def _rrdb(blocks: int, growth: int) -> Iterator[_Expected]:
    yield _Expected(_COLOURS, FEATURES)
    for _ in range(3 * blocks):
        for number in range(4):
            yield _Expected(FEATURES + number * growth, growth, is_leaky=True)
        yield _Expected(FEATURES + 4 * growth, FEATURES)
    yield _Expected(FEATURES, FEATURES)
    for _ in range(3):
        yield _Expected(FEATURES, FEATURES, is_leaky=True)
    yield _Expected(FEATURES, _COLOURS)


def _misfit_of_compact(outlines: Sequence[Outline]) -> str | None:
    kinds = [outline.kind for outline in outlines]
    alternating = ["Convolution", "PReLU"] * (len(kinds) // 2) + ["Convolution"]
    if kinds != alternating:
        return "a compact network has a PReLU between any two convolutions; this one has not"
    convolutions, activations = outlines[::2], outlines[1::2]
    for convolution, activation in zip(convolutions, activations, strict=False):
        if activation.outputs not in (1, convolution.outputs):
            return f"a PReLU has {activation.outputs} slopes for {convolution.outputs} channels"
    for side in range(1, 9):
        if side != SCALE and convolutions[-1].outputs == _COLOURS * side**2:
            return f"it is a compact network of scale {side}; only scale {SCALE} can run here"
    features = [convolution.outputs for convolution in convolutions[:-1]]
    expected = map(_Expected, [_COLOURS, *features], [*features, _COLOURS * SCALE**2])
    return _first_misfit(convolutions, expected)


def _first_misfit(found: Sequence[Outline], expected: Iterable[_Expected]) -> str | None:
    for number, (outline, rule) in enumerate(zip(found, expected, strict=True), start=1):
        if not rule.fits(outline):
            return f"convolution {number} is one of {_described(outline)}, where this architecture has {rule}"
    return None


def _described(outline: Outline) -> str:
    leak = "" if outline.slope == 1 else f" with a leak of {outline.slope:g}"
    return f"{outline.inputs} to {outline.outputs} channels{leak}"
