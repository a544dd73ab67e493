// The options of a request, as the OpenAPI document describes them: a new one appears by itself.

/** Those that stand on the page's own line. */
const MAIN = new Set(["model", "scale", "width", "height", "long_side", "short_side", "format"]);

/** Those that make no sense here: the page asks for jobs, takes files, and draws regions. */
const LEFT_OUT = new Set(["inline", "webhook", "region", "url", "img_url", "image_b64", "placeholder"]);

/**
 * Read the options of `POST /v1/jobs`.
 *
 * @param {Object} document an OpenAPI document
 * @returns {{name: string, kind: "boolean"|"choice"|"number"|"open"|"text", choices: string[], minimum?: number,
 *   maximum?: number, step?: string, pattern?: string, preset: *, description: string}[]}
 */
export function readOptions(document) {
  const parameters = document.paths?.["/v1/jobs"]?.post?.parameters ?? [];
  return parameters
    .map((parameter) => resolved(document, parameter))
    .filter((parameter) => parameter.in === "query" && !LEFT_OUT.has(parameter.name))
    .map((parameter) => optionOf(parameter, resolved(document, parameter.schema ?? {})));
}

/** Options that are behind the button. */
export function furtherOptions(options) {
  return options.filter((option) => !MAIN.has(option.name));
}

function resolved(document, value) {
  if (!value.$ref) return value;
  return value.$ref
    .replace(/^#\//, "")
    .split("/")
    .reduce((part, name) => part[name.replaceAll("~1", "/").replaceAll("~0", "~")], document);
}

function optionOf({ name, description = "" }, schema) {
  const variants = (schema.anyOf ?? [schema]).filter((variant) => variant.type !== "null");
  const choices = variants.flatMap((variant) => variant.enum ?? []);
  const option = { name, description, choices, preset: schema.default };
  const [first] = variants;
  if (variants.length > 1) return { ...option, kind: "open" };
  if (first?.type === "boolean") return { ...option, kind: "boolean" };
  if (choices.length) return { ...option, kind: "choice" };
  if (first?.type === "integer" || first?.type === "number") {
    const { minimum, maximum } = first;
    return { ...option, kind: "number", minimum, maximum, step: first.type === "integer" ? "1" : "any" };
  }
  return { ...option, kind: "text", pattern: first?.pattern };
}

/** The value of a control as a request has it; undefined where it says nothing, or its default. */
export function valueFrom(option, text) {
  if (option.kind === "boolean") return text === Boolean(option.preset) ? undefined : text;
  const trimmed = String(text).trim();
  if (trimmed === "" || trimmed === String(option.preset ?? "")) return undefined;
  if (option.kind === "number") return Number(trimmed);
  if (option.kind === "open" && /^\d+$/.test(trimmed)) return Number(trimmed);
  return trimmed;
}

/** Times that can always be chosen: the service makes any size, whatever its models make. */
const TIMES = [2, 3, 4, 8];

/** More than this is refused, also for models that make more. */
const MOST_TIMES = 8;

/** Sizes of which people say the number. */
const FREE = ["scale", "long_side", "width", "height"];

/**
 * Sizes that people choose from: times, among them those that models make without resampling, and names of options.
 *
 * @param {{native_scale: number}[]} models
 */
export function sizesFor(models) {
  const times = new Set([...TIMES, ...models.map((model) => model.native_scale)]);
  return [
    ...[...times]
      .filter((one) => one <= MOST_TIMES)
      .sort((one, other) => one - other)
      .map(String),
    ...FREE,
  ];
}

/** Whether a model makes pictures in no size but their own. */
export function keepsSize(model) {
  return model?.native_scale === 1;
}

/**
 * Sizes that people choose from with a model.
 *
 * @param {{id: string, native_scale: number, installed: boolean}[]} models of the service
 * @param {string} id of a model, or what stands for one, such as `auto`
 */
export function sizesWith(models, id) {
  const chosen = models.find((model) => model.id === id);
  return keepsSize(chosen) ? ["1"] : sizesFor(models.filter((model) => model.installed));
}

/** The option of a chosen size. A `number` that is empty or wrong asks for twice the size. */
export function sizeOption(size, number) {
  if (!FREE.includes(size)) return { scale: Number(size) };
  return number > 0 ? { [size]: Number(number) } : { scale: 2 };
}

/** The size of `sizes` and the number that stand for an option, the reverse of `sizeOption`. */
export function sizeOf(options, sizes) {
  const name = FREE.find((key) => key in options) ?? "scale";
  const value = options[name] ?? 2;
  if (name === "scale" && sizes.includes(String(value))) return { size: String(value), number: "" };
  return { size: name, number: String(value) };
}

/** Where the input lies in the result: `fit` may have stretched or cut it. */
export function inputPlace(input, output, options) {
  if (!(options.fit === "cover" && options.width && options.height)) {
    return { x: 0, y: 0, width: output.width, height: output.height };
  }
  const scale = Math.max(output.width / input.width, output.height / input.height);
  const width = input.width * scale;
  const height = input.height * scale;
  return { x: (output.width - width) / 2, y: (output.height - height) / 2, width, height };
}

/**
 * Whether a model takes an option. Where the service chooses the model, it is one that all models take.
 *
 * @param {{id: string, options: string[]}[]} models of the service
 * @param {string} id of a model, or what stands for one, such as `auto`
 * @param {string} name of the option; those that no model lists are for any
 */
export function isTaken(models, id, name) {
  const chosen = models.filter((model) => model.id === id);
  const takes = ({ options }) => options.includes(name);
  return !models.some(takes) || (chosen.length ? chosen : models).every(takes);
}

/**
 * The values of an option that a model takes, where it takes fewer than the document says.
 *
 * @param {{id: string, noise_levels: number[]}[]} models of the service
 * @param {string} id of a model
 * @param {string} name of the option
 * @returns {number[]|null} null: all that the document says
 */
export function levelsOf(models, id, name) {
  const levels = name === "denoise" && models.find((model) => model.id === id)?.noise_levels;
  return levels?.length ? levels : null;
}

/** Whether a model takes a value of an option. */
export function takesValue(models, id, name, value) {
  return isTaken(models, id, name) && (levelsOf(models, id, name)?.includes(value) ?? true);
}

/** The options of a request for a picture: of an animation all frames are made, unless people want it otherwise. */
export function optionsFor({ isAnimation }, options) {
  return isAnimation && options.frames === undefined ? { ...options, frames: "all" } : options;
}

/** The settings that the options of a request stand for, the reverse of `optionsFor`. */
export function settingsFor({ isAnimation, options }) {
  const { frames, ...others } = options;
  return isAnimation && frames === "all" ? others : options;
}

/** What may be proposed for an option whose values the document leaves open. */
export function proposalsFor(models, option) {
  if (option.name === "device") return [...new Set(models.flatMap(({ devices }) => devices ?? []))];
  return option.choices;
}

/** Pixels per second of models; those that have not been measured are as quick as another one's operations allow. */
function speedsOf(models) {
  const measured = models.filter((model) => model.measured.megapixels_per_s);
  const rates = measured.map((model) => model.measured.megapixels_per_s * model.mflop_per_px).sort((a, b) => a - b);
  const rate = rates[Math.floor(rates.length / 2)];
  return models.map((model) => 1e6 * (model.measured.megapixels_per_s || rate / model.mflop_per_px));
}

/**
 * Seconds that models take for a part of a picture, all together.
 *
 * @param {{width: number, height: number}} part in pixels of the input
 * @param {{halo: number, mflop_per_px: number, measured: {megapixels_per_s: number|null}}[]} models
 * @returns {number|null} null: no speed is known
 */
export function secondsFor({ width, height }, models) {
  const speeds = speedsOf(models);
  const seconds = models.map(({ halo }, index) => ((width + 2 * halo) * (height + 2 * halo)) / speeds[index]);
  const sum = seconds.reduce((total, one) => total + one, 0);
  return Number.isFinite(sum) ? sum : null;
}

/** The side of a square part that all models make in about that time, in pixels of the input. */
export function regionSide(models, { seconds = 2, least = 64, most = 1024 } = {}) {
  let side = least;
  for (; side < most; side += 16) {
    const taken = secondsFor({ width: side + 16, height: side + 16 }, models);
    if (taken === null || taken > seconds) break;
  }
  return side;
}
