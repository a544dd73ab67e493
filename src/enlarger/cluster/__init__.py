"""Model replicas of a Ray Serve cluster as one engine. Nothing outside this package imports Ray."""
