"""From a request to a finished picture, over any ``Engine``."""

from enlarger.pipeline.enlarging import Enlarged, Wanted, enlarge
from enlarger.pipeline.pipeline import Listener, Outcome, Pipeline

__all__ = ["Enlarged", "Listener", "Outcome", "Pipeline", "Wanted", "enlarge"]
