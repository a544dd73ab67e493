"""The kinds of networks that can run here.

A module for each kind states its scales, halo, tile size and cost. Each runtime has a module that builds its layers
(``engine/openvino/graphs``). A new kind adds these modules and a line to each registry; nothing else distinguishes kinds.
"""

from enlarger.models.architectures.compact import Compact
from enlarger.models.architectures.generic import Generic
from enlarger.models.architectures.kind import Kind
from enlarger.models.architectures.rrdb import Rrdb

KINDS: dict[str, Kind] = {kind.name: kind for kind in (Rrdb(), Compact(), Generic())}
"""The kinds by the name that rows of the catalogue use."""

__all__ = ["KINDS", "Kind"]
