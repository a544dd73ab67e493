"""Code blocks of the documentation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: Path
    language: str
    text: str


def blocks_of(page: Path) -> list[Block]:
    """All of a page, in order."""
    found = re.findall(r"^( *)```(\w*)\n(.*?)^\1```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return [Block(page, language, text) for _, language, text in found]


def texts_on(page: Path, language: str) -> list[str]:
    """The blocks of a page in one language, in order."""
    return [block.text for block in blocks_of(page) if block.language == language]


def commands_on(page: Path) -> list[str]:
    """What a reader of a page types, in order."""
    return texts_on(page, "sh")
