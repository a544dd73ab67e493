// The picture: before and after under one view, by a curtain, side by side, blinking, or under a loupe.

import { Canvas } from "./canvas.js";
import { h, icon, setChildren } from "./dom.js";
import { attachGestures, moveByKey } from "./gestures.js";
import { paintLoupe, paintScene } from "./painting.js";
import { formatPercent, t } from "./texts.js";
import { Toolbar } from "./toolbar.js";
import { View } from "./view.js";

const MARGIN_PX = 20;
const BLINK_MS = 900;
const REVEAL_MS = 700;

/** A picture whose shorter side is less than this, in CSS pixels, has the handle of the curtain below it. */
const THIN_PX = 3 * 44;
const HANDLE_ROOM_PX = 116;

/** Ways to compare, with their keys. */
const MODES = { curtain: "c", side: "s", blink: "b" };

export class Stage {
  view = new View();
  #scene = null;
  #mode = "curtain";
  #split = 0;
  #isSplitOurs = true;
  #showsBefore = false;
  #blinking = null;
  #loupe = null;
  #hasLoupe = false;
  #isCalm;

  /** @param {() => boolean} isCalm whether people asked for less motion */
  constructor(isCalm) {
    this.#isCalm = isCalm;
    this.canvas = new Canvas(t("stage.picture"), (context, canvas) => this.#paint(context, canvas));
    this.#range = h("input", {
      type: "range",
      class: "curtain-range",
      min: 0,
      max: 1000,
      step: 1,
      value: 0,
      "aria-label": t("stage.curtain"),
      on: { input: () => this.#splitAt(Number(this.#range.value) / 1000, false) },
    });
    this.#line = h("div", { class: "curtain-line", "aria-hidden": "true" });
    this.#before = h("span", { class: "tag tag-before", "aria-hidden": "true" }, t("stage.before"));
    this.#after = h("span", { class: "tag tag-after", "aria-hidden": "true" }, t("stage.after"));
    this.tools = new Toolbar(this.view, {
      modes: Object.keys(MODES),
      setMode: (mode) => this.setMode(mode),
      toggleLoupe: () => this.#toggleLoupe(),
    });
    this.#placeholder = h("div", { class: "stage-placeholder", hidden: true });
    this.overlay = h("div", { class: "stage-overlay" });
    this.element = h(
      "section",
      { class: "stage", tabindex: 0, "aria-label": t("stage.label"), "aria-describedby": "stage-keys" },
      this.canvas.element,
      this.#line,
      this.#range,
      this.#before,
      this.#after,
      this.#placeholder,
      this.overlay,
      this.tools.element,
      h("p", { id: "stage-keys", class: "unseen" }, t("stage.keys")),
    );
    attachGestures(this.element, this.view, () => this.isFree);
    this.view.addEventListener("change", () => {
      const { size, zoom } = this.view;
      this.element.dataset.handle = Math.min(size.width, size.height) * zoom < THIN_PX ? "below" : "middle";
      this.canvas.invalidate();
    });
    this.element.addEventListener("keydown", (event) => {
      if (event.target === this.element) this.key(event);
    });
    this.element.addEventListener("pointermove", (event) => this.#moveLoupe(event));
    this.element.addEventListener("pointerleave", () => this.#moveLoupe(null));
    new ResizeObserver(() => this.#resize()).observe(this.element);
    this.show(null);
  }

  #range;
  #line;
  #before;
  #after;
  #placeholder;

  /** False while something else, such as choosing a region, wants the pointer. */
  isFree = true;

  get mode() {
    return this.#mode;
  }

  /**
   * Show a picture.
   *
   * @param {{size: Object, before: Object|null, after: Object[], keep: boolean}|null} scene size in pixels of the result; layers;
   *   whether it is the picture that was shown before, so that the view stays
   * @param {{icon: string, text: string}|null} placeholder what is shown where there is no layer
   */
  show(scene, placeholder = null) {
    this.#placeholder.hidden = !placeholder;
    setChildren(this.#placeholder, placeholder ? [icon(placeholder.icon), h("p", {}, placeholder.text)] : []);
    const isNew = !scene?.keep;
    const couldCompare = this.#canCompare;
    this.#scene = scene;
    if (!scene && couldCompare !== this.#canCompare) this.#resize();
    if (scene) {
      this.view.setSize(scene.size, { keep: !isNew });
      this.#resize();
    }
    if (isNew) {
      this.#isSplitOurs = true;
      this.#splitAt(0, true);
      if (this.#mode === "blink") this.setMode("curtain");
    }
    this.#arrange();
  }

  /** Something that is shown has changed. */
  refresh = () => this.canvas.invalidate();

  /** The result is there: draw the curtain aside, unless people hold it. */
  reveal() {
    if (!this.#isSplitOurs) return;
    const start = performance.now();
    const from = this.#split;
    const step = (now) => {
      if (!this.#isSplitOurs) return;
      const part = this.#isCalm() ? 1 : Math.min(1, (now - start) / REVEAL_MS);
      this.#splitAt(from + (0.5 - from) * (1 - (1 - part) ** 3), true);
      if (part < 1) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  setMode(mode) {
    this.#mode = mode;
    clearInterval(this.#blinking);
    this.#showsBefore = false;
    if (mode === "blink" && !this.#isCalm()) this.#blinking = setInterval(() => this.#swap(), BLINK_MS);
    this.#resize();
    this.#arrange();
  }

  /** Whether both sides are there to be compared. */
  get #canCompare() {
    return Boolean(this.#scene?.before && this.#scene.after.length);
  }

  #swap() {
    this.#showsBefore = !this.#showsBefore;
    this.#arrange();
  }

  #splitAt(part, isOurs) {
    this.#split = part;
    this.#isSplitOurs = isOurs;
    this.#range.value = Math.round(part * 1000);
    this.#range.setAttribute("aria-valuetext", t("stage.curtainAt", { part: formatPercent(part) }));
    this.element?.style.setProperty("--split", `${part * 100}%`);
    if (this.element) this.element.dataset.side = part < 0.04 ? "after" : part > 0.96 ? "before" : "both";
    this.canvas.invalidate();
  }

  #arrange() {
    const compares = this.#canCompare;
    this.element.dataset.mode = compares ? this.#mode : "plain";
    this.element.dataset.shown = this.#showsBefore ? "before" : "after";
    this.#range.disabled = !(compares && this.#mode === "curtain");
    this.tools.show({ isShown: Boolean(this.#scene), compares, mode: this.#mode, hasLoupe: this.#hasLoupe });
    this.canvas.element.setAttribute("aria-label", this.#scene?.label ?? t("stage.picture"));
    this.canvas.invalidate();
  }

  /** Do what a key means here. */
  key(event) {
    if (!this.#scene || !this.isFree || event.defaultPrevented) return;
    const mode = Object.keys(MODES).find((name) => MODES[name] === event.key.toLowerCase());
    if (moveByKey(this.view, event)) event.preventDefault();
    else if (event.ctrlKey || event.metaKey || event.altKey) return;
    else if (mode && this.#canCompare) this.setMode(mode);
    else if (event.key.toLowerCase() === "l" && this.#canCompare) this.#toggleLoupe();
    else if (event.key === " " && this.#canCompare) {
      event.preventDefault();
      this.#swap();
    } else if ((event.key === "[" || event.key === "]") && this.#canCompare) {
      const step = event.key === "[" ? -0.05 : 0.05;
      this.#splitAt(Math.min(1, Math.max(0, this.#split + step)), false);
    }
  }

  #toggleLoupe() {
    this.#hasLoupe = !this.#hasLoupe;
    this.#loupe = this.#hasLoupe ? { x: this.canvas.width / 2, y: this.canvas.height / 2 } : null;
    this.#arrange();
  }

  #moveLoupe(event) {
    if (!this.#hasLoupe || !event) return;
    const box = this.element.getBoundingClientRect();
    this.#loupe = {
      x: (event.clientX - box.left) * this.canvas.ratio,
      y: (event.clientY - box.top) * this.canvas.ratio,
    };
    this.canvas.invalidate();
  }

  #resize() {
    const { clientWidth, clientHeight } = this.element;
    if (!clientWidth || !clientHeight) return;
    const isSide = this.#mode === "side" && this.#canCompare;
    const isWide = clientWidth >= clientHeight;
    this.element.dataset.layout = isWide ? "beside" : "stacked";
    const { width, height } = this.view.size;
    const isThin = (width / height) * clientHeight < THIN_PX;
    this.view.margin = isThin ? Math.min(HANDLE_ROOM_PX, clientHeight / 4) : Math.min(MARGIN_PX, clientWidth * 0.03);
    this.canvas.resize(clientWidth, clientHeight);
    this.view.setViewport(
      {
        width: isSide && isWide ? clientWidth / 2 : clientWidth,
        height: isSide && !isWide ? clientHeight / 2 : clientHeight,
      },
      this.canvas.ratio,
    );
  }

  #paint(context, canvas) {
    if (!this.#scene) return;
    const state = { mode: this.#canCompare ? this.#mode : "plain", split: this.#split, showsBefore: this.#showsBefore };
    paintScene(context, canvas, this.view, this.#scene, state);
    if (this.#loupe && this.#canCompare) paintLoupe(context, canvas, this.view, this.#scene, this.#loupe);
  }
}
