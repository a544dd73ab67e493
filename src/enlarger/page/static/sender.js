// Sends pictures to the service as jobs, at most three at once, and ends jobs.

import { ApiError, backoffMs, ConnectionLost, KeyNeeded, sleep } from "./api.js";
import { Queue } from "./queue.js";
import { t } from "./texts.js";

const AT_ONCE = 3;

/** Codes of a service that is only too busy now. */
const LATER = new Set([429, 503]);

export class Sender {
  #api;
  #pictures;
  #files;
  #follower;
  #queue = new Queue(AT_ONCE);
  #sending = new Map();

  constructor(api, pictures, files, follower) {
    this.#api = api;
    this.#pictures = pictures;
    this.#files = files;
    this.#follower = follower;
    api.addEventListener("resume", () => {
      for (const { id, problem } of pictures.inPhase("ready")) if (problem) pictures.update(id, { problem: "" });
    });
  }

  /** Send a picture that is `ready`, or has failed. */
  send(id, options) {
    // With this key a picture that is sent twice, since an answer was lost, is one job.
    const output = this.#pictures.get(id).estimate?.output ?? null;
    this.#pictures.update(id, {
      phase: "sending",
      options,
      output,
      key: crypto.randomUUID?.() ?? `${id}-${Date.now()}`,
      isUploading: false,
      problem: "",
      code: "",
      jobId: null,
      job: null,
      tiles: new Map(),
    });
    this.#start(id);
  }

  /** Send again what was being sent when the page was loaded again. */
  resume(id) {
    this.#start(id);
  }

  /** End a picture's job, or its sending. */
  async cancel(id) {
    const { jobId } = this.#pictures.get(id);
    this.#sending.get(id)?.abort();
    if (!jobId) {
      this.#pictures.update(id, { phase: "canceled" });
      return;
    }
    const job = await this.#api.json(`v1/jobs/${jobId}`, { method: "DELETE" });
    this.#pictures.update(id, { job, phase: job.state });
  }

  #start(id) {
    const controller = new AbortController();
    this.#sending.set(id, controller);
    this.#queue.do(() => this.#send(id, controller.signal)).finally(() => this.#sending.delete(id));
  }

  async #send(id, signal) {
    this.#pictures.update(id, { isUploading: true });
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        const job = await this.#post(this.#pictures.get(id), signal);
        this.#pictures.update(id, { jobId: job.id, job, phase: job.state, problem: "" });
        if (signal.aborted) await this.cancel(id);
        else this.#follower.follow(job);
        return;
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof KeyNeeded) {
          this.#pictures.update(id, { phase: "ready", options: {}, output: null, key: "", problem: error.message });
          return;
        }
        const isTemporary = error instanceof ConnectionLost || (error instanceof ApiError && LATER.has(error.status));
        if (!isTemporary) {
          this.#pictures.update(id, { phase: "failed", problem: error.message, code: error.code ?? "" });
          return;
        }
        // The connection has its own place where it is told.
        if (error instanceof ApiError) this.#pictures.update(id, { problem: error.message });
        const waitMs = error.retryAfterS ? error.retryAfterS * 1000 : backoffMs(attempt);
        await sleep(waitMs, signal).catch(() => {});
      }
    }
  }

  async #post(picture, signal) {
    const headers = { "Idempotency-Key": picture.key };
    if (picture.url)
      return this.#api.post("v1/jobs", { img_url: picture.url, ...picture.options }, { headers, signal });
    const blob = await this.#files.get(picture.fileId);
    if (!blob) throw new ApiError(0, { detail: t("row.noFile") });
    const form = new FormData();
    form.append("options", JSON.stringify(picture.options));
    form.append("image", blob, "image");
    return this.#api.json("v1/jobs", { method: "POST", body: form, headers, signal });
  }
}
