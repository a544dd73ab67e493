// The page's texts and the forms of its numbers, in the language that the browser prefers.

const LANGUAGES = ["en", "de", "es", "zh"];

let texts = {};
let language = "en";
let plurals = new Intl.PluralRules(language);

/** The first language of a list that there are texts in. */
export function chosenLanguage(preferred) {
  for (const tag of preferred) {
    const base = tag.toLowerCase().split("-")[0];
    if (LANGUAGES.includes(base)) return base;
  }
  return "en";
}

/** Load the texts; only those of one language are ever loaded. */
export async function loadTexts(preferred) {
  language = chosenLanguage(preferred);
  plurals = new Intl.PluralRules(language);
  ({ default: texts } = await import(`./texts/${language}.js`));
  return language;
}

/**
 * A text, with `{name}` replaced by values. Where the text is an object of plural forms, `n` chooses one.
 *
 * @param {string} key
 * @param {Object<string, string|number>} [values]
 */
export function t(key, values = {}) {
  let text = texts[key] ?? key;
  if (typeof text === "object") text = text[plurals.select(values.n)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (_, name) => {
    const value = values[name];
    return typeof value === "number" ? formatNumber(value) : (value ?? "");
  });
}

/** The language of the texts. */
export function currentLanguage() {
  return language;
}

/** Whether there is such a text. */
export function hasText(key) {
  return key in texts;
}

export function formatNumber(value, options) {
  return new Intl.NumberFormat(language, options).format(value);
}

export function formatPercent(part) {
  return formatNumber(part, { style: "percent", maximumFractionDigits: 0 });
}

export function formatSize({ width, height }) {
  return `${width} × ${height}`;
}

/** A size of a file. */
export function formatBytes(bytes) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte"];
  const step = bytes < 1000 ? 0 : Math.min(3, Math.floor(Math.log10(bytes) / 3));
  const value = bytes / 1000 ** step;
  const maximumFractionDigits = value < 10 && step > 1 ? 1 : 0;
  return formatNumber(value, {
    style: "unit",
    unit: units[step],
    unitDisplay: step ? "short" : "narrow",
    maximumFractionDigits,
  });
}

/** A duration, as exact as people need it. */
export function formatSeconds(seconds) {
  const unit = (value, name) =>
    formatNumber(value, { style: "unit", unit: name, unitDisplay: "narrow", maximumFractionDigits: 0 });
  if (seconds < 1) return `< ${unit(1, "second")}`;
  if (seconds < 90) return unit(seconds < 10 ? Math.ceil(seconds) : Math.round(seconds), "second");
  if (seconds < 90 * 60) return unit(seconds / 60, "minute");
  const hours = Math.floor(seconds / 3600);
  return `${unit(hours, "hour")} ${unit((seconds % 3600) / 60, "minute")}`;
}

/** How long something is expected to take. */
export function formatExpected(seconds) {
  return seconds < 1 ? formatSeconds(seconds) : `≈ ${formatSeconds(seconds)}`;
}

/** A time of day. */
export function formatTime(date) {
  return new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit" }).format(date);
}
