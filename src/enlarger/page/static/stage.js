// The picture: before and after under one view, by a curtain, side by side, blinking, or under a loupe.

import { Canvas, clipped, drawBoard, frameOf } from "./canvas.js";
import { button, h, setAttribute, setText } from "./dom.js";
import { attachGestures, moveByKey } from "./gestures.js";
import { formatPercent, t } from "./texts.js";
import { View } from "./view.js";

const MARGIN_PX = 20;
const BLINK_MS = 900;
const REVEAL_MS = 700;
const LOUPE_PX = 150;

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
    this.tools = this.#makeTools();
    this.overlay = h("div", { class: "stage-overlay" });
    this.element = h(
      "section",
      { class: "stage", tabindex: 0, "aria-label": t("stage.label"), "aria-describedby": "stage-keys" },
      this.canvas.element,
      this.#line,
      this.#range,
      this.#before,
      this.#after,
      this.overlay,
      this.tools,
      h("p", { id: "stage-keys", class: "unseen" }, t("stage.keys")),
    );
    attachGestures(this.element, this.view, () => this.isFree);
    this.view.addEventListener("change", () => {
      setText(this.#percent, formatPercent(this.view.zoom * this.view.ratio));
      this.canvas.invalidate();
    });
    this.element.addEventListener("keydown", (event) => this.#key(event));
    this.element.addEventListener("pointermove", (event) => this.#moveLoupe(event));
    this.element.addEventListener("pointerleave", () => this.#moveLoupe(null));
    new ResizeObserver(() => this.#resize()).observe(this.element);
    this.show(null);
  }

  #range;
  #line;
  #before;
  #after;
  #percent;
  #buttons = {};

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
   */
  show(scene) {
    const isNew = !scene?.keep;
    const couldCompare = this.#canCompare;
    this.#scene = scene;
    if (couldCompare !== this.#canCompare) this.#resize();
    if (scene) this.view.setSize(scene.size, { keep: !isNew });
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
    for (const [mode, element] of Object.entries(this.#buttons)) {
      if (mode in MODES) setAttribute(element, "aria-pressed", String(this.#mode === mode));
      if (mode in MODES || mode === "loupe") element.disabled = !compares;
    }
    setAttribute(this.#buttons.loupe, "aria-pressed", String(this.#hasLoupe));
    this.tools.hidden = !this.#scene;
    this.canvas.element.setAttribute("aria-label", this.#scene?.label ?? t("stage.picture"));
    this.canvas.invalidate();
  }

  #makeTools() {
    const press = (name, label, action, attributes = {}) => {
      this.#buttons[name] = button({ icon: name, label, kind: "tool", press: action, ...attributes });
      return this.#buttons[name];
    };
    const toggles = Object.keys(MODES).map((mode) =>
      press(mode, t(`stage.${mode}`), () => this.setMode(mode), { "aria-pressed": "false" }),
    );
    this.#percent = h("span", { class: "percent" }, "100 %");
    const actual = h(
      "button",
      {
        type: "button",
        class: "button tool",
        title: t("stage.actual"),
        on: { click: () => this.view.zoomTo(this.view.actual) },
      },
      this.#percent,
      h("span", { class: "unseen" }, ` ${t("stage.actual")}`),
    );
    return h(
      "div",
      { class: "tools", role: "toolbar", "aria-label": t("stage.tools"), "data-own-pointer": "" },
      h(
        "div",
        { class: "tool-group" },
        toggles,
        press("loupe", t("stage.loupe"), () => this.#toggleLoupe(), { "aria-pressed": "false" }),
      ),
      h(
        "div",
        { class: "tool-group" },
        press("minus", t("stage.zoomOut"), () => this.view.zoomBy(1 / 1.5)),
        actual,
        press("add", t("stage.zoomIn"), () => this.view.zoomBy(1.5)),
        press("fit", t("stage.fit"), () => this.view.fit()),
      ),
    );
  }

  /** Put a button beside the ways to compare. */
  addTool(element) {
    this.tools.firstElementChild.append(element);
  }

  #key(event) {
    if (event.target !== this.element || !this.isFree) return;
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
    this.view.margin = Math.min(MARGIN_PX, clientWidth * 0.03);
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
    const scene = this.#scene;
    if (!scene) return;
    const whole = { x: 0, y: 0, width: canvas.width, height: canvas.height };
    const before = scene.before ? [scene.before] : [];
    // What is not finished yet is shown as the browser enlarges it.
    const isWhole = scene.after.some((layer) => layer.isWhole);
    const after = [...(isWhole ? [] : before), ...scene.after];
    if (!this.#canCompare) {
      this.#paintInto(context, whole, after);
    } else if (this.#mode === "side") {
      const isWide = this.view.viewport.width < canvas.width / canvas.ratio - 1;
      const half = isWide
        ? { width: canvas.width / 2, height: canvas.height }
        : { width: canvas.width, height: canvas.height / 2 };
      this.#paintInto(context, { x: 0, y: 0, ...half }, before);
      this.#paintInto(context, { x: isWide ? half.width : 0, y: isWide ? 0 : half.height, ...half }, after);
    } else if (this.#mode === "blink") {
      this.#paintInto(context, whole, this.#showsBefore ? before : after);
    } else {
      const split = Math.round(canvas.width * this.#split);
      const left = { ...whole, width: split };
      const right = { ...whole, x: split, width: canvas.width - split };
      this.#paintInto(context, left, this.#showsBefore ? after : before, whole);
      this.#paintInto(context, right, this.#showsBefore ? before : after, whole);
    }
    if (this.#loupe && this.#canCompare) this.#paintLoupe(context, before, after);
  }

  #paintInto(context, box, layers, viewBox = box) {
    clipped(context, box, () => {
      const frame = frameOf(this.view, this.canvas.ratio, viewBox);
      if (this.#scene.hasAlpha) drawBoard(context, frame, this.view.size);
      for (const layer of layers) layer.draw(context, frame);
    });
  }

  /** Before and after of one point, enlarged beside one another. */
  #paintLoupe(context, before, after) {
    const { ratio } = this.canvas;
    const side = LOUPE_PX * ratio;
    const { x, y } = this.#loupe;
    const isSide = this.#mode === "side";
    const view = this.view.viewport;
    const local = {
      x: (x / ratio) % (isSide ? view.width : Number.POSITIVE_INFINITY),
      y: (y / ratio) % (isSide ? view.height : Number.POSITIVE_INFINITY),
    };
    const point = this.view.toPicture(local);
    const zoom = Math.min(this.view.mostZoom, Math.max(this.view.zoom * 3, this.view.actual * 2));
    const top = y - side / 2;
    for (const [left, layers] of [
      [x - side, before],
      [x, after],
    ]) {
      const box = { x: left, y: top, width: side, height: side };
      clipped(context, box, () => {
        const frame = frameOf({ zoom, x: point.x, y: point.y }, ratio, box);
        context.fillStyle = "#888";
        context.fillRect(box.x, box.y, side, side);
        for (const layer of layers) layer.draw(context, frame);
      });
      context.strokeStyle = "#fff";
      context.lineWidth = 2 * ratio;
      context.strokeRect(box.x, box.y, side, side);
    }
  }
}
