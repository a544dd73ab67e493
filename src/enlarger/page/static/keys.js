// The key of the service, where it wants one: asked for once, kept for the tab.

import { h } from "./dom.js";
import { t } from "./texts.js";

const STORED = "enlarger.key";

export class Keys {
  #storage;
  #asking = null;

  constructor(storage) {
    this.#storage = storage;
  }

  get current() {
    return this.#storage.getItem(STORED);
  }

  /**
   * Ask for another key.
   *
   * @param {string} problem why the last one did not do
   * @param {string|null} refused the last one: if there is another meanwhile, nobody is asked
   */
  ask(problem, refused) {
    if (this.current && this.current !== refused) return Promise.resolve();
    this.#asking ??= this.#asked(problem).finally(() => {
      this.#asking = null;
    });
    return this.#asking;
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
      const dialog = h(
        "dialog",
        { class: "key-dialog", "aria-labelledby": "key-title" },
        h(
          "form",
          {
            on: {
              submit: (event) => {
                event.preventDefault();
                this.#storage.setItem(STORED, field.value.trim());
                dialog.close();
                dialog.remove();
                resolve();
              },
            },
          },
          h("h2", { id: "key-title" }, t("key.title")),
          h("p", { id: "key-hint", class: "hint" }, t("key.hint")),
          h("label", { for: "key" }, t("key.label")),
          field,
          problem && h("p", { class: "problem", role: "alert" }, problem),
          h("button", { type: "submit", class: "button primary" }, t("key.use")),
        ),
      );
      // Nothing here works without a key: Escape would only have the question come again.
      dialog.addEventListener("cancel", (event) => event.preventDefault());
      document.body.append(dialog);
      dialog.showModal();
    });
  }
}
