"""The APIs of other services, so that their clients work with this one.

Each module reads the fields of its service into an ``UpscaleRequest``, writes an ``Outcome`` as its answer, and rewords a
problem as its error.
"""
