"""Where pixels lie: rectangles, the tiles of a picture, the passes to a result. Arithmetic on plain values alone."""
