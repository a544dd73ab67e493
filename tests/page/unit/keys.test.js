import assert from "node:assert/strict";
import { test } from "node:test";
import { cleanKey, isSendable, Keys } from "../../../src/enlarger/page/static/keys.js";

test("a pasted key loses what nobody sees", () => {
  assert.equal(cleanKey(" \u200bk-01\u200d23\ufeff\u00a0\n"), "k-0123");
  assert.equal(cleanKey("\u202ea secret\u202c\u3164"), "a secret");
  assert.equal(cleanKey("\u200b\u2060"), "");
});

test("a key that no header takes is not sent", () => {
  assert.ok(isSendable("a secret"));
  for (const key of ["", "schlüssel 猫", "ü", "k\u200b", "a\nb"]) assert.ok(!isSendable(key), key);
  for (const [stored, current] of [
    ["k-0123", "k-0123"],
    ["schlüssel 猫", null],
    [null, null],
  ]) {
    assert.equal(new Keys({ getItem: () => stored }).current, current);
  }
});
