import assert from "node:assert/strict";
import { test } from "node:test";
import { backoffMs, sleep } from "../../../src/enlarger/page/static/api.js";
import { comparisonOptions, withHalo } from "../../../src/enlarger/page/static/compare.js";
import { secondsOfAll } from "../../../src/enlarger/page/static/estimator.js";
import { droppedFiles, urlOf } from "../../../src/enlarger/page/static/intake.js";
import { parseMetrics, picturesMade } from "../../../src/enlarger/page/static/prometheus.js";
import { Queue } from "../../../src/enlarger/page/static/queue.js";
import { clampedRegion } from "../../../src/enlarger/page/static/region.js";
import { secondsLeft } from "../../../src/enlarger/page/static/rows.js";
import { ratesOf } from "../../../src/enlarger/page/static/service.js";
import { isStray } from "../../../src/enlarger/page/static/steady.js";

test("a text has a URL, or none", () => {
  assert.equal(urlOf("https://example.com/a.png"), "https://example.com/a.png");
  assert.equal(urlOf("# comment\nhttps://example.com/a.png\n"), null);
  assert.equal(urlOf("javascript:alert(1)"), null);
  assert.equal(urlOf("just words"), null);
});

test("a region stays inside the picture, and has 64 pixels at least", () => {
  const input = { width: 300, height: 200 };
  assert.deepEqual(clampedRegion({ x: -5, y: 190, width: 3, height: 900 }, input), {
    x: 0,
    y: 0,
    width: 64,
    height: 200,
  });
  assert.deepEqual(clampedRegion({ x: 290.4, y: 10.2, width: 70.4, height: 64 }, input), {
    x: 230,
    y: 10,
    width: 70,
    height: 64,
  });
  assert.deepEqual(clampedRegion({ x: 9, y: 9, width: 64, height: 64 }, { width: 20, height: 30 }), {
    x: 0,
    y: 0,
    width: 20,
    height: 30,
  });
});

test("a part is taken with its surroundings, as far as there are any", () => {
  assert.deepEqual(withHalo({ x: 10, y: 100, width: 64, height: 64 }, 28, { width: 90, height: 400 }), {
    x: 0,
    y: 72,
    width: 90,
    height: 120,
  });
});

test("metrics are read", () => {
  const samples = parseMetrics(
    [
      "# HELP enlarger_requests_total text",
      'enlarger_requests_total{end="miss"} 3.0',
      'enlarger_requests_total{end="hit"} 2.0',
      'enlarger_requests_total{end="queue_full"} 9.0',
      'odd{name="a\\"b\\\\c\\nd",other="1"} +Inf',
      "plain 1e3",
      "",
    ].join("\n"),
  );
  assert.equal(picturesMade(samples), 5);
  assert.deepEqual(samples[3].labels, { name: 'a"b\\c\nd', other: "1" });
  assert.equal(samples[4].value, 1000);
});

test("rates never fall below zero, also when a server was replaced", () => {
  const series = [
    { at: 0, tiles: 10 },
    { at: 2000, tiles: 14 },
    { at: 4000, tiles: 1 },
  ];
  assert.deepEqual(ratesOf(series), [2, 1]);
  assert.deepEqual(ratesOf(series.slice(1)), [0]);
});

test("rates are those of the minute before, however long a tile takes", () => {
  // A look each two seconds, and a tile each twenty; nobody looked before a pause of an hour.
  const looks = (from, count) =>
    Array.from({ length: count }, (_, index) => ({ at: from + 2000 * index, tiles: Math.floor((2 * index) / 20) }));
  const rates = ratesOf(looks(0, 40));
  assert.equal(rates.length, 39);
  assert.equal(rates[5], 0);
  for (const rate of rates.slice(9)) assert.ok(rate * 60 > 1.5 && rate * 60 < 4, `${rate}`);
  assert.deepEqual(ratesOf([]), []);
  assert.deepEqual(
    ratesOf([
      { at: 0, tiles: 0 },
      { at: 3_600_000, tiles: 3600 },
    ]),
    [1],
  );
});

test("a queue does so many things at a time, in order", async () => {
  const queue = new Queue(2);
  const events = [];
  let running = 0;
  const thing = (name, isBad) => async () => {
    running++;
    assert.ok(running <= 2);
    events.push(name);
    await sleep(1);
    running--;
    if (isBad) throw new Error(name);
    return name;
  };
  const results = await Promise.allSettled([queue.do(thing("a", true)), queue.do(thing("b")), queue.do(thing("c"))]);
  assert.deepEqual(events, ["a", "b", "c"]);
  assert.deepEqual(
    results.map(({ status }) => status),
    ["rejected", "fulfilled", "fulfilled"],
  );
});

test("waits grow, end, and can be left", async () => {
  assert.ok(backoffMs(0) < backoffMs(4));
  assert.ok(backoffMs(50) <= 15_000 * 1.25);
  const controller = new AbortController();
  const slept = sleep(60_000, controller.signal);
  controller.abort();
  await assert.rejects(slept, { name: "AbortError" });
});

test("a dropped folder gives all its files in order, but those that nobody chose", async () => {
  const file = (name) => ({ name, isFile: true, file: (resolve) => resolve({ name }) });
  const folder = (name, children) => ({
    name,
    isFile: false,
    createReader() {
      // As a browser does: a hundred at a time, then none.
      const rest = [...children];
      return { readEntries: (resolve) => resolve(rest.splice(0, 100)) };
    },
  });
  const many = Array.from({ length: 150 }, (_, index) => file(`p${index}.png`));
  const entries = [
    folder("holiday", [file(".DS_Store"), folder(".hidden", [file("x.png")]), folder("sea", many)]),
    file(".chosen.png"),
  ];
  const items = entries.map((entry) => ({ kind: "file", webkitGetAsEntry: () => entry }));
  const found = await droppedFiles({ items: [{ kind: "string" }, ...items], files: [] });
  assert.equal(found.length, 151);
  assert.deepEqual([found[0].name, found[2].name, found[150].name], ["p0.png", "p2.png", ".chosen.png"]);
});

test("without entries the files themselves are taken", async () => {
  const found = await droppedFiles({ items: [{ kind: "file" }], files: ["a file"] });
  assert.deepEqual(found, ["a file"]);
});

test("a comparison asks each model only for what it takes", () => {
  const names = ["scale", "denoise", "device"];
  const models = [
    { id: "usual", native_scale: 4, options: ["scale", "device"], noise_levels: [] },
    { id: "cleaner", native_scale: 1, options: names, noise_levels: [0, 1] },
    { id: "other", native_scale: 2, options: names, noise_levels: [0, 3] },
  ];
  const region = { x: 1, y: 2, width: 64, height: 65 };
  const options = { model: "cleaner", width: 400, fit: "cover", denoise: 1, device: "cpu", format: "tiff", quality: 9 };
  const common = { device: "cpu", region: [1, 2, 64, 65], format: "png" };
  const sized = { width: 400, fit: "cover" };
  assert.deepEqual(
    models.map((model) => comparisonOptions(options, region, model, models)),
    [
      { ...common, ...sized, models: ["usual"] },
      { ...common, scale: 1, denoise: 1, models: ["cleaner"] },
      { ...common, ...sized, models: ["other"] },
    ],
  );
});

test("pictures that are sent together wait for others once", () => {
  const estimate = (etaS, waitS) => ({ etaS, waitS });
  assert.equal(secondsOfAll([]), 0);
  assert.equal(secondsOfAll([null, estimate(null, 0)]), 0);
  assert.equal(secondsOfAll([estimate(5, 0)]), 5);
  assert.equal(secondsOfAll([null, ...Array.from({ length: 14 }, () => estimate(121, 120))]), 134);
  assert.equal(secondsOfAll([estimate(70, 60), estimate(60, 40)]), 90);
});

test("the seconds that are left pass without news, and are not told once they have passed", () => {
  const picture = { job: { eta_s: 10 }, toldAt: 1000 };
  assert.equal(secondsLeft(picture, 1000), 10);
  assert.equal(secondsLeft(picture, 4000), 7);
  assert.equal(secondsLeft(picture, 11_000), null);
  assert.equal(secondsLeft(picture, 0), 10);
  assert.equal(secondsLeft({ job: { eta_s: 10 } }, 11_000), 10);
  assert.equal(secondsLeft({ job: { eta_s: null }, toldAt: 1000 }, 1000), null);
});

test("a second click at once is stray where another control has come under the pointer", () => {
  const last = { control: "start", at: 1000, x: 50, y: 60 };
  const after = (changes) => isStray({ control: "cancel", at: 1250, x: 52, y: 60, ...changes }, last);
  assert.ok(after({}));
  assert.ok(after({ control: null }));
  assert.ok(!after({ control: "start" }));
  assert.ok(!after({ at: 1700 }));
  assert.ok(!after({ x: 90 }));
  assert.ok(!isStray({ control: "cancel", at: 1250, x: 50, y: 60 }, null));
});
