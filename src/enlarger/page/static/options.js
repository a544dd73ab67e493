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

/** Sizes that people choose from: what they are called, and the option that they set. */
export const SIZES = ["2", "3", "4", "8", "scale", "long_side", "width", "height"];

/** The option of a chosen size. A `number` that is empty or wrong asks for twice the size. */
export function sizeOption(size, number) {
  if (/^\d$/.test(size)) return { scale: Number(size) };
  return number > 0 ? { [size]: Number(number) } : { scale: 2 };
}

/** The size and number that stand for an option, the reverse of `sizeOption`. */
export function sizeOf(options) {
  const name = ["scale", "long_side", "width", "height"].find((key) => key in options) ?? "scale";
  const value = options[name] ?? 2;
  if (name === "scale" && SIZES.includes(String(value))) return { size: String(value), number: "" };
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
 * Seconds that models take for a part of a picture, all together.
 *
 * @param {{width: number, height: number}} part in pixels of the input
 * @param {{halo: number, measured: {megapixels_per_s: number|null}}[]} models
 * @returns {number|null} null: the speed of one is not known
 */
export function secondsFor({ width, height }, models) {
  let seconds = 0;
  for (const { halo, measured } of models) {
    if (!measured?.megapixels_per_s) return null;
    seconds += ((width + 2 * halo) * (height + 2 * halo)) / 1e6 / measured.megapixels_per_s;
  }
  return seconds;
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
