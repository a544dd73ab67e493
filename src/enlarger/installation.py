"""How users install this package and its extras."""

from __future__ import annotations

PUBLISHED = False
"""Whether PyPI has this package as ``enlarger``. Until then, nobody may be told to install whatever has that name.

To switch: set it to True, and run ``python scripts/install_lines.py``, which changes the pages."""


def install_command(extra: str) -> str:
    """Return what a user types to install an extra, such as ``ray``."""
    if PUBLISHED:
        return f"pip install 'enlarger[{extra}]'"
    return f"pip install '.[{extra}]' in the clone of enlarger"
