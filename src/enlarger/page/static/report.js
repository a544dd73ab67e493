// What was kept of a picture and what was not, in plain words.

import { currentLanguage, hasText, t } from "./texts.js";

/**
 * The lines of a report.
 *
 * @param {Object} result of a job
 * @returns {{kind: "kept"|"changed", text: string, detail?: string, title?: string}[]} `detail` is shown below the text; where it
 *   is English and the page is not, it is the title
 */
export function reportLines(result) {
  const kept = result.kept.map((name) => (hasText(`kept.${name}`) ? t(`kept.${name}`) : name));
  const lines = kept.length ? [{ kind: "kept", text: t("report.kept", { list: kept.join(", ") }) }] : [];
  for (const { code, detail } of result.notes) {
    // The service's own words have the numbers and names; ours say what it means.
    const text = hasText(`note.${code}`) ? t(`note.${code}`) : detail;
    const more = text === detail ? "" : detail;
    lines.push({ kind: "changed", text, ...(currentLanguage() === "en" ? { detail: more } : { title: more }) });
  }
  return lines;
}
