"""Models: the catalogue of those installed, and readers of their weight files."""

from enlarger.models.catalogue import ASSUMED_CONTENT, Catalogue, not_installed_text
from enlarger.models.layers import Convolution, Layer, Slopes
from enlarger.models.model import Model
from enlarger.models.ranges import Ranges

__all__ = [
    "ASSUMED_CONTENT",
    "Catalogue",
    "Convolution",
    "Layer",
    "Model",
    "Ranges",
    "Slopes",
    "not_installed_text",
]
