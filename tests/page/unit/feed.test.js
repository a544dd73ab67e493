import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { ApiError } from "../../../src/enlarger/page/static/api.js";
import { JobFeed, MOST_JOBS } from "../../../src/enlarger/page/static/feed.js";

/** A service with jobs whose events a test sends. It answers as `GET /v1/events` does. */
class FakeApi {
  jobs = new Map();
  streams = [];
  asked = [];
  calls = 0;

  add(...ids) {
    for (const id of ids) this.jobs.set(id, { id, state: "queued" });
  }

  async call(path, { headers, signal }) {
    const ids = path.match(/^v1\/events\?jobs=(.*)$/)[1].split(",");
    const lastId = headers["Last-Event-ID"] ?? "";
    const covered = new Set(lastId.split("/").slice(1));
    const refused = ids.filter(
      (id) => !this.jobs.has(id) || (!covered.has(id) && this.jobs.get(id).state !== "queued"),
    );
    this.calls++;
    if (refused.length) {
      const errors = refused.map((id) => ({ option: "jobs", detail: `${id} has ended, so no events follow` }));
      throw new ApiError(422, { code: "invalid_option", errors });
    }
    const stream = { ids, lastId, signal, isOpen: true };
    const body = new ReadableStream({
      start: (controller) => {
        stream.controller = controller;
        signal.addEventListener("abort", () => {
          if (stream.isOpen) controller.error(signal.reason);
          stream.isOpen = false;
        });
      },
    });
    this.streams.push(stream);
    return new Response(body);
  }

  async json(path) {
    const id = path.slice("v1/jobs/".length);
    this.asked.push(id);
    if (!this.jobs.has(id)) throw new ApiError(404, {});
    return this.jobs.get(id);
  }

  get last() {
    return this.streams.at(-1);
  }

  /** Send an event. Its id covers all jobs of the stream, as that of the service does. */
  send(number, type, data) {
    const { controller, ids } = this.last;
    const text = `id: ${number}/${ids.join("/")}\nevent: ${type}\ndata: ${JSON.stringify(data)}\n\n`;
    controller.enqueue(new TextEncoder().encode(text));
  }

  end(id, number = 1) {
    this.jobs.set(id, { id, state: "succeeded" });
    this.send(number, "state", { job: id, id, state: "succeeded" });
  }

  close() {
    this.last.isOpen = false;
    this.last.controller.close();
  }
}

/** Run a test with a feed, and with timers that wait for `pass`. */
function testFeed(name, body) {
  test(name, async () => {
    mock.timers.enable({ apis: ["setTimeout", "Date"], now: 60_000 });
    const api = new FakeApi();
    const told = [];
    const feed = new JobFeed(api, (...news) => told.push(news));
    const settled = async () => {
      for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    };
    const pass = async (ms) => {
      mock.timers.tick(ms);
      await settled();
    };
    try {
      await body({ api, feed, told, pass, settled });
    } finally {
      mock.timers.reset();
    }
  });
}

testFeed("jobs that come together share one stream, and the data are told without the job's id", async (t) => {
  const { api, feed, told, pass, settled } = t;
  api.add("a", "b", "c");
  for (const id of ["a", "b", "c", "a"]) feed.follow(id);
  await pass(100);
  assert.deepEqual(
    api.streams.map(({ ids, lastId }) => [ids, lastId]),
    [[["a", "b", "c"], ""]],
  );
  api.send(1, "tile", { job: "b", index: 4 });
  api.send(2, "progress", { job: "c", eta_s: 2 });
  await settled();
  assert.deepEqual(told, [
    ["b", "tile", { index: 4 }],
    ["c", "progress", { eta_s: 2 }],
  ]);
});

testFeed("a later job is added by connecting again where the stream was", async (t) => {
  const { api, feed, told, pass, settled } = t;
  api.add("a", "b");
  feed.follow("a");
  await pass(100);
  api.send(7, "progress", { job: "a" });
  await settled();
  feed.follow("b");
  await pass(200);
  assert.equal(api.streams.filter(({ isOpen }) => isOpen).length, 1);
  assert.deepEqual([api.last.ids, api.last.lastId], [["a", "b"], "7/a"]);
  api.send(8, "tile", { job: "a", index: 0 });
  await settled();
  assert.equal(told.length, 2);
});

testFeed("jobs that keep coming do not put off the stream", async ({ api, feed, pass }) => {
  for (let number = 0; number < 6; number++) {
    api.add(`j${number}`);
    feed.follow(`j${number}`);
    await pass(60);
  }
  assert.ok(api.streams.length >= 2);
});

testFeed("a job that has ended is followed no longer, and after the last one nothing is asked", async (t) => {
  const { api, feed, told, pass, settled } = t;
  api.add("a", "b");
  feed.follow("a");
  feed.follow("b");
  await pass(100);
  api.end("a", 1);
  await settled();
  api.close(); // as a service does that restarts
  await settled();
  await pass(1000);
  assert.deepEqual([api.last.ids, api.last.lastId], [["b"], "1/a/b"]);
  api.end("b", 2);
  await settled();
  api.close();
  await settled();
  await pass(60_000);
  assert.equal(api.streams.length, 2);
  assert.deepEqual(
    told.map(([id, , { state }]) => [id, state]),
    [
      ["a", "succeeded"],
      ["b", "succeeded"],
    ],
  );
});

testFeed("jobs that a stream does not take are asked one by one, those that it told of are not", async (t) => {
  const { api, feed, told, pass, settled } = t;
  api.add("a", "quick");
  feed.follow("a");
  await pass(100);
  api.send(1, "progress", { job: "a" });
  await settled();
  api.jobs.set("quick", { id: "quick", state: "succeeded" });
  feed.follow("quick");
  feed.follow("unknown");
  await pass(200);
  assert.deepEqual(api.asked, ["quick", "unknown"]);
  assert.deepEqual(told.slice(1), [
    ["quick", "state", { id: "quick", state: "succeeded" }],
    ["unknown", "gone", {}],
  ]);
  assert.deepEqual([api.last.ids, api.last.lastId, api.last.isOpen], [["a"], "1/a", true]);
});

testFeed("a followed job that becomes unknown is asked for, too", async ({ api, feed, told, pass, settled }) => {
  api.add("a");
  feed.follow("a");
  await pass(100);
  api.send(1, "progress", { job: "a" });
  await settled();
  api.jobs.delete("a");
  api.close();
  await settled();
  await pass(1000);
  assert.deepEqual(told.at(-1), ["a", "gone", {}]);
});

testFeed("where nothing more will be told, jobs are asked for their state", async ({ api, feed, told, pass }) => {
  api.jobs.set("a", { id: "a", state: "failed" });
  api.call = async () => new Response(null, { status: 204 });
  feed.follow("a");
  await pass(100);
  assert.deepEqual(told, [["a", "state", { id: "a", state: "failed" }]]);
});

testFeed("a lost connection is tried again, less and less often", async ({ api, feed, pass }) => {
  api.add("a");
  let calls = 0;
  api.call = async () => {
    calls++;
    throw new Error("no connection");
  };
  feed.follow("a");
  await pass(100);
  assert.equal(calls, 1);
  await pass(300); // half a second, less a quarter at most
  assert.equal(calls, 1);
  for (let second = 0; second < 60; second++) await pass(1000);
  assert.ok(calls > 5 && calls < 15, `${calls}`);
});

testFeed("more jobs than a stream takes wait for those before them", async ({ api, feed, pass, settled }) => {
  const ids = Array.from({ length: MOST_JOBS + 2 }, (_, index) => `j${index}`);
  api.add(...ids);
  for (const id of ids) feed.follow(id);
  await pass(100);
  assert.deepEqual(api.last.ids, ids.slice(0, MOST_JOBS));
  api.end("j3");
  await settled();
  await pass(200);
  assert.equal(api.streams.filter(({ isOpen }) => isOpen).length, 1);
  assert.equal(api.last.ids.length, MOST_JOBS);
  assert.ok(!api.last.ids.includes("j3") && api.last.ids.includes(`j${MOST_JOBS}`));
});

testFeed("many jobs that end at once cost few streams, and each is asked for once", async (t) => {
  const { api, feed, told, pass } = t;
  api.add("long");
  feed.follow("long");
  for (let number = 0; number < 200; number++) {
    const id = `quick${String(number).padStart(3, "0")}`;
    api.jobs.set(id, { id, state: "succeeded" });
    feed.follow(id);
    await pass(100);
  }
  await pass(2000);
  assert.equal(told.length, 200);
  assert.equal(new Set(api.asked).size, api.asked.length);
  assert.ok(api.calls < 40, `${api.calls}`);
  assert.deepEqual([api.last.ids, api.last.isOpen], [["long"], true]);
});

testFeed("jobs that are asked for are not asked again when others come", async (t) => {
  const { api, feed, pass, settled } = t;
  const held = [];
  const { json } = api;
  api.json = async (path) => {
    await new Promise((resolve) => held.push(resolve));
    return json.call(api, path);
  };
  api.jobs.set("quick", { id: "quick", state: "succeeded" });
  feed.follow("quick");
  await pass(100);
  api.add("late");
  feed.follow("late");
  await pass(2000);
  assert.equal(held.length, 1);
  held[0]();
  await settled();
  assert.deepEqual([api.asked, api.last.ids], [["quick"], ["late"]]);
});

testFeed("streams that end at once come less and less often, until one tells something", async (t) => {
  const { api, feed, pass, settled } = t;
  api.add("a");
  feed.follow("a");
  await pass(100);
  const end = async () => {
    if (api.last.isOpen) api.close();
    await settled();
  };
  for (let tick = 0; tick < 600; tick++) {
    await end();
    await pass(100);
  }
  const drained = api.streams.length;
  assert.ok(drained > 5 && drained < 15, `${drained}`);
  for (let second = 0; second < 20 && !api.last.isOpen; second++) await pass(1000);
  api.send(1, "progress", { job: "a" });
  await settled();
  await end();
  await pass(700);
  assert.equal(api.last.isOpen, true);
});
