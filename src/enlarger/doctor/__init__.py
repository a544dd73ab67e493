"""``enlarger doctor``: what is wrong with an installation, and what to do about it.

A module for each group of checks. It gathers facts, and a pure function turns the facts into findings.
``examination`` does all groups in their order.
"""

from enlarger.doctor.finding import Finding, Level

__all__ = ["Finding", "Level"]
