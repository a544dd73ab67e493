"""The names that other services and their clients have for our models."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from enlarger.api.dialects.dialect import fault_of
from enlarger.errors import UnknownModel
from enlarger.models import Catalogue, not_installed_text
from enlarger.options import AUTO, DETECT

ALIASES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "realesrgan-x4plus": (
            "R-ESRGAN 4x+",
            "RealESRGAN_x4plus",
            "RealESRGAN-x4plus",
            "General - RealESRGANplus",
        ),
        "realesrgan-x4plus-anime": (
            "R-ESRGAN 4x+ Anime6B",
            "RealESRGAN_x4plus_anime_6B",
            "RealESRGAN-x4plus-anime",
            "Anime - anime6B",
        ),
        "realesr-animevideov3": ("R-ESRGAN AnimeVideo", "AnimeVideo - v3"),
        "realesrgan-x2plus": ("R-ESRGAN 2x+", "RealESRGAN_x2plus"),
        "realesr-general-x4v3": ("R-ESRGAN General 4xV3", "General - v3"),
        "realesr-general-wdn-x4v3": ("R-ESRGAN General WDN 4xV3",),
    }
)
"""Names of the same weights elsewhere, by our id. The first is that of AUTOMATIC1111."""

_IDS = {name: id_ for id_, names in ALIASES.items() for name in names}

_PLAIN = ("none", "lanczos", "nearest", "bicubic", "bilinear")
"""Upscalers of other services that are not models."""


def model_named(name: object, catalogue: Catalogue, *, field: str) -> str:
    """The id of the model with a name; ``auto`` and ``detect`` stay.

    Args:
        name: one of our ids, or an alias.
        catalogue: the installed models.
        field: the field of the request that has the name.

    Raises:
        InvalidOption: it is not a string, or the name of plain resampling.
        UnknownModel: no such model is installed.
    """
    if not isinstance(name, str):
        raise fault_of(field, "range", "it must be a string")
    id_ = _IDS.get(name, name)
    if id_ in (AUTO, DETECT) or id_ in {model.id for model in catalogue}:
        return id_
    if name.lower() in _PLAIN:
        raise fault_of(
            field,
            "range",
            f"{name} is plain resampling, which is never passed off as a model here; GET /v1/models lists the models",
        )
    raise UnknownModel(not_installed_text(name, names_of(catalogue)))


def names_of(catalogue: Catalogue) -> list[str]:
    """The ids of the installed models, each followed by its best known name, if it has one."""
    return [name for model in catalogue for name in (model.id, *ALIASES.get(model.id, ())[:1])]
