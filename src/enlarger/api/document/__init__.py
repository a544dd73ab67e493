"""What the service says of itself: an OpenAPI document, a page for people, and a text for language models."""
