"""Many model servers as one ``Engine``: choose, send, try elsewhere, supervise."""
