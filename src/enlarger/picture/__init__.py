"""Pictures: bytes to samples and back, and what a picture carries besides."""
