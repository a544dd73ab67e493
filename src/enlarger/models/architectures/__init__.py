"""The kinds of networks that can run here, a module for each; nothing else knows one from another."""

from typing import Literal

from enlarger.models.architectures.compact import Compact
from enlarger.models.architectures.kind import Kind
from enlarger.models.architectures.rrdb import Rrdb

Architecture = Literal["rrdb", "compact"]

KINDS: dict[str, Kind] = {kind.name: kind for kind in (Rrdb(), Compact())}
"""By the name that rows of the catalogue give."""

__all__ = ["KINDS", "Architecture", "Kind"]
