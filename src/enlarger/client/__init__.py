"""The Python client: ``Client`` and ``AsyncClient`` are thin shells around the same steps.

``requests``, ``answers`` and ``retry`` are pure. ``calls`` describes each call step by step, and ``transport``
performs the steps, with or without ``await``. The client imports nothing of the server.
"""

from enlarger.client.asynchronous import AsyncClient, AsyncJobHandle
from enlarger.client.requests import Source, UpscaleOptions
from enlarger.client.synchronous import Client, JobHandle
from enlarger.client.values import Estimate, JobStatus, ModelInfo, Models, Tile, Upscaled

__all__ = [
    "AsyncClient",
    "AsyncJobHandle",
    "Client",
    "Estimate",
    "JobHandle",
    "JobStatus",
    "ModelInfo",
    "Models",
    "Source",
    "Tile",
    "UpscaleOptions",
    "Upscaled",
]
