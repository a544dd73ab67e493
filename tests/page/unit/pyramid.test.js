import assert from "node:assert/strict";
import { test } from "node:test";
import { lastLevel, levelFor, TILE_PX, tilesIn } from "../../../src/enlarger/page/static/pyramid.js";

const size = { width: 5000, height: 3100 };
const whole = { x: 0, y: 0, ...size };

test("tiles of a level cover the picture, each pixel once", () => {
  for (let level = 0; level <= lastLevel(size); level++) {
    const tiles = tilesIn(size, level, whole);
    const area = tiles.reduce((sum, tile) => sum + tile.width * tile.height, 0);
    assert.equal(area, size.width * size.height);
    assert.ok(tiles.every((tile) => tile.width <= TILE_PX * 2 ** level));
    assert.equal(new Set(tiles.map((tile) => tile.key)).size, tiles.length);
  }
});

test("the last level is one tile", () => {
  assert.equal(tilesIn(size, lastLevel(size), whole).length, 1);
  assert.equal(lastLevel({ width: 30, height: 20 }), 0);
});

test("a level has at least the pixels of the screen, and less than four times as many", () => {
  for (const scale of [0.06, 0.1, 0.24, 0.25, 0.26, 0.5, 0.99, 1, 3]) {
    const reduced = 2 ** -levelFor(scale, size);
    assert.ok(reduced >= Math.min(1, scale) - 1e-9, `${scale}`);
    if (reduced < 1) assert.ok(reduced < scale * 2);
  }
});

test("only what is seen is asked for, the middle first", () => {
  const tiles = tilesIn(size, 0, { x: 600, y: 600, width: 1000, height: 400 });
  assert.equal(tiles.length, 3);
  assert.equal(tiles[0].x, TILE_PX * 2);
  assert.deepEqual(tilesIn(size, 0, { x: 6000, y: 0, width: 10, height: 10 }), []);
  assert.ok(tilesIn(size, 0, { x: -900, y: -900, width: 1000, height: 1000 }).length === 1);
});
