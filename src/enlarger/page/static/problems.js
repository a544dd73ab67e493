// What the service's errors are called here: by their codes in the page's language, all others in the service's words.

import { currentLanguage, formatBytes, formatNumber, hasText, t } from "./texts.js";

/** Codes whose limits are bytes. */
const OF_BYTES = new Set(["file_too_large"]);

/** Codes of which the service's own words, which are English, say more. */
const DETAILED = new Set(["unsupported_format", "unreadable_image"]);

/**
 * An error in words.
 *
 * @param {{code?: string, detail?: string, error?: string, title?: string, limit?: number, actual?: number}} problem
 */
export function problemText(problem) {
  const { code, limit, actual } = problem;
  const detail = problem.detail ?? problem.error ?? problem.title ?? "";
  const hasOwn = hasText(`problem.${code}`) && !(currentLanguage() === "en" && DETAILED.has(code) && detail);
  if (!hasOwn) return withCapital(detail);
  const shown = (value) => (OF_BYTES.has(code) ? formatBytes(value) : formatNumber(value));
  const own = t(`problem.${code}`);
  return limit && actual ? `${own} ${t("problem.limit", { limit: shown(limit), actual: shown(actual) })}` : own;
}

function withCapital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** An error of this browser, in words. */
export function errorText(error) {
  if (error.name === "NotAllowedError") return t("problem.notAllowed");
  return error.name === "ConnectionLost" ? t("connection.lost") : withCapital(error.message);
}
