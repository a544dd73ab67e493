"""The gateway's HTTP API. Routes are thin; what they answer is worked out below."""

from enlarger.api.app import Gateway

__all__ = ["Gateway"]
