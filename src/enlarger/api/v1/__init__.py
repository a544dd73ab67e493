"""The full API under ``/v1``: requests, answers, errors and routes."""
