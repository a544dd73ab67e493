"""The compatible contract, whole: the routes of the original service, their requests, answers and error texts."""
