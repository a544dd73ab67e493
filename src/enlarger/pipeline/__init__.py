"""From a request to a finished picture, over any ``Engine``."""
