"""Models: the catalogue of those installed, and readers of their weight files."""

from enlarger.models.catalogue import Catalogue, Model
from enlarger.models.ranges import Ranges
from enlarger.models.weights import Convolution, Layer, Slopes

__all__ = ["Catalogue", "Convolution", "Layer", "Model", "Ranges", "Slopes"]
