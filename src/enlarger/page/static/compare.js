// One part of the picture by all models, under one view.

import { ApiError } from "./api.js";
import { Canvas, frameOf } from "./canvas.js";
import { button, h, setChildren } from "./dom.js";
import { attachGestures, moveByKey } from "./gestures.js";
import { BitmapLayer } from "./layers.js";
import { keepsSize, takesValue } from "./options.js";
import { errorText, problemText } from "./problems.js";
import { Queue } from "./queue.js";
import { formatSeconds, t } from "./texts.js";
import { View } from "./view.js";

/** Options of the file alone: a part is made as PNG, which any browser shows. */
const OF_FILE = new Set(["model", "format", "quality", "max_bytes", "frames", "provenance"]);

/** What says how large a result is. */
const OF_SIZE = ["scale", "width", "height", "long_side", "short_side", "fit"];

/** The options of a comparison: those that the model takes, whichever the whole picture is made with. */
export function comparisonOptions(options, { x, y, width, height }, model, models) {
  const kept = Object.entries(options).filter(
    ([name, value]) => !OF_FILE.has(name) && takesValue(models, model.id, name, value),
  );
  const taken = Object.fromEntries(kept);
  if (keepsSize(model)) {
    for (const name of OF_SIZE) delete taken[name];
    taken.scale = 1;
  }
  return { ...taken, region: [x, y, width, height], format: "png", models: [model.id] };
}

/** A region with what a model looks at around it, inside the picture. */
export function withHalo({ x, y, width, height }, halo, input) {
  const left = Math.max(0, x - halo);
  const top = Math.max(0, y - halo);
  return {
    x: left,
    y: top,
    width: Math.min(input.width, x + width + halo) - left,
    height: Math.min(input.height, y + height + halo) - top,
  };
}

/** Requests at a time: others of the tab need connections, too. */
const AT_ONCE = 3;

/** One model's part. It waits for its picture. */
class Pane {
  #layer = null;

  constructor(title, view, choose, scrolls) {
    this.view = view;
    this.canvas = new Canvas(title, (context, canvas) => {
      const box = { x: 0, y: 0, width: canvas.width, height: canvas.height };
      this.#layer?.draw(context, frameOf(view, canvas.ratio, box));
    });
    this.area = h("div", { class: "pane-area" }, this.canvas.element);
    attachGestures(this.area, view, undefined, scrolls);
    this.detail = h("p", { class: "hint" }, t("compare.waiting"));
    this.use =
      choose && button({ text: t("compare.use"), label: t("compare.useModel", { model: title }), press: choose });
    this.element = h(
      "article",
      { class: "pane", "data-state": "waiting" },
      this.area,
      h("footer", {}, h("div", { class: "pane-words" }, h("h3", { title }, title), this.detail), this.use),
    );
  }

  show(layer, detail) {
    this.#layer = layer;
    this.element.dataset.state = "done";
    this.detail.textContent = detail;
    this.canvas.invalidate();
  }

  fail(problem) {
    this.element.dataset.state = "failed";
    this.detail.textContent = problem;
    if (this.use) this.use.disabled = true;
  }

  resize() {
    const { clientWidth, clientHeight } = this.area;
    if (!clientWidth || !clientHeight) return;
    this.canvas.resize(clientWidth, clientHeight);
    this.view.setViewport({ width: clientWidth, height: clientHeight }, this.canvas.ratio);
  }

  close() {
    this.#layer?.close();
  }
}

export class Comparison {
  #api;
  #files;
  #stage;
  #titleOf;
  #choose;
  #panes = [];
  #view = new View();
  #controller = null;

  /**
   * @param parts `api`, `files` and `stage`; `titleOf(modelId)`; `choose(picture, modelId)`, called when people take a model
   */
  constructor({ api, files, stage, titleOf, choose }) {
    this.#api = api;
    this.#files = files;
    this.#stage = stage;
    this.#titleOf = titleOf;
    this.#choose = choose;
    this.#grid = h("div", { class: "panes" });
    this.#text = h("p", { class: "hint", role: "status" });
    this.#element = h(
      "section",
      {
        class: "comparison",
        tabindex: -1,
        "aria-label": t("compare.title"),
        "data-own-pointer": "",
        on: { keydown: (event) => this.#key(event) },
      },
      h(
        "header",
        {},
        h("h2", {}, t("compare.title")),
        this.#text,
        button({ icon: "cancel", label: t("compare.close"), press: () => this.close() }),
      ),
      this.#grid,
    );
    for (const type of ["wheel", "dblclick"]) this.#element.addEventListener(type, (event) => event.stopPropagation());
    this.#view.addEventListener("change", () => {
      for (const pane of this.#panes) pane.canvas.invalidate();
    });
    new ResizeObserver(() => this.#resize()).observe(this.#grid);
  }

  #grid;
  #text;
  #element;

  /**
   * Have all models make a region, each in a request of its own: the quick ones are shown first.
   *
   * @param {Object} picture
   * @param {ImageBitmap|null} before the picture as it came
   * @param {Object} options of the request for the whole
   * @param {{x: number, y: number, width: number, height: number}} region in pixels of the input
   * @param {number} scale of the result
   * @param {Object[]} models of the service
   * @param {boolean} isPreview whether `before` is only like the picture: then nothing is cut from it for the models
   */
  async open(picture, before, { options, region, scale, models, isPreview }) {
    this.close();
    this.#controller = new AbortController();
    const { signal } = this.#controller;
    this.#text.textContent = t("compare.running");
    this.#stage.overlay.append(this.#element);
    this.#stage.isFree = false;
    this.#element.focus({ preventScroll: true });
    const size = { width: Math.round(region.width * scale), height: Math.round(region.height * scale) };
    if (before) this.#panes.push(this.#beforePane(before, picture, region, scale));
    const panes = new Map(
      models.map((model) => [
        model,
        new Pane(this.#titleOf(model.id), this.#view, () => this.#take(picture, model.id), this.#scrolls),
      ]),
    );
    this.#panes.push(...panes.values());
    setChildren(
      this.#grid,
      this.#panes.map((pane) => pane.element),
    );
    this.#view.setSize(size);
    this.#resize();
    this.#view.fill();
    const source = isPreview ? null : before;
    const queue = new Queue(AT_ONCE);
    const quickFirst = [...models].sort((one, other) => one.mflop_per_px - other.mflop_per_px);
    await Promise.all(
      quickFirst.map((model) => {
        const asked = { options, region, model, models, size };
        return queue.do(() => this.#make(panes.get(model), picture, source, asked, signal));
      }),
    );
    if (!signal.aborted) this.#text.textContent = t(this.#scrolls() ? "compare.hintMany" : "compare.hint");
  }

  close() {
    this.#controller?.abort();
    this.#controller = null;
    for (const pane of this.#panes) pane.close();
    this.#panes = [];
    setChildren(this.#grid, []);
    if (this.#element.isConnected) {
      this.#element.remove();
      this.#stage.isFree = true;
      this.#stage.element.focus({ preventScroll: true });
    }
  }

  #beforePane(before, picture, region, scale) {
    const pane = new Pane(t("compare.before"), this.#view, null, this.#scrolls);
    const place = {
      x: -region.x * scale,
      y: -region.y * scale,
      width: picture.width * scale,
      height: picture.height * scale,
    };
    pane.show(new Borrowed(before, place), t("compare.byBrowser"));
    return pane;
  }

  async #make(pane, picture, before, { size, ...asked }, signal) {
    try {
      const { results } = await this.#request(picture, before, asked, signal);
      const [entry] = results;
      if (entry.problem) throw new Error(problemText(entry.problem));
      // The address may be that of the service behind a proxy: this page knows the way itself.
      const blob = await this.#api.blob(`files/${entry.result.url.split("/").pop()}`, { signal });
      const bitmap = await createImageBitmap(blob);
      if (signal.aborted) bitmap.close();
      else
        pane.show(
          new BitmapLayer(bitmap, { x: 0, y: 0, ...size }),
          t("compare.took", { time: formatSeconds(entry.timing_ms.total / 1000) }),
        );
    } catch (error) {
      if (!signal.aborted) pane.fail(errorText(error));
    }
  }

  async #request(picture, before, { options, region, model, models }, signal) {
    // A region of the whole takes whole tiles of it. The part with its surroundings alone is made much sooner.
    if (before && before.width === picture.width) {
      const part = withHalo(region, model.halo, picture);
      const inPart = { ...region, x: region.x - part.x, y: region.y - part.y };
      const form = new FormData();
      const reduced = withoutBox(options, picture, part);
      form.append("options", JSON.stringify(comparisonOptions(reduced, inPart, model, models)));
      form.append("image", await cut(before, part), "image.png");
      return this.#api.json("v1/compare", { method: "POST", body: form, signal });
    }
    const whole = comparisonOptions(options, region, model, models);
    if (picture.isAnimation) whole.frames = "first";
    if (picture.url) return this.#api.post("v1/compare", { img_url: picture.url, ...whole }, { signal });
    const blob = await this.#files.get(picture.fileId);
    if (!blob) throw new ApiError(0, { detail: t("row.noFile") });
    const form = new FormData();
    form.append("options", JSON.stringify(whole));
    form.append("image", blob, "image");
    return this.#api.json("v1/compare", { method: "POST", body: form, signal });
  }

  #take(picture, model) {
    this.close();
    this.#choose(picture, model);
  }

  /** Whether there are more parts than the screen holds. */
  #scrolls = () => this.#grid.scrollHeight > this.#grid.clientHeight + 1;

  #resize() {
    for (const pane of this.#panes) pane.resize();
  }

  #key(event) {
    event.stopPropagation();
    const pages = { PageUp: -1, PageDown: 1 }[event.key];
    if (event.key === "Escape") this.close();
    else if (pages) this.#grid.scrollBy({ top: pages * 0.9 * this.#grid.clientHeight });
    else if (!moveByKey(this.#view, event)) return;
    event.preventDefault();
  }
}

/** Options for a part of a picture, where a size of the whole was asked for. */
function withoutBox(options, picture, part) {
  const sizes = { width: part.width / picture.width, height: part.height / picture.height };
  const ratio = Math.max(sizes.width, sizes.height);
  const changed = { ...options };
  for (const name of ["width", "height", "long_side", "short_side"]) {
    if (changed[name]) changed[name] = Math.max(1, Math.round(changed[name] * (sizes[name] ?? ratio)));
  }
  return changed;
}

async function cut(bitmap, { x, y, width, height }) {
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").drawImage(bitmap, -x, -y);
  return canvas.convertToBlob({ type: "image/png" });
}

/** The picture of the stage, which closes it itself. */
class Borrowed extends BitmapLayer {
  close() {}
}
