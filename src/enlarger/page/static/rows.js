// The list of pictures: a row each, with what happens to it.

import { button, h, icon, setAttribute, setChildren, setText } from "./dom.js";
import { problemText } from "./problems.js";
import { formatBytes, formatExpected, formatPercent, formatSeconds, formatSize, t } from "./texts.js";

const MOVING = new Set(["sending", "queued", "running"]);

/** What a picture's second line says. */
export function statusText(picture) {
  const { phase, job, estimate } = picture;
  switch (phase) {
    case "reading":
      return t("row.reading");
    case "ready":
      if (picture.problem) return picture.problem;
      if (estimate?.problem) return estimate.problem;
      if (!estimate?.output) return t("row.ready");
      if (estimate.etaS === null) return `→ ${formatSize(estimate.output)}`;
      return `→ ${formatSize(estimate.output)} · ${formatExpected(estimate.etaS)}`;
    case "sending":
      return picture.problem || t(picture.isUploading ? "row.sending" : "row.toSend");
    case "queued":
      return job?.queue?.position ? t("row.place", { place: job.queue.position }) : t("row.queued");
    case "running":
      return runningText(picture);
    case "succeeded":
      return `${formatSize(job.result)} · ${formatBytes(job.result.bytes)}`;
    case "failed":
      return job?.error ? problemText(job.error) : picture.problem;
    case "refused":
      return picture.problem;
    default:
      return t(`row.${phase}`);
  }
}

/** Seconds that a picture still takes, of which some have passed since the service said so; null: not known, or all have passed. */
export function secondsLeft({ job, toldAt }, now = Date.now()) {
  const left = (job.eta_s ?? 0) - (toldAt ? Math.max(0, now - toldAt) / 1000 : 0);
  return left > 0 ? left : null;
}

function runningText(picture) {
  const { job, url } = picture;
  const { tiles_done: done, tiles_total: total, fraction } = job.progress ?? {};
  const left = secondsLeft(picture);
  const eta = left === null ? "" : ` · ${t("row.left", { time: formatSeconds(left) })}`;
  if (job.stage === "infer" && total)
    return t("row.tiles", { n: total, done, total, part: formatPercent(fraction ?? 0) }) + eta;
  // The service reads a file that was sent to it as it fetches one from elsewhere.
  if (job.stage === "fetch" && !url) return t("stage.read");
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
  const frames = picture.frames ? t("row.frames", { n: picture.frames }) : t("row.animation");
  return [
    picture.width && formatSize(picture),
    format,
    picture.isAnimation && frames,
    picture.bytes !== null && formatBytes(picture.bytes),
  ]
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
      { type: "button", class: "choose", "aria-keyshortcuts": "Delete", on: { click: () => acts.select(picture.id) } },
      h("span", { class: "thumbnail-box" }, icon(picture.url ? "link" : "picture"), this.thumbnail),
      h("span", { class: "row-text" }, this.name, this.facts, this.status),
    );
    this.end = button({ icon: "cancel", label: t("row.remove"), kind: "small", press: () => acts.end(picture.id) });
    // The list is one tab stop: arrows move in it.
    this.end.tabIndex = -1;
    this.element = h("li", { class: "row", "data-id": picture.id }, this.choose, this.end, this.bar);
  }

  show(picture, isSelected) {
    const isMoving = MOVING.has(picture.phase);
    const isBad =
      ["refused", "failed"].includes(picture.phase) ||
      Boolean(picture.phase === "ready" && (picture.problem || picture.estimate?.problem));
    this.element.dataset.phase = picture.phase;
    setAttribute(this.element, "data-bad", isBad);
    setAttribute(this.choose, "aria-current", isSelected && "true");
    this.choose.tabIndex = isSelected ? 0 : -1;
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
  /** Whether the selected row is still to be scrolled to. */
  #isSelectedNew = false;

  /** @param {{select: (id: string) => void, end: (id: string) => void}} acts */
  constructor(pictures, acts) {
    this.#pictures = pictures;
    this.#acts = acts;
    this.element = h("ul", {
      class: "rows",
      "aria-label": t("rows.label"),
      on: { keydown: (event) => this.#key(event) },
    });
    for (const type of ["change", "select", "tick"]) pictures.addEventListener(type, () => this.#soon());
    pictures.addEventListener("select", () => {
      this.#isSelectedNew = true;
    });
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
    const shown = [...this.element.children];
    const focused = shown.findIndex((element) => element.contains(document.activeElement));
    const isFocusLost = focused >= 0 && !ids.has(shown[focused].dataset.id);
    for (const id of this.#rows.keys()) if (!ids.has(id)) this.#rows.delete(id);
    for (const picture of all) {
      if (!this.#rows.has(picture.id)) this.#rows.set(picture.id, new Row(picture, this.#acts));
      this.#rows.get(picture.id).show(picture, picture === selected);
    }
    setChildren(
      this.element,
      all.map((picture) => this.#rows.get(picture.id).element),
    );
    // On a small screen the page scrolls, not the list: there the picture stays in sight.
    if (this.#isSelectedNew && this.element.scrollHeight > this.element.clientHeight + 1) {
      this.#rows.get(selected?.id)?.element.scrollIntoView({ block: "nearest" });
    }
    this.#isSelectedNew = false;
    if (isFocusLost) this.#rowAt(Math.min(focused, all.length - 1))?.choose.focus();
  }

  #rowAt(index) {
    return this.#rows.get(this.#pictures.all[index]?.id);
  }

  /** Arrows, Home and End move in the list; to the right is what ends or removes a picture, as Delete does. */
  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const { all } = this.#pictures;
    const id = event.target.closest(".row").dataset.id;
    const index = all.findIndex((picture) => picture.id === id);
    const row = this.#rows.get(id);
    const moved = { ArrowUp: index - 1, ArrowDown: index + 1, Home: 0, End: all.length - 1 }[event.key];
    if (moved !== undefined) {
      if (!all[moved]) return;
      this.#acts.select(all[moved].id);
      this.#rowAt(moved).choose.focus();
    } else if (event.key === "ArrowRight") row.end.focus();
    else if (event.key === "ArrowLeft") row.choose.focus();
    else if (event.key === "Delete") this.#acts.end(id);
    else return;
    event.preventDefault();
  }
}
