"""The page's texts about what the service has: models, and notes about results."""

from __future__ import annotations

import re
import tomllib

from support.places import REPOSITORY

from enlarger.options import Options
from enlarger.page.files import FOLDER

_TEXTS = (FOLDER / "texts" / "en.js").read_text()
_REFERENCE = (REPOSITORY / "docs" / "reference" / "http-api.md").read_text()
_BUILTIN = (REPOSITORY / "src" / "enlarger" / "models" / "builtin.toml").read_text()


def named(family: str) -> set[str]:
    """The names that have a text. A test of the page's modules checks that all languages have the same ones."""
    return set(re.findall(rf'^  "{family}\.([\w+-]+)"', _TEXTS, re.MULTILINE))


def test_notes_are_in_the_words_of_the_page() -> None:
    """Each code of the reference has a text, so that no visitor reads the service's own terms alone."""
    table = _REFERENCE.split("`notes` lists what was changed:")[1].split("\n\n")[1]
    codes = {
        code for line in table.splitlines() for code in re.findall(r"`(\w+)`", line.split("|")[1])
    }
    assert len(codes) > 30
    assert named("note") == codes


def test_models_of_the_wheels_say_what_they_are_for() -> None:
    """In the visitor's language, and so does each word that stands for a model."""
    ids = {row["id"] for wheel in tomllib.loads(_BUILTIN)["wheels"] for row in wheel["models"]}
    assert named("model") == ids | {"auto", "detect", "nonCommercial"}


def test_options_are_explained_in_the_words_of_the_page() -> None:
    """Each option behind the button has a name and a hint; only later ones fall back on the service's description."""
    on_the_line = {"model", "scale", "width", "height", "long_side", "short_side", "format"}
    further = set(Options.model_fields) - on_the_line - {"region"}
    assert named("hint") == further
    assert named("option") >= further
