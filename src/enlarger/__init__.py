"""enlarger: Real-ESRGAN behind an async HTTP API, one picture on many model servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from enlarger.client import AsyncClient, Client

__version__ = "0.1.0"

__all__ = ["AsyncClient", "Client", "__version__"]


def __getattr__(name: str) -> Any:
    """The clients, imported when they are asked for: most of what imports this package is no client."""
    if name not in ("AsyncClient", "Client"):
        raise AttributeError(f"module 'enlarger' has no attribute '{name}'")
    from enlarger import client

    return getattr(client, name)
