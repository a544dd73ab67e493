// Paints a scene: before and after, by the way in which they are compared.

import { clipped, drawBoard, frameOf } from "./canvas.js";

const LOUPE_PX = 150;

/** Layers of the two sides. What is not finished yet is shown as the browser enlarges it. */
function sidesOf({ before, after }) {
  const below = before ? [before] : [];
  const isWhole = after.some((layer) => layer.isWhole);
  return { before: below, after: [...(isWhole ? [] : below), ...after] };
}

/**
 * Paint a scene on a canvas.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {{width: number, height: number, ratio: number}} canvas in device pixels
 * @param {import("./view.js").View} view
 * @param {{before: Object|null, after: Object[], hasAlpha: boolean}} scene
 * @param {{mode: "plain"|"curtain"|"side"|"blink", split: number, showsBefore: boolean}} state `split` is the part of the width
 *   that shows the picture before
 */
export function paintScene(context, canvas, view, scene, { mode, split, showsBefore }) {
  const whole = { x: 0, y: 0, width: canvas.width, height: canvas.height };
  const { before, after } = sidesOf(scene);
  const [first, second] = showsBefore ? [after, before] : [before, after];
  const paint = (box, layers, viewBox = box) =>
    clipped(context, box, () => {
      const frame = frameOf(view, canvas.ratio, viewBox);
      if (scene.hasAlpha) drawBoard(context, frame, view.size);
      for (const layer of layers) layer.draw(context, frame);
    });
  if (mode === "plain") {
    paint(whole, after);
  } else if (mode === "side") {
    const width = Math.round(view.viewport.width * canvas.ratio);
    const height = Math.round(view.viewport.height * canvas.ratio);
    paint({ x: 0, y: 0, width, height }, before);
    paint({ x: canvas.width - width, y: canvas.height - height, width, height }, after);
  } else if (mode === "blink") {
    paint(whole, second);
  } else {
    const width = Math.round(canvas.width * split);
    paint({ ...whole, width }, first, whole);
    paint({ ...whole, x: width, width: canvas.width - width }, second, whole);
  }
}

/** Paint before and after of one point beside one another, enlarged. `x` and `y` are device pixels. */
export function paintLoupe(context, { ratio }, view, scene, { x, y }) {
  const { before, after } = sidesOf(scene);
  const side = LOUPE_PX * ratio;
  // Two views side by side begin anew where the first one ends.
  const point = view.toPicture({ x: (x / ratio) % view.viewport.width, y: (y / ratio) % view.viewport.height });
  const zoom = Math.min(view.mostZoom, Math.max(view.zoom * 3, view.actual * 2));
  for (const [left, layers] of [
    [x - side, before],
    [x, after],
  ]) {
    const box = { x: left, y: y - side / 2, width: side, height: side };
    clipped(context, box, () => {
      context.fillStyle = "#888";
      context.fillRect(box.x, box.y, side, side);
      const frame = frameOf({ zoom, ...point }, ratio, box);
      for (const layer of layers) layer.draw(context, frame);
    });
    context.strokeStyle = "#fff";
    context.lineWidth = 2 * ratio;
    context.strokeRect(box.x, box.y, side, side);
  }
}
