// What is asked of the service: model, size and format on one line, all else behind a button.

import { button, h, setAttribute, setChildren } from "./dom.js";
import { furtherOptions, readOptions, SIZES, sizeOf, sizeOption, valueFrom } from "./options.js";
import { hasText, t } from "./texts.js";

const STORED = "enlarger.settings";
const DEFAULTS = { model: "auto", scale: 4, format: "auto" };

/** Dispatches `change` when other options are chosen. */
export class Settings extends EventTarget {
  #storage;
  /** Models of the service. */
  models = [];
  #further = [];
  #more = new Map();

  constructor(storage) {
    super();
    this.#storage = storage;
    this.#model = h("select", { id: "model", on: { change: () => this.#changed() } });
    this.#size = h("select", { id: "size", on: { change: () => this.#changed() } });
    this.#number = h("input", {
      type: "number",
      min: 1,
      max: 999999,
      step: "any",
      class: "size-number",
      "aria-label": t("settings.number"),
      on: { input: () => this.#changed() },
    });
    this.#format = h("select", { id: "format", on: { change: () => this.#changed() } });
    setChildren(
      this.#size,
      SIZES.map((size) => h("option", { value: size }, /^\d$/.test(size) ? `${size}×` : t(`size.${size}`))),
    );
    this.#count = h("span", { class: "count", hidden: true });
    this.#panel = h("div", {
      class: "more-panel",
      id: "more",
      popover: "auto",
      role: "group",
      "aria-label": t("settings.more"),
    });
    const more = button({ icon: "settings", label: t("settings.more"), popovertarget: "more" });
    more.append(this.#count);
    this.element = h(
      "div",
      { class: "settings" },
      field("model", t("settings.model"), this.#model, "wide"),
      field("size", t("settings.size"), this.#size),
      this.#number,
      field("format", t("settings.format"), this.#format),
      more,
      this.#panel,
    );
    this.#fill(JSON.parse(storage.getItem(STORED) ?? "null") ?? DEFAULTS);
  }

  #model;
  #size;
  #number;
  #format;
  #count;
  #panel;

  /** The options of a request. */
  get options() {
    const options = { model: this.#model.value, ...sizeOption(this.#size.value, Number(this.#number.value)) };
    if (this.#format.value) options.format = this.#format.value;
    for (const option of this.#further) {
      const value = this.#more.get(option.name);
      if (value !== undefined) options[option.name] = value;
    }
    return options;
  }

  set options(options) {
    this.#fill(options);
    this.#changed();
  }

  /** Have people choose. */
  focus() {
    this.#model.focus();
  }

  /** Models that can be chosen, and what `auto` stands for. */
  setModels(models) {
    this.models = models;
    this.#showModels(this.#model.value);
    this.#changed();
  }

  /** Options that the service has. */
  setDocument(document) {
    const options = readOptions(document);
    this.#further = furtherOptions(options);
    const format = options.find((option) => option.name === "format");
    if (format) this.#showFormats(format.choices, this.#format.value);
    setChildren(this.#panel, [
      h("h2", {}, t("settings.more")),
      ...this.#further.map((option) => this.#control(option)),
    ]);
    this.#changed();
  }

  #fill(options) {
    const { size, number } = sizeOf(options);
    this.#size.value = size;
    this.#number.value = number;
    this.#showModels(options.model ?? "auto");
    this.#showFormats(["auto", "png", "jpeg", "webp", "avif", "tiff"], options.format ?? "auto");
    this.#more = new Map(
      Object.entries(options).filter(
        ([name]) => !["model", "format", "scale", "long_side", "width", "height"].includes(name),
      ),
    );
    if (this.#further.length) {
      setChildren(this.#panel, [
        h("h2", {}, t("settings.more")),
        ...this.#further.map((option) => this.#control(option)),
      ]);
    }
    this.#showState();
  }

  #showModels(chosen) {
    const known = this.models.filter((model) => model.installed);
    const ids = known.some((model) => model.id === chosen) || chosen === "auto" ? [] : [{ id: chosen, title: chosen }];
    setChildren(this.#model, [
      h("option", { value: "auto" }, t("model.auto")),
      ...[...known, ...ids].map((model) => h("option", { value: model.id }, modelTitle(model))),
    ]);
    this.#model.value = chosen;
  }

  #showFormats(formats, chosen) {
    setChildren(
      this.#format,
      formats.map((format) =>
        h("option", { value: format }, format === "auto" ? t("format.auto") : format.toUpperCase()),
      ),
    );
    this.#format.value = chosen;
  }

  #control(option) {
    const id = `option-${option.name}`;
    const current = this.#more.get(option.name) ?? option.preset;
    const take = (value) => {
      this.#more.set(option.name, valueFrom(option, value));
      this.#changed();
    };
    const described = { id, "aria-describedby": `${id}-text` };
    let control;
    if (option.kind === "boolean") {
      control = h("input", {
        ...described,
        type: "checkbox",
        checked: Boolean(current),
        on: { change: () => take(control.checked) },
      });
    } else if (option.kind === "choice") {
      const none = option.preset === undefined && h("option", { value: "" }, t("settings.unset"));
      control = h(
        "select",
        { ...described, on: { change: () => take(control.value) } },
        none,
        option.choices.map((choice) => h("option", { value: choice }, choice)),
      );
      control.value = current ?? "";
    } else {
      const list = option.choices.length
        ? h(
            "datalist",
            { id: `${id}-list` },
            option.choices.map((choice) => h("option", { value: choice })),
          )
        : null;
      control = h("input", {
        ...described,
        type: option.kind === "number" ? "number" : "text",
        min: option.minimum,
        max: option.maximum,
        step: option.step,
        pattern: option.pattern,
        list: list?.id,
        placeholder: t("settings.unset"),
        value: current ?? "",
        on: { change: () => take(control.value) },
      });
      if (list) control.append(list);
    }
    const label = hasText(`option.${option.name}`) ? t(`option.${option.name}`) : option.name.replaceAll("_", " ");
    return h(
      "div",
      { class: `option ${option.kind}` },
      h("label", { for: id }, label),
      control,
      h("p", { id: `${id}-text`, class: "hint" }, option.description.replaceAll("`", "")),
    );
  }

  #showState() {
    const isFree = !/^\d$/.test(this.#size.value);
    this.#number.hidden = !isFree;
    const set = [...this.#more.values()].filter((value) => value !== undefined).length;
    this.#count.hidden = !set;
    this.#count.textContent = String(set);
    setAttribute(this.#number, "max", this.#size.value === "scale" ? 8 : 999999);
  }

  #changed() {
    this.#showState();
    this.#storage.setItem(STORED, JSON.stringify(this.options));
    this.dispatchEvent(new Event("change"));
  }
}

/** What a model is for. Those that come with the service have a short text in each language. */
export function modelTitle(model) {
  return hasText(`model.${model.id}`) ? t(`model.${model.id}`) : `${model.id}: ${model.title}`;
}

function field(id, label, control, kind = "") {
  return h("div", { class: `field ${kind}` }, h("label", { for: id }, label), control);
}
