"""The page at ``/``: static files for browsers, which use the public routes of the service alone."""
