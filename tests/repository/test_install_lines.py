"""What pages and errors tell users to type to install the package: today's form, and the other one by one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from install_lines import pages, rewritten
from support.places import REPOSITORY

from enlarger.installation import PUBLISHED, install_command


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_pages_have_the_commands_of_today(page: Path) -> None:
    """While PyPI does not have the package, a name would install whatever a stranger put there."""
    assert rewritten(page.read_text()) == page.read_text()


def test_one_line_switches_all_of_them() -> None:
    """Extras, and the package alone; the way back leads to the same text."""
    texts = [page.read_text() for page in pages()]
    named = [rewritten(text, published=True) for text in texts]
    assert any('pip install "enlarger[models]"' in text for text in named)
    assert any("python -m pip install enlarger`" in text for text in named)
    assert not any('pip install ".[' in text for text in named)
    assert [rewritten(text, published=PUBLISHED) for text in named] == texts


def test_errors_name_the_same_command() -> None:
    """The extra is quoted, because shells expand brackets."""
    name = "enlarger" if PUBLISHED else "."
    assert install_command("ray").startswith(f"pip install '{name}[ray]'")
