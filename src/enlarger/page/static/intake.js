// Pictures come in: dropped, pasted, chosen, as a folder, or by URL.

import { button, h, setAttribute, setText } from "./dom.js";
import { t } from "./texts.js";

/** Files that folders have and nobody chose. */
const UNSEEN = /^(\.|Thumbs\.db$|desktop\.ini$)/i;

/** Files of a drop, those in its folders as well. */
export async function droppedFiles(transfer) {
  // The list is empty as soon as the event has ended: entries are taken before anything is awaited.
  const items = [...transfer.items].filter((item) => item.kind === "file");
  const entries = items.map((item) => item.webkitGetAsEntry?.() ?? null);
  if (entries.some((entry) => entry === null)) return [...transfer.files];
  const files = [];
  for (const entry of entries) await collect(entry, files, true);
  return files;
}

async function collect(entry, files, isChosen) {
  if (!isChosen && UNSEEN.test(entry.name)) return;
  if (entry.isFile) {
    files.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    // A reader lists a hundred at a time.
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return;
    for (const child of some.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }))) {
      await collect(child, files, false);
    }
  }
}

/** The URL of a picture in a text, or null. */
export function urlOf(text) {
  const line = text
    .split(/\s/)
    .map((word) => word.trim())
    .find((word) => word && !word.startsWith("#"));
  return line && /^https?:\/\/\S+$/i.test(line) && URL.canParse(line) ? line : null;
}

export class Intake {
  #addFiles;
  #addUrl;
  #depth = 0;

  /**
   * @param {(files: File[]) => void} addFiles
   * @param {(url: string) => void} addUrl
   */
  constructor(addFiles, addUrl) {
    this.#addFiles = addFiles;
    this.#addUrl = addUrl;
    this.#files = this.#chooser({ multiple: true, accept: "image/*,.tif,.tiff,.avif" });
    this.#folder = this.#chooser({ webkitdirectory: true });
    this.#urlField = h("input", {
      type: "url",
      required: true,
      placeholder: "https://",
      "aria-label": t("intake.url"),
      "aria-describedby": "url-problem",
      autocomplete: "off",
      autofocus: true,
      name: "url",
      on: { input: () => this.#tellUrlProblem("") },
    });
    this.#urlProblem = h("p", { class: "problem", id: "url-problem", role: "alert", hidden: true });
    this.#urlForm = h(
      "form",
      {
        class: "url-form",
        popover: "auto",
        id: "url-form",
        novalidate: true,
        "aria-label": t("intake.byUrl"),
        on: { submit: (event) => this.#submitUrl(event) },
      },
      h("label", {}, h("span", {}, t("intake.url")), this.#urlField),
      h("button", { type: "submit", class: "button primary" }, t("intake.add")),
      this.#urlProblem,
    );
    this.hero = this.#makeHero();
    this.buttons = this.#makeButtons();
    this.veil = h("div", { class: "veil", hidden: true }, h("p", {}, t("intake.drop")));
    this.elements = [this.#files, this.#folder, this.#urlForm, this.veil];
    this.#listen();
  }

  #files;
  #folder;
  #urlField;
  #urlProblem;
  #urlForm;

  /** What the service takes, once it is known. */
  setLimits(text) {
    this.hero.querySelector(".limits").textContent = text;
  }

  #chooser(attributes) {
    const input = h("input", {
      type: "file",
      class: "unseen",
      tabindex: -1,
      "aria-hidden": "true",
      ...attributes,
      on: {
        change: () => {
          const files = [...input.files].filter((file) => !attributes.webkitdirectory || !UNSEEN.test(file.name));
          input.value = "";
          if (files.length) this.#addFiles(files);
        },
      },
    });
    return input;
  }

  #makeHero() {
    return h(
      "section",
      { class: "hero", "aria-labelledby": "hero-title" },
      h(
        "div",
        { class: "hero-art", "aria-hidden": "true" },
        Array.from({ length: 12 }, () => h("span")),
      ),
      h("h2", { id: "hero-title" }, t(matchMedia("(pointer: coarse)").matches ? "intake.titleTouch" : "intake.title")),
      h("p", { class: "lead" }, t("intake.lead")),
      h(
        "div",
        { class: "hero-buttons" },
        button({ icon: "picture", text: t("intake.choose"), kind: "primary large", press: () => this.#files.click() }),
        button({ icon: "folder", text: t("intake.folder"), kind: "large", press: () => this.#folder.click() }),
        button({ icon: "link", text: t("intake.byUrl"), kind: "large", popovertarget: "url-form" }),
      ),
      h("p", { class: "limits" }),
    );
  }

  #makeButtons() {
    return h(
      "div",
      { class: "add-buttons" },
      button({ icon: "add", text: t("intake.addPictures"), kind: "grow", press: () => this.#files.click() }),
      button({ icon: "folder", label: t("intake.folder"), press: () => this.#folder.click() }),
      button({ icon: "link", label: t("intake.byUrl"), popovertarget: "url-form" }),
    );
  }

  #submitUrl(event) {
    event.preventDefault();
    const url = urlOf(this.#urlField.value);
    this.#tellUrlProblem(url ? "" : t("intake.urlAllowed"));
    if (!url) {
      this.#urlField.focus();
      return;
    }
    this.#urlForm.hidePopover();
    this.#urlField.value = "";
    this.#addUrl(url);
  }

  #tellUrlProblem(text) {
    this.#urlProblem.hidden = !text;
    setText(this.#urlProblem, text);
    setAttribute(this.#urlField, "aria-invalid", text && "true");
  }

  #listen() {
    const hasFiles = (event) =>
      event.dataTransfer?.types.includes("Files") || event.dataTransfer?.types.includes("text/uri-list");
    addEventListener("dragenter", (event) => {
      if (!hasFiles(event)) return;
      this.#depth++;
      this.veil.hidden = false;
    });
    addEventListener("dragleave", () => {
      this.#depth = Math.max(0, this.#depth - 1);
      this.veil.hidden = this.#depth === 0;
    });
    addEventListener("dragover", (event) => {
      if (hasFiles(event)) event.preventDefault();
    });
    addEventListener("drop", async (event) => {
      this.#depth = 0;
      this.veil.hidden = true;
      if (!hasFiles(event)) return;
      event.preventDefault();
      const url = urlOf(event.dataTransfer.getData("text/uri-list"));
      const files = await droppedFiles(event.dataTransfer);
      if (files.length) this.#addFiles(files);
      else if (url) this.#addUrl(url);
    });
    addEventListener("paste", (event) => {
      if (event.target.closest?.("input, textarea")) return;
      const files = [...event.clipboardData.files];
      const url = urlOf(event.clipboardData.getData("text/plain"));
      if (files.length) this.#addFiles(files);
      else if (url) this.#addUrl(url);
      else return;
      event.preventDefault();
    });
  }
}
