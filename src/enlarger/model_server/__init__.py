"""One model server: an engine behind the tile contract."""
