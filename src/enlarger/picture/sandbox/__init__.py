"""Decodes untrusted pictures in separate processes, which can be killed."""
