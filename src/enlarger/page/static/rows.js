// The list of pictures: a row each, with what happens to it.

import { button, h, icon, setAttribute, setChildren, setText } from "./dom.js";
import { formatBytes, formatPercent, formatSeconds, formatSize, t } from "./texts.js";

const MOVING = new Set(["sending", "queued", "running"]);

/** What a picture's second line says. */
export function statusText(picture) {
  const { phase, job, estimate } = picture;
  switch (phase) {
    case "reading":
      return t("row.reading");
    case "ready":
      if (estimate?.problem) return estimate.problem;
      if (!estimate?.output) return t("row.ready");
      if (estimate.etaS === null) return `→ ${formatSize(estimate.output)}`;
      return `→ ${formatSize(estimate.output)} · ≈ ${formatSeconds(estimate.etaS)}`;
    case "sending":
      return picture.problem || t("row.sending");
    case "queued":
      return job?.queue?.position ? t("row.place", { place: job.queue.position }) : t("row.queued");
    case "running":
      return runningText(job);
    case "succeeded":
      return `${formatSize(job.result)} · ${formatBytes(job.result.bytes)}`;
    case "failed":
      return job?.error?.detail ?? picture.problem;
    case "refused":
      return picture.problem;
    default:
      return t(`row.${phase}`);
  }
}

function runningText(job) {
  const { tiles_done: done, tiles_total: total, fraction } = job.progress ?? {};
  const eta =
    job.eta_s === null || job.eta_s === undefined ? "" : ` · ${t("row.left", { time: formatSeconds(job.eta_s) })}`;
  if (job.stage === "infer" && total) return t("row.tiles", { done, total, part: formatPercent(fraction ?? 0) }) + eta;
  return job.stage ? t(`stage.${job.stage}`) : t("row.queued");
}

/** What of a picture is done, from 0 to 1; null: it is not known. */
export function fractionOf(picture) {
  if (picture.phase === "running") return picture.job?.progress?.fraction ?? 0;
  return picture.phase === "succeeded" ? 1 : 0;
}

function factsText(picture) {
  const format = (picture.job?.input?.format ?? picture.type.replace("image/", ""))
    .replace("svg+xml", "svg")
    .toUpperCase();
  return [picture.width && formatSize(picture), format, picture.bytes !== null && formatBytes(picture.bytes)]
    .filter(Boolean)
    .join(" · ");
}

class Row {
  constructor(picture, acts) {
    this.id = picture.id;
    this.thumbnail = h("canvas", { class: "thumbnail", width: 48, height: 48, hidden: true, "aria-hidden": "true" });
    this.name = h("span", { class: "name" });
    this.facts = h("span", { class: "facts" });
    this.status = h("span", { class: "status" });
    this.bar = h("span", { class: "bar", "aria-hidden": "true" }, h("span"));
    this.choose = h(
      "button",
      { type: "button", class: "choose", on: { click: () => acts.select(picture.id) } },
      h("span", { class: "thumbnail-box" }, icon("picture"), this.thumbnail),
      h("span", { class: "row-text" }, this.name, this.facts, this.status),
    );
    this.end = button({ icon: "cancel", label: t("row.remove"), kind: "small", press: () => acts.end(picture.id) });
    this.element = h("li", { class: "row", "data-id": picture.id }, this.choose, this.end, this.bar);
  }

  show(picture, isSelected) {
    const isMoving = MOVING.has(picture.phase);
    const isBad =
      ["refused", "failed"].includes(picture.phase) || Boolean(picture.phase === "ready" && picture.estimate?.problem);
    this.element.dataset.phase = picture.phase;
    setAttribute(this.element, "data-bad", isBad);
    setAttribute(this.choose, "aria-current", isSelected && "true");
    setText(this.name, picture.name);
    setAttribute(this.name, "title", picture.name);
    setText(this.facts, factsText(picture));
    setText(this.status, statusText(picture));
    const fraction = fractionOf(picture);
    this.bar.firstElementChild.style.setProperty("transform", `scaleX(${fraction})`);
    this.bar.hidden = !isMoving;
    setAttribute(this.bar, "data-moving", picture.phase !== "running");
    const label = t(isMoving ? "row.cancel" : "row.remove", { name: picture.name });
    setAttribute(this.end, "aria-label", label);
    setAttribute(this.end, "title", label);
    if (picture.thumbnail && this.drawn !== picture.thumbnail) this.#draw(picture.thumbnail);
  }

  /** The middle of the picture, as a square. */
  #draw(bitmap) {
    this.drawn = bitmap;
    this.thumbnail.hidden = false;
    const side = Math.min(bitmap.width, bitmap.height);
    this.thumbnail.width = this.thumbnail.height = 96;
    const context = this.thumbnail.getContext("2d");
    context.drawImage(bitmap, (bitmap.width - side) / 2, (bitmap.height - side) / 2, side, side, 0, 0, 96, 96);
  }
}

export class Rows {
  #pictures;
  #rows = new Map();
  #acts;
  #isAsked = false;

  /** @param {{select: (id: string) => void, end: (id: string) => void}} acts */
  constructor(pictures, acts) {
    this.#pictures = pictures;
    this.#acts = acts;
    this.element = h("ul", { class: "rows", "aria-label": t("rows.label") });
    for (const type of ["change", "select"]) pictures.addEventListener(type, () => this.#soon());
  }

  #soon() {
    if (this.#isAsked) return;
    this.#isAsked = true;
    requestAnimationFrame(() => {
      this.#isAsked = false;
      this.#show();
    });
  }

  #show() {
    const all = this.#pictures.all;
    const { selected } = this.#pictures;
    const ids = new Set(all.map((picture) => picture.id));
    for (const id of this.#rows.keys()) if (!ids.has(id)) this.#rows.delete(id);
    for (const picture of all) {
      if (!this.#rows.has(picture.id)) this.#rows.set(picture.id, new Row(picture, this.#acts));
      this.#rows.get(picture.id).show(picture, picture === selected);
    }
    setChildren(
      this.element,
      all.map((picture) => this.#rows.get(picture.id).element),
    );
  }
}
