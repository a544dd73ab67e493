"""The arithmetic of a network, by its name in requests, in settings and in the client."""

from __future__ import annotations

from typing import Literal

Precision = Literal["auto", "f32", "f16", "bf16", "int8"]
