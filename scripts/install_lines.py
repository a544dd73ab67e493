"""Write on all pages how the package is installed today: from a clone, or by its name (``enlarger.installation``)."""

from __future__ import annotations

import re
from pathlib import Path

from enlarger.installation import PUBLISHED

ROOT = Path(__file__).parents[1]

_EXTRA = re.compile(r"""pip install (["'])(?:\.|enlarger)\[(\w+)\]\1""")
_PLAIN = re.compile(r"python -m pip install (?:\.|enlarger)(?=[`\s])")


def pages() -> list[Path]:
    """Return the pages for users."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def rewritten(text: str, *, published: bool = PUBLISHED) -> str:
    """Return a page with the commands that work today."""
    name = "enlarger" if published else "."
    text = _EXTRA.sub(lambda found: f"pip install {found[1]}{name}[{found[2]}]{found[1]}", text)
    return _PLAIN.sub(f"python -m pip install {name}", text)


def main() -> None:
    """Rewrite what differs."""
    for page in pages():
        text = page.read_text()
        if (today := rewritten(text)) != text:
            page.write_text(today)


if __name__ == "__main__":
    main()
