import assert from "node:assert/strict";
import { test } from "node:test";
import { BitmapLayer } from "../../../src/enlarger/page/static/layers.js";

const FRAME = { left: 0, top: 0, scale: 1, x: 0, y: 0, width: 100, height: 100 };

test("a bitmap that was closed before its frame came is not drawn", () => {
  const drawn = [];
  const context = { drawImage: (bitmap) => drawn.push(bitmap.width) };
  const place = { x: 0, y: 0, width: 20, height: 10 };
  for (const width of [20, 0]) new BitmapLayer({ width, close() {} }, place).draw(context, FRAME);
  assert.deepEqual(drawn, [20]);
});
