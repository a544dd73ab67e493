// What is asked of the service: model, size and format on one line, all else behind a button.

import { controlOf } from "./controls.js";
import { button, h, setAttribute, setChildren, setText } from "./dom.js";
import {
  furtherOptions,
  isTaken,
  keepsSize,
  levelsOf,
  proposalsFor,
  readOptions,
  sizeOf,
  sizeOption,
  sizesWith,
  takesValue,
  valueFrom,
} from "./options.js";
import { hasText, t } from "./texts.js";

const STORED = "enlarger.settings";
/** What a request may name instead of a model. */
const CHOOSERS = ["auto", "detect"];
const DEFAULTS = { model: "auto", scale: 4, format: "auto" };

/** Dispatches `change` when other options are chosen. */
export class Settings extends EventTarget {
  #storage;
  /** Models of the service. */
  models = [];
  #further = [];
  #more = new Map();
  #controls = new Map();
  /** The size that people chose, also while the model makes no other than the picture's own. */
  #chosenSize = { scale: DEFAULTS.scale };

  constructor(storage) {
    super();
    this.#storage = storage;
    this.#model = h("select", { id: "model", on: { change: () => this.#modelChanged() } });
    this.#size = h("select", { id: "size", on: { change: () => this.#sizeChanged() } });
    this.#number = h("input", {
      type: "number",
      min: 1,
      max: 999999,
      step: "any",
      class: "size-number",
      "aria-label": t("settings.number"),
      "aria-describedby": "size-problem",
      on: { input: () => this.#sizeChanged() },
    });
    this.#told = h("p", { id: "size-problem", class: "unseen", role: "alert" });
    this.#format = h("select", { id: "format", on: { change: () => this.#changed() } });
    this.#frames = h("select", { id: "frames", on: { change: () => this.#framesChanged() } });
    this.#framesField = field("frames", t("settings.frames"), this.#frames);
    this.#framesField.hidden = true;
    this.#count = h("span", { class: "count", hidden: true });
    this.panel = h("div", {
      class: "more-panel",
      id: "more",
      popover: "auto",
      role: "group",
      "aria-label": t("settings.more"),
    });
    this.#button = button({ icon: "settings", label: t("settings.more"), popovertarget: "more" });
    this.#button.append(this.#count);
    this.element = h(
      "div",
      { class: "settings" },
      field("model", t("settings.model"), this.#model, "wide"),
      field("size", t("settings.size"), this.#size),
      this.#number,
      this.#told,
      field("format", t("settings.format"), this.#format),
      this.#framesField,
      this.#button,
      this.panel,
    );
    this.#fill(JSON.parse(storage.getItem(STORED) ?? "null") ?? DEFAULTS);
  }

  #model;
  #size;
  #number;
  #told;
  #format;
  #frames;
  #framesField;
  #button;
  #count;

  /** The options of a request. */
  get options() {
    const options = { model: this.#model.value, ...this.#sizeOption };
    if (this.#format.value) options.format = this.#format.value;
    for (const { name } of this.#taken) {
      const value = this.#valueOf(name);
      if (value !== undefined) options[name] = value;
    }
    return options;
  }

  /** Why there is no request with what is chosen, in a sentence; empty: there is one. */
  get problem() {
    const isRight = Number(this.#size.value) || Number(this.#number.value) > 0;
    return isRight ? "" : t("settings.wrongNumber");
  }

  get #sizeOption() {
    return sizeOption(this.#size.value, Number(this.#number.value));
  }

  /** What is set for a further option, unless the chosen model does not take it. */
  #valueOf(name) {
    const value = this.#more.get(name);
    return takesValue(this.models, this.#model.value, name, value) ? value : undefined;
  }

  /** Further options that the chosen model takes. */
  get #taken() {
    return this.#further.filter(({ name }) => isTaken(this.models, this.#model.value, name));
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
    const { options } = this;
    this.models = models;
    this.#showModels(options.model);
    if (!this.problem) this.#showSizes(options);
    this.#showFurther();
    this.#changed();
  }

  /** Have people choose the frames of animations, where there are some. */
  setHasAnimations(hasAnimations) {
    this.#framesField.hidden = !hasAnimations;
  }

  /** Options that the service has. */
  setDocument(document) {
    const options = readOptions(document);
    this.#further = furtherOptions(options);
    const format = options.find((option) => option.name === "format");
    if (format) this.#showFormats(format.choices, this.#format.value);
    this.#showFurther();
    this.#changed();
  }

  #fill(options) {
    this.#showModels(options.model ?? "auto");
    this.#showSizes(options);
    if (!this.#keepsSize) this.#chosenSize = this.#sizeOption;
    this.#showFormats(["auto", "png", "jpeg", "webp", "avif", "tiff"], options.format ?? "auto");
    this.#more = new Map(
      Object.entries(options).filter(
        ([name]) => !["model", "format", "scale", "long_side", "width", "height"].includes(name),
      ),
    );
    this.#showFurther();
    this.#showState();
  }

  get #keepsSize() {
    return keepsSize(this.models.find(({ id }) => id === this.#model.value));
  }

  #showSizes(options) {
    const sizes = sizesWith(this.models, this.#model.value);
    const { size, number } = sizeOf(this.#keepsSize ? { scale: 1 } : options, sizes);
    setChildren(
      this.#size,
      sizes.map((name) => h("option", { value: name }, Number(name) ? `${name}×` : t(`size.${name}`))),
    );
    this.#size.value = size;
    this.#number.value = number;
  }

  #showModels(chosen) {
    const known = this.models.filter((model) => model.installed);
    const isKnown = CHOOSERS.includes(chosen) || known.some((model) => model.id === chosen);
    const ids = isKnown ? [] : [{ id: chosen, title: chosen }];
    setChildren(this.#model, [
      ...CHOOSERS.map((id) => h("option", { value: id }, t(`model.${id}`))),
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

  #showFurther() {
    this.#controls = new Map(this.#further.map((option) => [option.name, this.#control(option)]));
    setChildren(this.panel, [h("h2", {}, t("settings.more")), ...this.#controls.values()]);
  }

  #control(option) {
    return controlOf(option, {
      current: this.#valueOf(option.name) ?? option.preset,
      levels: levelsOf(this.models, this.#model.value, option.name),
      proposals: proposalsFor(this.models, option),
      take: (value) => {
        this.#more.set(option.name, valueFrom(option, value));
        this.#changed();
      },
    });
  }

  #showState() {
    const isFree = !Number(this.#size.value);
    this.#number.hidden = !isFree;
    setAttribute(this.#number, "aria-invalid", this.problem && "true");
    setText(this.#told, this.problem);
    this.#showFrames();
    const taken = new Set(this.#taken.map(({ name }) => name));
    for (const [name, control] of this.#controls) control.hidden = !taken.has(name);
    const set = [...taken].filter((name) => this.#valueOf(name) !== undefined).length;
    this.#count.hidden = !set;
    setText(this.#count, String(set));
    const label = set ? t("settings.moreSet", { n: set }) : t("settings.more");
    setAttribute(this.#button, "aria-label", label);
    setAttribute(this.#button, "title", label);
    setAttribute(this.#number, "max", this.#size.value === "scale" ? 8 : 999999);
  }

  /** All frames are what is done with animations where nothing is set. */
  #showFrames() {
    const wish = this.#valueOf("frames") ?? "all";
    const choices = ["all", "first", ...(typeof wish === "number" ? [wish] : [])];
    setChildren(
      this.#frames,
      choices.map((choice) =>
        h(
          "option",
          { value: choice },
          hasText(`choice.${choice}`) ? t(`choice.${choice}`) : t("settings.frameCount", { n: choice }),
        ),
      ),
    );
    this.#frames.value = wish;
  }

  #framesChanged() {
    const wish = this.#frames.value;
    this.#more.set("frames", { all: undefined, first: "first" }[wish] ?? (Number(wish) || undefined));
    this.#showFurther();
    this.#changed();
  }

  #modelChanged() {
    this.#showSizes(this.#chosenSize);
    this.#showFurther();
    this.#changed();
  }

  #sizeChanged() {
    if (!this.#keepsSize && !this.problem) this.#chosenSize = this.#sizeOption;
    this.#changed();
  }

  #changed() {
    this.#showState();
    if (!this.problem) this.#storage.setItem(STORED, JSON.stringify(this.options));
    this.dispatchEvent(new Event("change"));
  }
}

/** What a model is for. Those that come with the service have a short text in each language. */
export function modelTitle(model) {
  if (hasText(`model.${model.id}`)) return t(`model.${model.id}`);
  const title = model.title ? `${model.id}: ${model.title}` : model.id;
  return model.non_commercial ? `${title} (${t("model.nonCommercial")})` : title;
}

function field(id, label, control, kind = "") {
  return h("div", { class: `field ${kind}` }, h("label", { for: id }, label), control);
}
