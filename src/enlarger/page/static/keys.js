// The key of the service, where it wants one: asked for once, kept for the tab.

import { h, setAttribute, setText } from "./dom.js";
import { t } from "./texts.js";

const STORED = "enlarger.key";

/** What nobody sees, and comes along when a key is copied: zero-width spaces, marks of direction, and their like. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}]/gu;

/** A header takes no other characters of a key. A browser throws at some others, as if there were no connection. */
const SENDABLE = /^[ -~]+$/;

/** A pasted key without what is no part of it. */
export function cleanKey(text) {
  return text.replace(UNSEEN, "").trim();
}

/** Whether a request can carry a key. One that cannot be sent is known to no service. */
export function isSendable(key) {
  return SENDABLE.test(key);
}

/** Dispatches `given` when people gave a key. */
export class Keys extends EventTarget {
  #storage;
  #asking = null;
  /** Whether people left the question: they are asked again when they do something that takes a key. */
  #isLeft = false;

  constructor(storage) {
    super();
    this.#storage = storage;
  }

  /** The key of this tab; null: there is none that could be sent. */
  get current() {
    const key = this.#storage.getItem(STORED);
    return key !== null && isSendable(key) ? key : null;
  }

  /**
   * Ask for another key, unless people left the question.
   *
   * @param {string} problem why the last one did not do
   * @param {string|null} refused the last one: if there is another meanwhile, nobody is asked
   * @returns {Promise<boolean>} whether there is another one
   */
  ask(problem, refused) {
    if (this.current && this.current !== refused) return Promise.resolve(true);
    this.#storage.removeItem(STORED);
    if (this.#isLeft) return Promise.resolve(false);
    this.#asking ??= this.#asked(problem).finally(() => {
      this.#asking = null;
    });
    return this.#asking;
  }

  /** People do something that takes a key: if they left the question, ask again. */
  remind() {
    if (!this.#isLeft) return;
    this.#isLeft = false;
    this.ask("", null);
  }

  #asked(problem) {
    return new Promise((resolve) => {
      const field = h("input", {
        type: "password",
        id: "key",
        required: true,
        autocomplete: "off",
        "aria-describedby": "key-hint",
        "aria-invalid": problem ? "true" : undefined,
      });
      const told = h("p", { class: "problem", role: "alert", hidden: !problem }, problem);
      const submit = (event) => {
        event.preventDefault();
        const key = cleanKey(field.value);
        if (isSendable(key)) {
          this.#storage.setItem(STORED, key);
          dialog.close();
          return;
        }
        told.hidden = false;
        setText(told, t("key.unknown"));
        setAttribute(field, "aria-invalid", "true");
        field.select();
      };
      const dialog = h(
        "dialog",
        { class: "key-dialog", "aria-labelledby": "key-title" },
        h(
          "form",
          { on: { submit } },
          h("h2", { id: "key-title" }, t("key.title")),
          h("p", { id: "key-hint", class: "hint" }, t("key.hint")),
          h("label", { for: "key" }, t("key.label")),
          field,
          told,
          h("button", { type: "submit", class: "button primary" }, t("key.use")),
          // A touch screen has no Escape.
          h("button", { type: "button", class: "button", on: { click: () => dialog.close() } }, t("key.later")),
        ),
      );
      // Also by Escape, which no page can forbid for long.
      dialog.addEventListener("close", () => {
        dialog.remove();
        const isGiven = this.current !== null;
        this.#isLeft = !isGiven;
        resolve(isGiven);
        if (isGiven) this.dispatchEvent(new Event("given"));
      });
      document.body.append(dialog);
      dialog.showModal();
    });
  }
}
