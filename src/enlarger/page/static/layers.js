// What a canvas shows, one above the other. A layer draws itself into a frame:
// `{scale, left, top, x, y, width, height}` in device pixels: `left` and `top` are where the picture begins, the others the box that is seen.

import { lastLevel, levelFor, tileAt, tilesIn } from "./pyramid.js";
import { MOST_ZOOM } from "./view.js";
import { decoder } from "./workers.js";

/** Tiles of a result in memory: 1 MiB each. */
const MOST_TILES = 96;
const MOST_CALLS = 4;
const FADE_MS = 260;
const GLOW_MS = 900;

/** The most pixels that tiles of a running job hold together; of a larger result they are kept reduced. */
const MOST_LIVE_PX = 24e6;

/** Draw a bitmap at a place of the picture. Edges are on whole device pixels, so that neighbours meet. */
function drawAt(context, frame, bitmap, place) {
  // A frame that was asked for before a picture went may come after it. A closed bitmap has no width.
  if (!bitmap.width) return;
  const left = Math.round(frame.left + place.x * frame.scale);
  const top = Math.round(frame.top + place.y * frame.scale);
  const right = Math.round(frame.left + (place.x + place.width) * frame.scale);
  const bottom = Math.round(frame.top + (place.y + place.height) * frame.scale);
  if (right <= frame.x || bottom <= frame.y) return;
  if (left >= frame.x + frame.width || top >= frame.y + frame.height) return;
  // So large that its pixels are to be seen: a result of very few.
  context.imageSmoothingEnabled = frame.scale <= MOST_ZOOM;
  context.drawImage(bitmap, left, top, right - left, bottom - top);
}

/** The part of the picture that a frame shows. */
function seenPart(frame) {
  return {
    x: (frame.x - frame.left) / frame.scale,
    y: (frame.y - frame.top) / frame.scale,
    width: frame.width / frame.scale,
    height: frame.height / frame.scale,
  };
}

/** One bitmap, stretched by the browser to a place of the picture. */
export class BitmapLayer {
  /**
   * @param {ImageBitmap} bitmap
   * @param {{x: number, y: number, width: number, height: number}} place in pixels of the result
   * @param {{isWhole?: boolean}} [options] whether nothing below it is seen
   */
  constructor(bitmap, place, { isWhole = false } = {}) {
    this.bitmap = bitmap;
    this.place = place;
    this.isWhole = isWhole;
  }

  draw(context, frame) {
    drawAt(context, frame, this.bitmap, this.place);
  }

  close() {
    this.bitmap.close();
  }
}

/** Tiles of a job that runs, each fading in where it belongs. */
export class LiveLayer {
  #tiles = new Map();
  #size;
  #changed;
  #isClosed = false;
  #isCalm;

  constructor(size, changed, isCalm) {
    this.#size = size;
    this.#changed = changed;
    this.#isCalm = isCalm;
  }

  has(index) {
    return this.#tiles.has(index);
  }

  /** Whether no tile is there yet. */
  get isEmpty() {
    return ![...this.#tiles.values()].some(Boolean);
  }

  /** Show a tile, whose file is still to be fetched. */
  async add(place, fetchBlob) {
    if (this.#tiles.has(place.index)) return;
    this.#tiles.set(place.index, null);
    try {
      const blob = await fetchBlob();
      const reduced = Math.min(1, Math.sqrt(MOST_LIVE_PX / (this.#size.width * this.#size.height)));
      const side = (length) => Math.max(1, Math.round(length * reduced));
      const options = { resizeWidth: side(place.w), resizeHeight: side(place.h), resizeQuality: "medium" };
      const bitmap = await createImageBitmap(blob, reduced < 1 ? options : {});
      if (this.#isClosed) {
        bitmap.close();
        return;
      }
      this.#tiles.set(place.index, {
        bitmap,
        place: { x: place.x, y: place.y, width: place.w, height: place.h },
        bornAt: performance.now(),
      });
      this.#changed();
    } catch {
      this.#tiles.delete(place.index);
    }
  }

  draw(context, frame) {
    const now = performance.now();
    const fresh = [];
    for (const tile of this.#tiles.values()) {
      if (!tile) continue;
      const age = this.#isCalm() ? Number.POSITIVE_INFINITY : now - tile.bornAt;
      context.globalAlpha = Math.min(1, age / FADE_MS);
      drawAt(context, frame, tile.bitmap, tile.place);
      if (age < GLOW_MS) fresh.push({ tile, glow: 1 - age / GLOW_MS });
    }
    for (const { tile, glow } of fresh) {
      context.globalAlpha = glow * 0.9;
      context.strokeStyle = "#ff8a3d";
      context.lineWidth = 2;
      const { x, y, width, height } = tile.place;
      context.strokeRect(
        Math.round(frame.left + x * frame.scale) + 1,
        Math.round(frame.top + y * frame.scale) + 1,
        Math.round(width * frame.scale) - 2,
        Math.round(height * frame.scale) - 2,
      );
    }
    context.globalAlpha = 1;
    if (fresh.length) this.#changed();
  }

  close() {
    this.#isClosed = true;
    for (const tile of this.#tiles.values()) tile?.bitmap.close();
    this.#tiles.clear();
  }
}

/** A finished picture of any size: a worker decodes it once and cuts the tiles that are seen. */
export class PyramidLayer {
  /** Nothing below it is seen: its coarsest tile is always there. */
  isWhole = true;
  #id;
  #changed;
  #tiles = new Map();
  #wanted = [];
  #calls = 0;
  #isClosed = false;

  static #next = 0;

  /**
   * Decode a file.
   *
   * @throws {Error} the browser cannot show it
   */
  static async open(blob, changed) {
    const id = PyramidLayer.#next++;
    const size = await decoder.call("open", { id, blob });
    const layer = new PyramidLayer(id, size, changed);
    await layer.#base();
    return layer;
  }

  constructor(id, size, changed) {
    this.#id = id;
    this.size = size;
    this.#changed = changed;
  }

  draw(context, frame) {
    const level = levelFor(frame.scale, this.size);
    const part = seenPart(frame);
    const seen = tilesIn(this.size, level, part);
    const isCovered = seen.every(({ key }) => this.#tiles.get(key)?.bitmap);
    // Coarse tiles lie below, until finer ones have come.
    const drawn = [...this.#tiles.values()].filter(
      (tile) => tile.bitmap && (isCovered ? tile.level === level : tile.level >= level),
    );
    for (const tile of drawn.sort((a, b) => b.level - a.level)) drawAt(context, frame, tile.bitmap, tile);
    for (const { key } of seen) this.#touch(key);
    this.#wanted = seen.filter((tile) => !this.#tiles.has(tile.key));
    this.#load();
  }

  close() {
    this.#isClosed = true;
    for (const tile of this.#tiles.values()) tile.bitmap?.close();
    this.#tiles.clear();
    decoder.call("close", { id: this.#id });
  }

  #touch(key) {
    const tile = this.#tiles.get(key);
    if (!tile) return;
    this.#tiles.delete(key);
    this.#tiles.set(key, tile);
  }

  async #base() {
    await this.#fetch(tileAt(this.size, lastLevel(this.size), 0, 0));
  }

  #load() {
    while (this.#calls < MOST_CALLS && this.#wanted.length) {
      const tile = this.#wanted.shift();
      if (!this.#tiles.has(tile.key)) this.#fetch(tile).catch(() => this.#tiles.delete(tile.key));
    }
  }

  async #fetch(tile) {
    this.#calls++;
    this.#tiles.set(tile.key, tile);
    try {
      tile.bitmap = await decoder.call("tile", { id: this.#id, ...tile });
      if (this.#isClosed) tile.bitmap.close();
    } finally {
      this.#calls--;
    }
    this.#forget();
    this.#changed();
  }

  /** Drop the tiles that were not seen for longest, but for the coarsest. */
  #forget() {
    const base = lastLevel(this.size);
    for (const [key, tile] of this.#tiles) {
      if (this.#tiles.size <= MOST_TILES) return;
      if (!tile.bitmap || tile.level === base) continue;
      tile.bitmap.close();
      this.#tiles.delete(key);
    }
  }
}
