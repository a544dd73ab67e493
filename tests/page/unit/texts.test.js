import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { ApiError } from "../../../src/enlarger/page/static/api.js";
import { problemText } from "../../../src/enlarger/page/static/problems.js";
import { reportLines } from "../../../src/enlarger/page/static/report.js";
import {
  chosenLanguage,
  formatBytes,
  formatExpected,
  formatSeconds,
  loadTexts,
  t,
} from "../../../src/enlarger/page/static/texts.js";

const FOLDER = new URL("../../../src/enlarger/page/static/", import.meta.url);
const LANGUAGES = ["de", "en", "es", "zh"];

const textsOf = async (language) => (await import(`${FOLDER}texts/${language}.js`)).default;
const formsOf = (text) => (typeof text === "string" ? [text] : Object.values(text));
const namesIn = (text) => [...new Set(formsOf(text).flatMap((form) => form.match(/\{\w+\}/g) ?? []))].sort();

test("all languages have the same texts with the same values", async () => {
  const english = await textsOf("en");
  assert.deepEqual(
    readdirSync(new URL("texts/", FOLDER)),
    LANGUAGES.map((language) => `${language}.js`),
  );
  for (const language of LANGUAGES) {
    const texts = await textsOf(language);
    assert.deepEqual(Object.keys(texts), Object.keys(english), language);
    for (const [key, text] of Object.entries(texts)) {
      assert.deepEqual(namesIn(text), namesIn(english[key]), `${language} ${key}`);
      assert.ok(formsOf(text).every((form) => form.trim()));
    }
  }
});

test("each text that is named in the code is there, and each that is there is used", async () => {
  const english = await textsOf("en");
  const code = readdirSync(FOLDER)
    .filter((name) => name.endsWith(".js"))
    .map((name) => readFileSync(new URL(name, FOLDER), "utf8"))
    .join("\n");
  const named = [...code.matchAll(/\bt\(\s*"([\w.]+)"/g)].map(([, key]) => key);
  for (const key of named) assert.ok(key in english, key);
  const families = [...code.matchAll(/`([\w]+)\.\$\{/g)].map(([, family]) => family);
  for (const key of Object.keys(english)) {
    assert.ok(code.includes(`"${key}"`) || families.includes(key.split(".")[0]), `nobody uses ${key}`);
  }
});

test("the first language that there is is chosen", () => {
  assert.equal(chosenLanguage(["fr-FR", "de-CH", "en"]), "de");
  assert.equal(chosenLanguage(["zh-Hant-TW"]), "zh");
  assert.equal(chosenLanguage(["fr"]), "en");
  assert.equal(chosenLanguage([]), "en");
});

test("values and plural forms are filled in", async () => {
  await loadTexts(["en"]);
  assert.equal(t("service.ready", { n: 1 }), "1 server ready");
  assert.equal(t("service.ready", { n: 2 }), "2 servers ready");
  assert.equal(t("row.remove", { name: "{n} $&" }), "Remove {n} $&");
  assert.equal(t("no.such.text"), "no.such.text");
});

test("sizes and durations are as short as people need", async () => {
  await loadTexts(["en"]);
  assert.deepEqual([12, 51_234, 5_190_000, 12e9].map(formatBytes), ["12B", "51 kB", "5.2 MB", "12 GB"]);
  assert.deepEqual([0.2, 3.2, 75, 600, 7260].map(formatSeconds), ["< 1s", "4s", "75s", "10m", "2h 1m"]);
  assert.deepEqual([0.2, 3.2].map(formatExpected), ["< 1s", "≈ 4s"]);
});

test("frequent errors are told in the page's language, all others in the service's words", async () => {
  const large = { code: "file_too_large", detail: "too many bytes", limit: 20_000_000, actual: 25_000_000 };
  const format = { code: "unsupported_format", detail: "not a picture: this is SVG" };
  await loadTexts(["de"]);
  assert.equal(problemText(large), "Die Datei ist zu groß. Es sind 25 MB, erlaubt sind 20 MB.");
  assert.equal(new ApiError(422, { code: "missing_input", detail: "no picture" }).message, "Die Datei ist leer.");
  assert.equal(problemText(format), "Der Dienst liest Bilder dieses Formats nicht.");
  assert.equal(problemText({ code: "other", detail: "the disk is full" }), "The disk is full");
  assert.equal(new ApiError(502, {}).message, "HTTP 502");
  await loadTexts(["en"]);
  assert.equal(problemText(format), "Not a picture: this is SVG");
  assert.equal(problemText({ code: "missing_input", detail: "no picture" }), "The file is empty.");
});

test("one tile is one tile", async () => {
  await loadTexts(["de"]);
  assert.equal(t("row.tiles", { n: 1, done: 0, total: 1, part: "0 %" }), "0 von 1 Kachel · 0 %");
  assert.equal(t("report.servers", { n: 1 }), "1 Server");
});

test("what the service says in English about a note stands below the text in English alone", async () => {
  const result = { kept: [], notes: [{ code: "orientation_applied", detail: "EXIF orientation 6" }] };
  await loadTexts(["de"]);
  assert.deepEqual(reportLines(result), [
    { kind: "changed", text: "Das Bild wurde aufrecht gedreht.", title: "EXIF orientation 6" },
  ]);
  await loadTexts(["en"]);
  assert.equal(reportLines(result)[0].detail, "EXIF orientation 6");
});
