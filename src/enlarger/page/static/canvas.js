// A canvas as large as what is seen, never as large as the picture: browsers limit canvases, iOS to 16,777,216 pixels.

import { h } from "./dom.js";

const MOST_PX = 16_777_216;
const REST_MS = 160;

export class Canvas {
  #draw;
  #isAsked = false;
  #context;
  #resting = null;

  /**
   * @param {string} label what it shows, for screen readers
   * @param {(context: CanvasRenderingContext2D, canvas: Canvas) => void} draw
   */
  constructor(label, draw) {
    this.element = h("canvas", { role: "img", "aria-label": label });
    this.#context = this.element.getContext("2d", { alpha: true });
    this.#draw = draw;
    this.width = 1;
    this.height = 1;
    this.ratio = 1;
  }

  /** Take the size of a box, in CSS pixels. */
  resize(width, height) {
    const device = globalThis.devicePixelRatio || 1;
    this.ratio = Math.min(device, Math.sqrt(MOST_PX / Math.max(1, width * height)));
    this.width = Math.max(1, Math.floor(width * this.ratio));
    this.height = Math.max(1, Math.floor(height * this.ratio));
    this.element.width = this.width;
    this.element.height = this.height;
    this.paint();
  }

  /** Draw now: a canvas that was resized is empty. What moves is drawn plainly, and finely once it rests. */
  paint(quality = "low") {
    clearTimeout(this.#resting);
    this.#context.clearRect(0, 0, this.width, this.height);
    this.#context.imageSmoothingQuality = quality;
    this.#draw(this.#context, this);
    if (quality === "low") this.#resting = setTimeout(() => this.paint("medium"), REST_MS);
  }

  /** Draw before the next frame of the screen, once. */
  invalidate = () => {
    if (this.#isAsked) return;
    this.#isAsked = true;
    requestAnimationFrame(() => {
      this.#isAsked = false;
      this.paint();
    });
  };
}

/** How a view's picture lies in a box of a canvas, in device pixels. */
export function frameOf(view, ratio, box) {
  const scale = view.zoom * ratio;
  return {
    scale,
    left: box.x + box.width / 2 - view.x * scale,
    top: box.y + box.height / 2 - view.y * scale,
    x: box.x,
    y: box.y,
    width: box.width,
    height: box.height,
  };
}

/** Draw inside a box alone. */
export function clipped(context, box, draw) {
  if (box.width <= 0 || box.height <= 0) return;
  context.save();
  context.beginPath();
  context.rect(box.x, box.y, box.width, box.height);
  context.clip();
  draw();
  context.restore();
}

let checks = null;

/** Draw the board that transparent pictures lie on. */
export function drawBoard(context, frame, size) {
  checks ??= makeChecks();
  context.fillStyle = context.createPattern(checks, "repeat");
  // No more than is seen: at 8:1 the picture may be as wide as a street.
  const left = Math.max(frame.x, Math.round(frame.left));
  const top = Math.max(frame.y, Math.round(frame.top));
  const right = Math.min(frame.x + frame.width, Math.round(frame.left + size.width * frame.scale));
  const bottom = Math.min(frame.y + frame.height, Math.round(frame.top + size.height * frame.scale));
  context.fillRect(left, top, Math.max(0, right - left), Math.max(0, bottom - top));
}

function makeChecks() {
  const side = 8;
  const canvas = h("canvas", { width: side * 2, height: side * 2 });
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, side * 2, side * 2);
  context.fillStyle = "#dcdcdc";
  context.fillRect(0, 0, side, side);
  context.fillRect(side, side, side, side);
  return canvas;
}
