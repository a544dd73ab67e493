// What happens to the jobs of this tab, as it happens: one stream for all, since a browser opens only six connections to a service.

import { ApiError, backoffMs, sleep } from "./api.js";
import { eventsOf } from "./sse.js";

/** The most jobs of one stream. Later ones wait: the service takes up jobs in their order, too. */
export const MOST_JOBS = 100;

/** Jobs that come within this time are asked for together. It doubles while jobs keep coming, since each time costs a stream. */
const SETTLE_MS = 100;
const LONGEST_SETTLE_MS = 1600;

/** After so long without another job, the next one is asked for soon; and a stream of that length has not failed. */
const CALM_MS = 5000;

export class JobFeed {
  #api;
  #tell;
  /** Ids of the jobs that have not ended, in the order in which they came. */
  #jobs = new Set();
  /** The last event id that came: it says for each job of the stream what was told of it. */
  #lastId = "";
  #settling = null;
  #settleMs = SETTLE_MS;
  #renewedAt = 0;
  #controller = new AbortController();
  /** Failures since the last event: a stream that ends at once without one has failed, too. */
  #failures = 0;
  /** Whether jobs are being asked for one by one. */
  #isAsking = false;

  /**
   * @param api
   * @param {(jobId: string, type: "state"|"progress"|"tile"|"gone", data: Object) => void} tell
   */
  constructor(api, tell) {
    this.#api = api;
    this.#tell = tell;
  }

  /** Follow a job until it ends. */
  follow(jobId) {
    if (this.#jobs.has(jobId)) return;
    this.#jobs.add(jobId);
    if (this.#jobs.size <= MOST_JOBS) this.#renewSoon();
  }

  /** Ask for the events of other jobs by connecting again: a stream takes none up. */
  #renewSoon() {
    if (this.#settling) return;
    const isCalm = Date.now() - this.#renewedAt > CALM_MS;
    this.#settleMs = isCalm ? SETTLE_MS : Math.min(LONGEST_SETTLE_MS, 2 * this.#settleMs);
    this.#settling = setTimeout(() => this.#renew(), this.#settleMs);
  }

  #renew() {
    this.#settling = null;
    this.#renewedAt = Date.now();
    // Whoever asks for jobs one by one connects afterwards, with those that came meanwhile.
    if (this.#isAsking) return;
    this.#controller.abort();
    this.#controller = new AbortController();
    this.#run(this.#controller.signal);
  }

  async #run(signal) {
    while (this.#jobs.size && !signal.aborted) {
      const ids = [...this.#jobs].slice(0, MOST_JOBS);
      try {
        const headers = { Accept: "text/event-stream", ...(this.#lastId && { "Last-Event-ID": this.#lastId }) };
        const response = await this.#api.call(`v1/events?jobs=${ids.join(",")}`, { headers, signal });
        if (response.status === 204) await this.#ask(ids, signal);
        else await this.#read(response, signal);
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof ApiError && error.status === 422) {
          // Jobs have ended before they were in a stream, or are known no longer. Each tells of itself.
          const words = new Set(error.faults.flatMap(({ detail }) => detail.split(/\W+/)));
          const named = ids.filter((id) => words.has(id));
          if (await this.#ask(named.length ? named : ids, signal).catch(() => false)) continue;
        }
      }
      if (this.#jobs.size) await sleep(backoffMs(this.#failures++), signal).catch(() => {});
    }
  }

  /** Tell the events of a stream until it ends. */
  async #read(response, signal) {
    const begunAt = Date.now();
    try {
      for await (const event of eventsOf(response)) {
        // What is left is told by the stream that comes in place of this one.
        if (signal.aborted) return;
        this.#failures = 0;
        this.#lastId = event.id;
        const { job, ...data } = JSON.parse(event.data);
        this.#take(job, event.type, data);
      }
    } finally {
      if (Date.now() - begunAt > CALM_MS) this.#failures = 0;
    }
  }

  /** Ask for jobs one by one. Returns whether one of them is followed no longer. */
  async #ask(ids, signal) {
    this.#isAsking = true;
    try {
      for (const id of ids) await this.#askFor(id, signal);
    } finally {
      this.#isAsking = false;
    }
    return ids.some((id) => !this.#jobs.has(id));
  }

  async #askFor(id, signal) {
    try {
      this.#take(id, "state", await this.#api.json(`v1/jobs/${id}`, { signal }));
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 404)) throw error;
      this.#take(id, "gone", {});
    }
  }

  #take(jobId, type, data) {
    this.#tell(jobId, type, data);
    if (type !== "gone" && !(type === "state" && hasEnded(data))) return;
    this.#jobs.delete(jobId);
    if (this.#jobs.size >= MOST_JOBS) this.#renewSoon();
  }
}

/** Whether nothing more happens to a job, but that its result expires. */
export function hasEnded(job) {
  return !["queued", "running"].includes(job.state);
}
