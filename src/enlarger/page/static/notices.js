// What the page says: to all for some seconds, and to screen readers.

import { button, h, setChildren, setText } from "./dom.js";
import { t } from "./texts.js";

const PASSES_MS = 6000;
const UNDO_MS = 12_000;

export class Notices {
  #passing = null;
  #lasting = "";
  #undo = null;
  #missed = null;

  constructor() {
    this.#text = h("span", {});
    this.#notice = h("div", { class: "notice", role: "alert", hidden: true }, this.#text);
    this.#news = h("div", { class: "unseen", role: "status" });
    this.elements = [this.#notice, this.#news];
  }

  #notice;
  #text;
  #news;

  /** Say something for some seconds. */
  tell(text) {
    this.#pass(text, PASSES_MS);
  }

  /**
   * Say what was done, and have it undone on demand for some seconds.
   *
   * @param {string} text
   * @param {{undo: () => void, missed: () => void}} acts `missed` is called once it can be undone no longer
   */
  offerUndo(text, { undo, missed }) {
    this.#pass(text, UNDO_MS, button({ text: t("notice.undo"), kind: "undo", press: () => this.undo() }));
    this.#undo = undo;
    this.#missed = missed;
  }

  /** Undo what was done last, if that is offered. */
  undo() {
    const undo = this.#undo;
    if (!undo) return;
    this.#missed = null;
    this.#pass("", 0);
    undo();
  }

  #pass(text, forMs, act) {
    clearTimeout(this.#passing);
    this.#passing = setTimeout(() => this.#show(this.#lasting), forMs);
    this.#show(text, act);
  }

  /** Say something for as long as it holds; an empty text: it holds no longer. */
  hold(text) {
    clearTimeout(this.#passing);
    this.#lasting = text;
    this.#show(text);
  }

  /** Say something to screen readers alone: others see it. */
  announce(text) {
    setText(this.#news, text);
  }

  #show(text, act = null) {
    this.#missed?.();
    this.#missed = null;
    this.#undo = null;
    this.#notice.hidden = !text;
    setText(this.#text, text);
    setChildren(this.#notice, [this.#text, act].filter(Boolean));
  }
}
