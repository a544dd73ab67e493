import assert from "node:assert/strict";
import { test } from "node:test";
import {
  furtherOptions,
  inputPlace,
  readOptions,
  regionSide,
  SIZES,
  secondsFor,
  sizeOf,
  sizeOption,
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
  for (const size of SIZES) {
    const number = /^\d$/.test(size) ? "" : "5";
    assert.deepEqual(sizeOf(sizeOption(size, Number(number))), { size, number });
  }
  assert.deepEqual(sizeOption("width", 0), { scale: 2 });
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
  const model = (speed, halo = 0) => ({ halo, measured: { megapixels_per_s: speed } });
  assert.equal(regionSide([model(0.001)]), 64);
  assert.equal(regionSide([model(null)]), 64);
  const models = [model(0.1, 28), model(1, 18)];
  const side = regionSide(models);
  assert.ok(secondsFor({ width: side, height: side }, models) <= 2);
  assert.ok(secondsFor({ width: side + 16, height: side + 16 }, models) > 2);
});
