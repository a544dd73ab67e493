"""API keys of services in tests."""

from __future__ import annotations

import hashlib

KEY = "a secret"


KEYS = f"alice:sha256-{hashlib.sha256(KEY.encode()).hexdigest()}"
