// What happens to the jobs of this tab, as it happens: one stream for all, since a browser opens only six connections to a service.

import { ApiError, backoffMs, sleep } from "./api.js";
import { eventsOf } from "./sse.js";

/** The most jobs of one stream. Later ones wait: the service takes up jobs in their order, too. */
export const MOST_JOBS = 100;

/** Jobs that come within this time are asked for together. */
const SETTLE_MS = 100;

export class JobFeed {
  #api;
  #tell;
  /** Ids of the jobs that have not ended, in the order in which they came. */
  #jobs = new Set();
  /** The last event id that came: it says for each of the covered jobs what was told of it. */
  #lastId = "";
  #covered = new Set();
  #settling = null;
  #controller = new AbortController();

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
    this.#settling ??= setTimeout(() => {
      this.#settling = null;
      this.#controller.abort();
      this.#controller = new AbortController();
      this.#run(this.#controller.signal);
    }, SETTLE_MS);
  }

  async #run(signal) {
    for (let attempt = 0; this.#jobs.size && !signal.aborted; attempt++) {
      const ids = [...this.#jobs].slice(0, MOST_JOBS);
      try {
        const headers = { Accept: "text/event-stream", ...(this.#lastId && { "Last-Event-ID": this.#lastId }) };
        const response = await this.#api.call(`v1/events?jobs=${ids.join(",")}`, { headers, signal });
        attempt = 0;
        if (response.status === 204) await this.#ask(ids, signal);
        else await this.#read(response, ids, signal);
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof ApiError && error.status === 422) {
          // Jobs have ended before they were in a stream, or are known no longer. Each tells of itself.
          const unseen = ids.filter((id) => !this.#covered.has(id));
          if (await this.#ask(unseen.length ? unseen : ids, signal).catch(() => false)) continue;
        }
      }
      if (this.#jobs.size) await sleep(backoffMs(attempt), signal).catch(() => {});
    }
  }

  /** Tell the events of a stream until it ends. */
  async #read(response, ids, signal) {
    for await (const event of eventsOf(response)) {
      // What is left is told by the stream that comes in place of this one.
      if (signal.aborted) return;
      this.#lastId = event.id;
      this.#covered = new Set(ids);
      const { job, ...data } = JSON.parse(event.data);
      this.#take(job, event.type, data);
    }
  }

  /** Ask for jobs one by one. Returns whether one of them is followed no longer. */
  async #ask(ids, signal) {
    const before = this.#jobs.size;
    for (const id of ids) {
      try {
        this.#take(id, "state", await this.#api.json(`v1/jobs/${id}`, { signal }));
      } catch (error) {
        if (!(error instanceof ApiError && error.status === 404)) throw error;
        this.#take(id, "gone", {});
      }
    }
    return this.#jobs.size < before;
  }

  #take(jobId, type, data) {
    this.#tell(jobId, type, data);
    if (type !== "gone" && !(type === "state" && hasEnded(data))) return;
    this.#jobs.delete(jobId);
    if (this.#jobs.size >= MOST_JOBS) this.#renewSoon();
  }
}

/** Whether nothing more happens to a job, but that its result expires. */
function hasEnded(job) {
  return !["queued", "running"].includes(job.state);
}
