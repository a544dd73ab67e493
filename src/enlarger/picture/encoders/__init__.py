"""Encoders: from a prepared picture to the bytes of a file, a module for each library or format."""
