"""Downloading a stranger's URL, or sending to one, without being led into the private network."""
