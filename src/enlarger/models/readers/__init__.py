"""Readers of weight files, one for each form."""
