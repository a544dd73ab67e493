"""The full API under ``/v1``: requests, answers, errors and routes."""

from enlarger.api.v1.routes import V1

__all__ = ["V1"]
