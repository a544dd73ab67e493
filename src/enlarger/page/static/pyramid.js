// A large picture as small tiles at several sizes: only what is seen is ever in memory.

export const TILE_PX = 512;

/** The coarsest level: the whole picture is one tile there. */
export function lastLevel(size) {
  return Math.max(0, Math.ceil(Math.log2(Math.max(size.width, size.height) / TILE_PX)));
}

/** The level whose tiles are shown at `scale` device pixels per pixel: never fewer pixels than the screen has. */
export function levelFor(scale, size) {
  return Math.min(lastLevel(size), Math.max(0, Math.floor(Math.log2(1 / scale) + 1e-6)));
}

/** One tile, with its place in pixels of the whole picture. */
export function tileAt(size, level, column, row) {
  const step = TILE_PX * 2 ** level;
  const x = column * step;
  const y = row * step;
  return {
    key: `${level}/${column}/${row}`,
    level,
    x,
    y,
    width: Math.min(step, size.width - x),
    height: Math.min(step, size.height - y),
  };
}

/** Tiles of a level that meet a part of the picture, those in its middle first. */
export function tilesIn(size, level, part) {
  const step = TILE_PX * 2 ** level;
  const first = (start) => Math.max(0, Math.floor(start / step));
  const last = (end, length) => Math.min(Math.ceil(length / step), Math.ceil(end / step));
  const tiles = [];
  for (let row = first(part.y); row < last(part.y + part.height, size.height); row++) {
    for (let column = first(part.x); column < last(part.x + part.width, size.width); column++) {
      tiles.push(tileAt(size, level, column, row));
    }
  }
  const middleX = part.x + part.width / 2;
  const middleY = part.y + part.height / 2;
  const far = (tile) => Math.hypot(tile.x + tile.width / 2 - middleX, tile.y + tile.height / 2 - middleY);
  return tiles.sort((a, b) => far(a) - far(b));
}
