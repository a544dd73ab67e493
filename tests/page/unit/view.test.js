import assert from "node:assert/strict";
import { test } from "node:test";
import { clampedMiddle, fitZoom, MOST_ZOOM, View } from "../../../src/enlarger/page/static/view.js";

function viewOf(size, viewport, ratio = 1) {
  const view = new View();
  view.setSize(size);
  view.setViewport(viewport, ratio);
  return view;
}

test("fitting shows all of the picture", () => {
  assert.equal(fitZoom({ width: 200, height: 100 }, { width: 120, height: 120 }, 10), 0.5);
  const view = viewOf({ width: 4000, height: 1000 }, { width: 400, height: 400 });
  assert.deepEqual([view.zoom, view.x, view.y], [0.1, 2000, 500]);
});

test("zooming keeps the point under the pointer", () => {
  const view = viewOf({ width: 4000, height: 4000 }, { width: 400, height: 400 });
  const point = { x: 130, y: 290 };
  const before = view.toPicture(point);
  view.zoomBy(7, point);
  const after = view.toPicture(point);
  assert.ok(Math.hypot(after.x - before.x, after.y - before.y) < 1e-6);
  assert.ok(!view.isFitted);
  const back = view.toScreen(after);
  assert.ok(Math.hypot(back.x - point.x, back.y - point.y) < 1e-6);
});

test("zoom ends at 8 pixels of the screen, and at the whole picture", () => {
  const view = viewOf({ width: 4000, height: 4000 }, { width: 400, height: 400 }, 2);
  view.zoomTo(1000);
  assert.equal(view.zoom, MOST_ZOOM / 2);
  view.zoomTo(0.0001);
  assert.equal(view.zoom, view.fitted);
  assert.ok(view.isFitted);
});

test("no more empty space is seen than needed", () => {
  assert.equal(clampedMiddle(5, 100, 40), 20);
  assert.equal(clampedMiddle(95, 100, 40), 80);
  assert.equal(clampedMiddle(95, 100, 400), 50);
  const view = viewOf({ width: 1000, height: 1000 }, { width: 100, height: 100 });
  view.zoomTo(1);
  view.panBy(1e6, -1e6);
  assert.deepEqual([view.x, view.y], [50, 950]);
});

test("a result of another size keeps what is seen", () => {
  const view = viewOf({ width: 100, height: 100 }, { width: 100, height: 100 });
  view.zoomTo(2, { x: 0, y: 0 });
  view.setSize({ width: 400, height: 400 }, { keep: true });
  assert.deepEqual([view.zoom, view.x, view.y], [0.5, 100, 100]);
  view.setSize({ width: 10, height: 10 });
  assert.ok(view.isFitted);
});

test("a result of very few pixels is large enough to be seen", () => {
  const viewport = { width: 1000, height: 1000 };
  assert.equal(viewOf({ width: 4, height: 4 }, viewport).zoom, 80);
  assert.equal(viewOf({ width: 200, height: 40 }, viewport).zoom, 5);
});

test("a result that is smaller than the view can be seen in its own pixels", () => {
  const view = viewOf({ width: 100, height: 50 }, { width: 800, height: 800 });
  view.zoomTo(view.actual);
  assert.deepEqual([view.zoom, view.x, view.y, view.isFitted], [1, 50, 25, false]);
  view.zoomTo(0.1);
  assert.equal(view.zoom, 1);
  view.fit();
  assert.equal(view.zoom, 8);
});
