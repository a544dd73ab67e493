// The buttons over the picture: ways to compare, and the zoom.

import { button, h, setAttribute, setText } from "./dom.js";
import { formatPercent, t } from "./texts.js";

const ZOOM_STEP = 1.5;

export class Toolbar {
  #modes;
  #buttons = {};

  /**
   * @param {import("./view.js").View} view
   * @param {{modes: string[], setMode: (mode: string) => void, toggleLoupe: () => void}} acts
   */
  constructor(view, { modes, setMode, toggleLoupe }) {
    this.#modes = modes;
    const toggles = modes.map((mode) => this.#toggle(mode, () => setMode(mode)));
    const percent = h("span", { class: "percent" });
    const actual = h(
      "button",
      {
        type: "button",
        class: "button tool",
        title: t("stage.actual"),
        on: { click: () => view.zoomTo(view.actual) },
      },
      percent,
      h("span", { class: "unseen" }, ` ${t("stage.actual")}`),
    );
    const tool = (icon, label, press) => button({ icon, label, kind: "tool", press });
    this.#ways = h("div", { class: "tool-group" }, toggles, this.#toggle("loupe", toggleLoupe));
    this.element = h(
      "div",
      { class: "tools", role: "toolbar", "aria-label": t("stage.tools"), "data-own-pointer": "" },
      this.#ways,
      h(
        "div",
        { class: "tool-group" },
        tool("minus", t("stage.zoomOut"), () => view.zoomBy(1 / ZOOM_STEP)),
        actual,
        tool("add", t("stage.zoomIn"), () => view.zoomBy(ZOOM_STEP)),
        tool("fit", t("stage.fit"), () => view.fit()),
      ),
    );
    view.addEventListener("change", () => setText(percent, formatPercent(view.zoom * view.ratio)));
  }

  #ways;

  /** Put a button beside the ways to compare. */
  add(element) {
    this.#ways.append(element);
  }

  /** Show what is chosen, and what can be. */
  show({ isShown, compares, mode, hasLoupe }) {
    this.element.hidden = !isShown;
    for (const [name, element] of Object.entries(this.#buttons)) {
      const isChosen = this.#modes.includes(name) ? name === mode : hasLoupe;
      setAttribute(element, "aria-pressed", String(isChosen));
      element.disabled = !compares;
    }
  }

  #toggle(name, press) {
    this.#buttons[name] = button({
      icon: name,
      label: t(`stage.${name}`),
      kind: "tool",
      press,
      "aria-pressed": "false",
    });
    return this.#buttons[name];
  }
}
