import assert from "node:assert/strict";
import { test } from "node:test";
import { EventParser, eventsOf } from "../../../src/enlarger/page/static/sse.js";

const STREAM = 'retry: 1000\n\n: ping\n\nid: 7\nevent: tile\ndata: {"a":\ndata: 1}\n\nid: 8\ndata:x\n\n';
const EVENTS = [
  { type: "tile", data: '{"a":\n1}', id: "7" },
  { type: "message", data: "x", id: "8" },
];

test("a stream is the same however it is cut", () => {
  for (let size = 1; size < STREAM.length; size++) {
    const parser = new EventParser();
    const found = [];
    for (let at = 0; at < STREAM.length; at += size) found.push(...parser.push(STREAM.slice(at, at + size)));
    assert.deepEqual(found, EVENTS);
    assert.equal(parser.lastId, "8");
  }
});

test("all ends of lines are read", () => {
  for (const end of ["\r\n", "\r"]) {
    const parser = new EventParser();
    const text = `${STREAM.replaceAll("\n", end)}:`;
    const found = [...text].flatMap((sign) => parser.push(sign));
    assert.deepEqual(found, EVENTS);
  }
});

test("events come from an answer, and leaving early cancels it", async () => {
  const found = [];
  for await (const event of eventsOf(new Response(STREAM))) found.push(event);
  assert.deepEqual(found, EVENTS);
  let isCancelled = false;
  const endless = new ReadableStream({
    start: (controller) => controller.enqueue(new TextEncoder().encode(STREAM)),
    cancel: () => {
      isCancelled = true;
    },
  });
  for await (const event of eventsOf(new Response(endless))) {
    assert.deepEqual(event, EVENTS[0]);
    break;
  }
  await new Promise((resolve) => setTimeout(resolve));
  assert.ok(isCancelled);
});
