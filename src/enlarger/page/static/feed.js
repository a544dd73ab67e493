// What happens to the jobs of this tab, as it happens.

import { ApiError, backoffMs, sleep } from "./api.js";
import { eventsOf } from "./sse.js";

/** A browser opens six connections to one origin over HTTP/1.1; the others are for pictures. */
const MOST_STREAMS = 3;
const POLL_MS = 2000;

/** Jobs that are asked about each `POLL_MS`; of more, each is asked about less often. */
const POLLED = 20;

export class JobFeed {
  #api;
  #tell;
  /** By job: what ends its following. */
  #followed = new Map();
  #streams = 0;
  #preferred = null;

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
    if (this.#followed.has(jobId)) return;
    const controller = new AbortController();
    this.#followed.set(jobId, controller);
    this.#run(jobId, controller.signal).finally(() => this.#followed.delete(jobId));
  }

  /** Follow a job no longer. */
  leave(jobId) {
    this.#followed.get(jobId)?.abort();
  }

  /** People look at this job: it gets a stream, however many others have one. */
  prefer(jobId) {
    this.#preferred = jobId;
  }

  async #run(jobId, signal) {
    // Events are numbered from 1: 0 asks for all that are kept, also for a page that comes late.
    const place = { lastId: "0" };
    for (let attempt = 0; !signal.aborted; attempt++) {
      const isStreamed = this.#streams < MOST_STREAMS || jobId === this.#preferred;
      try {
        const hasEnded = isStreamed ? await this.#stream(jobId, place, signal) : await this.#poll(jobId, signal);
        if (hasEnded) return;
        attempt = 0;
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof ApiError && error.status === 404) {
          this.#tell(jobId, "gone", {});
          return;
        }
      }
      await sleep(isStreamed ? backoffMs(attempt) : this.#pollMs, signal).catch(() => {});
    }
  }

  get #pollMs() {
    return POLL_MS * Math.max(1, this.#followed.size / POLLED);
  }

  async #poll(jobId, signal) {
    const job = await this.#api.json(`v1/jobs/${jobId}`, { signal });
    this.#tell(jobId, "state", job);
    return hasEnded(job);
  }

  async #stream(jobId, place, signal) {
    this.#streams++;
    try {
      const headers = { Accept: "text/event-stream", "Last-Event-ID": place.lastId };
      const response = await this.#api.call(`v1/jobs/${jobId}/events`, { headers, signal });
      if (response.status === 204) return this.#poll(jobId, signal);
      for await (const event of eventsOf(response)) {
        place.lastId = event.id || place.lastId;
        const data = JSON.parse(event.data);
        this.#tell(jobId, event.type, data);
        if (event.type === "state" && hasEnded(data)) return true;
      }
      return false;
    } finally {
      this.#streams--;
    }
  }
}

/** Whether nothing more happens to a job, but that its result expires. */
export function hasEnded(job) {
  return !["queued", "running"].includes(job.state);
}
