"""What shells offer after Tab, besides the names of options and commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Literal, get_args, get_origin


def models() -> list[tuple[str, str]]:
    """Return what ``--model`` takes here: the ids of models, each with what it is for, and the words in place of one."""
    words = [("auto", "the usual model"), ("detect", "a model for what the picture shows")]
    return [*words, *installed_models()]


def installed_models() -> list[tuple[str, str]]:
    """Return the ids of the models that can be used here, each with what it is for."""
    from enlarger import config
    from enlarger.errors import EnlargerError
    from enlarger.models import Catalogue

    with suppress(EnlargerError):  # a prompt is no place for messages
        catalogue, _ = Catalogue.examined(config.load().server.model_dir, hashed=False)
        return [(model.id, model.marked_title) for model in catalogue]
    return []


def own_models() -> list[str]:
    """Return what `enlarger models remove` takes: ids of the models in ``MODEL_DIR``, and names of rows that are damaged."""
    from enlarger import config
    from enlarger.errors import EnlargerError
    from enlarger.models.adding import removable_in

    with suppress(EnlargerError, OSError):
        return sorted(removable_in(config.load().server.model_dir))
    return []


def words_of(option: str) -> Callable[[], list[str]]:
    """Return a function that lists the words that an option of a request takes.

    Args:
        option: name of a field of ``Options``.
    """

    def words() -> list[str]:
        from enlarger.options import FORMAT_ALIASES, Options

        found = list(_literals(Options.model_fields[option].annotation))
        return [*found, *FORMAT_ALIASES] if option == "format" else found

    return words


def _literals(annotation: object) -> Iterator[str]:
    """Return the words of all literals in an annotation."""
    for part in get_args(annotation):
        if get_origin(annotation) is Literal:
            if isinstance(part, str):
                yield part
        else:
            yield from _literals(part)
