import assert from "node:assert/strict";
import { test } from "node:test";
import { framesIn } from "../../../src/enlarger/page/static/workers/frames.js";

const bytesOf = (...parts) =>
  Uint8Array.from(
    parts.flatMap((part) => (typeof part === "string" ? [...part].map((sign) => sign.charCodeAt(0)) : part)),
  );
const big = (value) => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
const little = (value) => big(value).reverse();

const gifHead = ["GIF89a", 4, 0, 4, 0, 0x80, 0, 0, 0, 0, 0, 255, 255, 255];
const gifFrame = [0x21, 0xf9, 4, 0, 5, 0, 0, 0, 0x2c, 0, 0, 0, 0, 4, 0, 4, 0, 0, 2, 3, 0x2c, 0x2c, 0x2c, 0];

test("frames of a GIF are counted, whatever its pixels look like", () => {
  const [text, ...rest] = gifHead;
  assert.equal(framesIn(bytesOf(text, rest, gifFrame, [0x3b])), 1);
  assert.equal(framesIn(bytesOf(text, rest, gifFrame, gifFrame, gifFrame, [0x3b])), 3);
  assert.equal(framesIn(bytesOf(text, rest, gifFrame, gifFrame.slice(0, 12))), 1);
  assert.equal(framesIn(bytesOf(text)), 1);
});

test("a PNG says how many frames it has", () => {
  const chunk = (name, data) => [...big(data.length), ...bytesOf(name), ...data, 0, 0, 0, 0];
  const head = ["\x89PNG\r\n\x1a\n", chunk("IHDR", Array(13).fill(0))];
  assert.equal(framesIn(bytesOf(...head, chunk("IDAT", [1, 2]))), 1);
  assert.equal(framesIn(bytesOf(...head, chunk("acTL", [...big(7), ...big(0)]), chunk("IDAT", [1, 2]))), 7);
  assert.equal(framesIn(bytesOf(...head)), 1);
});

test("frames of a WebP are counted", () => {
  const chunk = (name, data) => [...bytesOf(name), ...little(data.length), ...data, ...(data.length % 2 ? [0] : [])];
  const head = ["RIFF", little(99), "WEBP"];
  assert.equal(framesIn(bytesOf(...head, chunk("VP8 ", [1, 2, 3]))), 1);
  assert.equal(framesIn(bytesOf(...head, chunk("ANIM", [1]), chunk("ANMF", [1, 2, 3]), chunk("ANMF", [1]))), 2);
});

test("a sequence of AVIF is an animation, and other files are none", () => {
  assert.equal(framesIn(bytesOf(big(24), "ftypavis")), null);
  assert.equal(framesIn(bytesOf(big(24), "ftypavif")), 1);
  assert.equal(framesIn(bytesOf("II*\0")), 1);
  assert.equal(framesIn(new Uint8Array(0)), 1);
});
