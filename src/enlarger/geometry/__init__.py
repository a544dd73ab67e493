"""Geometry of pixels: rectangles, the tiles of a picture, the passes to a result. Pure arithmetic on plain values."""
