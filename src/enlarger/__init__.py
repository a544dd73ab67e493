"""enlarger: Real-ESRGAN behind an async HTTP API, one picture on many model servers."""

__version__ = "0.1.0"
