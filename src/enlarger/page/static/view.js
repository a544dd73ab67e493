// Which part of a picture is seen, and how large. Lengths are CSS pixels on the screen, and pixels of the result in the picture.

/** Device pixels per pixel of the result. */
export const MOST_ZOOM = 8;

/** Up to this length a picture of very few pixels is enlarged, in CSS pixels. */
const SMALL_PX = 320;

/** Where a picture of `size` is shown whole in `viewport`, with a margin around it. */
export function fitZoom(size, viewport, margin = 0) {
  const width = Math.max(1, viewport.width - 2 * margin);
  const height = Math.max(1, viewport.height - 2 * margin);
  return Math.min(width / size.width, height / size.height);
}

/** The nearest middle to `middle` at which no more empty space than needed is seen, along one axis. */
export function clampedMiddle(middle, length, seen) {
  if (length <= seen) return length / 2;
  return Math.min(Math.max(middle, seen / 2), length - seen / 2);
}

/** The view, shared by all that show the same picture. Dispatches `change`. */
export class View extends EventTarget {
  size = { width: 1, height: 1 };
  viewport = { width: 1, height: 1 };
  margin = 0;
  ratio = 1;
  zoom = 1;
  x = 0.5;
  y = 0.5;
  isFitted = true;

  get fitted() {
    const most = Math.max(this.mostZoom, SMALL_PX / Math.max(this.size.width, this.size.height));
    return Math.min(fitZoom(this.size, this.viewport, this.margin), most);
  }

  /** A picture is never shown smaller than whole, or, where it is smaller than the screen, than in its own pixels. */
  get leastZoom() {
    return Math.min(this.fitted, this.actual);
  }

  get mostZoom() {
    return MOST_ZOOM / this.ratio;
  }

  /** Zoom at which one pixel of the result is one of the screen. */
  get actual() {
    return 1 / this.ratio;
  }

  /** Show another picture, or the same in another size: what is seen stays, or all is seen. */
  setSize(size, { keep = false } = {}) {
    const grown = size.width / this.size.width;
    this.zoom /= grown;
    this.x *= grown;
    this.y *= size.height / this.size.height;
    this.size = { ...size };
    this.isFitted ||= !keep;
    this.#changed();
  }

  setViewport(viewport, ratio) {
    this.viewport = viewport;
    this.ratio = ratio;
    this.#changed();
  }

  fit() {
    this.isFitted = true;
    this.#changed();
  }

  /** Fill the viewport, so that the picture may be cut. */
  fill() {
    this.zoomTo(Math.max(this.viewport.width / this.size.width, this.viewport.height / this.size.height));
  }

  /** Zoom so that the point of the picture under `point` stays there. Without a point: the middle. */
  zoomTo(zoom, point = { x: this.viewport.width / 2, y: this.viewport.height / 2 }) {
    const before = this.toPicture(point);
    this.zoom = Math.min(Math.max(zoom, this.leastZoom), Math.max(this.mostZoom, this.fitted));
    this.isFitted = Math.abs(this.zoom / this.fitted - 1) < 0.0001;
    this.x = before.x - (point.x - this.viewport.width / 2) / this.zoom;
    this.y = before.y - (point.y - this.viewport.height / 2) / this.zoom;
    this.#changed();
  }

  zoomBy(factor, point) {
    this.zoomTo(this.zoom * factor, point);
  }

  panBy(dx, dy) {
    if (this.isFitted) return;
    this.x -= dx / this.zoom;
    this.y -= dy / this.zoom;
    this.#changed();
  }

  /** A point of the screen in the picture. */
  toPicture(point) {
    return {
      x: this.x + (point.x - this.viewport.width / 2) / this.zoom,
      y: this.y + (point.y - this.viewport.height / 2) / this.zoom,
    };
  }

  /** A point of the picture on the screen. */
  toScreen(point) {
    return {
      x: (point.x - this.x) * this.zoom + this.viewport.width / 2,
      y: (point.y - this.y) * this.zoom + this.viewport.height / 2,
    };
  }

  #changed() {
    if (this.isFitted) this.zoom = this.fitted;
    else this.zoom = Math.min(Math.max(this.zoom, this.leastZoom), Math.max(this.mostZoom, this.fitted));
    this.x = clampedMiddle(this.x, this.size.width, this.viewport.width / this.zoom);
    this.y = clampedMiddle(this.y, this.size.height, this.viewport.height / this.zoom);
    this.dispatchEvent(new Event("change"));
  }
}
