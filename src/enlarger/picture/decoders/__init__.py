"""Decoders: from the bytes of a file to samples as they are stored, a module for each library or format."""
