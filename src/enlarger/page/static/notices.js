// What the page says: to all for some seconds, and to screen readers.

import { h, setText } from "./dom.js";

const PASSES_MS = 6000;

export class Notices {
  #passing = null;
  #lasting = "";

  constructor() {
    this.#notice = h("div", { class: "notice", role: "alert", hidden: true });
    this.#news = h("div", { class: "unseen", role: "status" });
    this.elements = [this.#notice, this.#news];
  }

  #notice;
  #news;

  /** Say something for some seconds. */
  tell(text) {
    clearTimeout(this.#passing);
    this.#passing = setTimeout(() => this.#show(this.#lasting), PASSES_MS);
    this.#show(text);
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

  #show(text) {
    this.#notice.hidden = !text;
    setText(this.#notice, text);
  }
}
