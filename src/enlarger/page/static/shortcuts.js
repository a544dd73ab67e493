// The list of the keys that the page knows, and where they work.

import { h } from "./dom.js";
import { t } from "./texts.js";

/** Each key, and the text that says what it does. */
const KEYS = [
  ["+", "stage.zoomIn"],
  ["−", "stage.zoomOut"],
  ["0", "stage.fit"],
  ["1", "stage.actual"],
  ["← ↑ → ↓", "keys.move"],
  ["C", "stage.curtain"],
  ["[ ]", "keys.curtain"],
  ["S", "stage.side"],
  ["B", "stage.blink"],
  ["L", "stage.loupe"],
  ["keys.space", "keys.swap"],
  ["Alt ↑ ↓", "keys.pictures"],
  ["keys.delete", "keys.remove"],
  ["Ctrl Z", "keys.undo"],
  ["?", "keys.title"],
];

export function makeShortcuts() {
  return h(
    "section",
    { class: "shortcuts", id: "shortcuts", popover: "auto", "aria-labelledby": "shortcuts-title" },
    h("h2", { id: "shortcuts-title" }, t("keys.title")),
    h(
      "dl",
      {},
      KEYS.map(([key, text]) =>
        h("div", {}, h("dt", {}, h("kbd", {}, key.startsWith("keys.") ? t(key) : key)), h("dd", {}, t(text))),
      ),
    ),
  );
}

/** Whether a key means what has the focus: text is written there, or it moves by itself. */
export function isForItself({ target, key }) {
  if (target.closest?.("input:not([type=range]), select, textarea, dialog, .comparison, .region-layer")) return true;
  return key === " " || key === "Enter" || key.startsWith("Arrow");
}
