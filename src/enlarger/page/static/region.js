// Chooses a part of the picture, by mouse, touch or keyboard.

import { button, h, setText } from "./dom.js";
import { t } from "./texts.js";

export const LEAST_PX = 64;

/** A region of whole pixels inside a picture, no smaller than allowed. */
export function clampedRegion({ x, y, width, height }, input) {
  const wide = Math.min(input.width, Math.max(LEAST_PX, Math.round(width)));
  const high = Math.min(input.height, Math.max(LEAST_PX, Math.round(height)));
  return {
    x: Math.min(Math.max(0, Math.round(x)), input.width - wide),
    y: Math.min(Math.max(0, Math.round(y)), input.height - high),
    width: wide,
    height: high,
  };
}

export class RegionPicker {
  #stage;
  #input = null;
  #place = null;
  #region = null;
  #drag = null;
  #close = () => {};
  #told = () => "";

  /** @param stage shows the picture, and has an `overlay` for what lies over it */
  constructor(stage) {
    this.#stage = stage;
    this.#text = h("span", { class: "region-size" });
    this.#cost = h("span", { class: "cost" });
    this.#run = button({ text: t("region.compare"), kind: "primary", press: () => this.#end(this.#region) });
    this.#bar = h(
      "div",
      { class: "region-bar" },
      this.#cost,
      this.#run,
      button({ icon: "cancel", label: t("region.cancel"), press: () => this.#end(null) }),
    );
    this.#corner = h("span", { class: "corner", "aria-hidden": "true" });
    this.#box = h(
      "div",
      {
        class: "region",
        tabindex: 0,
        role: "group",
        "aria-describedby": "region-keys",
        on: { keydown: (event) => this.#key(event) },
      },
      this.#text,
      this.#corner,
    );
    this.#element = h(
      "div",
      {
        class: "region-layer",
        "data-own-pointer": "",
        on: {
          pointerdown: (event) => this.#down(event),
          pointermove: (event) => this.#move(event),
          pointerup: () => this.#up(),
          pointercancel: () => this.#up(),
          dblclick: (event) => event.stopPropagation(),
          keydown: (event) => event.key === "Escape" && this.#end(null),
        },
      },
      this.#box,
      this.#bar,
      h("p", { class: "unseen", id: "region-keys" }, t("region.keys")),
    );
    stage.view.addEventListener("change", () => this.#show());
  }

  #text;
  #cost;
  #run;
  #bar;
  #corner;
  #box;
  #element;

  get isOpen() {
    return this.#element.isConnected;
  }

  /**
   * Let people choose.
   *
   * @param {{width: number, height: number}} input
   * @param {{x: number, y: number, width: number, height: number}} place of the input in the result
   * @param {number} side of the region to begin with, in pixels of the input
   * @param {(region: Object) => string} told what a region costs, in words
   * @returns {Promise<Object|null>} the region in pixels of the input; null: none
   */
  choose(input, place, side, told) {
    this.#close(null);
    this.#told = told;
    this.#input = input;
    this.#place = place;
    const middle = this.#toInput(this.#stage.view.toScreen({ x: this.#stage.view.x, y: this.#stage.view.y }));
    this.#region = clampedRegion({ x: middle.x - side / 2, y: middle.y - side / 2, width: side, height: side }, input);
    this.#stage.overlay.append(this.#element);
    this.#stage.isFree = false;
    this.#show();
    this.#box.focus({ preventScroll: true });
    return new Promise((resolve) => {
      this.#close = resolve;
    });
  }

  /** Leave without a choice. */
  cancel() {
    if (this.isOpen) this.#end(null);
  }

  #end(region) {
    this.#element.remove();
    this.#stage.isFree = true;
    this.#close(region);
  }

  #toInput(point) {
    const { x, y } = this.#stage.view.toPicture(point);
    const scale = this.#place.width / this.#input.width;
    return { x: (x - this.#place.x) / scale, y: (y - this.#place.y) / scale };
  }

  #toScreen(point) {
    const scale = this.#place.width / this.#input.width;
    return this.#stage.view.toScreen({ x: this.#place.x + point.x * scale, y: this.#place.y + point.y * scale });
  }

  #pointOf(event) {
    const box = this.#element.getBoundingClientRect();
    return this.#toInput({ x: event.clientX - box.left, y: event.clientY - box.top });
  }

  #down(event) {
    if (event.target.closest("button")) return;
    this.#element.setPointerCapture(event.pointerId);
    const point = this.#pointOf(event);
    const kind = event.target === this.#corner ? "size" : this.#box.contains(event.target) ? "move" : "draw";
    this.#drag = { kind, from: point, region: this.#region };
  }

  #move(event) {
    if (!this.#drag) return;
    const { kind, from, region } = this.#drag;
    const to = this.#pointOf(event);
    if (kind === "move") this.#set({ ...region, x: region.x + to.x - from.x, y: region.y + to.y - from.y });
    else if (kind === "size") this.#set({ ...region, width: to.x - region.x, height: to.y - region.y });
    else {
      this.#set({
        x: Math.min(from.x, to.x),
        y: Math.min(from.y, to.y),
        width: Math.abs(to.x - from.x),
        height: Math.abs(to.y - from.y),
      });
    }
  }

  #up() {
    this.#drag = null;
  }

  #key(event) {
    const step = event.ctrlKey ? 1 : 16;
    const [dx, dy] = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[
      event.key
    ] ?? [0, 0];
    const region = this.#region;
    if (event.key === "Escape") this.#end(null);
    else if (event.key === "Enter") this.#end(region);
    else if (!dx && !dy) return;
    else if (event.shiftKey) this.#set({ ...region, width: region.width + dx, height: region.height + dy });
    else this.#set({ ...region, x: region.x + dx, y: region.y + dy });
    event.preventDefault();
    event.stopPropagation();
  }

  #set(region) {
    this.#region = clampedRegion(region, this.#input);
    this.#show();
  }

  #show() {
    if (!this.#region || !this.isOpen) return;
    const { x, y, width, height } = this.#region;
    const start = this.#toScreen({ x, y });
    const end = this.#toScreen({ x: x + width, y: y + height });
    const { style } = this.#box;
    style.setProperty("left", `${start.x}px`);
    style.setProperty("top", `${start.y}px`);
    style.setProperty("width", `${end.x - start.x}px`);
    style.setProperty("height", `${end.y - start.y}px`);
    setText(this.#text, `${width} × ${height}`);
    setText(this.#cost, this.#told(this.#region));
    this.#box.setAttribute("aria-label", t("region.label", { width, height, x, y }));
  }
}
