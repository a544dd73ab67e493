import assert from "node:assert/strict";
import { test } from "node:test";
import {
  furtherOptions,
  inputPlace,
  isTaken,
  keepsSize,
  levelsOf,
  optionsFor,
  proposalsFor,
  readOptions,
  regionSide,
  secondsFor,
  settingsFor,
  sizeOf,
  sizeOption,
  sizesFor,
  sizesWith,
  takesValue,
  valueFrom,
} from "../../../src/enlarger/page/static/options.js";

const parameter = (name, schema, extra = {}) => ({ name, in: "query", schema, ...extra });
const documentOf = (parameters, rest = {}) => ({ paths: { "/v1/jobs": { post: { parameters } } }, ...rest });

test("each kind of schema has its control", () => {
  const options = readOptions(
    documentOf([
      parameter("lock", { type: "boolean", default: true }),
      parameter("edge", { enum: ["keep", "clean"], default: "keep", type: "string" }),
      parameter("quality", { type: "integer", minimum: 1, maximum: 100 }),
      parameter("scale", { type: "number", minimum: 1, maximum: 8 }),
      parameter("frames", {
        anyOf: [
          { enum: ["all", "first"], type: "string" },
          { type: "integer", minimum: 1 },
        ],
      }),
      parameter("background", { type: "string", pattern: "^#" }),
      parameter("width", { anyOf: [{ type: "integer" }, { type: "null" }] }),
    ]),
  );
  assert.deepEqual(
    options.map(({ name, kind }) => [name, kind]),
    [
      ["lock", "boolean"],
      ["edge", "choice"],
      ["quality", "number"],
      ["scale", "number"],
      ["frames", "open"],
      ["background", "text"],
      ["width", "number"],
    ],
  );
  assert.deepEqual(
    furtherOptions(options).map(({ name }) => name),
    ["lock", "edge", "quality", "frames", "background"],
  );
});

test("what is no option of a job of this page is left out, and references are followed", () => {
  const schema = { $ref: "#/components/schemas/Later" };
  const options = readOptions(
    documentOf(
      [
        parameter("inline", { type: "boolean" }),
        parameter("webhook", { type: "string" }),
        { name: "Accept", in: "header", schema: { type: "string" } },
        parameter("later", schema),
      ],
      { components: { schemas: { Later: { type: "integer", minimum: 2 } } } },
    ),
  );
  assert.deepEqual(
    options.map(({ name, minimum }) => [name, minimum]),
    [["later", 2]],
  );
  assert.deepEqual(readOptions({}), []);
});

test("a value that says nothing is not sent", () => {
  const flag = { kind: "boolean", preset: true };
  assert.equal(valueFrom(flag, true), undefined);
  assert.equal(valueFrom(flag, false), false);
  assert.equal(valueFrom({ kind: "choice", preset: "keep" }, "keep"), undefined);
  assert.equal(valueFrom({ kind: "number" }, " 12 "), 12);
  assert.equal(valueFrom({ kind: "open" }, "7"), 7);
  assert.equal(valueFrom({ kind: "open" }, "all"), "all");
  assert.equal(valueFrom({ kind: "text" }, "  "), undefined);
});

test("sizes go to options and back", () => {
  const sizes = sizesFor([]);
  assert.deepEqual(sizes, ["2", "3", "4", "8", "scale", "long_side", "width", "height"]);
  for (const size of sizes) {
    const number = Number(size) ? "" : "5";
    assert.deepEqual(sizeOf(sizeOption(size, Number(number)), sizes), { size, number });
  }
  assert.deepEqual(sizeOption("width", 0), { scale: 2 });
});

test("what models make by themselves can be chosen", () => {
  const sizes = sizesFor([{ native_scale: 4 }, { native_scale: 1 }, { native_scale: 6 }, { native_scale: 16 }]);
  assert.deepEqual(sizes.slice(0, 7), ["1", "2", "3", "4", "6", "8", "scale"]);
  for (const size of ["1", "6"]) assert.deepEqual(sizeOf(sizeOption(size), sizes), { size, number: "" });
  assert.deepEqual(sizeOf({ scale: 1 }, sizesFor([])), { size: "scale", number: "1" });
});

test("the input lies in the result as `fit` puts it", () => {
  const input = { width: 100, height: 50 };
  const output = { width: 200, height: 200 };
  assert.deepEqual(inputPlace(input, output, { scale: 2 }), { x: 0, y: 0, width: 200, height: 200 });
  assert.deepEqual(inputPlace(input, output, { fit: "cover", width: 200, height: 200 }), {
    x: -100,
    y: 0,
    width: 400,
    height: 200,
  });
});

test("a region is as large as two seconds allow, and never below 64", () => {
  const model = (speed, halo = 0) => ({ halo, mflop_per_px: 1, measured: { megapixels_per_s: speed } });
  assert.equal(regionSide([model(0.001)]), 64);
  assert.equal(regionSide([model(null)]), 64);
  const models = [model(0.1, 28), model(1, 18)];
  const side = regionSide(models);
  assert.ok(secondsFor({ width: side, height: side }, models) <= 2);
  assert.ok(secondsFor({ width: side + 16, height: side + 16 }, models) > 2);
});

test("a model that was not measured is as quick as its operations allow", () => {
  const model = (speed, mflop) => ({ halo: 0, mflop_per_px: mflop, measured: { megapixels_per_s: speed } });
  const part = { width: 1000, height: 1000 };
  assert.equal(secondsFor(part, [model(0.5, 4)]), 2);
  assert.equal(secondsFor(part, [model(0.5, 4), model(null, 1)]), 2.5);
  assert.equal(secondsFor(part, [model(null, 4), model(null, 1)]), null);
});

test("an option is taken by the models that list it, and by any if none does", () => {
  const models = [
    { id: "plain", options: ["scale"] },
    { id: "cleaning", options: ["scale", "denoise"] },
  ];
  const taken = (id) => ["scale", "denoise", "later"].filter((name) => isTaken(models, id, name));
  assert.deepEqual(taken("plain"), ["scale", "later"]);
  assert.deepEqual(taken("cleaning"), ["scale", "denoise", "later"]);
  assert.deepEqual(taken("auto"), ["scale", "later"]);
  assert.ok(isTaken([], "auto", "denoise"));
});

test("a model that keeps the size of pictures has no other size", () => {
  const models = [
    { id: "cleaner", native_scale: 1, installed: true },
    { id: "usual", native_scale: 4, installed: true },
  ];
  assert.deepEqual(models.map(keepsSize), [true, false]);
  assert.deepEqual(sizesWith(models, "cleaner"), ["1"]);
  assert.deepEqual(sizesWith(models, "usual"), sizesFor(models));
  assert.deepEqual(sizesWith(models, "auto"), sizesFor(models));
  assert.ok(!keepsSize(undefined));
});

test("a model takes its own noise levels alone", () => {
  const models = [
    { id: "few", options: ["denoise"], noise_levels: [0, 3] },
    { id: "any", options: ["denoise"], noise_levels: [] },
    { id: "none", options: [], noise_levels: [] },
  ];
  assert.deepEqual(levelsOf(models, "few", "denoise"), [0, 3]);
  assert.equal(levelsOf(models, "few", "quality"), null);
  assert.equal(levelsOf(models, "any", "denoise"), null);
  const taken = (id, level) => takesValue(models, id, "denoise", level);
  assert.deepEqual([taken("few", 3), taken("few", 1), taken("any", 1), taken("none", 0)], [true, false, true, false]);
  assert.ok(takesValue(models, "few", "quality", 1));
});

test("devices that the service has are proposed", () => {
  const models = [{ devices: ["cpu", "Card 1"] }, { devices: ["cpu"] }, {}];
  assert.deepEqual(proposalsFor(models, { name: "device", choices: [] }), ["cpu", "Card 1"]);
  assert.deepEqual(proposalsFor(models, { name: "frames", choices: ["all"] }), ["all"]);
});

test("all frames of an animation are made, unless people want it otherwise", () => {
  assert.deepEqual(optionsFor({ isAnimation: true }, { scale: 2 }), { scale: 2, frames: "all" });
  assert.deepEqual(optionsFor({ isAnimation: true }, { scale: 2, frames: 3 }), { scale: 2, frames: 3 });
  assert.deepEqual(optionsFor({ isAnimation: false }, { scale: 2 }), { scale: 2 });
  assert.deepEqual(settingsFor({ isAnimation: true, options: { scale: 2, frames: "all" } }), { scale: 2 });
  assert.deepEqual(settingsFor({ isAnimation: true, options: { frames: "first" } }), { frames: "first" });
});
